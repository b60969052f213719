"""l-diversity and its kin: how much a class gives away of a sensitive attribute.

Every function takes a `Spread` and gives one figure a class; the table's figure is the worst one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from reidscope_deid.tables.classes import Floats, Ints, Spread


def distinct_values(spread: Spread) -> Ints:
    """Different values in each class, shape (classes,); l is the smallest.

    References
    ----------
    Machanavajjhala, Kifer, Gehrke, Venkitasubramaniam, l-Diversity, ACM TKDD 1(1), 2007.
    """
    return np.bincount(spread.classes, minlength=len(spread.sizes))


def effective_values(spread: Spread) -> Floats:
    """Exponential of each class's entropy, shape (classes,): entropy l is the smallest, no integer.

    References
    ----------
    Machanavajjhala et al. 2007, definition 4.1: -sum p log p >= log l in every class.
    """
    share = spread.counts / spread.sizes[spread.classes]
    entropy = -np.bincount(
        spread.classes, weights=share * np.log(share), minlength=len(spread.sizes)
    )
    return np.asarray(np.exp(entropy))


def recursive_ratio(spread: Spread, l: int) -> Floats:  # noqa: E741 - the literature's own name
    """r_1 / (r_l + ... + r_m) of each class, shape (classes,), r_1 the most frequent value.

    The table is recursively (c, l)-diverse for every c above the largest; infinite where a class
    has fewer than `l` values.

    Parameters
    ----------
    spread : Spread
        One sensitive attribute.
    l : int
        At least 1.

    References
    ----------
    Machanavajjhala et al. 2007, definition 4.2: r_1 < c (r_l + ... + r_m).
    """
    order = np.lexsort((-spread.counts, spread.classes))
    owner, count = spread.classes[order], spread.counts[order]
    start = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=len(spread.sizes)))))[:-1]
    rank = np.arange(len(owner)) - start[owner]
    tail = np.bincount(owner, weights=count * (rank >= l - 1), minlength=len(spread.sizes))
    first = np.bincount(owner, weights=count * (rank == 0), minlength=len(spread.sizes))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(first / tail)


def largest_share(spread: Spread) -> Floats:
    """Share of the most frequent value in each class, shape (classes,): alpha is the largest.

    References
    ----------
    Wong, Li, Fu, Wang, (alpha, k)-anonymity, KDD 2006.
    """
    share = np.zeros(len(spread.sizes))
    np.maximum.at(share, spread.classes, spread.counts / spread.sizes[spread.classes])
    return share


def relative_gain(spread: Spread) -> Floats:
    """Largest (q - p) / p in each class, shape (classes,): basic beta is the largest.

    q is a value's share in the class, p in the table.

    References
    ----------
    Cao, Karras, Publishing microdata with a robust privacy guarantee, VLDB 2012, definition 2.
    """
    gain = np.zeros(len(spread.sizes))
    np.maximum.at(gain, spread.classes, _ratios(spread) - 1)
    return gain


def log_ratio(spread: Spread) -> Floats:
    """Largest |log(q / p)| of the values that occur in each class, shape (classes,).

    The strict measure is infinite as soon as a value is absent from a class; over the values that
    occur it is what peers report as delta-disclosure.

    References
    ----------
    Brickell, Shmatikov, The cost of privacy, KDD 2008.
    """
    largest = np.zeros(len(spread.sizes))
    np.maximum.at(largest, spread.classes, np.abs(np.log(_ratios(spread))))
    return largest


def _ratios(spread: Spread) -> Floats:
    inside = spread.counts / spread.sizes[spread.classes]
    return np.asarray(inside / (spread.overall[spread.values] / spread.overall.sum()))
