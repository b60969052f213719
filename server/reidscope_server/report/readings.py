"""A report's rows as figures and page want them: arm by arm, its attackers, its failed gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.report import (
    Comparison,
    Damage,
    FailedGates,
    Identification,
    Report,
    ReportedSite,
)
from reidscope_protocols.secure_sum import MaskedRelease
from reidscope_protocols.side_tables import SERIOUS_DAMAGE
from reidscope_protocols.vocabulary import UNMODIFIED
from reidscope_server.report.drawing import percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm at the smallest gallery, with everything that its rates are never shown without.

    Attributes
    ----------
    place : int
        In the study's order; `unmodified` is 0.
    found : tuple of Identification
        One row an attacker.
    compared : tuple of Comparison
        With `unmodified`, one an attacker; empty for `unmodified` itself.
    failed : FailedGates or None
        None for `unmodified` alone, which has no gates.
    serious : Damage or None
        People whose scan lost 1% of the brain or more; None where nobody asked.
    """

    place: int
    name: str
    found: tuple[Identification, ...]
    compared: tuple[Comparison, ...]
    failed: FailedGates | None
    serious: Damage | None

    @property
    def worst(self) -> Identification:
        """The row of the attacker who finds most."""
        return max(self.found, key=lambda row: row.rate)


def arms(report: Report) -> tuple[Arm, ...]:
    """Return every arm, `unmodified` first."""
    size = report.identification[0].gallery_size
    rows = [row for row in measured(report) if row.gallery_size == size]
    failed = {row.arm: row for row in report.failed_gates}
    serious = {row.arm: row for row in report.damage if row.brain_lost == SERIOUS_DAMAGE}
    return tuple(
        Arm(
            place=place,
            name=name,
            found=tuple(row for row in rows if row.arm == name),
            compared=tuple(row for row in report.comparisons if row.arm == name),
            failed=failed.get(name),
            serious=serious.get(name),
        )
        for place, name in enumerate(dict.fromkeys(row.arm for row in rows))
    )


def measured(report: Report) -> tuple[Identification, ...]:
    """Return the rates that were measured: what a model says stands apart."""
    return tuple(row for row in report.identification if row.basis == "measured")


class Ranged(Protocol):
    """Anything with a 95% interval of a share."""

    @property
    def low(self) -> float:
        """Lower end."""
        ...

    @property
    def high(self) -> float:
        """Upper end."""
        ...


def estimable(row: Ranged) -> bool:
    """Whether the noise left anything to estimate: an interval of 0 to 100% says nothing.

    The point estimate beside such an interval (a half, where the noisy people do not even add up to
    one) must not be shown to readers.
    """
    return row.low > 0 or row.high < 1


class Rated(Ranged, Protocol):
    """A share with its 95% interval."""

    @property
    def rate(self) -> float:
        """Point estimate."""
        ...


def spoken(row: Rated) -> str:
    """Write a rate as whole percent, or that there is none to be shown."""
    return percent(row.rate) if estimable(row) else "not estimable"


def released(report: Report) -> tuple[ReportedSite, ...]:
    """Return the sites whose tables the report rests on."""
    return tuple(site for site in report.sites if site.status == "released")


def people(report: Report) -> float:
    """Return the noisy number of people; of all sites together, where no site's own is known."""
    known = [site.subjects.estimate for site in report.sites if site.subjects]
    if known:
        return sum(known)
    return float(max(0, sum(map(sum, report.tables[0].counts.values()))))


def signed_tables(report: Report) -> tuple[tuple[str, str], ...]:
    """Return who signed what: a site and the envelope of its noisy, or masked, tables."""
    if report.evidence.masked:
        return tuple(
            (MaskedRelease.parse(peek_payload(text.encode())).site, text)
            for text in report.evidence.masked
        )
    names = [site.site for site in released(report)]
    return tuple(zip(names, report.evidence.releases, strict=True))


def attackers(report: Report) -> tuple[str, ...]:
    """Return the attackers, the first one first."""
    return tuple(dict.fromkeys(row.attacker for row in measured(report)))


def unmodified(report: Report) -> tuple[Identification, ...]:
    """Return the rates of unmodified scans, the smallest gallery first."""
    return tuple(row for row in measured(report) if row.arm == UNMODIFIED)


def chance(report: Report, gallery_size: int) -> float:
    """Return what guessing reaches at most: one in N, times the scans that may be tried."""
    smallest = report.identification[0].gallery_size
    return min(1.0, report.study.chance_percent / 100 * smallest / gallery_size)
