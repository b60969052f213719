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
    wide = gallery.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1)
    unit = wide / np.maximum(lengths, 1)[:, None]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(unit), _BLOCK):
        for other in range(start, len(unit), _BLOCK):
            close = unit[start : start + _BLOCK] @ unit[other : other + _BLOCK].T >= alike
            rows, columns = np.nonzero(close)
            pairs += [
                (start + int(row), other + int(column))
                for row, column in zip(rows, columns, strict=True)
                if start + row < other + column
            ]
    return sorted(pairs)
