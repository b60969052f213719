"""Room for words in what is copied unread: behind native pixels, and inside compressed frames.

Pixel data is copied as it is, so a file whose pixel data has room for more than samples is left
out, and so is one in a compression that `codestreams` cannot walk.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLETransferSyntaxes,
)

from reidscope_deid.codestreams import check_jpeg, check_jpeg_2000, check_rle
from reidscope_deid.elements import read_elements
from reidscope_deid.encoding import EXPLICIT_LITTLE, ITEM, SEQUENCE_DELIMITER, UNDEFINED
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.stripping import (
    SIGNATURE,
    stripped_jpeg,
    stripped_jpeg_2000,
    with_frames,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reidscope_deid.elements import Buffer, Element
    from reidscope_deid.part10 import Opened

_PIXELS = 0x7FE00010
_SAMPLES, _FRAMES, _ROWS, _COLUMNS, _ALLOCATED = (
    0x00280002,
    0x00280008,
    0x00280010,
    0x00280011,
    0x00280100,
)
NATIVE_SYNTAXES = frozenset(
    {
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    }
)
_JPEG_LS = frozenset(map(str, JPEGLSTransferSyntaxes))
_JPEG = frozenset(map(str, JPEGTransferSyntaxes)) - _JPEG_LS
_HIGH_THROUGHPUT = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))
_JPEG_2000 = frozenset(map(str, JPEG2000TransferSyntaxes)) | _HIGH_THROUGHPUT
_RLE = frozenset(map(str, RLETransferSyntaxes))
TAKEN_SYNTAXES = NATIVE_SYNTAXES | _JPEG | _JPEG_LS | _JPEG_2000 | _RLE
"""Transfer syntaxes whose pixel data can be walked."""
_STARTS = {
    **dict.fromkeys(_JPEG | _JPEG_LS, (b"\xff\xd8",)),
    **dict.fromkeys(_JPEG_2000, (b"\xff\x4f", SIGNATURE)),
}


_LONGEST_START = max(len(one) for starts in _STARTS.values() for one in starts)


def clean_pixels(opened: Opened) -> Opened:
    """Take comments and the like out of compressed frames, and refuse what has room for words yet.

    Returns
    -------
    Opened
        The same, or the same with other frames that decode to the same samples.

    Raises
    ------
    QuarantinedError
        As `check_pixels`.
    """
    try:
        check_pixels(opened)
    except QuarantinedError:
        pixels = [one for one in opened.elements if one.tag == _PIXELS and one.undefined]
        if not pixels or opened.syntax not in _STARTS:
            raise
        opened = with_frames(opened, pixels[0], list(_stripped(opened, pixels[0])))
        check_pixels(opened)
    return opened


def comparable_pixels(value: bytes, syntax: str) -> bytes:
    """Say of pixel data what stays the same when comments are taken out of its frames.

    Parameters
    ----------
    value : bytes
        Of Pixel Data.
    syntax : str
        UID of the transfer syntax.

    Returns
    -------
    bytes
        Frames without their comments, one after another; `value` itself where it has none.
    """
    if syntax not in _STARTS:
        return value
    encoding = EXPLICIT_LITTLE
    header = encoding.header(_PIXELS, b"OB", UNDEFINED)
    data = header + value + encoding.delimiter(SEQUENCE_DELIMITER)
    try:
        elements, _ = read_elements(data, 0, len(data), encoding)
        alone = _Alone(data, syntax)
        return b"".join(frame.rstrip(b"\0") for frame in _stripped(alone, elements[0]))
    except QuarantinedError:
        return value


class _Alone(NamedTuple):
    """Pixel data without the file around it."""

    data: bytes
    syntax: str


def _stripped(opened: Opened | _Alone, pixels: Element) -> Iterator[bytes]:
    for frame in _frames(opened, pixels):
        if opened.syntax in _JPEG_2000:
            yield stripped_jpeg_2000(bytes(frame))
        else:
            yield stripped_jpeg(bytes(frame), near_lossless=opened.syntax in _JPEG_LS)


def check_pixels(opened: Opened) -> None:
    """Refuse a file whose pixel data has room for more than samples.

    Raises
    ------
    QuarantinedError
        Words behind the pixels, pixels cut short, or a compressed frame that holds more than one.
    """
    for element in opened.elements:
        if element.tag != _PIXELS:
            continue
        if not element.undefined:
            if opened.syntax not in NATIVE_SYNTAXES:
                raise QuarantinedError(Reason.MALFORMED)
            behind = opened.data[element.value + expected_length(opened) : element.stop]
            if any(behind):  # zeros pad a value and hold nothing
                raise QuarantinedError(Reason.MALFORMED)
        elif opened.syntax in NATIVE_SYNTAXES:
            raise QuarantinedError(Reason.MALFORMED)
        else:
            for frame in _frames(opened, element):
                _check_frame(opened, frame)


def _check_frame(opened: Opened, frame: memoryview) -> None:
    if opened.syntax in _JPEG_2000:
        check_jpeg_2000(frame)
    elif opened.syntax in _RLE:
        rows, columns, allocated, samples = _sizes(opened)
        check_rle(frame, pixels=rows * columns, segments=samples * (allocated // 8))
    else:
        check_jpeg(frame, near_lossless=opened.syntax in _JPEG_LS)


def _sizes(opened: Opened) -> tuple[int, int, int, int]:
    """Rows, columns, bits allocated and samples a pixel; 0 where absent."""
    order: Literal["little", "big"] = "little" if opened.encoding.little else "big"
    tags = (_ROWS, _COLUMNS, _ALLOCATED, _SAMPLES)
    rows, columns, allocated, samples = (int.from_bytes(opened.raw(tag), order) for tag in tags)
    return rows, columns, allocated, samples


def expected_length(opened: Opened) -> int:
    """Count the bytes of native pixel data, padded to even."""
    rows, columns, allocated, samples = _sizes(opened)
    frames = opened.value(_FRAMES) or b"1"
    bits = int(frames) if frames.isdigit() else 0
    bits *= rows * columns * allocated * samples
    length = (bits + 7) // 8
    return length + (length & 1)


def _frames(opened: Opened | _Alone, element: Element) -> Iterator[memoryview]:
    """Compressed frames, each whole: a fragment that starts none continues the one before it."""
    starts = _STARTS.get(opened.syntax, (b"",))
    parts: list[memoryview] = []
    for fragment in _fragments(opened.data, element):
        begins = bytes(fragment[:_LONGEST_START]).startswith(starts)
        if begins and parts:
            yield _joined(parts)
            parts = []
        elif not begins and not parts:
            raise QuarantinedError(Reason.MALFORMED)
        parts.append(fragment)
    if parts:
        yield _joined(parts)


def _joined(parts: list[memoryview]) -> memoryview:
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def _fragments(data: Buffer, element: Element) -> Iterator[memoryview]:
    """Fragments of encapsulated pixel data; the first, an offset table, is checked instead."""
    at, view = element.value, memoryview(data)
    first = True
    while at < element.stop:
        # Encapsulated pixel data is little endian (PS3.5 A.4), and `elements` has walked it.
        tag = int.from_bytes(view[at : at + 2], "little") << 16
        tag |= int.from_bytes(view[at + 2 : at + 4], "little")
        length = int.from_bytes(view[at + 4 : at + 8], "little")
        if tag != ITEM or at + 8 + length > element.stop:
            raise QuarantinedError(Reason.MALFORMED)
        fragment = view[at + 8 : at + 8 + length]
        if first:
            _check_offsets(fragment, element.stop - at - 8 - length)
        else:
            yield fragment
        first = False
        at += 8 + length


def _check_offsets(table: memoryview, behind: int) -> None:
    """Refuse an offset table that is none: offsets ascend from 0 and stay within the fragments."""
    if len(table) % 4:
        raise QuarantinedError(Reason.MALFORMED)
    offsets = [int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), 4)]
    ascending = all(one < two for one, two in pairwise(offsets))
    if offsets and (offsets[0] != 0 or offsets[-1] >= behind or not ascending):
        raise QuarantinedError(Reason.MALFORMED)
