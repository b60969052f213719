"""From stored releases to a published report: build, sign, write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reidscope_protocols.envelope import open_envelope, sign
from reidscope_protocols.keys import KeyRing, StatementKey
from reidscope_protocols.report import Report
from reidscope_protocols.statements import Release
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.coordinator import Coordinator
from reidscope_server.report.build import build_report
from reidscope_server.report.write import write_report
from reidscope_server.sites import own_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was written, and the numbers that a person wants to see first."""

    report: Report
    headlines: tuple[str, ...]


def publish(
    coordinator: Coordinator, word: str, out: Path, *, notices: tuple[str, ...]
) -> Published:
    """Build, sign and write a study's report.

    Raises
    ------
    NotReadyError
        Fewer releases than the study's minimum.
    """
    study = coordinator.studies.find(word)
    ring = KeyRing.of(site.key_record() for site in coordinator.sites.every())
    releases = {}
    decisions = {}
    for site in study.statement.audience:
        envelope = coordinator.studies.release_of(study.sha256, site)
        if envelope is not None:
            releases[site] = open_envelope(envelope, Release, ring, role=KeyRole.SITE, site=site)
        decision = coordinator.studies.last_decision(study.sha256, site)
        if decision is not None:
            decisions[site] = decision
    report = build_report(
        study,
        releases,
        decisions,
        keys=(*own_keys(coordinator.home), *ring.records),
        notices=notices,
        now=datetime.now(UTC),
    )
    envelope = sign(report, StatementKey.load(coordinator.home.key("coordinator.pem")))
    out.mkdir(parents=True, exist_ok=True)
    write_report(out, report, envelope)
    return Published(report=report, headlines=headlines(report))


def headlines(report: Report) -> tuple[str, ...]:
    """One line a rate, as a person would say it."""
    return tuple(
        f"{row.arm}: found among {row.gallery_size:,} faces: {row.rate:.0%}"
        f" (95% interval {row.low:.0%} to {row.high:.0%})"
        for row in report.identification
    )
