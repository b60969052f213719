"""Privacy loss in exact integers: nano-epsilon, rounded against the spender."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import total_ordering

from reidscope_protocols.errors import ConfigError

NANO = 1_000_000_000
LARGEST_NANO = 1_000 * NANO
_SMALLEST_EXPONENT = -100


@total_ordering
@dataclass(frozen=True, slots=True)
class PrivacyLoss:
    """A pure epsilon, in nano-epsilon.

    Attributes
    ----------
    nano : int
        Nano-epsilon; 0 <= nano <= 10**12 (an epsilon of 1,000, beyond which the word is empty).
    """

    nano: int

    def __post_init__(self) -> None:
        if not 0 <= self.nano <= LARGEST_NANO:
            raise ConfigError(
                "privacy loss",
                got="a negative number" if self.nano < 0 else "more than 1000",
                expected=f"0 to {LARGEST_NANO}",
                do="write an epsilon between 0 and 1000",
            )

    @classmethod
    def from_decimal(cls, text: str) -> PrivacyLoss:
        """Read an epsilon as people write it, such as "2" or "0.5"; finer digits round up."""
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or not 0 <= value <= LARGEST_NANO // NANO:
            raise ConfigError(
                "epsilon",
                got="a number out of range" if value.is_finite() else "text that is no number",
                expected="a decimal number such as 2 or 0.5, at most 1000",
                do="correct it",
            )
        if value and value.adjusted() < _SMALLEST_EXPONENT:
            return cls(1)
        return cls(math.ceil(Fraction(value) * NANO))

    @classmethod
    def asked_for(cls, text: str) -> PrivacyLoss:
        """Read an epsilon that a study asks for: positive, and no finer than it is charged.

        Raises
        ------
        ConfigError
            0, a negative number, no number, more than 1,000, or less than a nano (such as 1e-400):
            rounded up it would be another price than the one that was typed.
        """
        loss = cls.from_decimal(text)
        if Decimal(text) < Decimal(1) / NANO:
            raise ConfigError(
                "epsilon",
                got="none, or less than can be charged",
                expected="at least 0.000000001",
                do="ask for more: a table at so little is noise alone",
            )
        return loss

    @classmethod
    def charged_for(cls, epsilon: float) -> PrivacyLoss:
        """Loss to charge for a mechanism whose proved map is `epsilon`: rounded up to a nano."""
        if not math.isfinite(epsilon):
            raise ConfigError(
                "epsilon", got="no finite number", expected="one", do="ask for a larger scale"
            )
        return cls(math.ceil(Fraction(epsilon) * NANO))

    def __add__(self, other: PrivacyLoss) -> PrivacyLoss:
        return PrivacyLoss(self.nano + other.nano)

    def __lt__(self, other: PrivacyLoss) -> bool:
        return self.nano < other.nano

    @property
    def epsilon(self) -> Decimal:
        """The same loss as a decimal, for readers."""
        return (Decimal(self.nano) / NANO).normalize()

    @property
    def odds(self) -> float:
        """Largest factor by which anybody's odds of guessing "took part" can move: e^epsilon."""
        try:
            return math.exp(self.nano / NANO)
        except OverflowError:
            return math.inf

    def __str__(self) -> str:
        return f"{self.epsilon:f}"


PRACTICALLY_CERTAIN = 1000
"""Odds from which the exact factor says nothing more: somebody who thought one in a thousand likely
may think it even."""


def odds_said(odds: float | None) -> str:
    """Word a factor of odds (`PrivacyLoss.odds`, or a square of it) for people.

    Parameters
    ----------
    odds : float or None
        At least 1; infinite, or None, where it is beyond any number.

    Returns
    -------
    str
        "7.4", or "more than 1,000 to 1: practically certain" from `PRACTICALLY_CERTAIN` on.
    """
    if odds is None or odds >= PRACTICALLY_CERTAIN:
        return f"more than {PRACTICALLY_CERTAIN:,} to 1: practically certain"
    return f"{odds:.1f}"


def laplace_variance(epsilon_nano: int) -> float:
    """Variance of discrete Laplace noise at sensitivity 1.

    Parameters
    ----------
    epsilon_nano : int
        Nano-epsilon, at least 1; without a largest, since plans compare sums of losses.

    Returns
    -------
    float
        2 a / (1 - a)^2 with a = e^-epsilon, people squared.
    """
    epsilon = epsilon_nano / NANO
    return 2 * math.exp(-epsilon) / math.expm1(-epsilon) ** 2
