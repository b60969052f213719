"""Which slices make a volume of a head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.errors import NoDicomError
from reidscope_site.face.geometry import (
    SeriesProblem,
    SliceHeader,
    read_slice_header,
    series_problem,
    slice_header,
)

GOOD = [
    SliceHeader(
        rows=256,
        columns=256,
        position=(float(k), -125.0, 120.0),
        orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
        pixel_spacing=(1.0, 1.0),
        modality="MR",
        body_part="HEAD",
    )
    for k in range(176)
]


@given(st.permutations(GOOD))
def test_slices_of_one_head_are_usable_in_any_order(headers: list[SliceHeader]) -> None:
    assert series_problem(headers) is None


@given(st.integers(1, 174))
def test_a_slice_that_is_gone_is_missed(gone: int) -> None:
    assert series_problem(GOOD[:gone] + GOOD[gone + 1 :]) is SeriesProblem.MISSING_SLICES


@given(st.integers(0, 175))
def test_a_slice_that_is_there_twice_is_noticed(twice: int) -> None:
    assert series_problem([*GOOD, GOOD[twice]]) is SeriesProblem.DUPLICATE_SLICES


def test_one_slice_is_no_volume() -> None:
    assert series_problem(GOOD[:1]) is SeriesProblem.ONE_SLICE
    assert series_problem([]) is SeriesProblem.ONE_SLICE


@pytest.mark.parametrize(
    "odd",
    [
        {"rows": 128},
        {"columns": 128},
        {"pixel_spacing": (2.0, 1.0)},
        {"orientation": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)},
        {"modality": "CT"},
        {"position": (3.0, -100.0, 120.0)},
        {"position": (3.3, -125.0, 120.0)},
    ],
)
def test_slices_of_different_geometry_are_no_volume(odd: dict[str, object]) -> None:
    headers = [replace(h, **odd) if i == 3 else h for i, h in enumerate(GOOD)]
    assert series_problem(headers) is SeriesProblem.MIXED_GEOMETRY


@pytest.mark.parametrize(
    "odd",
    [
        {"position": None},
        {"orientation": None},
        {"pixel_spacing": None},
        {"pixel_spacing": (0.0, 1.0)},
        {"orientation": (0.0, 2.0, 0.0, 0.0, 0.0, -1.0)},
        {"orientation": (0.0, 1.0, 0.0, 0.0, 1.0, 0.0)},
        {"frames": 176},
        {"samples": 3},
        {"modality": "US"},
        {"rows": 0},
    ],
)
def test_slices_that_this_version_cannot_read_are_unsupported(odd: dict[str, object]) -> None:
    assert series_problem([replace(h, **odd) for h in GOOD]) is SeriesProblem.UNSUPPORTED


def test_a_header_cannot_ask_for_all_the_memory() -> None:
    vast = [replace(h, rows=60_000, columns=60_000) for h in GOOD]
    assert series_problem(vast) is SeriesProblem.UNSUPPORTED


def test_another_body_part_is_no_head() -> None:
    knees = [replace(h, body_part="KNEE") for h in GOOD]
    assert series_problem(knees) is SeriesProblem.NOT_A_HEAD
    assert series_problem([replace(h, body_part="") for h in GOOD]) is None


def test_a_slab_is_no_head_and_neither_is_a_whole_body() -> None:
    assert series_problem(GOOD[:20]) is SeriesProblem.NOT_A_HEAD
    wide = [replace(h, pixel_spacing=(4.0, 4.0)) for h in GOOD]
    assert series_problem(wide) is SeriesProblem.NOT_A_HEAD


VALUE = st.one_of(st.none(), st.text(max_size=6), st.lists(st.floats(), max_size=7))


@given(VALUE, VALUE, VALUE, VALUE)
def test_no_header_is_too_odd_to_be_read(a: object, b: object, c: object, d: object) -> None:
    class Odd(dict[str, object]):
        """What a lenient parser may hand over."""

    odd = Odd(ImagePositionPatient=a, ImageOrientationPatient=b, PixelSpacing=c, Rows=d, Modality=a)
    header = slice_header(odd)  # type: ignore[arg-type]  # anything with `get`
    assert series_problem([header, header]) is not None


def test_a_header_is_read_without_its_pixels(tmp_path: Path) -> None:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.MRImageStorage, "1.2.3"
    dataset.Modality, dataset.BodyPartExamined = "MR", "HEAD"
    dataset.Rows = dataset.Columns = 4
    dataset.PixelSpacing = ["1", "0.5"]
    dataset.ImagePositionPatient = ["1", "2", "3"]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    header = read_slice_header(tmp_path / "a")
    assert header.pixel_spacing == (1.0, 0.5)
    assert header.body_part == "HEAD"
    assert header.supported


def test_what_is_no_dicom_is_told_so_without_its_name(tmp_path: Path) -> None:
    (tmp_path / "CANARY").write_bytes(b"no dicom" * 100)
    with pytest.raises(NoDicomError) as refusal:
        read_slice_header(tmp_path / "CANARY")
    assert "CANARY" not in str(refusal.value)
