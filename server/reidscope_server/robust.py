"""Pooled rates that a site which sends nonsense cannot decide.

Two, both beside the pooled rate and never in its place:

- "without the furthest site" (from 3 sites): all sites but the one whose own rate is furthest from
  the median of sites, pooled. Its interval is the hull of the K intervals that leave one site out
  each: whichever single site lied, the interval without it is among them. A liar who is left in
  has a rate no further from the median than the site that was left out.
- "median of sites" (from 6 sites): one site, one vote, however many people it says it has. Its
  interval runs between order statistics: the r-th site from either end lies beyond the median of
  sites with a binomial probability, whatever the sites' distribution. Fewer than half of the sites
  can carry the median out of the others' reach by nothing that they send, r - 1 an end of its
  interval.

A site that noise drowns has no rate of its own: it is pooled, but has no vote.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from reidscope_protocols.face_experiment import Readout
from reidscope_protocols.report_rows import Robust
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_server.estimates import found, published, read_points
from reidscope_server.intervals import Interval, Weighed, share, share_interval
from reidscope_server.pooling import Pooled, pool

FEWEST_TO_LEAVE_ONE, FEWEST_TO_VOTE = 3, 6
_MISSED = 0.05
_Z = 1.959963984540054


def robust(study: Study, releases: Sequence[Release]) -> tuple[Robust, ...]:
    """Estimate the shares of `read_points` again, by each method that has sites enough."""
    if len(releases) < FEWEST_TO_LEAVE_ONE:
        return ()
    alone = [pool(study, [release]) for release in releases]
    others = [
        pool(study, [other for other in releases if other is not release]) for release in releases
    ]
    rows = []
    for readout, size in read_points(study):
        ours, rest = (_weighed(study, tables, readout, size) for tables in (alone, others))
        rows += _of_point(readout, size, [release.site for release in releases], ours, rest)
    return tuple(rows)


def _weighed(study: Study, tables: Sequence[Pooled], readout: Readout, size: int) -> list[Weighed]:
    return [found(study, table, column=readout.column, gallery_size=size) for table in tables]


def _of_point(
    readout: Readout,
    size: int,
    names: Sequence[str],
    alone: Sequence[Weighed],
    others: Sequence[Weighed],
) -> list[Robust]:
    voting = [place for place, site in enumerate(alone) if has_rate(site)]
    rows = []
    if len(voting) >= FEWEST_TO_LEAVE_ONE:
        rates = {place: share(alone[place]) for place in voting}
        middle = median(rates.values())
        furthest = max(voting, key=lambda place: (abs(rates[place] - middle), -place))
        ends = [share_interval(rest) for rest in others]
        rows.append(
            Robust(
                arm=readout.arm,
                attacker=readout.attacker,
                gallery_size=size,
                method="without the furthest site",
                left_out=names[furthest],
                withstands=1,
                rate=published(share(others[furthest])),
                low=published(min(interval.low for interval in ends)),
                high=published(max(interval.high for interval in ends)),
            )
        )
    if len(voting) >= FEWEST_TO_VOTE:
        between = median_interval([share(alone[place]) for place in voting], alone[0].gallery_sd)
        rows.append(
            Robust(
                arm=readout.arm,
                attacker=readout.attacker,
                gallery_size=size,
                method="median of sites",
                left_out=None,
                withstands=(len(voting) - 1) // 2,
                rate=published(median(share(alone[place]) for place in voting)),
                low=published(between.low),
                high=published(between.high),
            )
        )
    return rows


def has_rate(site: Weighed) -> bool:
    """Whether a site's table says anything: its interval is not all of [0, 1]."""
    interval = share_interval(site)
    return interval.low > 0 or interval.high < 1


def outer_rank(sites: int) -> int:
    """Return the largest r whose order-statistic interval covers 95% of the time; 0 if none does.

    The r-th smallest to the r-th largest of K rates misses the median of what they are drawn from
    with probability 2 P(Binomial(K, 1/2) < r).
    """
    missed, rank = 0.0, 0
    while True:
        missed += 2 * math.comb(sites, rank) / 2**sites
        if missed > _MISSED:
            return rank
        rank += 1


def median_interval(rates: Sequence[float], gallery_sd: float) -> Interval:
    """Interval of the median of sites, widened by the one public gallery that all sites met.

    Parameters
    ----------
    rates : sequence of float
        At least `FEWEST_TO_VOTE`, in [0, 1].
    gallery_sd : float
        sigma of the anchor: the middle moves with it, and its reach is added to both ends' own.
    """
    ordered, rank = sorted(rates), outer_rank(len(rates))
    middle = median(ordered)
    low, high = ordered[rank - 1], ordered[-rank]
    reach = _Z * gallery_sd
    return Interval(
        max(middle - math.hypot(middle - low, reach), 0.0),
        min(middle + math.hypot(high - middle, reach), 1.0),
    )
