"""95% intervals that know about the noise: sets of shares that the noisy counts do not contradict.

For weights w_j on the J cells, S = sum w_j c_j and n = sum c_j (both noisy, never clamped), a share
p is kept iff

    (S - p n)^2 <= z^2 [ n+ p (1 - p) + V sum_j (w_j - p)^2 + n+^2 sigma^2 ],     n+ = max(n, 1)

that is, unless S - p n, whose mean is zero at the true p, is further off than sampling, noise and
the choice of one public gallery explain. Both sides are quadratic in p, so that the ends are exact
roots. For a paired difference d the weights are -1, 0, 1 and a person's variance is t - d^2, where
t is the share of people whose two arms disagree.

Clamping comes after the intervals, never before. A bootstrap of clamped counts covers between 21
and 99%: there is none here. Coverage of what stands here: benchmarks/coverage.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_Z_TWO_SIDED = 1.959963984540054
_Z_ONE_SIDED = 1.6448536269514722
_HALF_A_PERSON = 0.5


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed range."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the distance between the ends."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A weighted sum of noisy counts, and everything that its error depends on.

    Attributes
    ----------
    total : float
        S = sum w_j c_j, people.
    people : float
        n = sum c_j, people; may be negative.
    weight_sum, weight_squares : int
        sum w_j and sum w_j^2 over the cells.
    cells : int
        J.
    noise_variance : float
        V of one count, summed over the sites, people squared.
    gallery_sd : float
        sigma: standard deviation of the share from having drawn one public gallery, in [0, 1].
    """

    total: float
    people: float
    weight_sum: int
    weight_squares: int
    cells: int
    noise_variance: float
    gallery_sd: float = 0.0

    @classmethod
    def of(
        cls,
        counts: Sequence[int],
        weights: Sequence[int],
        *,
        noise_variance: float,
        gallery_sd: float = 0.0,
    ) -> Weighed:
        """Weigh a table; `weights` are 0 or 1 for a share, -1, 0 or 1 for a difference."""
        return cls(
            total=sum(w * c for w, c in zip(weights, counts, strict=True)),
            people=sum(counts),
            weight_sum=sum(weights),
            weight_squares=sum(w * w for w in weights),
            cells=len(counts),
            noise_variance=noise_variance,
            gallery_sd=gallery_sd,
        )

    @property
    def certain_people(self) -> float:
        """n+, at least one person."""
        return max(self.people, 1.0)


@dataclass(frozen=True, slots=True)
class Quadratic:
    """a x^2 + b x + c."""

    a: float
    b: float
    c: float

    def __call__(self, x: float) -> float:
        """Value at x."""
        return (self.a * x + self.b) * x + self.c

    def roots(self) -> tuple[float, ...]:
        """Real roots, by the form of the formula that does not cancel."""
        if self.a == 0:
            return () if self.b == 0 else (-self.c / self.b,)
        under = self.b * self.b - 4 * self.a * self.c
        if under < 0:
            return ()
        larger = -(self.b + math.copysign(math.sqrt(under), self.b)) / 2
        return (0.0,) if larger == 0 else (larger / self.a, self.c / larger)

    def ends_below_zero(self, low: float, high: float) -> Iterator[float]:
        """Yield points whose hull is that of {x in [low, high]: value <= 0}; none if empty."""
        yield from (x for x in (low, high) if self(x) <= 0)
        yield from (x for x in self.roots() if low < x < high)


def share_interval(weighed: Weighed) -> Interval:
    """95% interval of a share.

    Parameters
    ----------
    weighed : Weighed
        With weights 0 or 1.

    Returns
    -------
    Interval
        Within [0, 1]; holds S / n clamped to [0, 1]. All of [0, 1] where n <= 0.

    References
    ----------
    Wilson (1927)'s score interval, with the variance of the noise added.
    """
    if weighed.people <= 0:
        return Interval(0.0, 1.0)
    point = share(weighed)
    ends = [point, *_kept_shares(weighed, weighed.total, z=_Z_TWO_SIDED)]
    if len(ends) == 1:
        # Noise pushed S out of [0, n] by more than the set allows: a one-sided bound from the end.
        ends += _kept_shares(weighed, point * weighed.people, z=_Z_ONE_SIDED)
    return Interval(min(ends), max(ends))


def share(weighed: Weighed) -> float:
    """Point estimate of a share, S / n clamped to [0, 1]; a half where n <= 0 says nothing."""
    if weighed.people <= 0:
        return 0.5
    return min(max(weighed.total / weighed.people, 0.0), 1.0)


def _kept_shares(weighed: Weighed, total: float, *, z: float) -> list[float]:
    n, sure, noise = weighed.people, weighed.certain_people, weighed.noise_variance
    fixed = noise * weighed.weight_squares + (sure * weighed.gallery_sd) ** 2
    quadratic = Quadratic(
        n * n + z * z * (sure - noise * weighed.cells),
        -2 * total * n - z * z * (sure - 2 * noise * weighed.weight_sum),
        total * total - z * z * fixed,
    )
    return list(quadratic.ends_below_zero(0.0, 1.0))


def difference_interval(weighed: Weighed, *, discordant: float) -> Interval:
    """95% interval of a paired difference between two shares of the same people.

    Parameters
    ----------
    weighed : Weighed
        With weights -1, 0 or 1; `gallery_sd` is that of one arm. The two arms meet the same
        gallery, but nothing is assumed of how their errors go together: the difference is given
        the largest standard deviation that it can have, twice that of one arm.
    discordant : float
        Noisy count of people whose two arms disagree: sum |w_j| c_j.

    Returns
    -------
    Interval
        Within [-1, 1]; holds S / n clamped to [-1, 1]. All of [-1, 1] where n <= 0.

    References
    ----------
    Tango (1998)'s score set for paired shares, with the discordant share plugged in.
    """
    if weighed.people <= 0:
        return Interval(-1.0, 1.0)
    point = difference(weighed)
    ends = [point, *_kept_differences(weighed, weighed.total, discordant, z=_Z_TWO_SIDED)]
    if len(ends) == 1:
        total = point * weighed.people
        ends += _kept_differences(weighed, total, discordant, z=_Z_ONE_SIDED)
    return Interval(min(ends), max(ends))


def difference(weighed: Weighed) -> float:
    """Point estimate of a difference, S / n clamped to [-1, 1]; zero where n <= 0."""
    if weighed.people <= 0:
        return 0.0
    return min(max(weighed.total / weighed.people, -1.0), 1.0)


def _kept_differences(
    weighed: Weighed, total: float, discordant: float, *, z: float
) -> Iterator[float]:
    n, sure, noise = weighed.people, weighed.certain_people, weighed.noise_variance
    # At least half a discordant person keeps the set open where the noisy table shows none; half a
    # person more everywhere made the set too wide at 20 people (coverage .969).
    share_discordant = min(max(discordant, _HALF_A_PERSON) / sure, 1.0)
    fixed = noise * weighed.weight_squares + (2 * sure * weighed.gallery_sd) ** 2

    def kept(low: float, high: float, *, constant: float, slope: float) -> Iterator[float]:
        # On [low, high] the discordant share is constant + slope * d, and at least |d|.
        return Quadratic(
            n * n + z * z * (sure - noise * weighed.cells),
            -2 * total * n - z * z * (sure * slope - 2 * noise * weighed.weight_sum),
            total * total - z * z * (sure * constant + fixed),
        ).ends_below_zero(low, high)

    yield from kept(-1.0, -share_discordant, constant=0.0, slope=-1.0)
    yield from kept(-share_discordant, share_discordant, constant=share_discordant, slope=0.0)
    yield from kept(share_discordant, 1.0, constant=0.0, slope=1.0)


def people_interval(people: float, *, cells: int, noise_variance: float) -> Interval:
    """95% interval of the number of people behind a table: only noise stands between.

    Parameters
    ----------
    people : float
        Sum of the noisy counts.
    cells : int
        Number of noisy counts that were added.
    noise_variance : float
        Of each, people squared.
    """
    reach = _Z_TWO_SIDED * math.sqrt(noise_variance * cells)
    return Interval(max(people - reach, 0.0), max(people + reach, 0.0))
