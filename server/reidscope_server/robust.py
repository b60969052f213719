"""Pooled rates that a site which sends nonsense cannot decide.

Two, both beside the pooled rate and never in its place:

- "without the furthest site" (from 3 sites): all sites but the one whose own rate is furthest from
  the median of sites, pooled. Its interval is the hull of the K intervals that leave one site out
  each: whichever single site lied, the interval without it is among them. A liar who is left in
  has a rate no further from the median than the site that was left out.
- "trimmed mean of sites" (from 5 sites): one site, one vote, however many people it says it has. A
  fifth of the sites is left out at either end, at least one, and the interval is Yuen's (1974),
  t over the rest, with the spread of all sites pulled in to the outermost that are left. So many
  sites may send anything without carrying the mean out of the honest sites' reach, or the interval
  to where it says nothing. Yuen's interval holds what trimming estimates; `trimmed_mean` widens it
  towards the middle of the scale until it holds the mean of all such sites.

A site that noise drowns has no rate of its own, and no part in either: it could not be told from a
liar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from reidscope_protocols.face_experiment import Readout
from reidscope_protocols.report_rows import Robust
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_server.estimates import found, published, read_points
from reidscope_server.intervals import Interval, Weighed, share, share_interval
from reidscope_server.kept_shares import CONFIDENCE, Floats, Z, hull_of_kept
from reidscope_server.over_sites import SiteShare
from reidscope_server.pooling import Pooled, pool
from reidscope_server.student import two_sided

FEWEST_TO_LEAVE_ONE, FEWEST_TO_VOTE = 3, 5
_NOTHING = 1e-12  # a variance to divide by
_FEWEST_ERRORS = 1.2
"""Standard errors of what is known: sites that agree by chance say no more (78% of a normal)."""

_TRIMMED_SKEW = 0.12
"""How far a mean trimmed by a fifth lies from the mean, over variance times 2 / mean: .083 at 5
sites, .115 at 20, .128 at many, for a gamma law of shape 1.9, and much the same for others."""


def robust(study: Study, releases: Sequence[Release]) -> tuple[Robust, ...]:
    """Estimate the shares of `read_points` again, by each method that has sites enough."""
    if len(releases) < FEWEST_TO_LEAVE_ONE:
        return ()
    alone = [pool(study, [release]) for release in releases]
    rows = []
    for readout, size in read_points(study):
        rows += _of_point(readout, size, releases, _weighed(study, alone, readout, size))
    return tuple(rows)


def _weighed(study: Study, tables: Sequence[Pooled], readout: Readout, size: int) -> list[Weighed]:
    return [found(study, table, column=readout.column, gallery_size=size) for table in tables]


def _of_point(
    readout: Readout,
    size: int,
    releases: Sequence[Release],
    alone: Sequence[Weighed],
) -> list[Robust]:
    voting = [place for place, site in enumerate(alone) if has_rate(site)]
    rows = []
    if len(voting) >= FEWEST_TO_LEAVE_ONE:
        rates = {place: share(alone[place]) for place in voting}
        middle = median(rates.values())
        furthest = max(voting, key=lambda place: (abs(rates[place] - middle), -place))
        rest = {
            place: _together([alone[other] for other in voting if other != place])
            for place in voting
        }
        ends = [share_interval(others) for others in rest.values()]
        rows.append(
            Robust(
                arm=readout.arm,
                attacker=readout.attacker,
                gallery_size=size,
                method="without the furthest site",
                left_out=releases[furthest].site,
                withstands=1,
                rate=published(share(rest[furthest])),
                low=published(min(interval.low for interval in ends)),
                high=published(max(interval.high for interval in ends)),
            )
        )
    if len(voting) >= FEWEST_TO_VOTE:
        votes = [
            SiteShare(weighed=alone[place], declared_people=releases[place].declared_people)
            for place in voting
        ]
        mean, interval = trimmed_mean(votes)
        rows.append(
            Robust(
                method="trimmed mean of sites",
                arm=readout.arm,
                attacker=readout.attacker,
                gallery_size=size,
                left_out=None,
                withstands=trimmed_sites(len(voting)),
                rate=published(mean),
                low=published(interval.low),
                high=published(interval.high),
            )
        )
    return rows


def _together(sites: Sequence[Weighed]) -> Weighed:
    """Pool sites: counts and noise add up, and they met one gallery."""
    return replace(
        sites[0],
        total=math.fsum(site.total for site in sites),
        people=math.fsum(site.people for site in sites),
        noise_variance=math.fsum(site.noise_variance for site in sites),
    )


def has_rate(site: Weighed) -> bool:
    """Whether a site's table says anything: its interval is not all of [0, 1]."""
    interval = share_interval(site)
    return interval.low > 0 or interval.high < 1


def trimmed_sites(sites: int) -> int:
    """Return how many sites are left out at either end: a fifth, at least one."""
    return max(1, sites // 5)


def trimmed_mean(sites: Sequence[SiteShare]) -> tuple[float, Interval]:
    """Trimmed mean of sites, and a 95% interval of the mean of all such sites.

    Parameters
    ----------
    sites : sequence of SiteShare
        At least `FEWEST_TO_VOTE`, each with a rate (`has_rate`); all met one gallery, whose error
        does not shrink with them.

    Returns
    -------
    float, Interval
        m in [0, 1] and the hull of it and all p with

        (|m - p| - b(p))^2 <= max(t^2 A sqrt(R(p)) + G, F(p)),    b = 0 away from 1/2,

        where t has h - 1 degrees of freedom, h = K - 2 g, A is the winsorised sum of squares over
        h (h - 1), G = z^2 sigma^2, and F(p) is known: 1.2 standard errors of sampling and noise at
        a middling site, over K of them. Sites differ as p (1 - p): R(p) >= 1 is by how much more
        they do at p than at m, and the geometric mean of both is taken. Skewed shares are trimmed
        away from their mean, by b(p) = .12 times the third moment over the variance that a Beta law
        of such sites has at p.

    References
    ----------
    Yuen (1974), which this is for R = 1, b = F = 0.
    """
    rates = [site.weighed.total / site.weighed.people for site in sites]
    ordered, cut = sorted(rates), trimmed_sites(len(rates))
    kept = ordered[cut:-cut]
    pulled_in = [kept[0]] * cut + kept + [kept[-1]] * cut
    left, mean = len(kept), math.fsum(kept) / len(kept)
    middle = math.fsum(pulled_in) / len(pulled_in)
    spread = math.fsum((rate - middle) ** 2 for rate in pulled_in) / (left * (left - 1))
    rate = min(max(mean, 0.0), 1.0)
    middling = _Middling.of(sites, at=rate, variance=spread * len(rates))
    reach = two_sided(CONFIDENCE, left - 1) ** 2 * spread
    gallery = sites[0].weighed.gallery_sd ** 2

    def keeps(p: Floats) -> NDArray[np.bool_]:
        least = _FEWEST_ERRORS**2 * (middling.known(p) / len(rates) + gallery)
        drawn = np.where((0.5 - p) * (p - mean) > 0, middling.drawn_in(p), 0.0)
        nearer = np.maximum(np.abs(mean - p) - drawn, 0.0)
        grown = reach * np.sqrt(middling.growth(p)) + Z * Z * gallery
        kept: NDArray[np.bool_] = nearer**2 <= np.maximum(grown, least)
        return kept

    return rate, hull_of_kept(keeps, rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Middling:
    """A site in the middle of all, by a model that no single site can move far.

    Attributes
    ----------
    at : float
        The rate where the spread of sites was read.
    each : float
        Sampling variance of its rate over p (1 - p): the median over sites.
    noise : tuple of float
        Its rate's noise variance as constant - 2 slope p + square p^2: medians over sites.
    beyond : float
        Variance of sites' rates beyond noise.
    """

    at: float
    each: float
    noise: tuple[float, float, float]
    beyond: float

    @classmethod
    def of(cls, sites: Sequence[SiteShare], *, at: float, variance: float) -> _Middling:
        every = [(site.weighed, site.weighed.noise_variance / site.size**2) for site in sites]
        noise = (
            median(noise * w.weight_squares for w, noise in every),
            median(noise * w.weight_sum for w, noise in every),
            median(noise * w.cells for w, noise in every),
        )
        drowned = noise[0] - 2 * at * noise[1] + at * at * noise[2]
        return cls(
            at=at,
            each=median(1 / site.size for site in sites),
            noise=noise,
            beyond=max(variance - drowned, 0.0),
        )

    def _noisy(self, p: Floats) -> Floats:
        constant, slope, square = self.noise
        return constant - 2 * p * slope + p * p * square

    def known(self, p: Floats) -> Floats:
        """Variance of its rate from sampling and noise."""
        return self.each * p * (1 - p) + self._noisy(p)

    def _more(self, p: Floats) -> Floats:
        most = max(self.at * (1 - self.at), self.beyond, _NOTHING)
        return np.maximum(1.0, p * (1 - p) / most)

    def growth(self, p: Floats) -> Floats:
        """R(p), at least 1."""
        here = self._noisy(np.array([self.at])) + self.beyond
        there = self._noisy(p) + self.beyond * self._more(p)
        return np.maximum(1.0, there / np.maximum(here, _NOTHING))

    def drawn_in(self, p: Floats) -> Floats:
        """b(p) by a Beta law between sites, people drawn at each, and noise that is symmetric."""
        sampling = self.each * p * (1 - p)
        own = max(self.beyond - self.each * self.at * (1 - self.at), 0.0) * self._more(p)
        third = 2 * own**2 / np.maximum(p * (1 - p) + own, _NOTHING)
        third = third + 3 * own * self.each + sampling * self.each
        variance = np.maximum(own + sampling + self._noisy(p), _NOTHING)
        return _TRIMMED_SKEW * np.abs(1 - 2 * p) * third / variance
