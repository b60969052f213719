"""From stored releases to a published report: build, sign, write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from re import fullmatch

from reidscope_protocols.envelope import open_envelope, sign
from reidscope_protocols.errors import InputError
from reidscope_protocols.keys import KeyRing
from reidscope_protocols.report import DEFAULT_LICENCE, LICENCE_PATTERN, Report
from reidscope_protocols.statements import Release
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.coordinator import Coordinator
from reidscope_server.key_files import signing_key
from reidscope_server.own_keys import own_keys
from reidscope_server.report.build import build_report
from reidscope_server.report.readings import attackers, estimable, measured
from reidscope_server.report.summing import SumEvidence
from reidscope_server.report.tail_words import tail_headlines
from reidscope_server.report.write import write_report


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was written, and the numbers that a person wants to see first."""

    report: Report
    headlines: tuple[str, ...]


def publish(
    coordinator: Coordinator,
    word: str,
    out: Path,
    *,
    notices: tuple[str, ...],
    licence: str = DEFAULT_LICENCE,
    enrolled_share: float | None = None,
) -> Published:
    """Build, sign and write a study's report.

    Parameters
    ----------
    coordinator : Coordinator
        Open, with its stores.
    word : str
        The study's id, or the first digits of its sha256.
    out : Path
        Folder, made if it is not there.
    notices : tuple of str
        Lines for the report's head.
    licence : str
        SPDX identifier: what readers may do with the numbers.
    enrolled_share : float, optional
        Probability that a person stands in an attacker's gallery, in [0, 1].

    Raises
    ------
    InputError
        A licence that is no SPDX identifier.
    NotReadyError
        Fewer releases than the study's minimum.
    """
    if not fullmatch(LICENCE_PATTERN, licence):
        raise InputError(
            "licence",
            got="something that is no SPDX identifier",
            expected=f"one such as {DEFAULT_LICENCE}",
            do="correct --licence",
        )
    study = coordinator.studies.find(word)
    ring = KeyRing.of(record for site in coordinator.sites.every() for record in site.key_records())
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
        licence=licence,
        enrolled_share=enrolled_share,
        sum_evidence=_sum_evidence(coordinator, study.sha256),
    )
    envelope = sign(report, signing_key(coordinator.home, "coordinator"))
    out.mkdir(parents=True, exist_ok=True)
    write_report(out, report, envelope)
    return Published(report=report, headlines=headlines(report))


def headlines(report: Report) -> tuple[str, ...]:
    """One line a rate, as a person would say it, with the failed gates of its arm."""
    several = len(attackers(report)) > 1
    failed = {row.arm: f"; its gates failed for {row.rate:.0%}" for row in report.failed_gates}
    return tuple(
        f"{row.arm}{f' ({row.attacker})' if several else ''}: found among {row.gallery_size:,} "
        f"faces: {f'{row.rate:.0%}' if estimable(row) else 'not estimable'} "
        f"(95% interval {row.low:.0%} to {row.high:.0%})"
        f"{failed.get(row.arm, '')}"
        for row in measured(report)
    ) + tail_headlines(report)


def _sum_evidence(coordinator: Coordinator, study_sha256: str) -> SumEvidence | None:
    finished = coordinator.studies.sums.finished(study_sha256)
    if finished is None or finished[0].listed is None:
        return None
    return SumEvidence(round_envelope=finished[0].listed, masked=finished[1])
