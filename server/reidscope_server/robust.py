"""Pooled rates that a site which sends nonsense cannot decide.

Two, both beside the pooled rate and never in its place:

- "without the furthest site" (from 3 sites): all sites but the one whose own rate is furthest from
  the median of sites, pooled. Its interval is the hull of the K intervals that leave one site out
  each: whichever single site lied, the interval without it is among them. A liar who is left in
  has a rate no further from the median than the site that was left out.
- "trimmed mean of sites" (from 5 sites): one site, one vote, however many people it says it has. A
  fifth of the sites is left out at either end, at least one, and the interval is Yuen's (1974):
  t over the rest, with the spread of all sites pulled in to the outermost that are left. So many
  sites may send anything without carrying the mean out of the honest sites' reach, or the interval
  to where it says nothing.

A site that noise drowns has no rate of its own, and no part in either: it could not be told from a
liar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from reidscope_protocols.face_experiment import Readout
from reidscope_protocols.report_rows import Robust
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_server.estimates import found, published, read_points
from reidscope_server.intervals import Interval, Weighed, share, share_interval
from reidscope_server.pooling import Pooled, pool
from reidscope_server.student import two_sided

FEWEST_TO_LEAVE_ONE, FEWEST_TO_VOTE = 3, 5
_CONFIDENCE = 0.95
_Z = 1.959963984540054


def robust(study: Study, releases: Sequence[Release]) -> tuple[Robust, ...]:
    """Estimate the shares of `read_points` again, by each method that has sites enough."""
    if len(releases) < FEWEST_TO_LEAVE_ONE:
        return ()
    alone = [pool(study, [release]) for release in releases]
    rows = []
    for readout, size in read_points(study):
        sites = _weighed(study, alone, readout, size)
        rows += _of_point(readout, size, [release.site for release in releases], sites)
    return tuple(rows)


def _weighed(study: Study, tables: Sequence[Pooled], readout: Readout, size: int) -> list[Weighed]:
    return [found(study, table, column=readout.column, gallery_size=size) for table in tables]


def _of_point(
    readout: Readout,
    size: int,
    names: Sequence[str],
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
                left_out=names[furthest],
                withstands=1,
                rate=published(share(rest[furthest])),
                low=published(min(interval.low for interval in ends)),
                high=published(max(interval.high for interval in ends)),
            )
        )
    if len(voting) >= FEWEST_TO_VOTE:
        rates_of = [alone[place].total / alone[place].people for place in voting]
        mean, interval = trimmed_mean(rates_of, alone[0].gallery_sd)
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


def trimmed_mean(rates: Sequence[float], gallery_sd: float) -> tuple[float, Interval]:
    """Trimmed mean of sites and its 95% interval.

    Parameters
    ----------
    rates : sequence of float
        At least `FEWEST_TO_VOTE`, one a site, not clamped.
    gallery_sd : float
        sigma of the anchor: all sites met one gallery, and its error does not shrink with them.

    References
    ----------
    Yuen (1974): t on h - 1 degrees of freedom, h = K - 2 g, standard error
    sqrt(winsorised sum of squares / (h (h - 1))).
    """
    ordered, cut = sorted(rates), trimmed_sites(len(rates))
    kept = ordered[cut:-cut]
    pulled_in = [kept[0]] * cut + kept + [kept[-1]] * cut
    left, mean = len(kept), math.fsum(kept) / len(kept)
    middle = math.fsum(pulled_in) / len(pulled_in)
    squares = math.fsum((rate - middle) ** 2 for rate in pulled_in)
    error = two_sided(_CONFIDENCE, left - 1) * math.sqrt(squares / (left * (left - 1)))
    reach = math.hypot(error, _Z * gallery_sd)
    rate = min(max(mean, 0.0), 1.0)
    return rate, Interval(min(max(mean - reach, 0.0), rate), max(min(mean + reach, 1.0), rate))
