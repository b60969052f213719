"""Rows of a report that go beyond the pooled rates: whom they speak of, and how far to trust them.

All are functions of released counts, the study and public numbers that a person declared.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reidscope_protocols.statements import Parsed, RegionName
from reidscope_protocols.vocabulary import Line, SiteName

_Share = Annotated[float, Field(ge=0, le=1)]
Scope = Literal["site", "region", "unknown"]
Reading = Literal["measured", "between anchors", "below the anchors", "beyond the anchors"]
RiskName = Literal["prosecutor", "journalist", "marketer"]


class CatchmentRate(Parsed):
    """Share found for an attacker who knows where a scan comes from, or does not.

    The pooled curve, read in galleries of as many people as the scan could be of. Between anchors,
    below and beyond them only bounds are known: the rate cannot grow with the gallery.

    Attributes
    ----------
    scope : str
        What the attacker knows: the scan's site, its region alone, or neither.
    place : str
        Name of the site or the region; "all sites" for neither.
    people : int
        N: people declared there, the person included.
    basis : str
        How N lies to the anchors; only "measured" is a rate, the others are bounds.
    at_least, at_most : float
        Point estimates of the bounds; equal where the rate was measured.
    low, high : float
        Outer ends of the bounds' 95% intervals.
    """

    scope: Scope
    place: SiteName | RegionName | Literal["all sites"]
    people: int
    arm: Line
    attacker: Line
    basis: Reading
    at_least: _Share
    at_most: _Share
    low: _Share
    high: _Share


class NamedRisk(Parsed):
    """A rate as one of the three re-identification risks of the disclosure-control literature.

    Attributes
    ----------
    enrolled_share : float or None
        Probability that a person stands in the attacker's gallery: 1 for the prosecutor, who knows
        that they do; the coordinator's public number for the others, None where nobody stated it.
    rate, low, high : float or None
        None where `enrolled_share` is; the pooled rate must then be multiplied by it.
    """

    risk: RiskName
    arm: Line
    attacker: Line
    gallery_size: int
    enrolled_share: _Share | None
    rate: _Share | None
    low: _Share | None
    high: _Share | None


class OverSites(Parsed):
    """Mean rate of sites like these: the sites are a sample, and their spread counts.

    Attributes
    ----------
    sites : int
        Whose tables were read; at least 2.
    rate, low, high : float
        Mean over sites and its 95% t-interval, sites - 1 degrees of freedom, longer towards 1/2.
    between_sites : float
        tau, standard deviation of the sites' own shares beyond sampling and noise, in [0, 1].
    """

    arm: Line
    attacker: Line
    gallery_size: int
    sites: int
    rate: _Share
    low: _Share
    high: _Share
    between_sites: _Share


class Robust(Parsed):
    """The same share, pooled so that a few sites that send nonsense cannot decide it.

    Attributes
    ----------
    method : str
        "without the furthest site": pooled over all sites but the one furthest from the median of
        sites; its interval holds those without each single site. "trimmed mean of sites": one
        site, one vote, a fifth of the sites left out at either end; its interval is for the mean of
        all such sites.
    left_out : str or None
        The furthest site.
    withstands : int
        Sites that may send anything without moving the estimate out of the others' reach.
    """

    method: Literal["without the furthest site", "trimmed mean of sites"]
    arm: Line
    attacker: Line
    gallery_size: int
    left_out: SiteName | None
    withstands: int
    rate: _Share
    low: _Share
    high: _Share


class Oddity(Parsed):
    """Something about a site's release that is admissible, and deserves a question.

    Attributes
    ----------
    false_alarm : float
        How often an honest site would show it, at most.
    """

    site: SiteName
    what: Line
    false_alarm: _Share
