"""What a study says when its noise is shared out among the sites: how many may collude, whose keys.

Without it (`noise` absent) each site adds all of its noise itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.polya import FEWEST_HONEST, GREATEST_NANO, SMALLEST_NANO, PolyaShare
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import Parsed
from reidscope_protocols.vocabulary import KeyRole

ALL_SITES = "all-sites"
"""Stands where a site's name would: the sum of all. No site may be called so."""

LARGEST_ATTEMPTS = 10
_MOST_CELLS = 3500
"""Of all tables together: a masked count takes 8 bytes, and an answer has one size."""


class DistributedNoise(Parsed):
    """Noise in Polya shares, under a secure sum.

    Attributes
    ----------
    colluders_tolerated : int
        Sites that may tell the coordinator all they hold, and epsilon still holds; t.
    attempts : int
        Rounds that may be begun. Each is charged in full: a site that drops out spoils one.
    wait_minutes : int
        How long the coordinator waits, in either half of a round, for sites that have not answered.
    roster : tuple of KeyRecord
        The statement key of each site of the audience, so that an approval binds them: a site
        believes the others' mask keys by these alone.
    """

    colluders_tolerated: int = Field(ge=0, le=1000)
    attempts: int = Field(1, ge=1, le=LARGEST_ATTEMPTS)
    wait_minutes: int = Field(60, ge=1, le=60 * 24 * 90)
    roster: tuple[KeyRecord, ...] = Field(min_length=2, max_length=1000)

    @model_validator(mode="after")
    def _names_each_site_once(self) -> DistributedNoise:
        if any(record.role is not KeyRole.SITE for record in self.roster):
            message = "the roster holds sites' keys alone"
            raise ValueError(message)
        if len({record.public for record in self.roster}) != len(self.roster):
            message = "each key of the roster must belong to one site"
            raise ValueError(message)
        return self

    @property
    def ring(self) -> KeyRing:
        """The sites' keys, as every site believes them."""
        return KeyRing(self.roster)

    def key_of(self, site: str) -> str | None:
        """Return the public key of a site, None if the roster does not name it."""
        return next((record.public for record in self.roster if record.site == site), None)

    def shares(self, losses: Sequence[PrivacyLoss], parties: int) -> tuple[PolyaShare, ...]:
        """Return the law of a share for each table, with `parties` sites in the sum."""
        return tuple(
            PolyaShare(loss=loss, parties=parties, tolerated=self.colluders_tolerated)
            for loss in losses
        )

    def problem_with(
        self,
        sites: Sequence[str],
        *,
        minimum_sites: int,
        tables: Sequence[tuple[int, int]],
    ) -> str | None:
        """Say what does not fit the study around it, None if all does.

        Parameters
        ----------
        tables : sequence of (int, int)
            Cells and nano-epsilon of each.
        """
        if sorted(str(record.site) for record in self.roster) != sorted(sites):
            return "the roster must hold one key of each site of the audience"
        if ALL_SITES in sites:
            return f"no site of a distributed study may be called {ALL_SITES}"
        if minimum_sites - self.colluders_tolerated < FEWEST_HONEST:
            return f"minimum_sites must be at least colluders_tolerated + {FEWEST_HONEST}"
        if not all(SMALLEST_NANO <= nano <= GREATEST_NANO for _, nano in tables):
            return "distributed noise needs an epsilon of 0.01 to 100 a table"
        if sum(cells for cells, _ in tables) > _MOST_CELLS:
            return f"a masked release holds at most {_MOST_CELLS} cells"
        return None


def alone(shares: Sequence[PolyaShare]) -> PrivacyLoss:
    """Epsilon of all tables together if everybody else colludes: what one site's shares give."""
    return PrivacyLoss(sum(share.alone().nano for share in shares))
