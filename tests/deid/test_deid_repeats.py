"""Files that repeat an earlier one: faster, and never another output or another verdict."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.deid.conftest import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ROOT,
    Plant,
    as_bytes,
    mr_slice,
)

from reidscope_deid import SiteKey, deidentify_files, load_profile
from reidscope_deid.layout import Layout, Span
from reidscope_deid.options import OFFERED
from reidscope_deid.reasons import QuarantinedError
from reidscope_deid.second_reader import SecondReader
from reidscope_deid.series import Deidentifier

KEY = SiteKey(bytes(range(32)))
PROFILES = {
    "basic": load_profile("basic"),
    "research-neuro": load_profile("research-neuro"),
    "limited-data-set": load_profile("limited-data-set"),
    "safe-harbor": load_profile("safe-harbor"),
    "everything": load_profile(
        "basic-undated",
        tuple(
            name
            for name in OFFERED
            if name not in {"retain_longitudinal_full_dates", "clean_pixel_data"}
            and name != "clean_recognizable_visual_features"
        ),
    ),
}

numbers = st.integers(0, 10**6).map(str)
texts = st.sampled_from(["", "T1 AXIAL", "brain of Doe", "Jane", "x" * 40, "9", "12.5"])
days = st.dates().map(lambda day: f"{day:%Y}".zfill(4) + f"{day:%m%d}")
changes = st.fixed_dictionaries(
    {},
    optional={
        "InstanceNumber": numbers,
        "SliceLocation": numbers,
        "ImagePositionPatient": st.tuples(numbers, numbers, numbers).map(list),
        "AcquisitionTime": st.sampled_from(["143015", "143015.25", "", "1430"]),
        "ContentDate": days,
        "SeriesDescription": texts,
        "ImageComments": texts,
        "PatientName": st.sampled_from(["Doe^Jane", "Roe^Ann"]),
        "PatientID": st.sampled_from(["MRN-0042", "MRN-7"]),
        "AccessionNumber": numbers,
        "WindowCenter": numbers,
        "StudyDescription": texts,
        "PatientAge": st.sampled_from(["048Y", "091Y", ""]),
        "referenced": st.lists(st.integers(0, 99), max_size=3),
        "private": texts,
        "Rows": st.sampled_from([16, 8]),
    },
)


def one(number: int, syntax: str, values: dict[str, object]) -> bytes:
    data_set = mr_slice(syntax, number=number)
    for keyword, value in values.items():
        if keyword == "referenced":
            data_set.SourceImageSequence = Sequence([referenced(other) for other in value])  # type: ignore[attr-defined]  # a list, by the strategy
        elif keyword == "private":
            block = data_set.private_block(0x0029, "ACME", create=True)
            block.add_new(0x10, "LO", value)
        else:
            setattr(data_set, keyword, value)
    return as_bytes(data_set, syntax)


def referenced(number: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    item.ReferencedSOPInstanceUID = f"{ROOT}.3.{number}"
    return item


def result(work: Deidentifier, source: Path, target: Path) -> object:
    """Bytes, names and counts of an output, or the reason why there is none."""
    work.tally.clear()
    try:
        new = work.write_new(source, target, durable=False)
    except QuarantinedError as left_out:
        return left_out.reason
    content = target.read_bytes()
    target.unlink()
    return content, new.study, new.series, new.instance, new.person, dict(work.tally)


@pytest.mark.parametrize("name", sorted(PROFILES))
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.lists(changes, min_size=3, max_size=8), shared=changes)
def test_a_file_that_repeats_another_gives_the_bytes_that_it_gives_alone(
    tmp_path: Path,
    name: str,
    syntax: str,
    values: list[dict[str, object]],
    shared: dict[str, object],
) -> None:
    warm = Deidentifier.of(KEY, PROFILES[name])
    source, target = tmp_path / "source", tmp_path / "target"
    for number, own in enumerate(values):
        source.write_bytes(one(number, syntax, shared | own))
        alone = Deidentifier.of(KEY, PROFILES[name])
        assert result(warm, source, target) == result(alone, source, target)


def test_most_files_of_a_series_repeat_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = 0

    def counted(data: bytes, original: Callable[..., object]) -> object:
        nonlocal whole
        whole += 1
        return original(data)

    import reidscope_deid.series as module  # noqa: PLC0415 - what is counted is its own name

    original = module.open_part10
    monkeypatch.setattr(module, "open_part10", lambda data: counted(data, original))
    work = Deidentifier.of(KEY, PROFILES["basic"])
    for number in range(60):
        path = tmp_path / "source"
        values = {"InstanceNumber": str(number), "SliceLocation": f"{number * 1.25}"}
        path.write_bytes(one(number, EXPLICIT, values))
        work.write_new(path, tmp_path / "target", durable=False)
        (tmp_path / "target").unlink()
    assert whole <= 3


def test_planted_identifiers_do_not_survive_in_a_file_that_repeats_another(
    tmp_path: Path, plant: Plant
) -> None:
    content, tokens = plant(EXPLICIT)
    source = tmp_path / "source"
    source.write_bytes(content)
    work = Deidentifier.of(KEY, PROFILES["basic"])
    for number in range(3):
        target = tmp_path / f"target{number}"
        work.write_new(source, target, durable=False)
        written = target.read_bytes()
        assert [place for token, place in tokens.items() if token in written] == []


def test_a_tampered_output_is_never_clean_because_an_earlier_one_was(tmp_path: Path) -> None:
    paths = []
    for number in range(6):
        path = tmp_path / f"{number}.dcm"
        values = {
            "InstanceNumber": str(number),
            "referenced": [number],
            "WindowCenter": str(number),
        }
        path.write_bytes(one(number, EXPLICIT, values))
        paths.append(path)
    out = tmp_path / "out"
    out.mkdir()
    profile = PROFILES["basic"]
    done = deidentify_files(paths, out, key=KEY, profile=profile)
    warm = SecondReader(profile)
    for path in done.files:
        assert warm.is_clean(path, frozenset())
    content = done.files[-1].read_bytes()
    draw = random.Random(7)  # noqa: S311 - chooses bytes to spoil
    tampered = tmp_path / "tampered"
    wrong = 0
    for _ in range(1500):
        at = draw.randrange(132, len(content) - 512)
        tampered.write_bytes(content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :])
        cold = SecondReader(profile).is_clean(tampered, frozenset())
        assert warm.is_clean(tampered, frozenset()) == cold
        wrong += not cold
    assert wrong > 500


def test_an_output_whose_file_meta_information_names_another_instance_is_not_clean(
    tmp_path: Path,
) -> None:
    paths = []
    for number in range(3):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(one(number, EXPLICIT, {}))
        paths.append(path)
    out = tmp_path / "out"
    out.mkdir()
    done = deidentify_files(paths, out, key=KEY, profile=PROFILES["basic"])
    warm = SecondReader(PROFILES["basic"])
    assert all(warm.is_clean(path, frozenset()) for path in done.files)
    content = done.files[0].read_bytes()
    at = content.index(b"2.25.")
    tampered = tmp_path / "tampered"
    digit = b"3" if content[at + 6 : at + 7] != b"3" else b"4"
    tampered.write_bytes(content[: at + 6] + digit + content[at + 7 :])
    assert not warm.is_clean(tampered, frozenset())


@given(st.binary(max_size=60), st.binary(max_size=30), st.binary(max_size=30), st.binary())
def test_a_layout_fits_what_differs_in_its_varying_values_alone(
    head: bytes, first: bytes, second: bytes, tail: bytes
) -> None:
    def with_value(value: bytes) -> bytes:
        return head + len(value).to_bytes(2, "little") + value + tail

    data = with_value(first)
    at = len(head)
    span = Span(1, at, at + 2, at + 2 + len(first))
    layout = Layout.of(data, [span], len(data), "little")
    other = with_value(second)
    assert layout.fit(other) == ([(at + 2, at + 2 + len(second))], len(other))
    if head:
        assert layout.fit(bytes([other[0] ^ 1]) + other[1:]) is None
