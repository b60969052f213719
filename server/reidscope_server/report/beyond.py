"""Report -> what the page says beyond pooled rates: places, risks by name, sites as a sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reidscope_protocols.report import Identification, Influence, Report
from reidscope_protocols.report_rows import CatchmentRate, NamedRisk, OverSites, Robust
from reidscope_server.report.drawing import percent
from reidscope_server.report.readings import estimable, measured

ROWS_SHOWN = 60
"""Of places; all are in catchment.csv."""

UNDETECTABLE = (
    "What nobody can detect: a site whose people, scans or photos are not what it says, or that "
    "makes up counts as another cohort could have had, with noise of the right size. Such a lie "
    "looks like a hospital that differs; it moves the pooled rate by no more than the site's share "
    "of all people, and the robust rates by no more than to the other sites' reach."
)
OVER_SITES_SAYS = (
    "Two questions, two intervals. These sites: the people of the sites that took part, pooled; it "
    "says nothing of other hospitals. Sites like these: the mean share of hospitals of which these "
    "are a sample, by a t-interval over the sites' noisy shares; it is wider, and very wide below "
    "five sites. Neither is corrected for the other rows of this page."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """One rate, pooled in every way that the report offers; None where there are too few sites."""

    pooled: Identification
    over_sites: OverSites | None
    without_one: Robust | None
    trimmed: Robust | None
    largest: Influence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One rate under three names."""

    prosecutor: NamedRisk
    journalist: NamedRisk
    marketer: NamedRisk


def poolings(report: Report) -> list[Pooling]:
    """Return every pooled rate with its alternatives beside it."""
    over = {_where(row): row for row in report.over_sites}
    robust = {(*_where(row), row.method): row for row in report.robust}
    return [
        Pooling(
            pooled=row,
            over_sites=over.get(_where(row)),
            without_one=robust.get((*_where(row), "without the furthest site")),
            trimmed=robust.get((*_where(row), "trimmed mean of sites")),
            largest=max(
                (moved for moved in report.influence if _where(moved) == _where(row)),
                key=lambda moved: abs(moved.change),
                default=None,
            ),
        )
        for row in measured(report)
    ]


def named(report: Report) -> list[Named]:
    """Return every rate's three risks."""
    found: dict[tuple[str, str, int], dict[str, NamedRisk]] = {}
    for row in report.risks:
        found.setdefault(_where(row), {})[row.risk] = row
    return [
        Named(
            prosecutor=risks["prosecutor"],
            journalist=risks["journalist"],
            marketer=risks["marketer"],
        )
        for risks in found.values()
    ]


def narrowing(report: Report) -> str:
    """Say in a sentence what knowing the site is worth to an attacker; empty without catchments."""
    rows = [row for row in report.catchment if row.arm == report.identification[0].arm]
    if not rows:
        return ""
    smallest = min(rows, key=lambda row: row.people)
    whole = next((row for row in rows if row.scope == "unknown"), None)
    known = "come from" if smallest.scope == "site" else "come from a site in"
    told = [
        f"An unmodified scan that is known to {known} {smallest.place} could be of "
        f"{smallest.people:,} people, and {_found(smallest)}"
        if smallest.scope != "unknown"
        else f"An unmodified scan could be of {smallest.people:,} people, and {_found(smallest)}"
    ]
    if whole is not None and whole is not smallest:
        told.append(f"one of unknown origin could be of {whole.people:,}, and {_found(whole)}")
    return "; ".join(told) + "."


def _found(row: CatchmentRate) -> str:
    if not estimable(row):
        return "nothing can be said of how many are found"
    if row.basis == "measured" or percent(row.at_least) == percent(row.at_most):
        return f"{percent(row.at_most)} of people are found"
    return f"between {percent(row.at_least)} and {percent(row.at_most)} of people are found"


def places_shown(report: Report) -> Iterator[CatchmentRate]:
    """Yield the rows that the page's table holds."""
    yield from report.catchment[:ROWS_SHOWN]


def _where(
    row: Identification | OverSites | Robust | Influence | NamedRisk,
) -> tuple[str, str, int]:
    return row.arm, row.attacker, row.gallery_size
