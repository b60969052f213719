"""Student's t for whole degrees of freedom, in closed form: no library for one quantile."""

from __future__ import annotations

import math
from functools import lru_cache

_HALVINGS = 60


def central(t: float, freedom: int) -> float:
    """Probability that Student's t lies within +-`t`, t >= 0, `freedom` >= 1.

    References
    ----------
    Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    term = cosine if freedom % 2 else 1.0
    total = 0.0 if freedom == 1 else term
    for step in range(2 + freedom % 2, freedom - 1, 2):
        term *= (step - 1) / step * cosine * cosine
        total += term
    if freedom % 2:
        return 2 / math.pi * (angle + sine * total)
    return sine * total


@lru_cache(maxsize=1024)
def two_sided(confidence: float, freedom: int) -> float:
    """Return t with P(-t <= T <= t) = `confidence`, in (0, 1)."""
    low, high = 0.0, 2.0
    while central(high, freedom) < confidence:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if central(middle, freedom) < confidence else (low, middle)
    return (low + high) / 2
