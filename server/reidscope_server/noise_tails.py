"""How far noise alone can carry counts: bounds that hold whatever the true counts are.

Every bound is a function of epsilons and numbers of cells. A refusal that rests on one has a
false-alarm probability that anybody can recompute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

FALSE_ALARM = 1e-9
"""Of one policy and one release: an honest consortium of 500 sites sees none in its lifetime."""

COPY_ALARM = 1e-6
"""The same, of two sites with the same counts: their people's own spread is in it, as a model."""

EVEN_ALARM = 1e-6
"""The same, of a small table that is constant: with people's own spread as a model, too."""

_STEPS = 400


def sum_reach(noisy: Sequence[tuple[int, float]], false_alarm: float = FALSE_ALARM) -> float:
    """Bound the sum of many noisy counts' noise, on one side.

    Parameters
    ----------
    noisy : sequence of (int, float)
        Number of counts and their epsilon, one pair a table; signs do not matter.
    false_alarm : float
        In (0, 1).

    Returns
    -------
    float
        t with P(sum of the noise >= t) <= `false_alarm`, people.

    References
    ----------
    Chernoff's bound: min over s of (sum_i J_i log M_i(s) - log(false_alarm)) / s, with
    M_i(s) = (1 - a)^2 / ((1 - a e^s)(1 - a e^-s)), a = e^-epsilon, the moment generating function
    of discrete Laplace noise.
    """
    return _sum_reach(tuple(noisy), false_alarm)


@lru_cache(maxsize=1024)  # hundreds of sites send tables of the same shape
def _sum_reach(noisy: tuple[tuple[int, float], ...], false_alarm: float) -> float:
    least = min(epsilon for _, epsilon in noisy)
    return min(
        (
            math.fsum(
                cells * _log_moments(epsilon, least * step / _STEPS) for cells, epsilon in noisy
            )
            - math.log(false_alarm)
        )
        / (least * step / _STEPS)
        for step in range(1, _STEPS)
    )


def _log_moments(epsilon: float, s: float) -> float:
    return (
        2 * math.log(-math.expm1(-epsilon))
        - math.log(-math.expm1(s - epsilon))
        - math.log(-math.expm1(-s - epsilon))
    )


def likeliest(epsilon: float) -> float:
    """Probability of the value that discrete Laplace noise takes most often, zero.

    No two noisy counts agree, and none equals a given number, more often than this, whatever the
    true counts are: (1 - a) / (1 + a) = tanh(epsilon / 2).
    """
    return math.tanh(epsilon / 2)


def met_by_another_site(count: int, epsilon: float) -> float:
    """Probability that another site's noisy count of a cell equals this one, at most.

    Other people fall into the cell there. Their number spreads like a Poisson one about the same
    mean, the likeliest case; two such counts, noise included, agree as often as a normal difference
    of variance 2 (count + V) is nought, and never more often than `likeliest`.
    """
    noise = 2 * math.exp(-epsilon) / math.expm1(-epsilon) ** 2
    spread = max(count, 0) + noise
    return min(likeliest(epsilon), 1 / (2 * math.sqrt(math.pi * spread)))


def alike_by_chance(cells: int, alike: int, epsilon: float) -> float:
    """Bound the probability that at least `alike` of a table's noisy counts are one same number.

    Returns
    -------
    float
        (J / m) P(Binomial(J - 1, tanh(epsilon / 2)) >= m - 1), at most 1: whoever has m alike has m
        counts of which each is met by m - 1 others, and others meet it independently, none more
        often than `likeliest`.
    """
    if alike <= 1:
        return 1.0
    meets = min(likeliest(epsilon), 1 - 1e-15)
    tail = math.fsum(
        math.exp(
            math.lgamma(cells)
            - math.lgamma(met + 1)
            - math.lgamma(cells - met)
            + met * math.log(meets)
            + (cells - 1 - met) * math.log1p(-meets)
        )
        for met in range(alike - 1, cells)
    )
    return min(1.0, cells / alike * tail)
