"""How many rows are unique in the population, guessed from the table alone.

Every guess rests on a model that a table may not follow; which one is used is Dankar's rule, that
did best on six clinical tables: Pitman up to a sampling fraction of 0.1, the smaller of Zayatz and
slide negative binomial above it.

References
----------
Dankar, El Emam, Neisa, Roffey, BMC Med Inform Decis Mak 12:66, 2012, and its appendix A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from reidscope_deid.tables.classes import Ints

_RULE = 0.1  # sampling fraction up to which Pitman's estimate is the one
_EDGE = 1e-6
_GOLDEN = (math.sqrt(5) - 1) / 2
_TURNS = 60  # of a golden section or a bisection: 2^-60 and 0.618^60 are below 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniqueness:
    """Estimated population uniques.

    Attributes
    ----------
    sampling_fraction : float
        As given.
    pitman, zayatz, snb : float or None
        Estimated uniques of the population; None where the model does not fit.
    method : str
        Which one Dankar's rule takes.
    population_uniques : float
        Its estimate.
    share : float
        Of the population.

    Privacy
    -------
    From exact counts: for the site alone (docs/privacy.md, "De-identification").
    """

    sampling_fraction: float
    pitman: float | None
    zayatz: float | None
    snb: float | None
    method: str
    population_uniques: float
    share: float


def estimate_uniques(sizes: Ints, sampling_fraction: float) -> Uniqueness:
    """Estimate the population's uniques by all three models, and choose.

    Parameters
    ----------
    sizes : ndarray of int64, shape (classes,)
        Rows of each class of the table, a simple random sample of the population.
    sampling_fraction : float
        In (0, 1].
    """
    people = sizes.sum() / sampling_fraction
    guesses = {
        "pitman": pitman_uniques(sizes, people),
        "zayatz": zayatz_uniques(sizes, people),
        "snb": snb_uniques(sizes, people),
    }
    if sampling_fraction <= _RULE:
        method = "pitman" if guesses["pitman"] is not None else "zayatz"
    else:
        method = min(
            (name for name in ("snb", "zayatz") if guesses[name] is not None),
            key=lambda name: guesses[name] or 0.0,
        )
    chosen = guesses[method] or 0.0
    return Uniqueness(
        sampling_fraction=sampling_fraction,
        method=method,
        population_uniques=chosen,
        share=float(chosen / people),
        **guesses,
    )


def zayatz_uniques(sizes: Ints, people: float) -> float:
    """Sample uniques x the chance that one is a population unique x population / rows.

    The chance is Bayes' rule over hypergeometric draws, with the table's own class sizes as those
    of the population: too high for small fractions, close from some 0.3 on.

    References
    ----------
    Zayatz, Estimation of the number of unique population elements using a sample, Census 1991.
    """
    kinds, counts = np.unique(sizes, return_counts=True)
    rows, single = int(sizes.sum()), int((sizes == 1).sum())
    if not single:
        return 0.0
    once = sum(
        int(count) * _drawn_once(int(size), rows, people)
        for size, count in zip(kinds, counts, strict=True)
    )
    chance = single * (rows / people) / once
    return float(single * chance * people / rows)


def pitman_uniques(sizes: Ints, people: float) -> float | None:
    """Give the expected singletons of a Pitman partition of the population, fitted to the table.

    The likelihood of (theta, alpha), 0 < alpha < 1 and theta > 0, is maximised by nested golden
    sections. None where every row is unique (or all are one class): it has no maximum then.

    References
    ----------
    Hoshino, Applying Pitman's sampling formula to microdata disclosure risk assessment,
    J. Official Statistics 17(4), 2001.
    """
    rows, number = int(sizes.sum()), len(sizes)
    kinds, counts = np.unique(sizes, return_counts=True)
    if 1 not in kinds:
        return 0.0
    if number in {1, rows}:
        return None
    inner = _Pitman(rows=rows, classes=number, kinds=kinds.astype(float), counts=counts)
    alpha = _highest(inner.profile, _EDGE, 1 - _EDGE)
    theta = math.exp(inner.best_theta(alpha))
    return math.exp(
        math.log(people)
        + math.lgamma(theta + alpha + people - 1)
        - math.lgamma(theta + people)
        + math.lgamma(theta + 1)
        - math.lgamma(theta + alpha)
    )


def snb_uniques(sizes: Ints, people: float) -> float | None:
    """K beta^alpha, where a class of the population has 1 + NegativeBinomial(alpha, beta) people.

    K, alpha and beta are those under which a Bernoulli sample has the table's classes, uniques and
    pairs (method of moments; Dankar's appendix takes K from Shlosser instead). None where no such
    parameters exist.

    References
    ----------
    Chen, Keller-McNulty, Estimation of identification disclosure risk in microdata, J. Official
    Statistics 14(1), 1998.
    """
    f = float(sizes.sum() / people)
    single, pairs, number = int((sizes == 1).sum()), int((sizes == 2).sum()), len(sizes)  # noqa: PLR2004 - pairs are two
    if not single:
        return 0.0
    if f >= 1:
        return float(single)
    if not pairs or number == single:
        return None

    def beta_of(alpha: float) -> float:
        share = single / number
        return _rising(lambda beta: _moments(alpha, beta, f)[0] - share, _EDGE, 1 - _EDGE)

    def surplus(log_alpha: float) -> float:
        alpha = math.exp(log_alpha)
        return _moments(alpha, beta_of(alpha), f)[1] - pairs / number

    low, high = -10.0, 10.0
    if surplus(low) * surplus(high) > 0:
        return None
    sign = 1.0 if surplus(high) > 0 else -1.0
    alpha = math.exp(_rising(lambda place: sign * surplus(place), low, high))
    beta = beta_of(alpha)
    classes = number / _moments(alpha, beta, f)[2]
    return float(min(classes * beta**alpha, people))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pitman:
    rows: int
    classes: int
    kinds: np.ndarray
    counts: np.ndarray

    def log_likelihood(self, theta: float, alpha: float) -> float:
        ratio = theta / alpha
        return (
            (self.classes - 1) * math.log(alpha)
            + math.lgamma(ratio + self.classes)
            - math.lgamma(ratio + 1)
            - math.lgamma(theta + self.rows)
            + math.lgamma(theta + 1)
        )

    def best_theta(self, alpha: float) -> float:
        limit = math.log(self.rows) + 5
        return _highest(lambda log: self.log_likelihood(math.exp(log), alpha), -10.0, limit)

    def profile(self, alpha: float) -> float:
        within = sum(
            int(count) * (math.lgamma(size - alpha) - math.lgamma(1 - alpha))
            for size, count in zip(self.kinds, self.counts, strict=True)
        )
        return self.log_likelihood(math.exp(self.best_theta(alpha)), alpha) + within


def _moments(alpha: float, beta: float, f: float) -> tuple[float, float, float]:
    """Uniques and pairs as shares of the sample's classes, and classes as a share of K."""
    scale = 1 - (1 - beta) * (1 - f)
    level = (beta / scale) ** alpha
    seen = 1 - (1 - f) * level
    rest = (1 - beta) * (1 - f)
    one = f * level * (1 + alpha * rest / scale)
    two = alpha * f * f * (1 - beta) * level / (2 * scale * scale) * (2 - (1 - alpha) * rest)
    return one / seen, two / seen, seen


def _drawn_once(size: int, rows: int, people: float) -> float:
    """Hypergeometric chance that a sample of `rows` of `people` holds one of a class of `size`."""
    others = people - size
    if others < rows - 1:
        return 0.0
    return math.exp(math.log(size) + _log_choose(others, rows - 1) - _log_choose(people, rows))


def _log_choose(n: float, k: float) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _highest(function: Callable[[float], float], low: float, high: float) -> float:
    """Place of the maximum of a unimodal function."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_TURNS):
        if at_left < at_right:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
        else:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
    return (low + high) / 2


def _rising(function: Callable[[float], float], low: float, high: float) -> float:
    """Zero of a rising function."""
    for _ in range(_TURNS):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
