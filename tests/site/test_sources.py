"""Who takes part is settled one person at a time, from headers and a link file."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reidscope_deid.keys import SiteKey
from reidscope_deid.pseudonyms import pseudonym
from reidscope_protocols.errors import (
    LinkError,
    NoDicomError,
    NotReadyError,
    NoUsablePeopleError,
    ReidscopeError,
)
from reidscope_site.agent import Agent
from reidscope_site.indexing import index, resolve
from reidscope_site.snapshot import Person
from reidscope_site.sources.dicom_folder import list_folder
from reidscope_site.sources.links import read_links, refuse_unknown
from reidscope_site.sources.listing import Listing

KEY = SiteKey(bytes(range(32)))
Series = Callable[..., tuple[Path, ...]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"photo of " + name.encode())
    (tmp_path / "outside.png").write_bytes(b"photo")
    return folder


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "links.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_link_file_says_whose_photo_is_whose(tmp_path: Path, photos: Path) -> None:
    path = written(tmp_path, "\ufeffpatient_id,photo\r\n A1 ,a.png\nB2, b.png \n")
    links = read_links(path, photos)
    assert links == {"A1": (photos / "a.png").resolve(), "B2": (photos / "b.png").resolve()}


BAD_LINKS = {
    "no file": None,
    "another header": "id,photo\nA,a.png\n",
    "columns exchanged": "photo,patient_id\na.png,A\n",
    "no header": "",
    "a third column": "patient_id,photo,name\nA,a.png,x\n",
    "a field too many": "patient_id,photo\nA,a.png,SECRET-X\n",
    "a field too few": "patient_id,photo\nSECRET-X\n",
    "an empty patient": "patient_id,photo\n ,a.png\n",
    "an empty photo": "patient_id,photo\nSECRET-X,\n",
    "a patient twice": "patient_id,photo\nSECRET-X,a.png\nSECRET-X,b.png\n",
    "a patient in two spellings": "patient_id,photo\nSECRET-\u00e9,a.png\nSECRET-e\u0301,b.png\n",
    "a photo twice": "patient_id,photo\nSECRET-X,a.png\nB,a.png\n",
    "a photo twice by another way": "patient_id,photo\nSECRET-X,a.png\nB,./a.png\n",
    "a photo twice through a link": "patient_id,photo\nSECRET-X,a.png\nB,again.png\n",
    "a photo that is not there": "patient_id,photo\nA,SECRET-X.png\n",
    "a folder": "patient_id,photo\nA,SECRET-folder\n",
    "the folder of photos itself": "patient_id,photo\nA,.\n",
    "a step up": "patient_id,photo\nA,../outside.png\n",
    "an absolute path": "patient_id,photo\nA,/etc/passwd\n",
    "a link that leads out": "patient_id,photo\nA,leads-out.png\n",
    "a link to itself": "patient_id,photo\nA,loop.png\n",
    "a NUL": "patient_id,photo\nA,SECRET-X\0.png\n",
    "a name without end": f"patient_id,photo\nA,SECRET-{'x' * 5000}.png\n",
    "a quote without end": 'patient_id,photo\nA,"SECRET-X\n',
    "another encoding": "patient_id,photo\nSECRET-\u00e9,a.png\n".encode("latin-1"),
}


@pytest.mark.parametrize("what", BAD_LINKS)
def test_a_link_file_that_cannot_be_followed_is_refused_without_quoting_it(
    tmp_path: Path, photos: Path, what: str
) -> None:
    (photos / "SECRET-folder").mkdir()
    (photos / "again.png").symlink_to(photos / "a.png")
    (photos / "leads-out.png").symlink_to(tmp_path / "outside.png")
    (photos / "loop.png").symlink_to(photos / "loop.png")
    text = BAD_LINKS[what]
    path = tmp_path / "SECRET.csv" if text is None else written(tmp_path, text)
    with pytest.raises(LinkError) as caught:
        read_links(path, photos)
    assert "SECRET" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_rows_that_name_nobody_are_refused_by_number_alone() -> None:
    links = {"A": Path("a"), "SECRET-X": Path("b"), "SECRET-Y": Path("c")}
    with pytest.raises(LinkError, match=r"2 rows .*row 2 below") as caught:
        refuse_unknown(links, ["A"])
    assert "SECRET" not in str(caught.value)
    refuse_unknown(links, ["A", "SECRET-X", "SECRET-Y", "Z"])


def test_files_are_grouped_by_person_and_series_at_any_depth(
    tmp_path: Path, series: Series
) -> None:
    one = series(tmp_path / "data/deep/er", "A", slices=2)
    two = series(tmp_path / "data/other", "A", slices=3, SeriesDate="20190101")
    series(tmp_path / "data/else", "B", slices=2)
    (tmp_path / "data/notes.txt").write_text("no image")
    listing = list_folder(tmp_path / "data")
    assert set(listing.series) == {"A", "B"}
    assert [len(found.files) for found in listing.series["A"]] == [3, 2]
    assert {*listing.series["A"][0].files} == {*two}
    assert {*listing.series["A"][1].files} == {*one}
    assert listing.skipped == 1


def test_one_patient_id_in_two_spellings_is_one_person(tmp_path: Path, series: Series) -> None:
    for number, spelling in enumerate(["Rene\u0301", "Ren\u00e9", " Ren\u00e9 "]):
        series(
            tmp_path / "data" / str(number),
            spelling,
            slices=1,
            SpecificCharacterSet="ISO_IR 192",
        )
    listing = list_folder(tmp_path / "data")
    (patient,) = listing.series
    assert len(listing.series[patient]) == 3
    assert len({pseudonym(KEY, text) for text in ("Rene\u0301", patient)}) == 1


def test_links_do_not_lead_out_of_the_data_folder(tmp_path: Path, series: Series) -> None:
    series(tmp_path / "data", "A", slices=1)
    (outside,) = series(tmp_path / "outside", "B", slices=1)
    (tmp_path / "data/file.dcm").symlink_to(outside)
    (tmp_path / "data/folder").symlink_to(tmp_path / "outside")
    assert set(list_folder(tmp_path / "data").series) == {"A"}


@pytest.mark.parametrize("what", ["empty", "no DICOM", "no folder", "no patient"])
def test_a_folder_without_dicom_images_is_refused(
    tmp_path: Path, series: Series, what: str
) -> None:
    folder = tmp_path / "SECRET"
    if what != "no folder":
        folder.mkdir()
    if what == "no DICOM":
        (folder / "SECRET.txt").write_text("SECRET")
    if what == "no patient":
        series(folder, "", slices=1)
    with pytest.raises(NoDicomError) as caught:
        list_folder(folder)
    assert "SECRET" not in str(caught.value)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    place=st.integers(128, 900),
    noise=st.binary(min_size=1, max_size=12),
    cut=st.integers(0, 1500),
)
def test_no_bytes_in_a_dicom_file_end_the_listing_or_the_index(
    tmp_path: Path, series: Series, place: int, noise: bytes, cut: int
) -> None:
    folder = tmp_path / "hostile"
    shutil.rmtree(folder, ignore_errors=True)
    (whole, *_) = series(folder, "A", slices=2)
    content = whole.read_bytes()
    altered = content[:place] + noise + content[place + len(noise) :]
    whole.write_bytes(altered[: max(cut, 200)])
    listing = list_folder(folder)
    links = {patient: Path("photo") for patient in listing.series}
    with pytest.raises(NoUsablePeopleError):
        resolve(listing, links, KEY)


def test_a_hostile_deflated_file_is_skipped(tmp_path: Path, series: Series) -> None:
    (path, _) = series(tmp_path / "data", "A", slices=2)
    content = path.read_bytes()
    explicit, deflated = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"
    start = content.index(b"UI", content.index(explicit) - 6)
    content = (
        content[: start + 2]
        + len(deflated).to_bytes(2, "little")
        + deflated
        + content[start + 4 + len(explicit) :]
    )
    path.write_bytes(content)
    assert list_folder(tmp_path / "data").skipped == 1


def test_odd_values_are_not_shouted_on_the_terminal(
    tmp_path: Path, series: Series, capfd: pytest.CaptureFixture[str]
) -> None:
    """Pydicom warns with the value itself: a warning is an output too."""
    for path in series(tmp_path / "data", "A", slices=2, FrameOfReferenceUID="1.2.34567890"):
        content = path.read_bytes()
        uid = str(pydicom.dcmread(path).SeriesInstanceUID).encode()
        odd = b"1.2.SECRET".ljust(len(uid), b"9")
        path.write_bytes(content.replace(uid, odd).replace(b"1.2.34567890", b"1.2.SECRET90"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        listing = list_folder(tmp_path / "data")
        with pytest.raises(NoUsablePeopleError):
            resolve(listing, {"A": Path("photo")}, KEY)
    assert "SECRET" in listing.series["A"][0].series_uid
    assert [str(warning.message) for warning in caught] == []
    assert "SECRET" not in "".join(capfd.readouterr())


EXCLUSIONS: dict[str, dict[str, Any]] = {
    "missing-slices": {"skip": (5,)},
    "duplicate-slices": {"twice": (4,)},
    "one-slice": {"slices": 1},
    "not-a-head": {"BodyPartExamined": "KNEE"},
    "unsupported": {"Modality": "US"},
}


@pytest.mark.parametrize("reason", EXCLUSIONS)
def test_a_person_without_a_usable_series_is_left_out_with_the_reason(
    tmp_path: Path, series: Series, reason: str
) -> None:
    series(tmp_path / "data/a", "A", **EXCLUSIONS[reason])
    series(tmp_path / "data/b", "B")
    listing = list_folder(tmp_path / "data")
    resolution = resolve(listing, {"A": Path("a"), "B": Path("b")}, KEY)
    assert [person.pseudonym for person in resolution.people] == [pseudonym(KEY, "B")]
    assert resolution.excluded == {reason: 1}


def test_the_first_usable_series_by_the_persons_own_dates_is_taken(
    tmp_path: Path, series: Series
) -> None:
    series(tmp_path / "data/0", "A", slices=1, SeriesDate="20100101")
    wanted = series(tmp_path / "data/1", "A", SeriesDate="20110101")
    series(tmp_path / "data/2", "A", SeriesDate="20120101")
    resolution = resolve(list_folder(tmp_path / "data"), {"A": Path("a")}, KEY)
    assert set(resolution.people[0].first.files) == set(wanted)


def test_an_index_of_nobody_says_why_in_words_and_counts(tmp_path: Path, series: Series) -> None:
    series(tmp_path / "data/a", "SECRET-A", BodyPartExamined="KNEE")
    series(tmp_path / "data/b", "SECRET-B")
    with pytest.raises(
        NoUsablePeopleError, match=r"1 no-photo-and-one-date-only, 1 not-a-head"
    ) as caught:
        resolve(list_folder(tmp_path / "data"), {"SECRET-A": Path("a")}, KEY)
    assert "SECRET" not in str(caught.value)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, series: Series) -> Listing:
    """Eight people, each with something of their own."""
    folder = tmp_path_factory.mktemp("crowd")
    kinds: list[dict[str, Any]] = [
        {},
        {"SeriesDate": "20180101"},
        *EXCLUSIONS.values(),
        {"slices": 9, "PixelSpacing": [8, 8]},
    ]
    for number, kind in enumerate(kinds):
        series(folder / str(number), f"ID-{number}", **kind)
    series(folder / "more", "ID-0", SeriesDate="20150101")
    return list_folder(folder)


def entries(listing: Listing, who: set[str], linked: set[str]) -> dict[str, Person]:
    some = Listing(series={patient: listing.series[patient] for patient in sorted(who)}, skipped=0)
    links = {patient: Path(f"{patient}.png") for patient in sorted(linked & who)}
    try:
        people = resolve(some, links, KEY).people
    except NoUsablePeopleError:
        return {}
    return {person.pseudonym: person for person in people}


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_removing_any_one_person_leaves_everybody_elses_entry_as_it_was(
    crowd: Listing, data: st.DataObject
) -> None:
    everybody = sorted(crowd.series)
    who = data.draw(st.sets(st.sampled_from(everybody), min_size=1))
    linked = data.draw(st.sets(st.sampled_from(everybody)))
    gone = data.draw(st.sampled_from(sorted(who)))
    before = entries(crowd, who, linked)
    after = entries(crowd, who - {gone}, linked)
    before.pop(pseudonym(KEY, gone), None)
    assert after == before


@pytest.fixture
def data(agent: Agent, series: Series) -> Path:
    """Three people with scans and photos where the site's configuration says."""
    folder = Path(agent.config.dicom)
    rows = ["patient_id,photo"]
    for number in range(3):
        series(folder / str(number), f"ID-{number}")
        Path(agent.config.photos, f"{number}.png").write_bytes(b"photo %d" % number)
        rows.append(f"ID-{number},{number}.png")
    Path(agent.config.links).write_text("\n".join(rows) + "\n")
    return folder


def test_the_snapshot_is_frozen_and_its_digest_changes_with_anything_in_it(
    agent: Agent, data: Path, series: Series
) -> None:
    with pytest.raises(NotReadyError):
        agent.snapshot.digest()
    assert len(index(agent).resolution.people) == 3
    digests = [agent.snapshot.digest()]
    index(agent)
    assert agent.snapshot.digest() == digests[0] == agent.snapshot.found_again(agent.site_key)
    frozen = tuple(agent.snapshot.people())

    photo = Path(agent.config.photos, "1.png")
    for change in ("photo", "scan", "file more", "person less"):
        if change == "photo":
            photo.write_bytes(b"another photo")
        elif change == "scan":
            scan = next((data / "1").iterdir())
            scan.write_bytes(scan.read_bytes() + b"\0\0")
        elif change == "file more":
            shutil.rmtree(data / "1")
            series(data / "1", "ID-1", slices=13)
        else:
            rows = Path(agent.config.links).read_text().splitlines()
            Path(agent.config.links).write_text("\n".join(rows[:-1]) + "\n")
        assert agent.snapshot.digest() == digests[-1]
        if change in ("photo", "scan"):
            assert agent.snapshot.found_again(agent.site_key) != digests[-1]
        index(agent)
        assert agent.snapshot.digest() not in digests
        digests.append(agent.snapshot.digest())
    assert tuple(agent.snapshot.people()) != frozen


def test_the_digest_is_keyed(agent: Agent, people: tuple[Person, ...]) -> None:
    assert agent.snapshot.freeze(people, agent.site_key) != agent.snapshot.freeze(people, KEY)


@pytest.mark.usefixtures("data")
def test_an_index_that_fails_leaves_the_old_snapshot(agent: Agent) -> None:
    index(agent)
    before = agent.snapshot.digest()
    Path(agent.config.links).write_text("patient_id,photo\nNOBODY,0.png\n")
    with pytest.raises(ReidscopeError):
        index(agent)
    assert agent.snapshot.digest() == before
    assert len(tuple(agent.snapshot.people())) == 3
