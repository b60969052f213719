"""Public people that never were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidscope_site.face.template import template
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reidscope_site.face.volume import Volume


@dataclass(frozen=True, slots=True)
class SyntheticSource:
    """People from seeds: without end, the same on every machine."""

    @property
    def name(self) -> str:
        """Seeds need no other name."""
        return "synthetic"

    def count(self, population: Population) -> int | None:  # noqa: ARG002  # as `PublicSource` asks
        """Without end."""
        return None

    def photo(self, population: Population, number: int) -> NDArray[np.uint8]:
        """First photo of a seed."""
        return photo(PersonSeed(population=population, number=number), template())

    def scan(self, population: Population, number: int, visit: int) -> Volume:
        """Scan of a seed's visit."""
        seed = PersonSeed(population=population, number=number)
        return scan(seed, template(), visit=visit)
