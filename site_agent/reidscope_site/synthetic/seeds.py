"""Who is who among people that never were: disjoint namespaces of identities.

A `PersonSeed` is (population, label, number). Everything about the person is drawn from streams
named by sha256("reidscope/synthetic/1" | population | label | number | stream), so that two seeds
never share a draw unless they are equal, and no population of one study can hold a face of another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

_DOMAIN = "reidscope/synthetic/1"


class Population(StrEnum):
    """What a synthetic person is for."""

    SITE = "site"
    """People of a hospital that is played; the label is the site's."""
    GALLERY = "gallery"
    """Faces of a public reference gallery."""
    CALIBRATION = "calibration"
    """People from whom the attacker's public means are taken."""
    PROBE = "probe"
    """Public people on whom the attack is measured beforehand."""
    REHEARSAL = "rehearsal"
    """Public people on whom a study is rehearsed: nothing was chosen by looking at them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSeed:
    """Who a synthetic person is.

    Attributes
    ----------
    population : Population
        What the person is for.
    number : int
        At least 0.
    label : str
        A site's label, or a name of a gallery.
    """

    population: Population
    number: int
    label: str = ""

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("a person's number starts at 0")

    def digest(self, stream: str) -> bytes:
        """32 bytes, different for every person and every stream."""
        parts = (_DOMAIN, self.population.value, self.label, str(self.number), stream)
        # Lengths first: ("a", "bc") and ("ab", "c") are two people.
        message = "|".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.sha256(message.encode()).digest()

    def stream(self, name: str) -> np.random.Generator:
        """Give the person's own random numbers for one purpose."""
        return np.random.Generator(np.random.PCG64(int.from_bytes(self.digest(name), "big")))
