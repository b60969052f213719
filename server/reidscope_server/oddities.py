"""What is odd about a release that was admitted: a question for the site, never a refusal.

Each line says how often an honest site would show it. An honest site of odd people shows them too:
these tests know of noise and of sampling, not of how much hospitals differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import median

from reidscope_protocols.report_rows import Oddity
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_server.estimates import found, read_points
from reidscope_server.huddles import even_by_chance, huddled_by_chance
from reidscope_server.intervals import Weighed, share
from reidscope_server.noise_tails import alike_by_chance, sum_reach
from reidscope_server.poison import copied_by_chance, epsilon_of
from reidscope_server.pooling import pool

NOTICED = 1e-3
"""False alarms of one line, a release: a question costs less than a refusal."""

_TWICE = 2
_FAR = 4.0
"""Standard errors; two-sided, 6.3e-5 a rate where errors are normal."""

_RAREST = 1e-12
"""Beyond it a normal tail says nothing of counts."""

_ENOUGH = 3
"""Sites: of two that differ nobody can say which is odd."""


def oddities(study: Study, releases: Sequence[Release]) -> tuple[Oddity, ...]:
    """List what deserves a question, site by site in the order of `releases`."""
    unlike = _unlike_the_others(study, releases)
    return tuple(
        oddity
        for place, release in enumerate(releases)
        for oddity in (
            *_of_itself(release),
            *_copied(release, releases[:place]),
            *([unlike[release.site]] if release.site in unlike else []),
        )
    )


@lru_cache(maxsize=256)
def _reach(cells: int, epsilon: float) -> float:
    """Reach of one table's total: a hundred sites ask for the same few."""
    return sum_reach([(cells, epsilon)], NOTICED)


def _of_itself(release: Release) -> Iterator[Oddity]:
    for table in release.tables:
        reach = _reach(len(table.counts), epsilon_of(table))
        total = sum(table.counts)
        if total - reach > _TWICE * release.declared_people:
            yield Oddity(
                site=release.site,
                what=f"{table.table}: {total} noisy people, over twice the "
                f"{release.declared_people} declared",
                false_alarm=NOTICED,
            )
        if total + reach < release.declared_people / _TWICE:
            yield Oddity(
                site=release.site,
                what=f"{table.table}: {total} noisy people, under half the "
                f"{release.declared_people} declared",
                false_alarm=NOTICED,
            )
        alike = max(table.counts.count(number) for number in set(table.counts))
        epsilon = epsilon_of(table)
        chance = alike_by_chance(len(table.counts), alike, epsilon)
        if chance <= NOTICED:
            yield Oddity(
                site=release.site,
                what=f"{table.table}: one same number in {alike} of {len(table.counts)} cells",
                false_alarm=chance,
            )
            continue
        chance = min(
            huddled_by_chance(table.counts, epsilon), even_by_chance(table.counts, epsilon)
        )
        if 2 * chance <= NOTICED:
            yield Oddity(
                site=release.site,
                what=f"{table.table}: {len(table.counts)} counts closer together than noise and "
                "people leave them",
                false_alarm=2 * chance,
            )


def _copied(release: Release, earlier: Sequence[Release]) -> Iterator[Oddity]:
    for other in earlier:
        chance = copied_by_chance(release, other)
        if chance < 1:
            yield Oddity(
                site=release.site,
                what=f"a table with the counts of {other.site}'s",
                false_alarm=chance,
            )


def _unlike_the_others(study: Study, releases: Sequence[Release]) -> dict[str, Oddity]:
    """Compare each site's shares with the median of sites, which one site cannot carry away.

    sigma_G is no part of it: all sites met the same gallery.
    """
    tables = [pool(study, [release]) for release in releases]
    points = read_points(study)
    worst: dict[str, tuple[float, str]] = {}
    for readout, size in points:
        weighed = [found(study, t, column=readout.column, gallery_size=size) for t in tables]
        rates = [share(w) for w in weighed if w.people > 0]
        if len(rates) < _ENOUGH:
            continue
        middle = median(rates)
        for release, w in zip(releases, weighed, strict=True):
            error = _standard_error(w, middle) if w.people > 0 else 0.0
            apart = (w.total / w.people - middle) / error if error else 0.0
            if abs(apart) > abs(worst.get(release.site, (0.0, ""))[0]):
                said = f"{readout.arm}, {readout.attacker}, {size} faces"
                worst[release.site] = apart, said
    return {
        site: Oddity(
            site=site,
            what=f"{said}: {'more' if apart > 0 else 'fewer'} people found than at the median of "
            f"sites, by {abs(apart):.1f} standard errors",
            false_alarm=min(1.0, len(points) * max(_RAREST, math.erfc(abs(apart) / math.sqrt(2)))),
        )
        for site, (apart, said) in worst.items()
        if abs(apart) > _FAR
    }


def _standard_error(weighed: Weighed, mean: float) -> float:
    """Of S / n about a share, from sampling and noise alone."""
    squares = weighed.weight_squares - 2 * mean * weighed.weight_sum + mean * mean * weighed.cells
    variance = weighed.certain_people * mean * (1 - mean) + weighed.noise_variance * squares
    return math.sqrt(variance) / weighed.people
