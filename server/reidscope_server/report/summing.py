"""A report over a secure sum: what is known of all sites together, and in what trust.

No count of one site is known to anybody, so there is no rate a site and no leave-one-out; the rest
is computed from the sum as from one site's release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reidscope_protocols.distributed import alone
from reidscope_protocols.envelope import Opened, open_envelope, peek_payload
from reidscope_protocols.errors import AdmissionError, NotReadyError
from reidscope_protocols.keys import KeyRing
from reidscope_protocols.privacy import LARGEST_NANO, PrivacyLoss
from reidscope_protocols.report import PrivacyAccount, ReportedSite
from reidscope_protocols.secure_sum import MaskedRelease, Participants, SumRound, participants
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole, Verdict
from reidscope_server.estimates import published
from reidscope_server.sum_admission import noise_of
from reidscope_server.summed import add_up

_NOTE = (
    "Epsilon is what one site charges each of its people for this study, every attempt at the sum "
    "included. It holds as long as no more of the participants than are tolerated collude with the "
    "coordinator; the second number holds even if all the others do. A person who is at several of "
    "these sites loses the sum of theirs: nobody can look, because sites are never linked. "
    "Epsilons of other studies add to these."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SumEvidence:
    """What a secure sum left behind.

    Attributes
    ----------
    round_envelope : bytes
        The coordinator's signed list of participants.
    masked : mapping of str to bytes
        Each participant's signed masked tables, by site.
    """

    round_envelope: bytes
    masked: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """A secure sum that was checked and added up.

    Attributes
    ----------
    total : Release
        The sum, as if one site had released it; signed by nobody.
    """

    of: Participants
    total: Release
    masked: Mapping[str, Opened[MaskedRelease]]
    evidence: SumEvidence


def summed_of(
    study: Opened[Study],
    evidence: SumEvidence | None,
    verdicts: Mapping[str, Verdict],
    ring: KeyRing,
) -> Summed:
    """Check everything that a secure sum rests on, and add it up.

    Raises
    ------
    NotReadyError
        There is no sum yet.
    StatementError, AdmissionError
        Something in it does not hold.
    """
    if evidence is None:
        raise NotReadyError(
            "report",
            got="no finished secure sum",
            expected="masked tables of every participant",
            do="look at `reidscope-server study status`",
        )
    noise = noise_of(study)
    said = open_envelope(evidence.round_envelope, SumRound, ring, role=KeyRole.COORDINATOR)
    of = participants(
        study, noise, said.statement.attempt, (key.encode() for key in said.statement.keys)
    )
    masked = {
        site: open_envelope(envelope, MaskedRelease, noise.ring, role=KeyRole.SITE, site=site)
        for site, envelope in sorted(evidence.masked.items())
    }
    unapproved = [site for site in of.keys if verdicts.get(site) is not Verdict.APPROVED]
    if unapproved or said.statement.study_sha256 != study.sha256:
        raise AdmissionError(
            "secure sum",
            got=f"participants without an approval: {len(unapproved)}, or another study's list",
            expected="this study's list, of sites whose last word is a yes",
            do="ask these sites",
        )
    return Summed(of=of, total=add_up(study, of, masked), masked=masked, evidence=evidence)


def evidence_of(round_text: str, masked: tuple[str, ...]) -> SumEvidence | None:
    """Read a report's evidence; None where it holds no secure sum."""
    if not round_text:
        return None
    envelopes = [text.encode() for text in masked]
    return SumEvidence(
        round_envelope=round_text.encode(),
        masked={MaskedRelease.parse(peek_payload(e)).site: e for e in envelopes},
    )


def summed_site(
    study: Study, site: str, summed: Summed, verdicts: Mapping[str, Verdict]
) -> ReportedSite:
    """Say what one site did: that it took part, what it declared, what it charged at most."""
    if site not in summed.of.keys:
        refused = verdicts.get(site) in {Verdict.DECLINED, Verdict.WITHDRAWN}
        return ReportedSite(
            site=site,
            status="declined" if refused else "silent",
            subjects=None,
            declared_people=None,
            epsilon=0.0,
            odds=1.0,
        )
    loss = _charged(study, summed)
    return ReportedSite(
        site=site,
        status="released",
        subjects=None,
        declared_people=summed.masked[site].statement.declared_people,
        epsilon=float(loss.epsilon),
        odds=published(loss.odds),
    )


def summed_account(study: Opened[Study], summed: Summed) -> PrivacyAccount:
    """Say what a person may have lost, under the study's trust and if everybody else colludes."""
    noise, parties = noise_of(study), len(summed.of.keys)
    losses = [table.loss for table in study.statement.tables]
    this = alone(noise.shares(losses, parties)).nano
    # How many sites an earlier attempt had is not known here: more of them cost more.
    before = alone(noise.shares(losses, len(study.statement.audience))).nano
    by_itself = PrivacyLoss(min(this + (summed.of.attempt - 1) * before, LARGEST_NANO))
    loss = _charged(study.statement, summed)
    return PrivacyAccount(
        mechanism="discrete Laplace in Polya shares",
        unit="person",
        neighbouring="add or remove one person",
        mode="distributed",
        epsilon_total=float(loss.epsilon),
        odds_total=published(loss.odds),
        note=_NOTE,
        participants=parties,
        colluders_tolerated=noise.colluders_tolerated,
        attempts=summed.of.attempt,
        epsilon_alone=float(by_itself.epsilon),
        odds_alone=published(by_itself.odds),
    )


def _charged(study: Study, summed: Summed) -> PrivacyLoss:
    """Epsilon of every attempt so far: a site that missed an earlier one charged less."""
    return PrivacyLoss(min(summed.of.attempt * study.loss.nano, LARGEST_NANO))
