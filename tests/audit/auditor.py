"""What somebody who sees releases alone can prove about their epsilon.

    canaries = Canaries.drawn(cells)             a coin a cell: one person, or nobody
    counts = ...                                 what was released of `canaries.people()`
    proved = audited(counts - canaries.base, canaries.present)

A cell of the table stands for a whole experiment of its own: two neighbouring sites that differ in
the one person of that cell. Two lower bounds of epsilon are proved, each at half the error:

- two worlds: for each threshold, ln P(event | present) / P(event | absent), by Clopper-Pearson
  intervals, with Bonferroni over thresholds and directions;
- one run: of r guesses the share that is right is at most e^epsilon / (1 + e^epsilon).

`audited` exceeds the true epsilon with a chance of at most ERROR: one in a thousand. How often it
does in fact, and what it catches, is measured by benchmarks/audit_power.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ERROR = 1e-3
THRESHOLDS = tuple(cut + 0.5 for cut in range(-6, 6))
CERTAIN = 7.0
"""A bound that is reported instead of infinity: a cell that tells for sure."""

Numbers = NDArray[np.float64]
Coins = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """Cells with one person, or nobody, by a coin, beside people who are there anyway.

    Attributes
    ----------
    present : ndarray of bool
        One coin a cell.
    base : ndarray of int
        People of the cell whatever its coin says: 4 in every eighth cell, where a rule such as
        "fewer than 5 are not shown" gives the canary away; 0 elsewhere.
    """

    present: Coins
    base: NDArray[np.int64]

    @classmethod
    def drawn(cls, cells: int) -> Self:
        """Toss the coins."""
        base = np.zeros(cells, dtype=np.int64)
        base[::8] = 4
        return cls(present=np.random.default_rng().random(cells) < 0.5, base=base)

    def people(self) -> list[int]:
        """Return everybody's cell."""
        return np.repeat(np.arange(len(self.base)), self.base + self.present).tolist()


def audited(statistic: Numbers, present: Coins) -> float:
    """Lower bound of epsilon, at confidence 1 - ERROR.

    Parameters
    ----------
    statistic : ndarray
        One number a cell: the larger, the likelier that its canary is present.
    present : ndarray of bool
        Whether it is.
    """
    return max(
        two_worlds(statistic, present, error=ERROR / 2),
        one_run(statistic, present, error=ERROR / 2),
    )


def two_worlds(statistic: Numbers, present: Coins, *, error: float) -> float:
    """Bound by the thresholds at which the two worlds differ most."""
    level = error / (4 * len(THRESHOLDS))
    bound = 0.0
    for cut in THRESHOLDS:
        above = statistic > cut
        for event in (above, ~above):
            for here in (present, ~present):
                low = _at_least(int(event[here].sum()), int(here.sum()), level / 2)
                high = 1 - _at_least(int((~event)[~here].sum()), int((~here).sum()), level / 2)
                if low > 0:
                    bound = max(bound, math.log(low / high) if high > 0 else CERTAIN)
    return min(bound, CERTAIN)


def one_run(statistic: Numbers, present: Coins, *, error: float) -> float:
    """Bound by how many guesses are right: about every cell, or about the clearest ones alone."""
    guesses = [(statistic > 0.5, np.ones_like(present))]
    guesses += [
        (statistic > 0.5, np.abs(statistic - 0.5) > margin) for margin in (1.0, 2.0, 3.0, 4.0)
    ]
    bound = 0.0
    for said, asked in guesses:
        right, of = int((said == present)[asked].sum()), int(asked.sum())
        share = _at_least(right, of, error / len(guesses))
        if share > 0.5:
            bound = max(bound, math.log(share / (1 - share)) if share < 1 else CERTAIN)
    return min(bound, CERTAIN)


def agreement(first: Numbers, second: Numbers, epsilon: float) -> float:
    """Chance that fresh noise of two releases agrees in as many cells, exact counts being equal.

    A fixed seed leaves no trace in one release; in two it shows the difference of two cohorts
    exactly.
    """
    a = math.exp(-epsilon)
    by_chance = ((1 - a) / (1 + a)) ** 2 * (1 + a * a) / (1 - a * a)
    agreed = int((first == second).sum())
    return float(stats.binom.sf(agreed - 1, len(first), by_chance))


def _at_least(hits: int, of: int, level: float) -> float:
    """Clopper-Pearson's lower bound of a share."""
    return float(stats.beta.ppf(level, hits, of - hits + 1)) if hits else 0.0
