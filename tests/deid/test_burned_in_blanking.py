"""Blanking changes nothing outside its mask, in any layout and any lossless encoding."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import generate_frames
from tests.deid import burned_in_images as images

from reidscope_deid.burned_in.image import image_facts
from reidscope_deid.burned_in.mask import Box, blocks_of, mask_of, merged, outermost, pixels_of
from reidscope_deid.burned_in.stored import stored_pixels
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.samples import check_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from reidscope_deid.burned_in.mask import Mask
    from reidscope_deid.pixel_change import Samples

ROWS, COLUMNS = 24, 30
BOXES = [Box(3, 4, 9, 17), Box(15, 20, 99, 99)]


def masked() -> Mask:
    return mask_of(BOXES, rows=ROWS, columns=COLUMNS)


def ramp(dtype: str = "u1", *, frames: int = 1, samples: int = 1) -> NDArray[Any]:
    shape = (frames, ROWS, COLUMNS) + (() if samples == 1 else (samples,))
    return np.random.default_rng(3).integers(1, 120, shape).astype(dtype)


def blanked(content: bytes, mask: Mask) -> tuple[bytes, Samples]:
    """Value of Pixel Data before, and what it becomes."""
    opened = images.opened(content)
    check_pixels(opened)
    stored = stored_pixels(opened, image_facts(opened))
    new = stored.blanked(mask)
    again = stored.blanked(mask)
    assert bytes(new.samples().value) == bytes(again.samples().value)
    return bytes(stored.samples().value), new.samples()


@pytest.mark.parametrize("syntax", [images.EXPLICIT, images.IMPLICIT, images.BIG, images.DEFLATED])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_a_native_image_is_blanked_in_its_own_transfer_syntax(syntax: str, dtype: str) -> None:
    array = ramp(dtype, frames=2)
    old, samples = blanked(images.native(array, syntax), masked())
    kind = array.dtype.newbyteorder(">" if syntax == images.BIG else "<")
    new = np.frombuffer(bytes(samples.value), kind).reshape(array.shape)
    assert samples.syntax == syntax
    assert not samples.encapsulated
    assert old == array.astype(kind).tobytes()
    assert np.array_equal(new[:, ~masked()], array[:, ~masked()])
    assert len(np.unique(new[:, masked()])) == 1


def test_bytes_of_big_endian_words_are_found_where_they_are() -> None:
    array = ramp()
    content = images.native(array, images.BIG)
    words = np.frombuffer(array.tobytes(), "<u2").byteswap().tobytes()
    place = content.rindex(array.tobytes())
    content = content[:place] + words + content[place + len(words) :]
    header = content.rindex(b"\x7f\xe0\x00\x10OB")
    content = content[: header + 4] + b"OW" + content[header + 6 :]
    old, samples = blanked(content, masked())
    new = np.frombuffer(np.frombuffer(bytes(samples.value), "<u2").byteswap().tobytes(), "u1")
    assert old == words
    assert np.array_equal(new.reshape(array.shape)[:, ~masked()], array[:, ~masked()])
    assert not new.reshape(array.shape)[:, masked()].any()


@pytest.mark.parametrize(
    ("photometric", "dtype", "black"),
    [
        ("MONOCHROME2", "u1", 0),
        ("MONOCHROME1", "u1", 255),
        ("MONOCHROME1", "u2", 65535),
        ("MONOCHROME2", "i2", 1),  # the smallest value in use
        ("MONOCHROME1", "i2", 119),
    ],
)
def test_a_blanked_pixel_is_shown_black(photometric: str, dtype: str, black: int) -> None:
    array = ramp(dtype)
    array[0, 0, :2] = 1, 119
    content = images.native(array, PhotometricInterpretation=photometric)
    _, samples = blanked(content, masked())
    new = np.frombuffer(bytes(samples.value), array.dtype).reshape(array.shape)
    assert (new[:, masked()] == black).all()


@pytest.mark.parametrize(
    ("photometric", "black"), [("RGB", [0, 0, 0]), ("YBR_FULL", [0, 128, 128])]
)
@pytest.mark.parametrize("planar", [0, 1])
def test_a_colour_image_is_blanked_in_its_own_layout(
    photometric: str, black: list[int], planar: int
) -> None:
    array = ramp(frames=2, samples=3)
    ordered = np.moveaxis(array, -1, 1) if planar else array
    content = images.native(
        ordered,
        shape=array.shape,
        PlanarConfiguration=planar,
        PhotometricInterpretation=photometric,
    )
    old, samples = blanked(content, masked())
    new = np.frombuffer(bytes(samples.value), "u1").reshape(ordered.shape)
    new = np.moveaxis(new, 1, -1) if planar else new
    assert old == ordered.tobytes()
    assert np.array_equal(new[:, ~masked()], array[:, ~masked()])
    assert (new[:, masked()] == black).all()


def test_pairs_of_pixels_that_share_their_chrominance_go_together() -> None:
    array = np.random.default_rng(5).integers(1, 255, (1, ROWS, COLUMNS // 2, 4)).astype("u1")
    content = images.native(
        array, shape=(1, ROWS, COLUMNS, 3), PhotometricInterpretation="YBR_FULL_422"
    )
    _, samples = blanked(content, masked())
    new = np.frombuffer(bytes(samples.value), "u1").reshape(array.shape)
    pairs = masked().reshape(ROWS, -1, 2).any(axis=2)
    assert np.array_equal(new[:, ~pairs], array[:, ~pairs])
    assert (new[:, pairs] == [0, 0, 128, 128]).all()


def test_a_palette_image_gets_its_darkest_colour() -> None:
    table = np.full(256, 40_000, "<u2")
    table[77] = 256
    palette: dict[str, object] = {}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableData"] = table.tobytes()
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
    content = images.native(ramp(), PhotometricInterpretation="PALETTE COLOR", **palette)
    _, samples = blanked(content, masked())
    new = np.frombuffer(bytes(samples.value), "u1").reshape(1, ROWS, COLUMNS)
    assert (new[:, masked()] == 77).all()
    assert np.array_equal(new[:, ~masked()], ramp()[:, ~masked()])


def test_single_bits_are_blanked_across_bytes() -> None:
    bits = np.random.default_rng(7).integers(0, 2, (2, ROWS, COLUMNS - 1)).astype("u1")
    mask = masked()[:, :-1]
    content = images.native(
        bits,
        PixelData=np.packbits(bits.reshape(-1), bitorder="little").tobytes(),
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
    )
    _, samples = blanked(content, mask)
    raw = np.frombuffer(bytes(samples.value), "u1")
    new = np.unpackbits(raw, count=bits.size, bitorder="little").reshape(bits.shape)
    assert np.array_equal(new[:, ~mask], bits[:, ~mask])
    assert not new[:, mask].any()


@pytest.mark.parametrize(("dtype", "samples"), [("u1", 1), ("u2", 1), ("u1", 3)])
def test_run_lengths_stay_run_lengths(dtype: str, samples: int, tmp_path: Path) -> None:
    array = ramp(dtype, frames=3, samples=samples)
    content = images.recompressed(images.native(array), images.RLE, tmp_path)
    _, new = blanked(content, masked())
    assert (new.syntax, new.encapsulated) == (images.RLE, True)
    ds = pydicom.dcmread(io.BytesIO(content))
    ds.PixelData = bytes(new.value)
    again = ds.pixel_array
    assert np.array_equal(again[:, ~masked()], array[:, ~masked()])
    assert not again[:, masked()].any()
    whole = images.encapsulated(
        list(generate_frames(bytes(new.value), number_of_frames=3)), array, images.RLE
    )
    check_pixels(images.opened(whole))


@pytest.mark.parametrize(
    "syntax",
    [
        images.JPEG_LOSSLESS,
        images.JPEG_LS,
        images.JPEG_LS_NEAR,
        images.JPEG_2000_LOSSLESS,
        images.JPEG_2000,
    ],
)
@pytest.mark.parametrize(("dtype", "samples"), [("u1", 1), ("u2", 1), ("i2", 1), ("u1", 3)])
def test_other_compressions_become_native_and_lose_nothing(
    syntax: str, dtype: str, samples: int, tmp_path: Path
) -> None:
    array = ramp(dtype, samples=samples)
    content = images.recompressed(images.native(array), syntax, tmp_path)
    expected = pydicom.dcmread(io.BytesIO(content)).pixel_array.reshape(array.shape)
    _, new = blanked(content, masked())
    assert (new.syntax, new.encapsulated) == (images.EXPLICIT, False)
    found = np.frombuffer(bytes(new.value), array.dtype).reshape(array.shape)
    assert np.array_equal(found[:, ~masked()], expected[:, ~masked()])
    assert len(np.unique(found[:, masked()])) == 1


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.tuples(*[st.integers(-5, 40)] * 4), max_size=6),
    planar=st.booleans(),
    colour=st.booleans(),
)
def test_no_sample_outside_the_boxes_changes(
    boxes: list[tuple[int, int, int, int]], *, planar: bool, colour: bool
) -> None:
    array = ramp(samples=3 if colour else 1)
    ordered = np.moveaxis(array, -1, 1) if planar and colour else array
    changes = {"PlanarConfiguration": int(planar)} if colour else {}
    mask = mask_of((Box(*box) for box in boxes), rows=ROWS, columns=COLUMNS)
    _, samples = blanked(images.native(ordered, shape=array.shape, **changes), mask)
    new = np.frombuffer(bytes(samples.value), "u1").reshape(ordered.shape)
    new = np.moveaxis(new, 1, -1) if planar and colour else new
    assert np.array_equal(new[:, ~mask], array[:, ~mask])
    assert not new[:, mask].any()


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), max_size=8))
def test_merged_boxes_cover_the_same_pixels_and_do_not_overlap(
    corners: list[tuple[int, int, int, int]],
) -> None:
    boxes = [Box(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners]
    size = {"rows": 40, "columns": 40}
    found = merged(boxes)
    covered = sum(mask_of([box], **size).astype(int) for box in found)
    assert not boxes or np.max(covered) == 1
    assert (mask_of(found, **size) >= mask_of(boxes, **size)).all()
    assert np.array_equal(mask_of(outermost(boxes), **size), mask_of(boxes, **size))


@given(st.integers(1, 16), st.integers(1, 16))
def test_blocks_cover_every_pixel_of_the_mask(height: int, width: int) -> None:
    size = {"height": height, "width": width}
    again = pixels_of(blocks_of(masked(), **size), **size, rows=ROWS, columns=COLUMNS)
    assert again.shape == masked().shape
    assert (again >= masked()).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"PhotometricInterpretation": "YBR_PARTIAL_420"},
        {"PhotometricInterpretation": "XYB"},
        {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
        {"SamplesPerPixel": 2},
        {"BitsStored": 9},
        {"Rows": 0},
    ],
)
def test_a_layout_that_is_not_known_is_refused(changes: dict[str, object]) -> None:
    content = images.native(ramp(samples=3), **changes)
    opened = images.opened(content)
    with pytest.raises(QuarantinedError):
        stored_pixels(opened, image_facts(opened))


def test_pixels_that_are_cut_short_are_refused() -> None:
    opened = images.opened(images.native(ramp(), Rows=ROWS + 1))
    with pytest.raises(QuarantinedError):
        stored_pixels(opened, image_facts(opened))


def test_more_frames_than_memory_holds_are_refused() -> None:
    opened = images.opened(images.native(ramp(), NumberOfFrames=9_999_999))
    with pytest.raises(QuarantinedError) as error:
        stored_pixels(opened, image_facts(opened))
    assert error.value.reason is Reason.TOO_LARGE
