"""Thousands of byte strings looked for in a file at once.

Every window of eight bytes is hashed; those that could end one of the strings are compared in full.
So the time depends on the bytes, hardly on how many strings there are. Strings that share a long
root, as UIDs do, differ in how they end: that is why it is the end that is hashed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

WINDOW = 8  # bytes; shorter strings are not looked for
_BITS = 20
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(64 - _BITS)
_CHUNK = 1 << 20  # bytes


class Needles:
    """Byte strings to look for.

    Parameters
    ----------
    values : iterable of bytes
        At least `WINDOW` bytes each.

    Privacy
    -------
    Holds what it is given, identifiers mostly: has no repr and no serialiser (docs/privacy.md,
    "De-identification").
    """

    __slots__ = ("_by_end", "_ends", "_possible")

    def __init__(self, values: Iterable[bytes]) -> None:
        self._by_end: dict[int, list[bytes]] = {}
        for value in values:
            self._by_end.setdefault(int.from_bytes(value[-WINDOW:], "little"), []).append(value)
        self._ends = np.sort(np.fromiter(self._by_end, dtype=np.uint64, count=len(self._by_end)))
        self._possible = np.zeros(1 << _BITS, dtype=bool)
        self._possible[_hashed(self._ends)] = True

    def __repr__(self) -> str:
        return "Needles(...)"

    def found_in(self, content: bytes) -> set[bytes]:
        """Those that stand in `content`, at any offset."""
        found: set[bytes] = set()
        if not self._by_end:
            return found
        for at, end in self._candidates(content):
            for value in self._by_end[end]:
                stop = at + WINDOW
                if value not in found and content[max(0, stop - len(value)) : stop] == value:
                    found.add(value)
        return found

    def _candidates(self, content: bytes) -> Iterator[tuple[int, int]]:
        for start in range(0, len(content) - WINDOW + 1, _CHUNK):
            count = min(_CHUNK, len(content) - WINDOW + 1 - start)
            windows: NDArray[np.uint64] = np.ndarray(
                (count,), dtype="<u8", buffer=content, offset=start, strides=(1,)
            )
            near = np.flatnonzero(self._possible[_hashed(windows)])
            ends = windows[near]
            place = np.searchsorted(self._ends, ends) % len(self._ends)
            for index in np.flatnonzero(self._ends[place] == ends):
                yield start + int(near[index]), int(ends[index])


def _hashed(windows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    hashed: NDArray[np.uint64] = (windows * _FACTOR) >> _SHIFT
    return hashed
