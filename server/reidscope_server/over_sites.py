"""The sites as a sample of sites like them: a mean over sites whose spread is in its interval.

The pooled intervals of `intervals` speak of the people at these sites. Here site k brings S_k and
n_k (noisy, never clamped) and the error e_k(p) = S_k - p n_k about a mean share p. The variance of
it, for a site of d_k people,

    D_k = d_k p (1 - p) + V_k sum_j (w_j - p)^2 + d_k^2 tau^2,

has a part tau that differs from site to site: tau^2 solves sum_k e_k^2 / D_k = K - 1 (Paule and
Mandel). D_k sets the weights alone; how far the mean may lie comes from the sites' own errors, as
in Hartung and Knapp's t-interval, and in Fieller's form, which never divides by a noisy n_k. p is
kept iff

    U^2 <= t^2 / (K - 1) [ B sum_k e_k(p)^2 / D_k - U^2 ] + z^2 sigma^2 (sum_k c_k n_k)^2,

    U = sum_k c_k e_k(p),    c_k = d_k / D_k,    B = sum_k d_k^2 / D_k,

with Student's t at K - 1 degrees of freedom. At sites of one size that is the t-test of the errors'
mean. d_k is the noisy n_k where the noise is below a fifth of it and the DECLARED size elsewhere:
weights that share their noise with what they weigh pull the mean towards a table of noise alone
(coverage .42 instead of .95 at 20 sites of 20 people and epsilon .25). sigma, of the one public
gallery that all sites met, does not shrink with K. Clamping comes last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reidscope_protocols.report_rows import OverSites
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_server.estimates import found, published, read_points
from reidscope_server.intervals import Interval, Quadratic, Weighed
from reidscope_server.pooling import pool
from reidscope_server.student import two_sided

FEWEST_SITES = 2
_CONFIDENCE = 0.95
_Z = 1.959963984540054
_KNOWN_SIZE = 5  # standard deviations of a total's noise
_WIDEST_TAU_SQUARED = 0.25  # of any shares in [0, 1]
_ROUNDS, _HALVINGS = 3, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteShare:
    """One site's weighed table, and the size that a person declared for it."""

    weighed: Weighed
    declared_people: int

    @property
    def size(self) -> float:
        """d_k, people: for weights alone."""
        noise = math.sqrt(self.weighed.noise_variance * self.weighed.cells)
        known = self.weighed.people >= max(1.0, _KNOWN_SIZE * noise)
        return self.weighed.people if known else float(self.declared_people)

    def error(self, mean: float) -> float:
        """e_k(p)."""
        return self.weighed.total - mean * self.weighed.people

    def within(self, mean: float) -> float:
        """D_k without tau: sampling and noise, people squared."""
        w = self.weighed
        noise = w.weight_squares - 2 * mean * w.weight_sum + mean * mean * w.cells
        return max(self.size * mean * (1 - mean) + w.noise_variance * noise, math.ulp(1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOfSites:
    """Mean over sites, its 95% interval, and how much sites differ beyond sampling and noise."""

    mean: float
    interval: Interval
    between_sites: float


def sample_of_sites(sites: Sequence[SiteShare]) -> SampleOfSites:
    """Estimate the mean share of sites like these.

    Parameters
    ----------
    sites : sequence of SiteShare
        At least `FEWEST_SITES`, with weights 0 or 1, all for the same share.

    Returns
    -------
    SampleOfSites
        Within [0, 1]; all of it where the noise leaves nothing to read.

    References
    ----------
    Paule and Mandel (1982); Hartung and Knapp (2001); Fieller (1954). Coverage: docs/intervals.md.
    """
    people = math.fsum(site.weighed.people for site in sites)
    hits = math.fsum(site.weighed.total for site in sites)
    mean = min(max((hits + 0.5) / max(people + 1, 1.0), 0.0), 1.0)
    within, squared = [], 0.0
    for _ in range(_ROUNDS):
        within = [site.within(mean) for site in sites]
        squared = _tau_squared(sites, within)
        mean = _mean(sites, _variances(sites, within, squared))
    return SampleOfSites(
        mean=mean,
        interval=_interval(sites, _variances(sites, within, squared), mean),
        between_sites=math.sqrt(squared),
    )


def over_sites(study: Study, releases: Sequence[Release]) -> tuple[OverSites, ...]:
    """Estimate, at every point that the study reads, the mean share of sites like these.

    Empty below two sites: one site says nothing of how sites differ.
    """
    if len(releases) < FEWEST_SITES:
        return ()
    alone = [(release.declared_people, pool(study, [release])) for release in releases]
    rows = []
    for readout, size in read_points(study):
        estimated = sample_of_sites(
            [
                SiteShare(
                    weighed=found(study, table, column=readout.column, gallery_size=size),
                    declared_people=declared,
                )
                for declared, table in alone
            ]
        )
        rows.append(
            OverSites(
                arm=readout.arm,
                attacker=readout.attacker,
                gallery_size=size,
                sites=len(releases),
                rate=published(estimated.mean),
                low=published(estimated.interval.low),
                high=published(estimated.interval.high),
                between_sites=published(estimated.between_sites),
            )
        )
    return tuple(rows)


def _variances(sites: Sequence[SiteShare], within: Sequence[float], squared: float) -> list[float]:
    return [w + site.size**2 * squared for site, w in zip(sites, within, strict=True)]


def _mean(sites: Sequence[SiteShare], variances: Sequence[float]) -> float:
    pairs = list(zip(sites, variances, strict=True))
    hits = math.fsum(site.size / v * site.weighed.total for site, v in pairs)
    people = math.fsum(site.size / v * site.weighed.people for site, v in pairs)
    return min(max(hits / people, 0.0), 1.0) if people > 0 else 0.5


def _tau_squared(sites: Sequence[SiteShare], within: Sequence[float]) -> float:
    def excess(squared: float) -> float:
        variances = _variances(sites, within, squared)
        mean = _mean(sites, variances)
        errors = (site.error(mean) ** 2 / v for site, v in zip(sites, variances, strict=True))
        return math.fsum(errors) - (len(sites) - 1)

    if excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, _WIDEST_TAU_SQUARED
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2


def _interval(sites: Sequence[SiteShare], variances: Sequence[float], mean: float) -> Interval:
    pairs = [(site, site.weighed, v) for site, v in zip(sites, variances, strict=True)]
    hits = math.fsum(site.size / v * w.total for site, w, v in pairs)
    people = math.fsum(site.size / v * w.people for site, w, v in pairs)
    if people <= 0:
        return Interval(0.0, 1.0)
    freedom = len(sites) - 1
    far = two_sided(_CONFIDENCE, freedom) ** 2 / freedom
    spread = far * math.fsum(site.size**2 / v for site, _, v in pairs)
    gallery = _Z * sites[0].weighed.gallery_sd * people
    kept = Quadratic(
        (1 + far) * people * people - spread * math.fsum(w.people**2 / v for _, w, v in pairs),
        -2 * (1 + far) * hits * people
        + 2 * spread * math.fsum(w.total * w.people / v for _, w, v in pairs),
        (1 + far) * hits * hits
        - spread * math.fsum(w.total**2 / v for _, w, v in pairs)
        - gallery * gallery,
    )
    ends = [mean, *kept.ends_below_zero(0.0, 1.0)]
    return Interval(min(ends), max(ends))
