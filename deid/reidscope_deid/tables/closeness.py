"""t-closeness: how far a class's distribution of a sensitive attribute is from the table's.

The distance is the earth mover's, over values that occur in the table. None of it needs a class by
value matrix: the work is of the order of the pairs that occur.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidscope_deid.tables.classes import Floats, Ints, Spread

from reidscope_deid.tables.classes import spread as spread_of


def equal_distance(spread: Spread) -> Floats:
    """Distance of each class where any two values are 1 apart, shape (classes,), in [0, 1].

    Half the sum of |q - p|, which is the sum of q - p where it is positive.

    References
    ----------
    Li, Li, Venkatasubramanian, t-Closeness, ICDE 2007, section 5.2.
    """
    inside = spread.counts / spread.sizes[spread.classes]
    surplus = inside - spread.overall[spread.values] / spread.overall.sum()
    sums = np.bincount(spread.classes, weights=np.maximum(surplus, 0), minlength=len(spread.sizes))
    return np.asarray(sums, dtype=np.float64)


def ordered_distance(spread: Spread) -> Floats:
    """Distance of each class where the i-th and j-th value are |i - j| / (m - 1) apart.

    Parameters
    ----------
    spread : Spread
        Its values must be numbered in their order.

    Returns
    -------
    ndarray, shape (classes,)
        In [0, 1]; sum over j of |cumulative q - cumulative p| / (m - 1), m the values that occur.

    References
    ----------
    Li, Li, Venkatasubramanian, t-Closeness, ICDE 2007, section 5.1.
    """
    occurs = spread.overall > 0
    steps = int(occurs.sum()) - 1
    if steps < 1:
        return np.zeros(len(spread.sizes))
    table = np.cumsum(spread.overall) / spread.overall.sum()
    # Between two of its values a class's cumulative share is level, and the table's rises: one
    # search finds where they cross, two prefix sums give the area between them.
    number = np.concatenate(([0.0], np.cumsum(occurs)))
    area = np.concatenate(([0.0], np.cumsum(np.where(occurs, table, 0.0))))
    begin, end, level, owner = _runs(spread)
    cross = np.clip(np.searchsorted(table, level), begin, end)
    between = (
        level * (number[cross] - number[begin])
        - (area[cross] - area[begin])
        + (area[end] - area[cross])
        - level * (number[end] - number[cross])
    )
    sums = np.bincount(owner, weights=between, minlength=len(spread.sizes))
    return np.asarray(np.maximum(sums, 0) / steps)


def hierarchical_distance(spread: Spread, levels: Sequence[Ints]) -> Floats:
    """Distance of each class where two values are as far as the lowest group they share is high.

    What a class has too much of is matched inside the smallest group that can take it. With all
    leaves at one depth H that sum is the mean of the equal distances at the heights 0 .. H - 1.

    Parameters
    ----------
    spread : Spread
        One sensitive attribute.
    levels : sequence of ndarray, each of shape (values,)
        Group of every value, from the value itself up; the root, one group, is left out.

    Returns
    -------
    ndarray, shape (classes,)
        In [0, 1].

    References
    ----------
    Li, Li, Venkatasubramanian, t-Closeness, ICDE 2007, section 5.2.
    """
    distances = [
        equal_distance(
            replace(
                spread_of(
                    spread.classes,
                    groups[spread.values],
                    classes=len(spread.sizes),
                    kinds=int(groups.max()) + 1,
                    weights=spread.counts,
                ),
                overall=np.bincount(groups, weights=spread.overall).astype(np.int64),
            )
        )
        for groups in levels
    ]
    return np.asarray(np.mean(distances, axis=0))


def _runs(spread: Spread) -> tuple[Ints, Ints, Floats, Ints]:
    """Find where each class's cumulative share is level: begin, end, level, class of every run."""
    pairs, kinds = len(spread.classes), len(spread.overall)
    first = np.ones(pairs, dtype=bool)
    first[1:] = spread.classes[1:] != spread.classes[:-1]
    starts = np.flatnonzero(first)
    running = np.cumsum(spread.counts)
    before = np.zeros(pairs, dtype=np.int64)
    before[starts[1:]] = running[starts[1:] - 1]
    held = running - np.maximum.accumulate(before)
    end = np.full(pairs, kinds)
    end[:-1][~first[1:]] = spread.values[1:][~first[1:]]
    owner = spread.classes
    return (
        np.concatenate((spread.values, np.zeros(len(starts), dtype=np.int64))),
        np.concatenate((end, spread.values[starts])),
        np.concatenate((held / spread.sizes[owner], np.zeros(len(starts)))),
        np.concatenate((owner, owner[starts])),
    )
