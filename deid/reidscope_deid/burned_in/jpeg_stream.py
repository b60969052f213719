"""A sequential JPEG stream of eight bits (ISO/IEC 10918-1), with chosen units made black.

Only the entropy-coded data changes; tables and headers are copied. A component whose DC table has
no code for a black block gets the standard's own table for that scan. No Python library was found
that offers the coefficients of a stream in memory: the one that offers them (jpeglib 1.0.2) works
on temporary files and says that its decoder can end the process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.burned_in.huffman import (
    STANDARD_DIFFERENCES,
    HuffmanTable,
    huffman_table,
    standard_differences,
)
from reidscope_deid.burned_in.jpeg_scan import Part, flattened_scan
from reidscope_deid.burned_in.mask import blocks_of
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from reidscope_deid.burned_in.mask import Mask

_BLOCK = 8  # pixels
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_OTHER_FRAMES = frozenset(range(0xC2, 0xD0)) - {0xC4, 0xC8}
_HUFFMAN, _QUANTISATION, _INTERVAL, _ADOBE, _LINES = 0xC4, 0xDB, 0xDD, 0xEE, 0xDC
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_WHOLE_SPECTRUM = b"\0\x3f\0"
_PRECISION = 8  # bits
_MOST_UNITS = 1 << 24
_RGB_IDS = (0x52, 0x47, 0x42)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One component of a frame.

    Attributes
    ----------
    number : int
        Its identifier.
    width, height : int
        Sampling factors: its blocks across and down in one unit of the frame.
    table : int
        Its quantisation table.
    """

    number: int
    width: int
    height: int
    table: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """Size and components of a sequential frame.

    Attributes
    ----------
    rows, columns : int
        In pixels.
    components : tuple of Component
        One or three.
    """

    rows: int
    columns: int
    components: tuple[Component, ...]

    @property
    def unit_height(self) -> int:
        """Rows of pixels of one unit."""
        return _BLOCK * max(one.height for one in self.components)

    @property
    def unit_width(self) -> int:
        """Columns of pixels of one unit."""
        return _BLOCK * max(one.width for one in self.components)

    @property
    def subsampled(self) -> bool:
        """Whether chrominance is coarser than luminance."""
        return len({(one.width, one.height) for one in self.components}) > 1


@dataclass(slots=True)
class _State:
    """Tables as they stand where the walk is."""

    frame: FrameHeader | None = None
    quantisation: dict[int, int] = field(default_factory=dict)
    tables: dict[int, HuffmanTable] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    interval: int = 0
    is_rgb: bool = False
    done: set[int] = field(default_factory=set)


def frame_header(stream: bytes) -> FrameHeader | None:
    """Header of a sequential eight-bit frame; None where the stream is of another process.

    Raises
    ------
    QuarantinedError
        Markers that cannot be walked to a frame header.
    """
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:  # noqa: PLR2004 - begins a marker
        marker = stream[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - fills
            at += 1
            continue
        if marker in _OTHER_FRAMES:
            return None
        content, after = _segment(stream, at)
        if marker in _SEQUENTIAL:
            return None if content[:1] != bytes([_PRECISION]) else _frame(content)
        at = after
    raise QuarantinedError(Reason.MALFORMED)


def blackened(stream: bytes, mask: Mask, *, white: bool) -> bytes:
    """Make every unit that the mask touches black; all other blocks keep their coefficients.

    Parameters
    ----------
    stream : bytes
        One frame.
    mask : ndarray of bool
        Shape (rows, columns).
    white : bool
        Whether the largest value is shown black (MONOCHROME1).

    Raises
    ------
    QuarantinedError
        A stream that cannot be walked, of another process, or of another size.
    """
    state = _State()
    output = [stream[:2]]
    at = 2
    if stream[:2] != bytes([0xFF, _START]):
        raise QuarantinedError(Reason.MALFORMED)
    while at + 2 <= len(stream) and stream[at] == 0xFF:  # noqa: PLR2004 - begins a marker
        marker = stream[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - fills
            at += 1
            continue
        if marker == _END:
            frame = state.frame
            if frame is None or state.done != {one.number for one in frame.components}:
                break
            output.append(stream[at : at + 2])
            return b"".join(output)
        content, after = _segment(stream, at)
        if marker == _SCAN:
            found = _NEXT_MARKER.search(stream, after)
            if found is None:
                break
            output += _new_scan(
                state, stream[at:after], content, stream[after : found.start()], mask, white=white
            )
            at = found.start()
            continue
        _read_segment(state, marker, content, mask)
        output.append(stream[at:after])
        at = after
    raise QuarantinedError(Reason.MALFORMED)


def _segment(stream: bytes, at: int) -> tuple[bytes, int]:
    """Content of the segment at `at`, and where the next begins."""
    after = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    if after < at + 4 or after > len(stream):
        raise QuarantinedError(Reason.MALFORMED)
    return stream[at + 4 : after], after


def _read_segment(state: _State, marker: int, content: bytes, mask: Mask) -> None:
    if marker in _SEQUENTIAL:
        if state.frame is not None or content[:1] != bytes([_PRECISION]):
            raise QuarantinedError(Reason.BURNED_IN)
        state.frame = _frame(content)
        if (state.frame.rows, state.frame.columns) != mask.shape:
            raise QuarantinedError(Reason.MALFORMED)
        numbers = tuple(one.number for one in state.frame.components)
        state.is_rgb = state.is_rgb or numbers == _RGB_IDS
    elif marker in _OTHER_FRAMES or marker == _LINES:
        raise QuarantinedError(Reason.BURNED_IN)
    elif marker == _HUFFMAN:
        _read_huffman(state, content)
    elif marker == _QUANTISATION:
        _read_quantisation(state, content)
    elif marker == _INTERVAL:
        state.interval = int.from_bytes(content, "big")
    elif marker == _ADOBE and content[:5] == b"Adobe" and len(content) == 12:  # noqa: PLR2004 - its length
        state.is_rgb = content[11] == 0


def _frame(content: bytes) -> FrameHeader:
    count = content[5] if len(content) > 5 else 0  # noqa: PLR2004 - where it stands
    if count not in (1, 3) or len(content) != 6 + 3 * count:
        raise QuarantinedError(Reason.MALFORMED)
    components = tuple(
        Component(
            number=content[at],
            width=content[at + 1] >> 4,
            height=content[at + 1] & 15,
            table=content[at + 2],
        )
        for at in range(6, len(content), 3)
    )
    sampled = all(1 <= one.width <= 4 and 1 <= one.height <= 4 for one in components)  # noqa: PLR2004 - B.2.2
    if not sampled or len({one.number for one in components}) != count:
        raise QuarantinedError(Reason.MALFORMED)
    rows, columns = (int.from_bytes(content[at : at + 2], "big") for at in (1, 3))
    if not rows or not columns:
        raise QuarantinedError(Reason.MALFORMED)
    if count == 1:
        # Alone, its blocks stand one by one whatever its factors say (A.2.2).
        components = (
            Component(number=components[0].number, width=1, height=1, table=components[0].table),
        )
    return FrameHeader(rows=rows, columns=columns, components=components)


def _read_huffman(state: _State, content: bytes) -> None:
    at = 0
    while at < len(content):
        count = sum(content[at + 1 : at + 17])
        table = content[at + 1 : at + 17 + count]
        state.tables[content[at]] = huffman_table(table)
        state.contents[content[at]] = table
        at += 17 + count


def _read_quantisation(state: _State, content: bytes) -> None:
    at = 0
    while at < len(content):
        size = 2 if content[at] >> 4 else 1
        first = int.from_bytes(content[at + 1 : at + 1 + size], "big")
        if not first or at + 1 + 64 * size > len(content):
            raise QuarantinedError(Reason.MALFORMED)
        state.quantisation[content[at] & 15] = first
        at += 1 + 64 * size


def _new_scan(
    state: _State, header: bytes, content: bytes, data: bytes, mask: Mask, *, white: bool
) -> list[bytes]:
    frame = state.frame
    count = content[0] if content else 0
    if frame is None or len(content) != 4 + 2 * count or content[-3:] != _WHOLE_SPECTRUM:
        raise QuarantinedError(Reason.MALFORMED)
    by_number = {one.number: one for one in frame.components}
    parts: list[Part] = []
    chosen: list[Component] = []
    replaced: dict[int, bytes] = {}
    for at in range(1, 1 + 2 * count, 2):
        component = by_number.get(content[at])
        dc, ac = content[at + 1] >> 4, 0x10 | content[at + 1] & 15
        if component is None or component.number in state.done or dc not in state.tables:
            raise QuarantinedError(Reason.MALFORMED)
        if ac not in state.tables or component.table not in state.quantisation:
            raise QuarantinedError(Reason.MALFORMED)
        state.done.add(component.number)
        chosen.append(component)
        replaced[dc] = state.contents[dc]
        parts.append(
            Part(
                differences=state.tables[dc],
                coefficients=state.tables[ac],
                written=state.tables[dc],
                flat=_flat(state, component, white=white),
                blocks=1 if count == 1 else component.width * component.height,
            )
        )
    touched = _touched(frame, chosen, mask)
    try:
        new = flattened_scan(data, parts, touched, interval=state.interval)
    except KeyError:
        # Optimised tables have codes for the differences of this image alone.
        standard = standard_differences()
        parts = [
            Part(
                differences=part.differences,
                coefficients=part.coefficients,
                written=standard,
                flat=part.flat,
                blocks=part.blocks,
            )
            for part in parts
        ]
        try:
            new = flattened_scan(data, parts, touched, interval=state.interval)
        except KeyError:
            raise QuarantinedError(Reason.BURNED_IN) from None
        before = [_table_segment(number, STANDARD_DIFFERENCES) for number in replaced]
        after = [_table_segment(number, table) for number, table in replaced.items()]
        return [*before, header, new, *after]
    return [header, new]


def _touched(frame: FrameHeader, chosen: list[Component], mask: Mask) -> bytes:
    """Which units of a scan are made flat, one byte each, in its order."""
    units = blocks_of(mask, height=frame.unit_height, width=frame.unit_width)
    if len(chosen) == 1:
        # Not interleaved: one block a unit, and none beyond the component's own edge (A.2.2).
        one = chosen[0]
        units = units.repeat(one.height, axis=0).repeat(one.width, axis=1)
        rows = -(-frame.rows * one.height // (frame.unit_height // _BLOCK))
        columns = -(-frame.columns * one.width // (frame.unit_width // _BLOCK))
        units = units[: -(-rows // _BLOCK), : -(-columns // _BLOCK)]
    if units.size > _MOST_UNITS:
        raise QuarantinedError(Reason.TOO_LARGE)
    return np.ascontiguousarray(units, dtype=np.uint8).tobytes()


def _flat(state: _State, component: Component, *, white: bool) -> int:
    """DC value of a black block: beyond the end of the range, so that it is cut to the end."""
    frame = state.frame
    if frame is not None and not state.is_rgb and component != frame.components[0]:
        return 0
    size = -(-(_BLOCK << (_PRECISION - 1)) // state.quantisation[component.table])
    return size if white else -size


def _table_segment(number: int, table: bytes) -> bytes:
    length = 3 + len(table)
    return bytes([0xFF, _HUFFMAN, length >> 8, length & 255, number]) + table
