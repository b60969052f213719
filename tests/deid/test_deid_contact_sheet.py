"""The contact sheet: drawn the same way every time, images alone, and nobody's name on it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from reidscope_deid.review.cli import app
from reidscope_deid.review.contact_sheet import write_sheet
from reidscope_deid.review.sampling import Drawn, draw
from reidscope_deid.review.thumbnails import frames_of
from reidscope_protocols.errors import ConfigError, NoDicomError, UnsupportedError

cv2 = pytest.importorskip("cv2")
Slice = Callable[..., Path]


@pytest.fixture
def outputs(slice_file: Slice) -> list[Path]:
    """Forty files of four series."""
    return [
        slice_file(
            f"out/{number}.dcm", SOPInstanceUID=f"2.25.{number}", SeriesInstanceUID=f"1.{series}"
        )
        for number in range(40)
        for series in [number % 4]
    ]


def names(drawn: tuple[Drawn, ...]) -> list[str]:
    return [one.uid for one in drawn]


def test_the_same_files_are_drawn_on_every_day_in_any_order(outputs: list[Path]) -> None:
    first = draw(outputs, share=0.2)
    assert len(first) == 8
    assert draw(reversed(outputs), share=0.2) == first
    assert set(names(draw(outputs, share=0.1))) < set(names(first))


def test_one_percent_of_a_few_is_one_and_all_is_all(outputs: list[Path]) -> None:
    assert len(draw(outputs, share=0.01)) == 1
    assert len(draw(outputs, share=1.0)) == 40
    for share in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(ConfigError):
            draw(outputs, share=share)


def test_what_must_be_reviewed_is_always_drawn_and_first(outputs: list[Path]) -> None:
    drawn = draw(outputs, share=0.01, review={"2.25.7", "2.25.39", "2.25.777"})
    assert {one.uid for one in drawn[:2]} == {"2.25.7", "2.25.39"}
    assert [one.review for one in drawn] == [True, True, False]


def test_each_series_is_seen_if_asked(outputs: list[Path]) -> None:
    assert {one.series for one in draw(outputs, share=0.01, each_series=True)} == {
        "1.0",
        "1.1",
        "1.2",
        "1.3",
    }


def test_what_is_no_dicom_is_not_drawn(tmp_path: Path) -> None:
    (tmp_path / "Doe").write_text("x")
    assert draw([tmp_path / "Doe", tmp_path / "none"], share=1.0) == ()


def write_image(path: Path, samples: np.ndarray, slice_file: Slice, **more: object) -> Path:
    made = slice_file(path.name, Rows=samples.shape[0], Columns=samples.shape[1], **more)
    data_set = pydicom.dcmread(made)
    data_set.PixelData = samples.tobytes()
    data_set.save_as(made)
    return made


def test_grey_values_follow_the_window_or_the_full_range(slice_file: Slice) -> None:
    ramp = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (64, 1))
    path = write_image(Path("a.dcm"), ramp, slice_file, WindowCenter="600", WindowWidth="1200")
    (windowed,) = frames_of(path, size=320, most=3, full_range=False)
    (full,) = frames_of(path, size=320, most=3, full_range=True)
    assert windowed.shape == (64, 64, 3)
    assert windowed.dtype == np.uint8
    assert (windowed[0, 30] == 255).all()
    assert 110 < full[0, 30, 0] < 130
    inverted = write_image(Path("b.dcm"), ramp, slice_file, PhotometricInterpretation="MONOCHROME1")
    assert frames_of(inverted, size=320, most=3, full_range=True)[0][0, 0, 0] == 255


def test_colours_stay_colours(slice_file: Slice) -> None:
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 200
    path = write_image(
        Path("c.dcm"),
        red,
        slice_file,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    assert frames_of(path, size=64, most=3, full_range=False)[0][0, 0].tolist() == [0, 0, 200]


def test_of_many_frames_the_first_the_last_and_one_between_are_shown(slice_file: Slice) -> None:
    path = slice_file("d.dcm", NumberOfFrames=7)
    data_set = pydicom.dcmread(path)
    data_set.PixelData = b"".join(bytes([value, 0]) * 256 for value in range(7))
    data_set.save_as(path)
    assert len(frames_of(path, size=64, most=3, full_range=True)) == 3


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_thumbnail_is_never_larger_than_asked(rows: int, columns: int) -> None:
    from reidscope_deid.review.thumbnails import _small  # noqa: PLC0415 - only here

    rows, columns = min(rows, 400), min(columns, 400)
    small = _small(cv2, np.zeros((rows, columns, 3), dtype=np.uint8), 100)
    assert max(small.shape[:2]) <= 100
    assert min(small.shape[:2]) >= 1


def test_pages_are_images_with_captions_of_new_uids_alone(
    outputs: list[Path], tmp_path: Path
) -> None:
    drawn = draw(outputs, share=0.6, review={"2.25.7"})
    sheet = write_sheet(drawn, tmp_path / "sheet.png", size=64)
    assert (sheet.files, sheet.images, sheet.unseen) == (25, 25, 0)
    assert [path.name for path in sheet.pages] == ["sheet.png", "sheet-2.png"]
    first = cv2.imread(str(sheet.pages[0]))
    assert first.shape == (4 * (74 + 24) + 10, 5 * 74 + 10, 3)
    assert b"tEXt" not in sheet.pages[0].read_bytes()


def test_the_page_is_whole_in_itself_and_names_nobody(outputs: list[Path], tmp_path: Path) -> None:
    outputs[3].write_bytes(outputs[3].read_bytes()[:-400])
    sheet = write_sheet(draw(outputs, share=1.0), tmp_path / "sheet.html", size=64)
    page = sheet.pages[0].read_text()
    assert (sheet.images, sheet.unseen) == (39, 1)
    assert "could not be decoded" in page
    assert all(one.startswith("data:") for one in re.findall(r'src="([^"]*)', page))
    words = re.sub(r'src="[^"]*"', "", page)
    for word in ("Doe", "MRN", "Skyra", str(tmp_path), "<script", "http:", "https:"):
        assert word not in words


@pytest.mark.parametrize("name", ["sheet.gif", "none/sheet.png"])
def test_a_place_that_cannot_be_is_refused(outputs: list[Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        write_sheet(draw(outputs, share=0.1), tmp_path / name)
    with pytest.raises(ConfigError):
        write_sheet(draw(outputs, share=0.1), tmp_path / "sheet.png", size=9999)


def test_without_opencv_the_extra_is_named(
    outputs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_name: str) -> object:
        raise ImportError

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UnsupportedError) as caught:
        write_sheet(draw(outputs, share=0.1), tmp_path / "sheet.png")
    assert "reidscope[site]" in str(caught.value)


def test_the_command_writes_a_sheet_and_says_how_it_was_drawn(
    outputs: list[Path], tmp_path: Path
) -> None:
    words = ["contact-sheet", str(outputs[0].parent), str(tmp_path / "sheet.png")]
    done = CliRunner().invoke(app, [*words, "--each-series"], catch_exceptions=False)
    assert "4 images of 4 files on 1 pages" in done.output
    assert (tmp_path / "sheet.png").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoDicomError):
        CliRunner().invoke(
            app, ["contact-sheet", str(tmp_path / "empty"), words[2]], catch_exceptions=False
        )
