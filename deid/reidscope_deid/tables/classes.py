"""Equivalence classes: rows that agree in every quasi-identifier, and what they hold.

Rows are told apart by one integer each, the mixed-radix number of their codes. Where that range is
small it is counted by addressing, else by sorting: 10^6 rows in a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_LARGEST_KEY = 1 << 62
_ADDRESSED = 1 << 16  # keys worth an array of counts, however few the rows
_PER_ROW = 8  # keys a row worth an array of counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """A partition of rows.

    Attributes
    ----------
    of_row : ndarray of int64, shape (rows,)
        Class of each row, 0 <= class < number of classes.
    sizes : ndarray of int64, shape (classes,)
        Rows (or their weights) of each class; positive.
    """

    of_row: Ints
    sizes: Ints

    @property
    def rows(self) -> int:
        """Rows in all."""
        return int(self.sizes.sum())

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How often each value of a sensitive attribute occurs in each class: pairs that occur.

    Attributes
    ----------
    classes, values, counts : ndarray of int64, shape (pairs,)
        Class, value and rows; ascending by class, then by value.
    sizes : ndarray of int64, shape (classes,)
        Rows of each class.
    overall : ndarray of int64, shape (values,)
        Rows of each value in the whole table.

    Privacy
    -------
    Exact; names rows of the site's people by number alone (docs/privacy.md, "De-identification").
    """

    classes: Ints
    values: Ints
    counts: Ints
    sizes: Ints
    overall: Ints


def group(codes: Sequence[NDArray[np.integer]], weights: Ints | None = None) -> Classes:
    """Partition rows by their codes.

    Parameters
    ----------
    codes : sequence of ndarray, each of shape (rows,)
        Non-negative; one array a quasi-identifier, at least one.
    weights : ndarray of int64, optional
        Rows that each entry stands for; 1 if not given.
    """
    key = codes[0].astype(np.int64)
    span = int(key.max(initial=0)) + 1
    for column in codes[1:]:
        width = int(column.max(initial=0)) + 1
        if span * width > _LARGEST_KEY:
            key, kinds = _compressed(key, span)
            span = kinds
        key = key * width + column
        span *= width
    of_row, kinds = _compressed(key, span)
    if weights is None:
        return Classes(of_row=of_row, sizes=np.bincount(of_row, minlength=kinds))
    return Classes(of_row=of_row, sizes=summed(of_row, weights, kinds))


def spread(
    of_row: Ints,
    values: NDArray[np.integer],
    *,
    classes: int,
    kinds: int,
    weights: Ints | None = None,
) -> Spread:
    """Count a sensitive attribute's values in each class.

    Parameters
    ----------
    of_row : ndarray of int64, shape (entries,)
        Class of each entry.
    values : ndarray, shape (entries,)
        0 <= value < `kinds`.
    classes, kinds : int
        How many there are of each.
    weights : ndarray of int64, optional
        Rows that each entry stands for.
    """
    key = of_row * kinds + values
    span = classes * kinds
    if span <= max(_ADDRESSED, _PER_ROW * len(key)):
        table = np.bincount(key, minlength=span) if weights is None else summed(key, weights, span)
        present = np.flatnonzero(table)
        counts = table[present]
    elif weights is None:
        present, counts = np.unique(key, return_counts=True)
    else:
        present, place = np.unique(key, return_inverse=True)
        counts = summed(place, weights, len(present))
    owners, kept = np.divmod(present, kinds)
    return Spread(
        classes=owners,
        values=kept,
        counts=counts,
        sizes=summed(owners, counts, classes),
        overall=summed(kept, counts, kinds),
    )


def summed(place: Ints, weights: Ints, length: int) -> Ints:
    """Sum integers by place, exactly (below 2^53)."""
    return np.bincount(place, weights=weights, minlength=length).astype(np.int64)


def _compressed(key: Ints, span: int) -> tuple[Ints, int]:
    """Renumber keys without gaps, keeping their order."""
    if span <= max(_ADDRESSED, _PER_ROW * len(key)):
        present = np.zeros(span, dtype=bool)
        present[key] = True
        number = np.cumsum(present) - 1
        return number[key], int(number[-1]) + 1
    distinct, place = np.unique(key, return_inverse=True)
    return place.astype(np.int64, copy=False), len(distinct)
