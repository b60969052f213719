"""Pairs of a gallery that may be one person twice: a mate could lose to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIKE = 0.9
"""Cosine from which two faces are looked at by a person; different people hardly reach .8."""

_BLOCK = 4096


def near_identical(gallery: NDArray[np.int8], *, alike: float = ALIKE) -> list[tuple[int, int]]:
    """Find pairs of faces whose cosine is at least `alike`.

    Parameters
    ----------
    gallery : ndarray of int8
        (M, d), public.
    alike : float
        Cosine, at most 1.

    Returns
    -------
    list of tuple of int
        Rows (i, j) with i < j, ascending; memory does not grow with M but by them.
    """
    unit = _unit(gallery)
    pairs = []
    for start in range(0, len(unit), _BLOCK):
        for other in range(start, len(unit), _BLOCK):
            pairs += _close(unit, start, unit, other, alike)
    return sorted(pair for pair in pairs if pair[0] < pair[1])


def alike_in(
    faces: NDArray[np.int8], gallery: NDArray[np.int8], *, alike: float = ALIKE
) -> list[tuple[int, int]]:
    """Find pairs (i, j) of row i of `faces`, (n, d), and row j of `gallery`, (M, d)."""
    ours, theirs = _unit(faces), _unit(gallery)
    pairs = []
    for start in range(0, len(ours), _BLOCK):
        for other in range(0, len(theirs), _BLOCK):
            pairs += _close(ours, start, theirs, other, alike)
    return sorted(pairs)


def _unit(rows: NDArray[np.int8]) -> NDArray[np.float32]:
    wide = rows.astype(np.float32)
    unit: NDArray[np.float32] = wide / np.maximum(np.linalg.norm(wide, axis=1), 1)[:, None]
    return unit


def _close(
    ours: NDArray[np.float32], start: int, theirs: NDArray[np.float32], other: int, alike: float
) -> list[tuple[int, int]]:
    close = ours[start : start + _BLOCK] @ theirs[other : other + _BLOCK].T >= alike
    rows, columns = np.nonzero(close)
    return [
        (start + int(row), other + int(column)) for row, column in zip(rows, columns, strict=True)
    ]
