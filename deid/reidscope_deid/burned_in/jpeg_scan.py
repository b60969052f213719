"""The entropy-coded data of a sequential JPEG scan, with chosen blocks made flat.

    bits -> for each block: where it begins and ends, its DC value
         -> touched: a flat block; behind one: its DC difference anew; all others: copied bit by bit

So every block that is not touched keeps each of its coefficients. What may stand behind the last
block of an interval is not copied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.burned_in.huffman import (
    BLOCK_ENDS,
    END_OF_BLOCK,
    HuffmanTable,
    coded_difference,
    coefficients_at,
    differences_at,
    words_of,
)
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_COEFFICIENTS = 64  # of a block
_ROOM = b"\xff" * 512  # longer than the longest block; ones are no code
_RESTARTS = 8
_ZERO = np.uint8(ord("0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One component's share of a scan.

    Attributes
    ----------
    differences, coefficients : HuffmanTable
        How its blocks are coded.
    written : HuffmanTable
        How the DC differences of the new scan are coded; mostly `differences`.
    flat : int
        DC value of a flat block that is black.
    blocks : int
        Its blocks in one unit of the scan.
    """

    differences: HuffmanTable
    coefficients: HuffmanTable
    written: HuffmanTable
    flat: int
    blocks: int


def flattened_scan(data: bytes, parts: Sequence[Part], touched: bytes, *, interval: int) -> bytes:
    """Entropy-coded data in which the blocks of touched units are flat.

    Parameters
    ----------
    data : bytes
        As it stands in the stream: stuffed, with its restart markers.
    parts : sequence of Part
        In the order of the scan.
    touched : bytes
        One byte for each unit of the scan; not 0 where it is made flat.
    interval : int
        Units between restart markers; 0 without any.

    Raises
    ------
    QuarantinedError
        Data that does not decode to so many units, or a table without a code for a flat block.
    KeyError
        `written` has no code for a difference that is needed.
    """
    pieces = _RESTART.split(data)
    intervals, markers = pieces[::2], pieces[1::2]
    step = interval or len(touched)
    if len(intervals) != -(-len(touched) // step):
        raise QuarantinedError(Reason.MALFORMED)
    new = [
        _flattened(content.replace(b"\xff\0", b"\xff"), parts, touched[at * step : (at + 1) * step])
        for at, content in enumerate(intervals)
    ]
    for at, marker in enumerate(markers):
        if marker[0] != 0xD0 + at % _RESTARTS:
            raise QuarantinedError(Reason.MALFORMED)
    joined = [new[0].replace(b"\xff", b"\xff\0")]
    for marker, content in zip(markers, new[1:], strict=True):
        joined += (b"\xff", marker, content.replace(b"\xff", b"\xff\0"))
    return b"".join(joined)


def _flattened(stream: bytes, parts: Sequence[Part], touched: bytes) -> bytes:  # noqa: C901 - one walk over bits: split up, its state would be passed around for every block
    words = words_of(stream + _ROOM)
    end = 8 * len(stream)
    tables: dict[int, tuple[bytes, NDArray[np.int16]]] = {}
    runs: dict[int, tuple[bytes, bytes]] = {}
    for part in parts:
        if id(part.differences) not in tables:
            tables[id(part.differences)] = differences_at(part.differences, words)
        if id(part.coefficients) not in runs:
            runs[id(part.coefficients)] = coefficients_at(part.coefficients, words)
        if END_OF_BLOCK not in part.coefficients.codes:
            raise QuarantinedError(Reason.BURNED_IN)
    units = [
        (
            index,
            part,
            tables[id(part.differences)][0],
            tables[id(part.differences)][1].data,
            *runs[id(part.coefficients)],
            part.written is part.differences,
        )
        for index, part in enumerate(parts)
        for _ in range(part.blocks)
    ]
    output = _Bits(stream)
    was, now = [0] * len(parts), [0] * len(parts)
    at = 0
    for flat in touched:
        for index, part, steps, differences, lengths, growths, same in units:
            start = at
            step = steps[at]
            if not step:
                raise QuarantinedError(Reason.MALFORMED)
            value = was[index] + differences[at]
            at += step
            behind = at
            k = 1
            while k < _COEFFICIENTS:
                k += growths[at]
                at += lengths[at]
            if at > end or _COEFFICIENTS < k <= BLOCK_ENDS:
                raise QuarantinedError(Reason.MALFORMED)
            if flat:
                code = coded_difference(part.written, part.flat - now[index])
                output.put(start, code + part.coefficients.codes[END_OF_BLOCK], at)
                now[index] = part.flat
            else:
                if now[index] != was[index] or not same:
                    output.put(start, coded_difference(part.written, value - now[index]), behind)
                now[index] = value
            was[index] = value
    return output.finished(at)


class _Bits:
    """Bits of one stream, some of them replaced."""

    def __init__(self, stream: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(stream, np.uint8))
        self._pieces: list[NDArray[np.uint8]] = []
        self._copied = 0

    def put(self, start: int, new: str, stop: int) -> None:
        """Put `new` in place of the bits from `start` to `stop`."""
        if self._copied < start:
            self._pieces.append(self._bits[self._copied : start])
        self._pieces.append(np.frombuffer(new.encode("ascii"), np.uint8) - _ZERO)
        self._copied = stop

    def finished(self, end: int) -> bytes:
        """All bits up to `end`, filled up with ones."""
        self._pieces.append(self._bits[self._copied : end])
        bits = np.concatenate(self._pieces)
        filled = np.ones(-(-len(bits) // 8) * 8, np.uint8)
        filled[: len(bits)] = bits
        return np.packbits(filled).tobytes()
