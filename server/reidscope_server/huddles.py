"""How often noise, and people, leave many counts of a table close together.

Counts huddle if many of them lie in one window of w + 1 numbers. With W(z) the probability that one
count falls into the window that starts at z, J cells have m in one window with a probability of at
most

    C(J, m) sum_z W(z)^m

whatever the true counts are: by Hölder's inequality a product of windows of one law, each moved by
a true count, sums to no more than if all true counts were equal. For W = P (w = 0) and m = J that
is the probability itself that J equal true counts are released as one number, so that no test with
the same false-alarm rate refuses a constant table of fewer cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reidscope_server.noise_tails import alike_by_chance

Law = NDArray[np.float64]
_TAIL = 1e-30
_MEANS = 60
_MOST_PEOPLE = 2_000  # mean count of a cell up to which people's spread is worked out
EVEN_RANGES = (0, *(2**step for step in range(10)))
"""Ranges of an even table that are looked at, whatever the counts are."""
_RANGES = (0, 1, 2, 4, 8, 16, 32, 64, 128)  # fixed, whatever the counts are


@lru_cache(maxsize=64)
def _noise(epsilon: float) -> Law:
    """Discrete Laplace noise's law on -reach..reach, all but 1e-30 of it."""
    reach = min(20_000, math.ceil(-math.log(_TAIL) / epsilon))
    law: Law = math.tanh(epsilon / 2) * np.exp(-epsilon * np.abs(np.arange(-reach, reach + 1)))
    return law


def widths(epsilon: float) -> tuple[int, ...]:
    """Windows that are looked at, fixed by epsilon alone: 0, 1, 2, 4, ... up to noise's scale."""
    return tuple(width for width in _RANGES if width <= 1 / epsilon)


def most_in_a_window(counts: Sequence[int], width: int) -> int:
    """Return how many counts one window of `width` + 1 numbers holds at most."""
    ordered = np.sort(np.asarray(counts))
    return int(
        (np.searchsorted(ordered, ordered + width, side="right") - np.arange(len(ordered))).max()
    )


def huddled_by_chance(counts: Sequence[int], epsilon: float) -> float:
    """Bound the probability that noise leaves counts huddled as closely as these.

    Returns
    -------
    float
        At most 1: over `widths`, the least bound of the module, times the number of widths. It
        holds whatever the true counts are: for every a, P(result <= a) <= a.
    """
    looked_at = widths(epsilon)
    least = 1.0
    for width in looked_at:
        together = most_in_a_window(counts, width)
        chance = _in_a_window(len(counts), together, epsilon, width)
        if width == 0:
            chance = min(chance, alike_by_chance(len(counts), together, epsilon))
        least = min(least, chance)
    return min(1.0, len(looked_at) * least)


@lru_cache(maxsize=4096)
def _in_a_window(cells: int, together: int, epsilon: float, width: int) -> float:
    if together <= 1:
        return 1.0
    inside = np.convolve(_noise(epsilon), np.ones(width + 1))
    chosen = math.lgamma(cells + 1) - math.lgamma(together + 1) - math.lgamma(cells - together + 1)
    return _times(chosen, float((inside**together).sum()))


def _times(logarithm: float, chance: float) -> float:
    return min(1.0, math.exp(min(0.0, logarithm + math.log(chance)))) if chance > 0 else 0.0


def even_by_chance(counts: Sequence[int], epsilon: float) -> float:
    """Bound the probability that people, and noise, fill all cells as evenly as these.

    A model stands behind this one: people come one by one, so that a cell's true count is Poisson,
    and all cells have one mean, the likeliest case. Real cells differ, which makes it less likely.

    Returns
    -------
    float
        At most 1: the largest over all means of P(all counts in one window of the range of these,
        none below the least of these), times the number of ranges that are looked at. 1 where the
        range is wider, and where the least count is not positive: nobody is spread there.
    """
    low, spread = min(counts), max(counts) - min(counts)
    fitting = [width for width in EVEN_RANGES if width >= spread]
    if low <= 0 or not fitting:
        return 1.0
    return min(
        1.0, len(EVEN_RANGES) * _even(len(counts), min(low, _MOST_PEOPLE), epsilon, fitting[0])
    )


@lru_cache(maxsize=1024)
def _even(cells: int, low: int, epsilon: float, width: int) -> float:
    # The mean that makes it likeliest lies within the window or a little below it.
    spread = math.sqrt(low + width + 2 / epsilon**2)
    means = np.linspace(max(0.0, low - 3 * spread), low + width + spread, _MEANS)
    return max(_evenly(cells, low, epsilon, width, float(mean)) for mean in means)


def _evenly(cells: int, low: int, epsilon: float, width: int, mean: float) -> float:
    most = math.ceil(mean + 12 * math.sqrt(mean + 1) + 20)
    people = np.arange(most + 1)
    factorials = np.cumsum(np.log(np.maximum(people, 1)))
    law = np.exp(people * math.log(max(mean, 1e-300)) - mean - factorials)
    noise = _noise(epsilon)
    counts = np.convolve(law, noise)  # of numbers from -reach on
    inside = np.convolve(counts, np.ones(width + 1))[width:]  # the window that starts at each
    start = low + (len(noise) - 1) // 2
    return float((inside[start:] ** cells).sum())


def together_by_chance(chances: Sequence[float]) -> float:
    """Put the chances of independent tables together.

    Returns
    -------
    float
        P(product of k uniform numbers <= product of `chances`), at most 1: noise is drawn for each
        table by itself.

    References
    ----------
    Fisher (1932): x sum_{i < k} (-log x)^i / i!, x the product.
    """
    logarithm = math.fsum(math.log(max(chance, 1e-300)) for chance in chances)
    terms = (
        math.exp(logarithm + i * math.log(-logarithm) - math.lgamma(i + 1))
        if logarithm
        else float(not i)
        for i in range(len(chances))
    )
    return min(1.0, math.fsum(terms))
