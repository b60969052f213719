"""Room for words in what is copied unread: behind native pixels, and between the markers of a JPEG.

Pixel data is copied as it is, so a file whose pixel data has room for more than samples is left
out. A JPEG may hold a comment or an application segment (EXIF, a name, a place) in front of its
scan; only those that say how to decode it are let through. JPEG 2000 comments, which encoders write
themselves, are not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydicom.uid import JPEGTransferSyntaxes

from reidscope_deid.encoding import ITEM
from reidscope_deid.reasons import QuarantinedError, Reason

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
_JPEG = frozenset(JPEGTransferSyntaxes) | {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
_START, _SCAN, _END = 0xD8, 0xDA, 0xD9
_COMMENT, _APPLICATION = 0xFE, range(0xE0, 0xF0)
_SEGMENTS = {0xE0: (b"JFIF\0", 16), 0xEE: (b"Adobe", 14)}
"""Application segments that say how to decode: how they begin, and their length (bytes)."""


def check_pixels(opened: Opened) -> None:
    """Refuse a file whose pixel data has room for more than samples.

    Raises
    ------
    QuarantinedError
        Words behind the pixels, or a JPEG with a comment or an application segment.
    """
    for element in opened.elements:
        if element.tag != _PIXELS:
            continue
        if element.undefined:
            if opened.syntax in _JPEG:
                for fragment in _fragments(opened.data, element):
                    _check_jpeg(fragment)
        else:
            behind = opened.data[element.value + _expected(opened) : element.stop]
            if any(behind):  # zeros pad a value and hold nothing
                raise QuarantinedError(Reason.MALFORMED)


def _expected(opened: Opened) -> int:
    """Bytes of native pixel data, padded to even."""
    order: Literal["little", "big"] = "little" if opened.encoding.little else "big"
    sizes = [
        int.from_bytes(opened.raw(tag), order) for tag in (_ROWS, _COLUMNS, _ALLOCATED, _SAMPLES)
    ]
    frames = opened.value(_FRAMES) or b"1"
    bits = int(frames) if frames.isdigit() else 0
    for size in sizes:
        bits *= size
    length = (bits + 7) // 8
    return length + (length & 1)


def _fragments(data: Buffer, element: Element) -> Iterator[memoryview]:
    """Fragments of encapsulated pixel data; the first, an offset table, is passed over."""
    at, view = element.value, memoryview(data)
    first = True
    while at < element.stop:
        # Encapsulated pixel data is little endian (PS3.5 A.4), and `elements` has walked it.
        tag = int.from_bytes(view[at : at + 2], "little") << 16
        tag |= int.from_bytes(view[at + 2 : at + 4], "little")
        length = int.from_bytes(view[at + 4 : at + 8], "little")
        if tag != ITEM:
            raise QuarantinedError(Reason.MALFORMED)
        if not first:
            yield view[at + 8 : at + 8 + length]
        first = False
        at += 8 + length


def _check_jpeg(fragment: memoryview) -> None:
    """Walk the markers in front of the scan; a fragment that continues a frame has none."""
    if len(fragment) < 2 or fragment[0] != 0xFF or fragment[1] != _START:  # noqa: PLR2004 - a marker
        return
    at = 2
    while at + 4 <= len(fragment) and fragment[at] == 0xFF:  # noqa: PLR2004 - as above
        marker = fragment[at + 1]
        if marker in (_SCAN, _END):
            return
        if marker == 0xFF:  # noqa: PLR2004 - a fill byte
            at += 1
            continue
        length = fragment[at + 2] << 8 | fragment[at + 3]
        if marker == _COMMENT or marker in _APPLICATION:
            begins, expected = _SEGMENTS.get(marker, (b"", 0))
            content = bytes(fragment[at + 4 : at + 4 + len(begins)])
            if length != expected or content != begins:
                raise QuarantinedError(Reason.EMBEDDED)
        at += 2 + length
    raise QuarantinedError(Reason.MALFORMED)
