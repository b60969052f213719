"""What an attacker gains who knows where a scan comes from: the measured curve at that N.

Knowing the site leaves the people whom the site serves, knowing the region those of the region,
knowing neither everybody: fewer people, fewer strangers to be taken for. The share found among N
faces cannot grow with N, so that the anchors bound what lies between and beyond them without any
assumption:

    at an anchor             the rate that was measured
    between two anchors      [rate at the larger, rate at the smaller]
    below the smallest       [rate at the smallest, share acquired]: alone, one is always found
    beyond the largest       [0, rate at the largest]

with the outer ends of their intervals. People are declared, never counted; a region's and
everybody's are the sums over the sites unless the study states everybody's: whoever is served by
two sites is counted twice there, which can only make N too large.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reidscope_protocols.report import Acquired, Identification
from reidscope_protocols.report_rows import CatchmentRate, Reading, Scope
from reidscope_protocols.statements import Catchment, Release
from reidscope_protocols.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Of whom a scan could be, for an attacker who knows so much of where it comes from."""

    scope: Scope
    name: str
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a curve says at one N, and the outer ends of its intervals."""

    basis: Reading
    at_least: float
    at_most: float
    low: float
    high: float


def declared(study: Study, releases: Sequence[Release]) -> dict[str, Catchment]:
    """Return the catchments by site: the site's own word goes before the study's."""
    stated = {
        site.site: Catchment(population_reached=site.population_reached, region=site.region)
        for site in (study.reach.sites if study.reach else ())
    }
    named = {release.site: release.catchment or stated.get(release.site) for release in releases}
    return {site: catchment for site, catchment in named.items() if catchment is not None}


def places(study: Study, catchments: Mapping[str, Catchment], sites: int) -> tuple[Place, ...]:
    """Return every place that the declared numbers speak of: sites, regions, everybody.

    Parameters
    ----------
    sites : int
        That released: everybody is the sum over them only where each of them declared.
    """
    found = [
        Place(scope="site", name=site, people=catchment.population_reached)
        for site, catchment in catchments.items()
    ]
    regions: dict[str, int] = {}
    for catchment in catchments.values():
        if catchment.region:
            regions[catchment.region] = (
                regions.get(catchment.region, 0) + catchment.population_reached
            )
    found += [Place(scope="region", name=name, people=n) for name, n in regions.items()]
    everybody = study.reach.everywhere if study.reach else None
    if everybody is None and catchments and len(catchments) == sites:
        everybody = sum(catchment.population_reached for catchment in catchments.values())
    if everybody is not None:
        found.append(Place(scope="unknown", name="all sites", people=everybody))
    return tuple(found)


def read_curve(curve: Sequence[Identification], acquired: Acquired, people: int) -> Bounds:
    """Read one arm's measured curve among `people` faces.

    Parameters
    ----------
    curve : sequence of Identification
        One arm and attacker, the smallest gallery first, at least one.
    acquired : Acquired
        Nobody without a face is found, among however few.
    people : int
        N, at least 1, the person included.
    """
    for row in curve:
        if row.gallery_size == people:
            return Bounds(
                basis="measured", at_least=row.rate, at_most=row.rate, low=row.low, high=row.high
            )
    smaller = [row for row in curve if row.gallery_size < people]
    larger = [row for row in curve if row.gallery_size > people]
    top = smaller[-1] if smaller else acquired
    # Noise can turn two rates round; the bounds are their hull.
    return Bounds(
        basis="below the anchors"
        if not smaller
        else "between anchors"
        if larger
        else "beyond the anchors",
        at_least=min(larger[0].rate, top.rate) if larger else 0.0,
        at_most=max(top.rate, larger[0].rate) if larger else top.rate,
        low=min(larger[0].low, top.low) if larger else 0.0,
        high=max(top.high, larger[0].high) if larger else top.high,
    )


def catchment(
    study: Study,
    releases: Sequence[Release],
    measured: Sequence[Identification],
    acquired: Acquired,
) -> tuple[CatchmentRate, ...]:
    """Read every arm's curve at every place; empty where nobody declared anything."""
    every = places(study, declared(study, releases), len(releases))
    return tuple(_rows(every, measured, acquired))


def _rows(
    every: Sequence[Place], measured: Sequence[Identification], acquired: Acquired
) -> Iterator[CatchmentRate]:
    curves: dict[tuple[str, str], list[Identification]] = {}
    for row in measured:
        curves.setdefault((row.arm, row.attacker), []).append(row)
    for place in every:
        for (arm, attacker), curve in curves.items():
            read = read_curve(curve, acquired, place.people)
            yield CatchmentRate(
                scope=place.scope,
                place=place.name,
                people=place.people,
                arm=arm,
                attacker=attacker,
                basis=read.basis,
                at_least=read.at_least,
                at_most=read.at_most,
                low=read.low,
                high=read.high,
            )
