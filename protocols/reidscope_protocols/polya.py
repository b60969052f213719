"""Polya shares: noise of which every site adds a part, so that the sum is discrete Laplace noise.

A share is X - Y with X and Y negative binomial, r = 1/(K - t) and a = e^-epsilon. K - t shares add
up to exactly one discrete Laplace of that epsilon (K sites, of which at most t collude). With all K
honest the sum carries a little more noise, which hides no less.

What is here is the law of a share and what follows from it, in decimals of 80 digits; drawing is
the site's (`reidscope_site.noise_shares`). The proofs are in docs/distributed-noise.md.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from functools import lru_cache

from reidscope_protocols.errors import ConfigError
from reidscope_protocols.privacy import NANO, PrivacyLoss, laplace_variance

SMALLEST_NANO = 10_000_000
"""Epsilon 0.01: below it the table of a share would have more than 11,000 entries."""

GREATEST_NANO = 100 * 10**9
"""Epsilon 100: above it a share is 0 but for chances that the table no longer holds."""

UNIFORM_BITS = 192
"""Random bits behind one draw; an entry of the table is off by less than 2^-192."""

FEWEST_HONEST = 2
"""One honest share alone would be the full noise: then every site may as well add it itself."""

_DIGITS = Context(prec=80)
_TAIL = Decimal(10) ** -45  # probability beyond the table, about 2^-149
_SLACK = Decimal(10) ** -12  # of a nano-epsilon; far above the error of 80 digits


@dataclass(frozen=True, slots=True, kw_only=True)
class PolyaShare:
    """The law of the noise that one of several sites adds to one count.

    Attributes
    ----------
    loss : PrivacyLoss
        Epsilon of the sum for counts of sensitivity 1; 0.01 to 100.
    parties : int
        Sites whose tables are added, K.
    tolerated : int
        Of these, how many may collude with the coordinator, t; K - t is at least 2.
    """

    loss: PrivacyLoss
    parties: int
    tolerated: int

    def __post_init__(self) -> None:
        fits = SMALLEST_NANO <= self.loss.nano <= GREATEST_NANO
        if not fits or not 0 <= self.tolerated <= self.parties:
            raise ConfigError(
                "distributed noise",
                got=f"epsilon {self.loss}, {self.tolerated} of {self.parties} sites colluding",
                expected="an epsilon of 0.01 to 100, no more colluders than sites",
                do="ask for another epsilon, or for local noise",
            )
        if self.honest < FEWEST_HONEST:
            raise ConfigError(
                "distributed noise",
                got=f"{self.honest} sites beyond the {self.tolerated} that may collude",
                expected=f"at least {FEWEST_HONEST}",
                do="ask more sites, tolerate fewer colluders, or use local noise",
            )

    @property
    def honest(self) -> int:
        """Shares that make up the whole noise, K - t."""
        return self.parties - self.tolerated

    def weights(self) -> tuple[Decimal, ...]:
        """P(X = 0), P(X = 1), ... of one half of a share, until less than 1e-45 is left."""
        return _weights(self.loss.nano, self.honest)

    def alone(self) -> PrivacyLoss:
        """Epsilon that one share gives by itself, if all other sites and the coordinator collude.

        The largest log-ratio of neighbouring probabilities of X - Y is the one at 0 (its pmf is
        log-convex on either side), rounded up to a nano-epsilon.
        """
        return PrivacyLoss(_alone_nano(self.loss.nano, self.honest))

    def variance(self) -> float:
        """Variance of the sum's noise with all K sites honest, people squared.

        K/(K - t) times that of one discrete Laplace, 2 a / (1 - a)^2.
        """
        return laplace_variance(self.loss.nano) * self.parties / self.honest


@lru_cache(maxsize=64)
def cumulative(share: PolyaShare) -> tuple[int, ...]:
    """P(X <= k) in units of 2^-192, rounded down; the last entry is the whole.

    A uniform integer u below 2^192 is turned into the first k with u < entry k. Against the exact
    law the total variation is below 2^-145 a draw: 10^9 draws stay below 2^-100.
    """
    whole = 1 << UNIFORM_BITS
    with localcontext(_DIGITS):
        sums = []
        total = Decimal(0)
        for weight in share.weights():
            total += weight
            sums.append(int((total * whole).to_integral_value(ROUND_FLOOR)))
    return (*(min(entry, whole) for entry in sums[:-1]), whole)


@lru_cache(maxsize=64)
def _weights(nano: int, honest: int) -> tuple[Decimal, ...]:
    with localcontext(_DIGITS):
        a = (-Decimal(nano) / NANO).exp()
        weight = ((1 - a).ln() / honest).exp()
        # Each weight is at most a times the one before: what is left is below weight a / (1 - a).
        weights = [weight]
        while weight * a / (1 - a) >= _TAIL:
            k = len(weights) - 1
            weight = weight * a * (k * honest + 1) / (honest * (k + 1))
            weights.append(weight)
    return tuple(weights)


@lru_cache(maxsize=64)
def _alone_nano(nano: int, honest: int) -> int:
    weights = _weights(nano, honest)
    with localcontext(_DIGITS):
        same = sum((weight * weight for weight in weights), Decimal(0))
        next_one = sum((p * q for p, q in itertools.pairwise(weights)), Decimal(0))
        largest = (same / next_one).ln() * NANO
        return int((largest + _SLACK).to_integral_value(ROUND_CEILING))
