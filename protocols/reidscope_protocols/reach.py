"""How many people a scan could be of: public numbers that a person types, never counted.

A site's policy declares the population that it reaches, and the region that it lies in (`Catchment`
travels in its Release); a study may say the same of its sites, how many people there are
altogether, and how likely a person stands in an attacker's gallery.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from reidscope_protocols.statements import Catchment, Parsed
from reidscope_protocols.vocabulary import SiteName

MILLION = 1_000_000
_EVERYBODY = 10**11


class SiteCatchment(Catchment):
    """What a study says of one site; the site's own declaration goes before it."""

    site: SiteName


class Reach(Parsed):
    """What a study says of the people whom its scans could be of.

    Attributes
    ----------
    sites : tuple of SiteCatchment
        At most one a site.
    everywhere : int or None
        People whom a scan of unknown origin could be of; the sites' sum without it.
    enrolled_ppm : int or None
        Probability, in millionths, that a person stands in the attacker's gallery; None where
        nobody says.
    """

    sites: tuple[SiteCatchment, ...] = Field(default=(), max_length=1000)
    everywhere: int | None = Field(default=None, ge=1, le=_EVERYBODY)
    enrolled_ppm: int | None = Field(default=None, ge=0, le=MILLION)

    @model_validator(mode="after")
    def _each_site_once(self) -> Self:
        names = [site.site for site in self.sites]
        if len(set(names)) != len(names):
            message = "a site's catchment must be stated once"
            raise ValueError(message)
        return self
