"""Public people that never were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidscope_protocols.cohort import Modality
from reidscope_site.face.template import template
from reidscope_site.synthetic.emission import BRAIN_TOMOGRAPH, Tomograph, emission
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reidscope_site.face.volume import Volume
    from reidscope_site.reference.people import Shown

SYNTHETIC = "synthetic"


def synthetic_source(scans: Modality) -> SyntheticSource:
    """Make people whose scans are PET, by a brain tomograph, or MR."""
    return SyntheticSource(tomograph=BRAIN_TOMOGRAPH if scans is Modality.PT else None)


@dataclass(frozen=True, slots=True)
class SyntheticSource:
    """People from seeds: without end, the same on every machine.

    Attributes
    ----------
    tomograph : Tomograph or None
        Scans are PET by it; MR without.
    """

    tomograph: Tomograph | None = None

    @property
    def name(self) -> str:
        """Seeds need no other name; what scans them is told apart."""
        return SYNTHETIC if self.tomograph is None else f"{SYNTHETIC} PET"

    @property
    def photos_name(self) -> str:
        """The same people are photographed, whatever scans them."""
        return SYNTHETIC

    def count(self, population: Population) -> int | None:  # noqa: ARG002  # as `PublicSource` asks
        """Without end."""
        return None

    def named(self, population: Population, number: int) -> str:
        """Say the seed."""
        return f"{population} {number}"

    def lacks(self, population: Population, number: int, what: Shown) -> bool:  # noqa: ARG002  # as above
        """Nothing: all of everybody is made."""
        return False

    def problem(self, population: Population, number: int, what: Shown) -> str:  # noqa: ARG002  # as above
        """Say nothing: whatever was made can be read."""
        return ""

    def photo(self, population: Population, number: int) -> NDArray[np.uint8]:
        """First photo of a seed."""
        return photo(PersonSeed(population=population, number=number), template())

    def scan(self, population: Population, number: int, visit: int) -> Volume:
        """Scan of a seed's visit."""
        seed = PersonSeed(population=population, number=number)
        if self.tomograph is not None:
            return emission(seed, template(), visit=visit, tomograph=self.tomograph)
        return scan(seed, template(), visit=visit)
