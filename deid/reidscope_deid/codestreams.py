"""Compressed frames, walked marker by marker, so that none has room for more than an image.

A JPEG may hold comments and application segments (EXIF, a name, a place), a JPEG 2000 comments, and
anything may stand behind the end of either, or of a run-length segment. Only what says how to
decode is let through, and of comments only those that known encoders sign with. What an entropy
coded segment decodes to is pixels, and is not judged here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX = 0xFF
_START, _SCAN, _END = 0xD8, 0xDA, 0xD9
_COMMENT, _APPLICATION, _RESTART_INTERVAL = 0xFE, range(0xE0, 0xF0), 0xDD
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDE, 0xDF, 0xF8})
_SEGMENTS = {0xE0: (b"JFIF\0", 16), 0xE8: (b"mrfx", 7), 0xEE: (b"Adobe", 14)}
"""Application segments that say how to decode: how they begin, and their length (bytes)."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NEXT_MARKER_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")

_SOC, _SOT, _SOD, _EOC, _COM = 0x4F, 0x90, 0x93, 0xD9, 0x64
_HEADER_2000 = frozenset(range(0x50, 0x64)) | frozenset(range(0x74, 0x7A))
_ENCODERS = re.compile(
    rb"Created by (?:GDCM/)?OpenJPEG version [0-9.]{1,12}"
    rb"|Creator: JasPer Version [0-9.]{1,12}|Kakadu-v?[0-9.]{1,12}"
)
_LATIN = 1

_RLE_HEADER = 64  # bytes
_RLE_SEGMENTS = 15


def check_jpeg(stream: memoryview, *, near_lossless: bool) -> None:
    """Refuse a JPEG or JPEG-LS that holds more than its image.

    Parameters
    ----------
    stream : memoryview
        One frame, from its start marker.
    near_lossless : bool
        Whether it is a JPEG-LS, whose scans are stuffed otherwise.

    Raises
    ------
    QuarantinedError
        A comment, an application segment that says more than how to decode, bytes behind the end,
        or markers that cannot be walked to one.
    """
    at = 2
    while at + 2 <= len(stream) and stream[at] == _PREFIX:
        marker = stream[at + 1]
        if marker == _PREFIX:
            at += 1
            continue
        if marker == _END:
            _check_end(stream[at + 2 :])
            return
        if at + 4 > len(stream):
            break
        length = stream[at + 2] << 8 | stream[at + 3]
        _check_segment(stream, at, marker, length)
        at += 2 + length
        if marker == _SCAN:
            at = next_marker(stream, at, near_lossless=near_lossless)
    raise QuarantinedError(Reason.MALFORMED)


def next_marker(stream: memoryview | bytes, at: int, *, near_lossless: bool) -> int:
    """Where the entropy-coded segment that starts at `at` ends.

    Raises
    ------
    QuarantinedError
        Nowhere.
    """
    found = (_NEXT_MARKER_LS if near_lossless else _NEXT_MARKER).search(stream, at)
    if found is None:
        raise QuarantinedError(Reason.MALFORMED)
    return found.start()


def is_decoding_segment(marker: int, length: int, content: bytes) -> bool:
    """Whether an application segment says how to decode, and nothing else.

    Parameters
    ----------
    marker : int
        Second byte of its marker.
    length : int
        As it says, from its length on.
    content : bytes
        Behind its length.
    """
    begins, expected = _SEGMENTS.get(marker, (b"", 0))
    return length == expected and content.startswith(begins)


def _check_segment(stream: memoryview, at: int, marker: int, length: int) -> None:
    if marker == _COMMENT or marker in _APPLICATION:
        if not is_decoding_segment(marker, length, bytes(stream[at + 4 : at + 2 + length])):
            raise QuarantinedError(Reason.EMBEDDED)
        return
    expected = length
    if marker in _FRAMES and at + 10 <= len(stream):
        expected = 8 + 3 * stream[at + 9]
    elif marker == _SCAN and at + 5 <= len(stream):
        expected = 6 + 2 * stream[at + 4]
    elif marker == _RESTART_INTERVAL:
        expected = length if length in (4, 5, 6) else 4  # JPEG-LS: up to four bytes
    elif marker not in _TABLES:
        expected = -1
    if length != expected:
        raise QuarantinedError(Reason.MALFORMED)


def _check_end(rest: memoryview) -> None:
    """Only padding may follow the end: zeros, or the one byte that makes a fragment even."""
    if any(rest) and bytes(rest).rstrip(b"\0") != b"\xff":
        raise QuarantinedError(Reason.EMBEDDED)


def check_jpeg_2000(stream: memoryview) -> None:
    """Refuse a JPEG 2000 codestream, high-throughput or not, that holds more than its image.

    Raises
    ------
    QuarantinedError
        A comment that is no encoder's signature, bytes behind the end, boxes around the
        codestream, or markers that cannot be walked to its end.
    """
    at, part_end = 2, 0
    while at + 4 <= len(stream) and stream[at] == _PREFIX and stream[at + 1] != _EOC:
        marker = stream[at + 1]
        if marker == _SOD:
            if part_end <= at:  # never back: a walk that ends
                if part_end == 0:  # without a length: the last part, up to the end marker
                    at = len(bytes(stream).rstrip(b"\0")) - 2
                break
            at = part_end
            continue
        length = stream[at + 2] << 8 | stream[at + 3]
        if marker == _SOT:
            size = int.from_bytes(stream[at + 6 : at + 10], "big")
            part_end = at + size if size else 0
            if length != 10 or 0 < size <= 12:  # noqa: PLR2004 - of SOT, and of SOT and SOD
                break
        elif marker == _COM:
            _check_comment(bytes(stream[at + 4 : at + 2 + length]))
        elif marker not in _HEADER_2000:
            break
        at += 2 + length
    if bytes(stream[at : at + 2]) != b"\xff\xd9":
        raise QuarantinedError(Reason.MALFORMED)
    _check_end(stream[at + 2 :])


def _check_comment(content: bytes) -> None:
    if not is_signature(content):
        raise QuarantinedError(Reason.EMBEDDED)


def is_signature(content: bytes) -> bool:
    """Whether a comment of a JPEG 2000 is empty, or what a known encoder signs with."""
    kind, text = int.from_bytes(content[:2], "big"), content[2:].rstrip(b"\0")
    return not text or (kind == _LATIN and _ENCODERS.fullmatch(text) is not None)


def check_rle(stream: memoryview, *, pixels: int, segments: int) -> None:
    """Refuse a run-length frame (PS3.5 G) whose segments hold more than its image.

    Parameters
    ----------
    stream : memoryview
        One frame.
    pixels : int
        Rows times columns: what each segment decodes to, in bytes.
    segments : int
        Samples a pixel times bytes a sample.

    Raises
    ------
    QuarantinedError
        A header that says otherwise, room between segments, or a segment of another length.
    """
    header = bytes(stream[:_RLE_HEADER])
    numbers = [int.from_bytes(header[at : at + 4], "little") for at in range(0, _RLE_HEADER, 4)]
    count, starts = numbers[0], numbers[1:]
    if (
        len(header) < _RLE_HEADER
        or count != segments
        or not 1 <= count <= _RLE_SEGMENTS
        or starts[0] != _RLE_HEADER
        or any(starts[count:])
    ):
        raise QuarantinedError(Reason.MALFORMED)
    ends = (*starts[1:count], len(stream))
    for start, end in zip(starts[:count], ends, strict=True):
        if not start <= end <= len(stream):
            raise QuarantinedError(Reason.MALFORMED)
        segment = bytes(stream[start:end])
        if any(segment[_segment_end(segment, pixels) :]):
            raise QuarantinedError(Reason.EMBEDDED)


def _segment_end(segment: Sequence[int], pixels: int) -> int:
    at = written = 0
    while written < pixels:
        if at >= len(segment):
            raise QuarantinedError(Reason.MALFORMED)
        control = segment[at]
        if control < 0x80:  # noqa: PLR2004 - so many bytes, and one
            written, at = written + control + 1, at + control + 2
        elif control == 0x80:  # noqa: PLR2004 - nothing
            at += 1
        else:
            written, at = written + 257 - control, at + 2
    if at > len(segment):
        raise QuarantinedError(Reason.MALFORMED)
    return at
