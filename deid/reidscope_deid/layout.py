"""Where a file differs from the one before it: the same bytes, but for the values of some elements.

Files of a series repeat each other nearly byte for byte. A layout is the bytes of one file cut at
the values that vary; another file fits it if every run between them is the same, whatever the
lengths of the values. A file that fits is walked by every parser as the first one was: each header
but the lengths of what varies is the same byte string.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORT, _LONG = 2, 4  # bytes of a length
_UNDEFINED = 0xFFFFFFFF


class Span(NamedTuple):
    """One element's place in the bytes.

    Attributes
    ----------
    tag : int
        Group in the upper, element in the lower 16 bits.
    length_at : int
        Where the field of its length stands.
    value, stop : int
        Where its value starts, and what follows it.
    """

    tag: int
    length_at: int
    value: int
    stop: int


@dataclass(frozen=True, slots=True, repr=False)
class Layout:
    """Runs of bytes that do not vary, and how long the lengths between them are.

    Attributes
    ----------
    runs : tuple of bytes
        Each ends where the length of the next varying value stands; the last is what follows.
    sizes : tuple of int
        Bytes of each length.
    order : str
        Their byte order.
    """

    runs: tuple[bytes, ...]
    sizes: tuple[int, ...]
    order: Literal["little", "big"]

    @classmethod
    def of(
        cls, data: bytes, varying: Sequence[Span], end: int, order: Literal["little", "big"]
    ) -> Layout:
        """Cut a file at the values that vary.

        Parameters
        ----------
        data : bytes
            The file.
        varying : sequence of Span
            In order.
        end : int
            How far the last run goes; what follows is not part of the layout.
        order : str
            Byte order of lengths.
        """
        runs, sizes, at = [], [], 0
        for span in varying:
            runs.append(data[at : span.length_at])
            sizes.append(_LONG if span.value - span.length_at == _LONG else _SHORT)
            at = span.stop
        return cls((*runs, data[at:end]), tuple(sizes), order)

    def fit(self, data: bytes) -> tuple[list[tuple[int, int]], int] | None:
        """Range of each varying value, and where the last run ends; None if a byte is different."""
        at, order = 0, self.order
        found: list[tuple[int, int]] = []
        for run, size in zip(self.runs, self.sizes, strict=False):
            if not data.startswith(run, at):
                return None
            at += len(run)
            length = int.from_bytes(data[at : at + size], order)
            at += size
            if length == _UNDEFINED or at + length > len(data):
                return None
            found.append((at, at + length))
            at += length
        last = self.runs[-1]
        return (found, at + len(last)) if data.startswith(last, at) else None
