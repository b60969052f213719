"""Which noise is narrower for a study: discrete Laplace, or discrete Gaussian under zCDP.

Computed for the study's own tables and epsilon, never assumed. A person has one cell in every
table, so that a table's counts have sensitivity 1 in the L1 and in the L2 norm; Laplace's losses
add up (epsilon), Gaussian's squares do (rho), so that Gaussian noise pays for many tables alone.
The coordinator plans without OpenDP (265 MB): this is OpenDP's own conversion, tested against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from reidscope_protocols.errors import InputError
from reidscope_protocols.privacy import NANO
from reidscope_server.pooling import noise_variance

DELTA = 1e-6
"""Chance that a Gaussian study is allowed to break its epsilon; pure epsilon needs none."""

_MOST_TABLES = 1000
_HALVINGS = 100
_SMALLEST_ALPHA = 1.01  # OpenDP's own: nearer to 1 gains nothing and cancels
_WIDE_SIGMA = 4.0
_NO_NOISE = 1e-100  # people: an epsilon of hundreds leaves less than a float can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNoise:
    """Noise of one count of one table at one site, by either mechanism, at the study's total loss.

    Attributes
    ----------
    laplace_sd, gaussian_sd : float
        Standard deviations, people.
    """

    table: str
    cells: int
    epsilon_nano: int
    laplace_sd: float
    gaussian_sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MechanismChoice:
    """Both mechanisms at one total loss.

    Attributes
    ----------
    epsilon_nano : int
        Of the whole study: pure for Laplace, at `delta` for Gaussian.
    rho : float
        zCDP that this epsilon allows at `delta`.
    tables : tuple of TableNoise
        The Gaussian's budget is split so that every table's noise grows by one factor.
    gaussian_from : int or None
        So many equal tables at the same total loss from which Gaussian noise is narrower; None
        beyond a thousand.
    """

    epsilon_nano: int
    delta: float
    rho: float
    tables: tuple[TableNoise, ...]
    gaussian_from: int | None

    @property
    def factor(self) -> float:
        """Gaussian noise over Laplace noise: above 1, Laplace is narrower."""
        return self.tables[0].gaussian_sd / self.tables[0].laplace_sd

    @property
    def narrower(self) -> str:
        """Name of the mechanism with less noise."""
        return "discrete Laplace" if self.factor >= 1 else "discrete Gaussian"


def compare_mechanisms(
    tables: Sequence[tuple[str, int, int]], *, delta: float = DELTA
) -> MechanismChoice:
    """Compare both mechanisms for tables of (name, cells, nano-epsilon).

    Raises
    ------
    InputError
        `delta` is not strictly between 0 and 1.
    """
    if not 0 < delta < 1:
        raise InputError(
            "delta", got="a number outside 0 to 1", expected="such as 1e-6", do="correct --delta"
        )
    total = sum(nano for _, _, nano in tables)
    rho = rho_within(total / NANO, delta)
    laplace = [max(math.sqrt(noise_variance(nano)), _NO_NOISE) for _, _, nano in tables]
    # sigma = factor * (Laplace's sd), table by table, and sum of 1 / (2 sigma^2) = rho
    factor = math.sqrt(sum(1 / (2 * sd * sd) for sd in laplace) / rho)
    return MechanismChoice(
        epsilon_nano=total,
        delta=delta,
        rho=rho,
        tables=tuple(
            TableNoise(
                table=name,
                cells=cells,
                epsilon_nano=nano,
                laplace_sd=sd,
                gaussian_sd=math.sqrt(gaussian_variance(factor * sd)),
            )
            for (name, cells, nano), sd in zip(tables, laplace, strict=True)
        ),
        gaussian_from=next(
            (
                count
                for count in range(1, _MOST_TABLES + 1)
                if gaussian_variance(math.sqrt(count / (2 * rho)))
                < noise_variance(max(1, total // count))
            ),
            None,
        ),
    )


def delta_of(rho: float, epsilon: float) -> float:
    """Smallest delta that the zCDP conversion proves for `rho` at `epsilon`.

    Parameters
    ----------
    rho : float
        Positive.
    epsilon : float
        Not negative.

    References
    ----------
    Canonne, Kamath, Steinke, "The discrete Gaussian for differential privacy" (2020), corollary 13:
    the infimum over alpha > 1 of exp((alpha - 1)(alpha rho - epsilon)) / (alpha - 1)
    (1 - 1/alpha)^alpha, which is what `make_zCDP_to_approxDP` of OpenDP computes.
    """
    # The logarithm's derivative in alpha grows with alpha: its root is found by halving.
    low, high = _SMALLEST_ALPHA, 2.0 + (epsilon + 1) / (2 * rho)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if (2 * middle - 1) * rho - epsilon + math.log1p(-1 / middle) < 0:
            low = middle
        else:
            high = middle
    logarithm = (
        (high - 1) * (high * rho - epsilon) - math.log(high - 1) + high * math.log1p(-1 / high)
    )
    return min(1.0, math.exp(min(logarithm, 0.0)))


@cache
def rho_within(epsilon: float, delta: float) -> float:
    """Largest zCDP loss that is within (`epsilon`, `delta`)."""
    low, high = 0.0, epsilon + math.log(1 / delta) + 1
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        if delta_of(middle, epsilon) <= delta:
            low = middle
        else:
            high = middle
    return low


def gaussian_variance(sigma: float) -> float:
    """Variance of the discrete Gaussian of parameter `sigma`, people squared."""
    if sigma > _WIDE_SIGMA:
        return sigma * sigma  # to 1e-100, says Poisson summation
    weights = [math.exp(-k * k / (2 * sigma * sigma)) for k in range(1, math.ceil(40 * sigma) + 2)]
    squares = sum(k * k * weight for k, weight in enumerate(weights, start=1))
    return 2 * squares / (1 + 2 * sum(weights))


def distributed_variance(epsilon_nano: int, *, sites: int, colluders: int = 0) -> float:
    """Variance of a securely summed count whose sites share ONE discrete Laplace.

    Parameters
    ----------
    epsilon_nano : int
        Of the table.
    sites : int
        K, all honest but for the tolerated `colluders`, t < K: each adds a 1/(K - t) share.

    Returns
    -------
    float
        K / (K - t) times one Laplace's, people squared; local noise has K times.
    """
    return noise_variance(epsilon_nano) * sites / (sites - colluders)
