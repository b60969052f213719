"""The sites as a sample of sites like them: a mean over sites whose spread is in its interval.

The pooled intervals of `intervals` speak of the people at these sites. Here site k brings S_k and
n_k (noisy, never clamped) and the error e_k(p) = S_k - p n_k about a mean share p. The variance of
it, for a site of d_k people,

    D_k = d_k p (1 - p) + V_k sum_j (w_j - p)^2 + d_k^2 tau^2,

has a part tau that differs from site to site: tau^2 solves sum_k e_k^2 / D_k = K - 1 (Paule and
Mandel). D_k sets the weights; how far the mean may lie comes from the sites' own errors, as in
Hartung and Knapp's t-interval, and in Fieller's form, which never divides by a noisy n_k. With

    U = sum_k c_k e_k(p),    c_k = d_k / D_k,    B = sum_k d_k^2 / D_k,
    A = R(p) [ B sum_k e_k(p)^2 / D_k - U^2 ] / (K - 1),    G = sigma^2 (sum_k c_k n_k)^2,

p is kept iff

    U^2 <= (A + G) [ z^2 + (t^2 - z^2) (A / (A + G))^(3/2) ]    or    U^2 <= F(p),

with Student's t at K - 1 degrees of freedom. R(p) >= 1 is how much larger the errors' variance is
at p than at the mean m, by the model: sum c_k^2 D_k(p) over sum c_k^2 D_k(m), where tau^2(p) is
tau^2 p (1 - p) / (m (1 - m)), no less than tau^2 and no more than p (1 - p). Sites' shares near 0
or 1 are skewed: three that lie close together near 0 say little of how far the mean is from 0, and
without R such means were held 90 times in 100. F(p) is the part of the variance that is known,
sampling and noise (sum c_k^2 D_k(p) without tau): sites that agree by chance say no more than one
standard error of it. At sites of one size far from 0 and 1 that is the t-test of the errors' mean.
d_k is the noisy n_k where the noise is below a fifth of it and the DECLARED size elsewhere: weights
that share their noise with what they weigh pull the mean towards a table of noise alone (coverage
.42 instead of .95 at 20 sites of 20 people and epsilon .25). sigma, of the one public gallery that
all sites met, does not shrink with K. Clamping comes last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reidscope_protocols.report_rows import OverSites
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_server.estimates import found, published, read_points
from reidscope_server.intervals import Interval, Weighed
from reidscope_server.kept_shares import Floats, hull_of_kept, reach_squared
from reidscope_server.pooling import pool

FEWEST_SITES = 2
_KNOWN_SIZE = 5  # standard deviations of a total's noise
_WIDEST_TAU_SQUARED = 0.25  # of any shares in [0, 1]
_ROUNDS, _HALVINGS = 3, 30
_NOTHING = 1e-12  # people squared: a variance to divide by


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
    columns = _Columns.of(sites)
    people = float(columns.people.sum())
    mean = min(max((float(columns.total.sum()) + 0.5) / max(people + 1, 1.0), 0.0), 1.0)
    squared, variances = 0.0, columns.within(mean)
    for _ in range(_ROUNDS):
        within = columns.within(mean)
        squared = columns.tau_squared(within)
        variances = within + columns.size**2 * squared
        mean = columns.mean(variances)
    return SampleOfSites(
        mean=mean,
        interval=columns.interval(variances, mean, squared),
        between_sites=math.sqrt(squared) if people > 0 else 0.0,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """The sites side by side: each an array, one number a site."""

    total: Floats
    people: Floats
    size: Floats
    noise: Floats
    weight_sum: Floats
    weight_squares: Floats
    cells: Floats
    gallery_sd: float

    @classmethod
    def of(cls, sites: Sequence[SiteShare]) -> _Columns:
        every = [site.weighed for site in sites]
        return cls(
            total=np.array([w.total for w in every], dtype=float),
            people=np.array([w.people for w in every], dtype=float),
            size=np.array([site.size for site in sites], dtype=float),
            noise=np.array([w.noise_variance for w in every], dtype=float),
            weight_sum=np.array([w.weight_sum for w in every], dtype=float),
            weight_squares=np.array([w.weight_squares for w in every], dtype=float),
            cells=np.array([w.cells for w in every], dtype=float),
            gallery_sd=every[0].gallery_sd,
        )

    def within(self, mean: float) -> Floats:
        """D_k without tau: sampling and noise, people squared."""
        squares = self.weight_squares - 2 * mean * self.weight_sum + mean * mean * self.cells
        return np.maximum(self.size * mean * (1 - mean) + self.noise * squares, _NOTHING)

    def mean(self, variances: Floats) -> float:
        """Solve sum c_k e_k(p) = 0, clamped; a half where no people are left."""
        weights = self.size / variances
        people = float(weights @ self.people)
        return min(max(float(weights @ self.total) / people, 0.0), 1.0) if people > 0 else 0.5

    def tau_squared(self, within: Floats) -> float:
        """Solve sum e_k^2 / D_k = K - 1 for tau^2; 0 where the sites differ by less."""

        def excess(squared: float) -> float:
            variances = within + self.size**2 * squared
            errors = self.total - self.mean(variances) * self.people
            return float((errors**2 / variances).sum()) - (len(errors) - 1)

        if excess(0.0) <= 0:
            return 0.0
        low, high = 0.0, _WIDEST_TAU_SQUARED
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) > 0 else (low, middle)
        return (low + high) / 2

    def interval(self, variances: Floats, mean: float, squared: float) -> Interval:
        """Every p that the module's inequality keeps, as a hull that holds `mean`."""
        weights = self.size / variances
        hits, people = float(weights @ self.total), float(weights @ self.people)
        if people <= 0:
            return Interval(0.0, 1.0)
        spread = float((self.size**2 / variances).sum())
        squares = (
            float((self.total**2 / variances).sum()),
            float((self.total * self.people / variances).sum()),
            float((self.people**2 / variances).sum()),
        )
        model = _Model.of(self, weights, mean, squared)
        freedom, gallery = len(variances) - 1, (self.gallery_sd * people) ** 2

        def keeps(p: Floats) -> NDArray[np.bool_]:
            error = (hits - p * people) ** 2
            apart = spread * (squares[0] - 2 * p * squares[1] + p * p * squares[2]) - error
            own = np.maximum(apart, 0.0) / freedom * model.growth(p)
            return error <= np.maximum(reach_squared(own, gallery, freedom), model.known(p))

        return hull_of_kept(keeps, mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """Variance of U by the model, a function of p: people squared, times weights squared."""

    mean: float
    squared: float
    sampling: float
    between: float
    noise: tuple[float, float, float]

    @classmethod
    def of(cls, columns: _Columns, weights: Floats, mean: float, squared: float) -> _Model:
        own = weights * weights
        noisy = own * columns.noise
        return cls(
            mean=mean,
            squared=squared,
            sampling=float(own @ columns.size),
            between=float(own @ columns.size**2),
            noise=(
                float(noisy @ columns.weight_squares),
                float(noisy @ columns.weight_sum),
                float(noisy @ columns.cells),
            ),
        )

    def known(self, p: Floats) -> Floats:
        """F(p): sampling and noise, one standard error squared."""
        constant, slope, square = self.noise
        return self.sampling * p * (1 - p) + constant - 2 * p * slope + p * p * square

    def growth(self, p: Floats) -> Floats:
        """R(p), at least 1."""
        at_mean = self.mean * (1 - self.mean)
        share = (
            min(1.0, self.squared / at_mean) if at_mean > self.squared else float(self.squared > 0)
        )
        there = self.between * np.maximum(self.squared, share * p * (1 - p)) + self.known(p)
        here = self.between * self.squared + self.known(np.array([self.mean]))
        return np.maximum(1.0, there / np.maximum(here, _NOTHING))
