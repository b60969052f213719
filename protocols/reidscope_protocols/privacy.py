"""Privacy loss in exact integers: nano-epsilon, rounded against the spender."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import total_ordering

from reidscope_protocols.errors import ConfigError

NANO = 1_000_000_000
_LARGEST = 1_000 * NANO


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
        if not 0 <= self.nano <= _LARGEST:
            raise ConfigError(
                "privacy loss",
                got=f"{self.nano} nano-epsilon",
                expected=f"0 to {_LARGEST}",
                do="write an epsilon between 0 and 1000",
            )

    @classmethod
    def from_decimal(cls, text: str) -> PrivacyLoss:
        """Read an epsilon as people write it, such as "2" or "0.5"; finer digits round up."""
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or value < 0:
            raise ConfigError(
                "epsilon",
                got="text that is no number" if not value.is_finite() else "a negative number",
                expected="a decimal number such as 2 or 0.5",
                do="correct it",
            )
        return cls(int((value * NANO).to_integral_value(rounding=ROUND_CEILING)))

    @classmethod
    def charged_for(cls, epsilon: float) -> PrivacyLoss:
        """Loss to charge for a mechanism whose proved map is `epsilon`: rounded up to a nano."""
        return cls(math.ceil(Decimal(epsilon) * NANO))

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
        return math.exp(self.nano / NANO)

    def __str__(self) -> str:
        return f"{self.epsilon:f}"
