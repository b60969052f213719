"""Study, releases and decisions -> Report: a pure function, which `verify` runs again.

Everything in a report follows from the signed statements that it carries. Nothing else is looked
at: not the database, not a clock other than `now`.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version

from reidscope_protocols.envelope import Opened, open_envelope
from reidscope_protocols.errors import NotReadyError, WrongAudienceError
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.report import (
    DEFAULT_LICENCE,
    Evidence,
    PrivacyAccount,
    Report,
    ReportedSite,
    ReportedStudy,
    ReportedTable,
)
from reidscope_protocols.secure_sum import MaskedRelease
from reidscope_protocols.statements import WORLD, Decision, Release
from reidscope_protocols.study import Study, TableRequest
from reidscope_protocols.vocabulary import KeyRole, Verdict
from reidscope_server.admission import AsAsked, OfThisStudy, admit
from reidscope_server.catchment import catchment, declared
from reidscope_server.estimates import (
    acquired,
    after_any,
    by_site,
    comparisons,
    damage,
    failed_gates,
    identification,
    influence,
    people,
    published,
)
from reidscope_server.estimates_groups import by_group
from reidscope_server.extrapolation import extrapolated
from reidscope_server.named_risks import enrolled_share_of, named_risks
from reidscope_server.oddities import oddities
from reidscope_server.open_set import above, open_set, tar
from reidscope_server.over_sites import over_sites
from reidscope_server.pooling import pool, table_of
from reidscope_server.report.programs import programs
from reidscope_server.report.summing import SumEvidence, summed_account, summed_of, summed_site
from reidscope_server.robust import robust

_HOLDS = timedelta(days=3650)
_DRAWN_BY = ("reidscope", "matplotlib", "jinja2")
_NOTE = (
    "Epsilon is what one site charges each of its people for this study. A person who is at "
    "several of these sites loses the sum of theirs: nobody can look, because sites are never "
    "linked. Epsilons of other studies add to these."
)


def build_report(  # noqa: PLR0917 (six different nouns, and no two of one type)
    study: Opened[Study],
    releases: Mapping[str, Opened[Release]],
    decisions: Mapping[str, bytes],
    keys: Sequence[KeyRecord],
    notices: Sequence[str],
    now: datetime,
    *,
    licence: str = DEFAULT_LICENCE,
    enrolled_share: float | None = None,
    sum_evidence: SumEvidence | None = None,
) -> Report:
    """Estimate everything and put the evidence beside it.

    Parameters
    ----------
    study : Opened of Study
        Signed by the study key.
    releases : mapping of str to Opened of Release
        By site. One of a site whose last decision is not an approval is left out.
    decisions : mapping of str to bytes
        Envelope of each site's last decision, by site.
    keys : sequence of KeyRecord
        Public keys of the coordinator and the sites; those of other sites are left out.
    notices : sequence of str
        Lines to stand at the report's head, such as "one account holds every role here".
    now : datetime
        Time of issue, UTC.
    licence : str
        SPDX identifier: what readers may do with the numbers.
    enrolled_share : float, optional
        Probability that a person stands in an attacker's gallery, in [0, 1]; the study's without
        it.
    sum_evidence : SumEvidence, optional
        Of a study with distributed noise: what its secure sum left behind.

    Returns
    -------
    Report
        To be signed with the coordinator's key.

    Raises
    ------
    NotReadyError
        Fewer releases than the study's `minimum_sites`.
    AdmissionError, StatementError
        A release or decision that is not the study's, or not its signer's.

    Privacy
    -------
    Post-processing of noisy counts: costs nobody anything (docs/privacy.md, "What a report may
    say"). The statements inside are public already to the coordinator; now they are to the world.
    """
    said = study.statement
    evidence_keys = _keys_of(said, keys)
    verdicts = {
        site: _verdict(study, site, decisions[site], KeyRing(evidence_keys))
        for site in said.audience
        if site in decisions
    }
    for release in releases.values():
        admit(release, study, (OfThisStudy(), AsAsked()))
    used = {
        site: releases[site]
        for site in said.audience
        if site in releases and verdicts.get(site, Verdict.APPROVED) is Verdict.APPROVED
    }
    if said.noise is None and (len(used) < said.minimum_sites or not used):
        raise NotReadyError(
            "report",
            got=f"{len(used)} releases",
            expected=f"at least {said.minimum_sites}",
            do="wait, or ask the sites",
        )
    signed = [release.statement for release in used.values()]
    spoke: Sequence[Release | MaskedRelease] = signed
    summed = None
    if said.noise is not None:
        summed = summed_of(study, sum_evidence, verdicts, KeyRing(evidence_keys))
        signed = [summed.total]
        spoke = [masked.statement for masked in summed.masked.values()]
    pooled = pool(said, signed)
    enrolled = enrolled_share_of(said) if enrolled_share is None else enrolled_share
    measured, with_face = identification(said, pooled), acquired(pooled)
    dearest = max(loss_of(release) for release in signed)
    return Report(
        audience=(WORLD,),
        issued_at=now,
        not_after=now + _HOLDS,
        study_sha256=study.sha256,
        study=ReportedStudy(
            id=said.study_id,
            title=said.title,
            sha256=study.sha256,
            population=said.population,
            cohort=str(said.cohort),
            groups=str(said.experiment.groups or ""),
            question=said.question,
            reference_people=said.experiment.reference_people,
            reference_size=said.experiment.reference_size,
            gallery_error=said.experiment.gallery_error,
            mate=said.experiment.mate,
            direction=said.experiment.direction,
            scan_rule=said.experiment.scan_rule,
            chance_percent=published(said.experiment.chance_percent),
            failed_gate=said.experiment.failed_gate,
            renders=said.experiment.renders,
            recogniser=said.experiment.recogniser.name,
        ),
        licence=licence,
        notices=tuple(notices),
        sites=tuple(
            summed_site(said, site, summed, verdicts)
            if summed is not None
            else _site(said, site, used, verdicts)
            for site in said.audience
        ),
        tables=tuple(_table(request, signed) for request in said.tables),
        identification=measured + extrapolated(said, signed),
        after_any=after_any(said, pooled),
        by_site=by_site(said, signed) if summed is None else (),
        by_group=by_group(said, pooled),
        influence=influence(said, signed),
        acquired=(with_face,),
        comparisons=comparisons(said, pooled),
        failed_gates=failed_gates(said, signed),
        damage=damage(said, signed),
        enrolled_share=enrolled,
        catchment=catchment(said, signed, measured, with_face),
        risks=named_risks(measured, enrolled),
        over_sites=over_sites(said, signed),
        robust=robust(said, signed),
        oddities=oddities(said, signed) if summed is None else (),
        tar=tar(said, signed),
        open_set=open_set(said, signed),
        above=above(said, signed),
        programs=programs(said, spoke),
        privacy=summed_account(study, summed)
        if summed is not None
        else PrivacyAccount(
            mechanism="discrete Laplace (OpenDP)",
            unit="person",
            neighbouring="add or remove one person",
            mode="local",
            epsilon_total=float(dearest.epsilon),
            odds_total=published(dearest.odds),
            note=_NOTE,
        ),
        evidence=Evidence(
            study=study.envelope.decode(),
            releases=tuple(release.envelope.decode() for release in used.values()),
            decisions=tuple(decisions[site].decode() for site in verdicts),
            keys=evidence_keys,
            sum_round=summed.evidence.round_envelope.decode() if summed else "",
            masked=tuple(each.envelope.decode() for each in summed.masked.values())
            if summed
            else (),
        ),
        versions=versions(),
    )


def _table(request: TableRequest, signed: Sequence[Release]) -> ReportedTable:
    tables = {release.site: table_of(release, request) for release in signed}
    return ReportedTable(
        table=request.table,
        cells=request.cells,
        counts={site: table.counts for site, table in tables.items()},
        epsilon=max(float(PrivacyLoss(table.epsilon_nano).epsilon) for table in tables.values()),
    )


def versions() -> dict[str, str]:
    """Return what a report is computed and drawn with."""
    return {"python": platform.python_version(), **{name: version(name) for name in _DRAWN_BY}}


def loss_of(release: Release) -> PrivacyLoss:
    """Epsilon that a site charged for all tables of a release."""
    return PrivacyLoss(sum(table.epsilon_nano for table in release.tables))


def _keys_of(study: Study, keys: Sequence[KeyRecord]) -> tuple[KeyRecord, ...]:
    return tuple(key for key in keys if key.site is None or key.site in study.audience)


def _verdict(study: Opened[Study], site: str, envelope: bytes, ring: KeyRing) -> Verdict:
    decision = open_envelope(envelope, Decision, ring, role=KeyRole.SITE, site=site).statement
    if decision.study_sha256 != study.sha256 or decision.site != site:
        raise WrongAudienceError(
            "decision",
            got="another study's digest, or another site's name than its signer's",
            expected="a decision about this study",
            do="look at `reidscope-server study status`",
        )
    return decision.verdict


def _site(
    study: Study,
    site: str,
    used: Mapping[str, Opened[Release]],
    verdicts: Mapping[str, Verdict],
) -> ReportedSite:
    if site not in used:
        refused = verdicts.get(site) in {Verdict.DECLINED, Verdict.WITHDRAWN}
        return ReportedSite(
            site=site,
            status="declined" if refused else "silent",
            subjects=None,
            declared_people=None,
            epsilon=0.0,
            odds=1.0,
        )
    release = used[site].statement
    loss = loss_of(release)
    return ReportedSite(
        site=site,
        status="released",
        subjects=people(pool(study, [release])),
        declared_people=release.declared_people,
        epsilon=float(loss.epsilon),
        odds=published(loss.odds),
        catchment=declared(study, [release]).get(site),
    )
