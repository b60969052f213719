"""Free text: what is left of it, what was left out and why, and whose words are looked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_deid import SiteKey, audit_output, deidentify_files, deidentify_tree, load_profile
from reidscope_deid.cleaning import clean, cleaned, foreign_words, is_clean
from reidscope_deid.vocabulary import load_words, load_words_of_names

Slice = Callable[..., Path]
NOBODY = frozenset[bytes]()
OPTIONS = ("clean-descriptors",)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("t1_mprage SAG 1 mm iso", "T1 MPRAGE SAG 1MM ISO"),
        ("3.0T TE 20 TR=2000 b1000 FA 9 90 deg", "3.0T TE20 TR2000 B1000 FA9 90DEG"),
        ("lesion of 12,5 mm in the left lobe", "LESION OF 12.5MM IN THE LEFT LOBE"),
        ("white matter, gray matter, short axis", "WHITE MATTER GRAY MATTER SHORT AXIS"),
        ("Kidney stone, ground glass opacity", "KIDNEY STONE GROUND GLASS OPACITY"),
    ],
)
def test_terms_and_measures_stay(text: str, left: str) -> None:
    assert clean(text.encode(), NOBODY).decode() == left


@pytest.mark.parametrize(
    ("text", "left", "why"),
    [
        ("12.03.2020 brain", "BRAIN", "date"),
        ("brain 20200312", "BRAIN", "date"),
        ("brain 2020/3/12", "BRAIN", "date"),
        ("brain 12 March 2020", "BRAIN", "date"),
        ("brain Mar 12, 2020", "BRAIN", "date"),
        ("brain at 14:30", "BRAIN AT", "date"),
        ("brain +49 (30) 123-456", "BRAIN", "phone"),
        ("brain 555 0123", "BRAIN", "phone"),
        ("brain 1 9 7 1 0 8 2 3", "BRAIN", "phone"),
        ("brain 4 7 1", "BRAIN", "number"),
        ("brain 4711 mm", "BRAIN", None),
        ("brain 1971 ms", "BRAIN", "number"),
        ("brain 0042 mm", "BRAIN", "number"),
        ("brain 47110815 mm", "BRAIN", "number"),
        ("brain A4711", "BRAIN", "number"),
        ("brain jane.doe@ward.example", "BRAIN", "mail"),
        ("brain www.ward.example/7", "BRAIN", "mail"),
        ("brain of 12 Long Road", "BRAIN OF", "address"),
        ("brain, Hauptstrasse 7", "BRAIN", "address"),
        ("brain P.O. Box 12", "BRAIN", "address"),
        ("brain of Dr. Hand", "BRAIN OF", "name"),
        ("brain read by Hand", "BRAIN", "name"),
        ("brain Hand^Head", "BRAIN", "name"),
        ("brain, H. Hand", "BRAIN", "name"),
        ("brain Smith", "BRAIN", "name"),
        ("brain of mr long", "BRAIN OF MR", "word"),
        ("brain White", "BRAIN", "word"),
        ("brain blorb", "BRAIN", "word"),
    ],
)
def test_what_could_name_somebody_goes_and_is_counted_by_what_it_looks_like(
    text: str, left: str, why: str | None
) -> None:
    if why is None:
        # Four digits with a unit that are no year: a measure.
        left = "BRAIN 4711MM"
    done, counts = cleaned(text.encode(), NOBODY)
    assert done.decode().replace(" READ", "") == left
    assert why is None or counts[why] >= 1


def test_a_word_or_a_number_of_the_persons_own_goes_whatever_it_is() -> None:
    known = frozenset({b"BRAIN", b"42", b"LONGHEAD", b"KNEEHIP", b"2000"})
    done, counts = cleaned(b"brain 42 mm knee-hip TR 2000 te 42 axial", known)
    assert done == b"AXIAL"
    assert counts["own-identifier"] == 6


words = st.sampled_from(sorted(word.decode() for word in load_words()))
pieces = st.one_of(
    words,
    st.from_regex(r"[0-9]{1,9}", fullmatch=True),
    st.sampled_from(
        [
            "mm",
            "TE",
            "b",
            "Dr.",
            "by",
            "MAY",
            "@",
            "^",
            ":",
            "-",
            ".",
            ",",
            "/",
            "(",
            "°",
            "Müller",
            "Doe",
            "street",
            "J.",
            "T",
            "+49",
            "ms",
            "12.5",
            "\\",
            "_",
        ]
    ),
    st.text(max_size=6),
)
texts = st.lists(st.tuples(pieces, st.sampled_from(["", " ", "-", "\t"])), max_size=14).map(
    lambda parts: "".join(one + between for one, between in parts).encode("utf-8", "replace")
)


@given(texts, st.frozensets(words.map(str.encode), max_size=4))
def test_what_is_left_is_public_holds_nothing_known_and_cleans_to_itself(
    text: bytes, known: frozenset[bytes]
) -> None:
    left = clean(text, known)
    assert is_clean(left)
    assert clean(left, known) == left
    for word in left.split():
        number = re.fullmatch(rb"(?:[A-Z]+)?([0-9.]+)(?:[A-Z]+[23]?)?", word)
        assert word in load_words() or (number and len(number[1].replace(b".", b"")) <= 4)
        assert word not in known
    assert not re.search(rb"(?:^| )[0-9.]+ [0-9.]+(?: |$)", left)
    assert foreign_words(left) == set()
    in_company = load_words_of_names()
    for word in left.split():
        company = in_company.get(word)
        assert not company or company & set(left.split())


@given(st.dates(), st.sampled_from(["%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d", "%d %b %Y"]))
def test_no_date_is_left_in_any_form(day: object, form: str) -> None:
    left = clean(f"brain {day:{form}} axial".encode(), NOBODY)
    assert left == b"BRAIN AXIAL"


@given(st.from_regex(r"[0-9]{5,12}", fullmatch=True), st.sampled_from(["mm", "ms", "T", "", "ml"]))
def test_no_number_of_more_than_four_digits_is_left(number: str, unit: str) -> None:
    for form in (f"{number} {unit}", f"{number}{unit}", f"TE {number}", f"{number[:2]}-{number}"):
        assert not re.search(rb"[0-9]{2}", clean(form.encode(), NOBODY))


def test_words_that_are_names_stay_in_their_term_alone_and_no_common_name_is_listed() -> None:
    listed = load_words()
    assert listed.isdisjoint(
        {
            b"DOE",
            b"JANE",
            b"SMITH",
            b"YOUNG",
            b"WOOD",
            b"BROWN",
            b"MAY",
            b"PARIS",
            b"BERLIN",
            b"ROSE",
            b"KING",
            b"LEE",
            b"MARCH",
            b"AUGUST",
            b"MOTHER",
            b"HILL",
        }
    )
    assert b"WHITE" in listed
    assert clean(b"White", NOBODY) == b""
    assert clean(b"main MAX root Beam", NOBODY) == b""
    assert clean(b"hand", NOBODY) == b"HAND"
    for word, company in load_words_of_names().items():
        assert company <= listed, word


@pytest.fixture
def study(slice_file: Slice) -> list[Path]:
    """Three files of a person: each text names who stands in another file's header."""
    changes = [
        {"OperatorsName": "Brain^Ann", "SeriesDescription": "axial knee hip"},
        {"OperatorsName": "Knee^Bob", "SeriesDescription": "axial brain hip"},
        {"PatientID": "OTHER", "OperatorsName": "Hip^Cy", "SeriesDescription": "brain knee hip"},
    ]
    return [
        slice_file(f"in/{number}.dcm", SOPInstanceUID=f"1.2.3.{number}", **change)
        for number, change in enumerate(changes)
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_text_loses_the_names_in_the_headers_of_the_whole_study(
    study: list[Path], tmp_path: Path, key: SiteKey, jobs: int
) -> None:
    profile = load_profile("basic", OPTIONS)
    out = tmp_path / "out"
    record = deidentify_tree(study[0].parent, out, key=key, profile=profile, jobs=jobs)
    left = [pydicom.dcmread(path) for path in sorted(out.rglob("*.dcm"))]
    # One study: its words are looked for in the texts of both patients.
    assert {one.get("SeriesDescription") for one in left} == {"AXIAL", None}
    assert record.actions["0008103E"]["text-own-identifier"] == 7
    assert audit_output(out.rglob("*.dcm"), study, profile=profile).clean


def test_what_is_left_does_not_depend_on_the_order_of_the_files(
    study: list[Path], tmp_path: Path, key: SiteKey
) -> None:
    profile = load_profile("basic", OPTIONS)
    mine, contents = study[:2], []
    for number, files in enumerate((mine, mine[::-1])):
        out = tmp_path / f"out{number}"
        out.mkdir()
        done = deidentify_files(files, out, key=key, profile=profile)
        contents.append(sorted(path.read_bytes() for path in done.files))
    assert contents[0] == contents[1]
    alone = tmp_path / "alone"
    alone.mkdir()
    done = deidentify_files(mine[:1], alone, key=key, profile=profile)
    assert pydicom.dcmread(done.files[0]).SeriesDescription == "AXIAL KNEE HIP"


def test_a_file_that_is_left_out_still_says_whose_words_may_not_stay(
    slice_file: Slice, tmp_path: Path, key: SiteKey
) -> None:
    slice_file("in/a.dcm", SeriesDescription="axial knee brain")
    slice_file(
        "in/b.dcm",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.66",
        OperatorsName="Brain^Ann",
        StudyInstanceUID="1.2.9",
    )
    out = tmp_path / "out"
    deidentify_tree(tmp_path / "in", out, key=key, profile=load_profile("basic", OPTIONS))
    (path,) = out.rglob("*.dcm")
    assert pydicom.dcmread(path).SeriesDescription == "AXIAL KNEE"


def test_what_was_left_out_of_texts_is_counted_in_the_record_and_nothing_of_it_is_said(
    slice_file: Slice, tmp_path: Path, key: SiteKey
) -> None:
    text = "brain Jane 12.03.2020 A4711 Smith blorb jo@x.example 12 Long Road +49 30 123456"
    path = slice_file(StudyDescription=text)
    record = deidentify_tree(
        path.parent, tmp_path / "out", key=key, profile=load_profile("basic", OPTIONS)
    )
    kinds = {"own-identifier", "date", "number", "name", "word", "mail", "address", "phone"}
    counted = {
        action.removeprefix("text-")
        for action in record.actions["00081030"]
        if action.startswith("text-")
    }
    # A name that is not listed is a name, whosever it is.
    assert counted == kinds - {"own-identifier"}
    assert "blorb" not in str(record.document())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"BRAIN W/O CONTRAST", b"BRAIN WITHOUT CONTRAST"),
        (b"brain wo contrast", b"BRAIN WITHOUT CONTRAST"),
        (b"BRAIN WITHOUT CONTRAST", b"BRAIN WITHOUT CONTRAST"),
        (b"W WO CONTRAST", b"WITH WITHOUT CONTRAST"),
        (b"HEAD W/WO CONTRAST", b"HEAD WITH WITHOUT CONTRAST"),
        (b"CT HEAD W/CONTRAST", b"CT HEAD WITH CONTRAST"),
        (b"CT HEAD W/ CONTRAST", b"CT HEAD WITH CONTRAST"),
        (b"brain w contrast", b"BRAIN WITH CONTRAST"),
        (b"abd w/o & w/ contrast", b"WITHOUT WITH CONTRAST"),
        (b"sans injection", b"WITHOUT INJECTION"),
        (b"no hemorrhage", b"NO HEMORRHAGE"),
    ],
)
def test_a_text_that_says_without_does_not_say_with_afterwards(text: bytes, kept: bytes) -> None:
    assert clean(text, frozenset()) == kept
    assert clean(kept, frozenset()) == kept


def test_a_person_called_like_a_word_for_without_is_not_named() -> None:
    for text in (b"Wo^Mary", b"WO MARY", b"SANS CLAIRE"):
        assert b"MARY" not in clean(text, frozenset({b"WO", b"MARY", b"SANS", b"CLAIRE"}))
        assert clean(text, frozenset({b"WO", b"MARY", b"SANS", b"CLAIRE"})) in (b"", b"WITHOUT")
