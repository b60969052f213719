"""Comments, EXIF, XMP, ICC profiles and thumbnails, taken out of compressed frames.

    frame -> segments -> those that say how to decode -> the same entropy-coded bytes

Nothing is decoded, and no sample changes. What cannot be taken out without touching what decodes (a
color transform in an application segment, lengths that a JPEG 2000 keeps of its parts, palettes
around it) stays, and the file is left out: `codestreams` has the last word on every frame.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reidscope_deid.codestreams import (
    is_decoding_segment,
    is_signature,
    next_marker,
)
from reidscope_deid.elements import read_elements
from reidscope_deid.encoding import SEQUENCE_DELIMITER, UNDEFINED
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidscope_deid.elements import Element
    from reidscope_deid.part10 import Opened

_PREFIX = 0xFF
_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_JFIF, _JFIF_LENGTH = b"JFIF\0", 16
_COLOR_TRANSFORM = 0xE8  # of some JPEG-LS: without it samples decode to others

_SOT, _SOD, _EOC, _COM, _TLM = 0x90, 0x93, 0xD9, 0x64, 0x55
_PART_LENGTH_AT = 6  # bytes from the marker of a tile-part
_BOX = 8  # bytes of a box's header
SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
"""How a JPEG 2000 in boxes (JP2) begins."""
_HEADER_BOXES = frozenset({b"ihdr", b"bpcc", b"colr", b"res "})
"""What a JP2 header may say without changing a sample."""

_OFFSET_TABLES = (0x7FE00001, 0x7FE00002)
_PIXELS = 0x7FE00010


def stripped_jpeg(frame: bytes, *, near_lossless: bool) -> bytes:
    """Take out of a JPEG or JPEG-LS what is not needed to decode it.

    Parameters
    ----------
    frame : bytes
        From its start marker.
    near_lossless : bool
        Whether it is a JPEG-LS.

    Raises
    ------
    QuarantinedError
        Its markers cannot be walked to the end.
    """
    at, kept = 2, [frame[:2]]
    while at + 2 <= len(frame) and frame[at] == _PREFIX:
        marker = frame[at + 1]
        if marker == _PREFIX:
            at += 1
            continue
        if marker == _END:
            return b"".join((*kept, frame[at : at + 2]))
        stop = at + 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == _SCAN:
            stop = next_marker(frame, stop, near_lossless=near_lossless)
        kept.append(_segment(frame[at:stop], marker))
        at = max(stop, at + 4)
    raise QuarantinedError(Reason.MALFORMED)


def _segment(segment: bytes, marker: int) -> bytes:
    if marker not in _APPLICATION and marker != _COMMENT:
        return segment
    content = segment[4:]
    if is_decoding_segment(marker, len(segment) - 2, content):
        return segment
    if marker == _APPLICATION[0] and content.startswith(_JFIF) and len(segment) > _JFIF_LENGTH:
        # Its thumbnail goes, and the two bytes that said how large it was.
        return segment[:2] + _JFIF_LENGTH.to_bytes(2, "big") + segment[4:16] + bytes(2)
    return segment if marker == _COLOR_TRANSFORM else b""


def stripped_jpeg_2000(frame: bytes) -> bytes:
    """Take out of a JPEG 2000 what is not needed to decode it, boxes around it included.

    Raises
    ------
    QuarantinedError
        Its markers cannot be walked to the end, or a box says how samples are to be read.
    """
    if frame.startswith(SIGNATURE):
        frame = _codestream(frame)
    at, part, kept = 2, -1, bytearray(frame[:2])
    stop_of_part = listed = 0
    while at + 4 <= len(frame) and frame[at] == _PREFIX:
        marker = frame[at + 1]
        if marker == _EOC:
            break
        if marker == _SOD:
            stop = stop_of_part or len(frame.rstrip(b"\0")) - 2
            if stop <= at:
                raise QuarantinedError(Reason.MALFORMED)
            kept += frame[at:stop]
            at = stop
            continue
        stop = at + 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
        segment = frame[at:stop]
        if marker == _SOT:
            part = len(kept) + _PART_LENGTH_AT
            size = int.from_bytes(segment[_PART_LENGTH_AT : _PART_LENGTH_AT + 4], "big")
            stop_of_part = at + size if size else 0
        listed += marker == _TLM
        if marker != _COM or is_signature(segment[4:]):
            kept += segment
        elif part >= 0:
            _shorten(kept, part, len(segment), listed=listed)
        at = max(stop, at + 4)
    if frame[at : at + 2] != b"\xff\xd9":
        raise QuarantinedError(Reason.MALFORMED)
    return bytes(kept) + b"\xff\xd9"


def _shorten(kept: bytearray, part: int, by: int, *, listed: int) -> None:
    """Say in the header of a tile-part that it is shorter now."""
    size = int.from_bytes(kept[part : part + 4], "big")
    if listed or 0 < size < by:
        # The main header lists the lengths of parts too: not rewritten.
        raise QuarantinedError(Reason.EMBEDDED)
    if size:
        kept[part : part + 4] = (size - by).to_bytes(4, "big")


def _codestream(boxes: bytes) -> bytes:
    at, found = 0, b""
    while at + _BOX <= len(boxes):
        length, kind = int.from_bytes(boxes[at : at + 4], "big"), boxes[at + 4 : at + 8]
        stop = at + length if length else len(boxes)
        if stop < at + _BOX or stop > len(boxes):
            break
        content = boxes[at + _BOX : stop]
        if kind == b"jp2h" and not _is_plain_header(content):
            raise QuarantinedError(Reason.EMBEDDED)
        if kind == b"jp2c":
            found = content
            break
        at = stop
    if not found.startswith(b"\xff\x4f"):
        raise QuarantinedError(Reason.MALFORMED)
    return found


def _is_plain_header(content: bytes) -> bool:
    at = 0
    while at + _BOX <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind not in _HEADER_BOXES or length < _BOX:
            return False
        at += length
    return True


def with_frames(opened: Opened, pixels: Element, frames: Sequence[bytes]) -> Opened:
    """Give the same file with other compressed frames, one fragment each.

    Parameters
    ----------
    opened : Opened
        The file.
    pixels : Element
        Its Pixel Data.
    frames : sequence of bytes
        In order. The offset table is written anew if there was one; extended ones go.
    """
    encoding, data = opened.encoding, opened.data
    even = [frame + b"\0" * (len(frame) & 1) for frame in frames]
    table = b""
    if any(data[pixels.value + 4 : pixels.value + 8]):
        at, offsets = 0, []
        for frame in even:
            offsets.append(at.to_bytes(4, "little"))
            at += 8 + len(frame)
        table = b"".join(offsets)
    parts = [data[one.start : one.end] for one in opened.elements if one.tag < _OFFSET_TABLES[0]]
    parts.append(encoding.header(_PIXELS, b"OB", UNDEFINED))
    parts += map(encoding.item, (table, *even))
    parts.append(encoding.delimiter(SEQUENCE_DELIMITER))
    parts += [data[one.start : one.end] for one in opened.elements if one.tag > _PIXELS]
    whole = b"".join(parts)
    elements, _ = read_elements(whole, 0, len(whole), encoding)
    return replace(opened, data=whole, elements=elements)
