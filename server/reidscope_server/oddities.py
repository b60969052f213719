"""What is odd about a release that was admitted: a question for the site, never a refusal.

Each line says how often an honest site would show it. An honest site of odd people shows them too:
these tests know of noise and of sampling, not of how much hospitals differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from reidscope_protocols.report_rows import Oddity
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_server.estimates import found, read_points
from reidscope_server.intervals import Weighed, share
from reidscope_server.noise_tails import alike_by_chance, sum_reach
from reidscope_server.poison import copied_by_chance, epsilon_of
from reidscope_server.pooling import pool

NOTICED = 1e-3
"""False alarms of one line, a release: a question costs less than a refusal."""

_TWICE = 2
_FAR = 4.0
"""Standard errors; two-sided, 6.3e-5 a rate where errors are normal."""


def oddities(study: Study, releases: Sequence[Release]) -> tuple[Oddity, ...]:
    """List what deserves a question, site by site in the order of `releases`."""
    return tuple(
        oddity
        for place, release in enumerate(releases)
        for oddity in (
            *_of_itself(release),
            *_copied(release, releases[:place]),
            *_unlike_the_others(study, release, releases),
        )
    )


def _of_itself(release: Release) -> Iterator[Oddity]:
    for table in release.tables:
        reach = sum_reach([(len(table.counts), epsilon_of(table))], NOTICED)
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
        chance = alike_by_chance(len(table.counts), alike, epsilon_of(table))
        if chance <= NOTICED:
            yield Oddity(
                site=release.site,
                what=f"{table.table}: one same number in {alike} of {len(table.counts)} cells",
                false_alarm=chance,
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


def _unlike_the_others(
    study: Study, release: Release, releases: Sequence[Release]
) -> Iterator[Oddity]:
    rest = [other for other in releases if other is not release]
    if not rest:
        return
    ours, theirs = pool(study, [release]), pool(study, rest)
    for readout, size in read_points(study):
        one = found(study, ours, column=readout.column, gallery_size=size)
        all_others = found(study, theirs, column=readout.column, gallery_size=size)
        if one.people <= 0 or all_others.people <= 0:
            continue
        pooled = share(all_others)
        # sigma_G is no part of it: all sites met the same gallery.
        error = math.hypot(*(_standard_error(w, pooled) for w in (one, all_others)))
        apart = (one.total / one.people - pooled) / error if error else 0.0
        if abs(apart) > _FAR:
            yield Oddity(
                site=release.site,
                what=f"{readout.arm}, {readout.attacker}, {size} faces: "
                f"{'more' if apart > 0 else 'fewer'} found than at the others, "
                f"{abs(apart):.1f} standard errors",
                false_alarm=math.erfc(abs(apart) / math.sqrt(2)),
            )


def _standard_error(weighed: Weighed, mean: float) -> float:
    """Of S / n about a share, from sampling and noise alone."""
    squares = weighed.weight_squares - 2 * mean * weighed.weight_sum + mean * mean * weighed.cells
    variance = weighed.certain_people * mean * (1 - mean) + weighed.noise_variance * squares
    return math.sqrt(variance) / weighed.people
