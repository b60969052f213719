"""Blocks of a JPEG are made black, and every other block keeps its coefficients."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tests.deid import burned_in_images as images

from reidscope_deid.burned_in.huffman import STANDARD_DIFFERENCES, coded_difference, huffman_table
from reidscope_deid.burned_in.image import image_facts
from reidscope_deid.burned_in.jpeg_pixels import JpegPixels
from reidscope_deid.burned_in.jpeg_stream import blackened, frame_header
from reidscope_deid.burned_in.mask import Box, blocks_of, mask_of, pixels_of
from reidscope_deid.burned_in.stored import stored_pixels
from reidscope_deid.codestreams import check_jpeg
from reidscope_deid.reasons import QuarantinedError
from reidscope_deid.samples import check_pixels

ROWS, COLUMNS = 91, 141
GREY = images.texture(ROWS, COLUMNS, 0, 255)
COLOUR = np.dstack([GREY, GREY[::-1], images.texture(ROWS, COLUMNS, 40, 200, seed=9)])
BOXES = [Box(10, 20, 22, 90), Box(60, 100, 999, 999), Box(0, 0, 3, 2)]
MASK = mask_of(BOXES, rows=ROWS, columns=COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    picture: NDArray[np.uint8]
    settings: dict[str, Any]


KINDS = {
    "grey": Kind(picture=GREY, settings={}),
    "grey, tables of its own": Kind(picture=GREY, settings={"optimize": True}),
    "one shade, tables of its own": Kind(picture=GREY * 0 + 90, settings={"optimize": True}),
    "4:4:4": Kind(picture=COLOUR, settings={"subsampling": 0}),
    "4:2:2": Kind(picture=COLOUR, settings={"subsampling": 1}),
    "4:2:0": Kind(picture=COLOUR, settings={"subsampling": 2}),
    "4:2:0, tables of its own": Kind(
        picture=COLOUR, settings={"subsampling": 2, "optimize": True, "quality": 97}
    ),
    "4:2:0, restart markers": Kind(
        picture=COLOUR, settings={"subsampling": 2, "restart_marker_blocks": 5}
    ),
    "4:4:4, restart markers": Kind(
        picture=COLOUR, settings={"subsampling": 0, "restart_marker_rows": 1}
    ),
    "red, green and blue": Kind(picture=COLOUR, settings={"keep_rgb": True}),
    "coarse": Kind(picture=COLOUR, settings={"quality": 3}),
    "fine": Kind(picture=COLOUR, settings={"quality": 100}),
}


def in_luma(stream: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(stream)) as image:
        image.draft("L", image.size)
        return np.asarray(image if image.mode == "L" else image.convert("L"))


def units(stream: bytes, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    header = frame_header(stream)
    assert header is not None
    size = {"height": header.unit_height, "width": header.unit_width}
    return pixels_of(blocks_of(mask, **size), **size, rows=mask.shape[0], columns=mask.shape[1])


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_units_under_the_mask_are_black_and_no_other_changes(kind: Kind) -> None:
    stream = images.jpeg(kind.picture, **kind.settings)
    new = blackened(stream, MASK, white=False)
    check_jpeg(memoryview(new), near_lossless=False)
    touched = units(stream, MASK)
    assert not in_luma(new)[touched].any()
    assert np.array_equal(in_luma(new)[~touched], in_luma(stream)[~touched])
    assert blackened(stream, MASK, white=False) == new


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_empty_mask_gives_the_same_bytes(kind: Kind) -> None:
    stream = images.jpeg(kind.picture, **kind.settings)
    assert blackened(stream, np.zeros_like(MASK), white=False) == stream


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_was_blackened_can_be_blackened_again(kind: Kind) -> None:
    stream = images.jpeg(kind.picture, **kind.settings)
    once = blackened(stream, MASK, white=False)
    other = mask_of([Box(40, 10, 50, 120)], rows=ROWS, columns=COLUMNS)
    twice = blackened(once, other, white=False)
    both = units(stream, MASK | other)
    assert not in_luma(twice)[both].any()
    assert np.array_equal(in_luma(twice)[~both], in_luma(stream)[~both])


def test_a_file_of_several_frames_stays_a_jpeg() -> None:
    streams = [images.jpeg(COLOUR, subsampling=2), images.jpeg(COLOUR[::-1], subsampling=2)]
    content = images.encapsulated(
        streams, np.stack([COLOUR] * 2), images.JPEG, PhotometricInterpretation="YBR_FULL_422"
    )
    opened = images.opened(content)
    stored = stored_pixels(opened, image_facts(opened))
    assert isinstance(stored, JpegPixels)
    samples = stored.blanked(MASK).samples()
    assert (samples.syntax, samples.encapsulated) == (images.JPEG, True)
    check_pixels(images.opened(content.replace(images.frames_of(content), samples.value)))


def test_white_is_black_in_an_image_shown_inverted() -> None:
    content = images.encapsulated(
        [images.jpeg(GREY)], GREY[None], images.JPEG, PhotometricInterpretation="MONOCHROME1"
    )
    opened = images.opened(content)
    new = stored_pixels(opened, image_facts(opened)).blanked(MASK)
    assert (new.frame(0)[MASK] == 255).all()


def test_an_extended_stream_of_eight_bits_stays_one() -> None:
    stream = images.jpeg(GREY).replace(b"\xff\xc0\0\x0b", b"\xff\xc1\0\x0b")
    new = blackened(stream, MASK, white=False)
    assert b"\xff\xc1" in new
    assert not in_luma(new)[MASK].any()


def test_components_in_scans_of_their_own_are_walked_alike() -> None:
    """A colour image in three scans, made of three grey ones that share no table."""
    planes = [images.jpeg(COLOUR[..., plane], optimize=True) for plane in range(3)]
    stream = images.in_three_scans(planes)
    with Image.open(io.BytesIO(stream)) as image:
        assert image.size == (COLUMNS, ROWS)
    new = blackened(stream, MASK, white=False)
    touched = units(stream, MASK)
    assert not in_luma(new)[touched].any()
    assert np.array_equal(in_luma(new)[~touched], in_luma(stream)[~touched])


def test_a_progressive_stream_is_decoded_and_stored_as_it_is() -> None:
    stream = images.jpeg(COLOUR, progressive=True, subsampling=0)
    assert frame_header(stream) is None
    content = images.encapsulated(
        [stream], COLOUR[None], images.JPEG, PhotometricInterpretation="YBR_FULL"
    )
    opened = images.opened(content)
    stored = stored_pixels(opened, image_facts(opened))
    new = stored.blanked(MASK)
    samples = new.samples()
    assert (samples.syntax, samples.encapsulated) == (images.EXPLICIT, False)
    assert np.array_equal(new.frame(0)[~MASK], stored.frame(0)[~MASK])


@settings(max_examples=40, deadline=None)
@given(
    boxes=st.lists(st.tuples(*[st.integers(-5, 150)] * 4), max_size=5),
    name=st.sampled_from(sorted(KINDS)),
)
def test_no_luminance_outside_the_units_changes(
    boxes: list[tuple[int, int, int, int]], name: str
) -> None:
    kind = KINDS[name]
    mask = mask_of((Box(*box) for box in boxes), rows=ROWS, columns=COLUMNS)
    stream = images.jpeg(kind.picture, **kind.settings)
    new = blackened(stream, mask, white=False)
    touched = units(stream, mask)
    assert not in_luma(new)[touched].any()
    assert np.array_equal(in_luma(new)[~touched], in_luma(stream)[~touched])


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(sorted(KINDS)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    length=st.floats(0, 1),
    cut=st.booleans(),
)
def test_a_broken_stream_is_refused_or_taken_but_never_crashes(
    name: str, changes: list[tuple[float, int]], length: float, *, cut: bool
) -> None:
    kind = KINDS[name]
    stream = bytearray(images.jpeg(kind.picture, **kind.settings))
    for place, value in changes:
        stream[min(int(place * len(stream)), len(stream) - 1)] = value
    if cut:
        del stream[max(int(length * len(stream)), 2) :]
    content = images.encapsulated(
        [bytes(stream)],
        kind.picture[None],
        images.JPEG,
        PhotometricInterpretation=("MONOCHROME2" if kind.picture.ndim == 2 else "YBR_FULL_422"),
    )
    opened = images.opened(content)
    try:
        new = stored_pixels(opened, image_facts(opened)).blanked(MASK)
    except QuarantinedError:
        return
    assert new.samples().value


@pytest.mark.parametrize(
    "make",
    [
        lambda stream: stream[: len(stream) // 2],
        lambda stream: stream[:-2],
        lambda stream: stream.replace(b"\xff\xda", b"\xff\xd9", 1),
        lambda stream: stream.replace(b"\xff\xc0", b"\xff\xc9", 1),  # arithmetic coding
        lambda stream: stream.replace(b"\xff\xdb", b"\xff\xfe", 1),  # a table gone
    ],
)
def test_a_stream_that_cannot_be_walked_is_refused(make: Any) -> None:
    with pytest.raises(QuarantinedError):
        blackened(make(images.jpeg(COLOUR)), MASK, white=False)


def test_a_stream_of_another_size_than_the_header_says_is_refused() -> None:
    content = images.encapsulated([images.jpeg(GREY)], GREY[None, 1:], images.JPEG)
    opened = images.opened(content)
    with pytest.raises(QuarantinedError):
        stored_pixels(opened, image_facts(opened))


def test_twelve_bits_have_no_decoder_and_are_refused(tmp_path: Path) -> None:
    grey = GREY[None].astype("u2")
    content = images.recompressed(images.native(grey), images.JPEG_LOSSLESS, tmp_path)
    opened = images.opened(content)
    assert stored_pixels(opened, image_facts(opened)) is not None
    stream = images.jpeg(GREY).replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c")
    content = images.encapsulated([stream], grey, images.JPEG_12, BitsStored=12, HighBit=11)
    opened = images.opened(content)
    with pytest.raises(QuarantinedError):
        stored_pixels(opened, image_facts(opened))


@given(st.integers(-2047, 2047))
def test_every_difference_of_eight_bit_samples_has_a_code_of_the_standard(value: int) -> None:
    table = huffman_table(STANDARD_DIFFERENCES)
    bits = coded_difference(table, value)
    size = table.symbols[int(f"{bits:0<16}"[:16], 2)]
    assert len(bits) == table.lengths[int(f"{bits:0<16}"[:16], 2)] + size


@pytest.mark.parametrize(
    "content",
    [b"", bytes(15), bytes([3, *[0] * 15, 1, 2, 3]), bytes([2, *[0] * 15, 1, 1]), bytes([1] * 16)],
)
def test_a_table_with_more_codes_than_words_or_without_symbols_is_refused(content: bytes) -> None:
    with pytest.raises(QuarantinedError):
        huffman_table(content)
