"""What an agent does for a study with distributed noise, once everybody was evaluated.

While nothing was said in an attempt, its keys are made; once the participants are listed, tables
are charged, drawn, masked and stored; in between, and after it, the agent waits.
"""

from __future__ import annotations

from datetime import UTC, datetime

from reidscope_protocols.envelope import Opened, issued_within, open_envelope
from reidscope_protocols.errors import ConfigError, WrongAudienceError
from reidscope_protocols.secure_sum import SumRound
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole, Verdict
from reidscope_site import package
from reidscope_site.agent import Agent
from reidscope_site.distributed_policy import check_distributed
from reidscope_site.face.external.program import programs_of
from reidscope_site.journal import Event
from reidscope_site.masked_release import masked_release
from reidscope_site.outcomes import Outcomes
from reidscope_site.sums import charge_name, noise_of

KEYS = "sum-keys"
MASKED = "masked"


def take_part(agent: Agent, study: Opened[Study], outcomes: Outcomes) -> bytes:
    """Give keys, or answer the list of participants; return the signed bytes.

    Raises
    ------
    ConfigError
        The study's roster holds another key for this site than the one that it signs with.
    RefusalError, StatementError
        The policy, the budget or the list does not allow it; nothing is charged.

    Privacy
    -------
    Keys say nothing of anybody; masked tables say nothing but in the sum of all (docs/privacy.md,
    "Noise in shares"; docs/distributed-noise.md, "What is said").
    """
    noise, site = noise_of(study), agent.config.name
    key = agent.statement_key
    if noise.key_of(site) != key.public:
        raise ConfigError(
            "roster",
            got="another key for this site than its own",
            expected=f"{key.public[:16]}...",
            do="ask for a new study: the others would not believe this site",
        )
    attempt = agent.sums.current(study.sha256)
    if attempt is None or attempt.round_envelope is None:
        envelope = agent.sums.give_keys(study, site_key=agent.site_key, key=key)
        agent.outbox.add(KEYS, study.sha256, envelope)
        agent.journal.write(Event.SUM_KEYS, study.sha256)
        return envelope
    of = agent.sums.listed(study)
    policy = agent.policy
    check_distributed(
        study.statement,
        noise,
        policy,
        agent.ledger,
        site=site,
        sha256=study.sha256,
        parties=len(of.keys),
    )
    envelope = masked_release(
        study,
        outcomes,
        sums=agent.sums,
        ledger=agent.ledger,
        policy=policy,
        site=site,
        site_key=agent.site_key,
        key=key,
        versions=package.versions() | programs_of(study.statement.experiment.arms),
    )
    agent.outbox.add(MASKED, study.sha256, envelope)
    agent.journal.write(Event.MASKED, study.sha256)
    return envelope


def take_round(agent: Agent, envelope: bytes) -> bool:
    """Take the coordinator's word about an attempt; False if it changes nothing.

    Raises
    ------
    StatementError
        Not the pinned coordinator's, out of date, about no study here, or a list that does not
        hold.
    """
    said = open_envelope(envelope, SumRound, agent.pinned.ring, role=KeyRole.COORDINATOR)
    issued_within(said.statement, now=datetime.now(UTC), reader=agent.config.name)
    wanted = said.statement.study_sha256
    study = next((each for each in agent.studies.every() if each.sha256 == wanted), None)
    if study is None:
        raise WrongAudienceError(
            "sum round",
            got="a study that is not here",
            expected="one that was received before",
            do="import the study first",
        )
    if agent.consent.verdict(study.sha256) is not Verdict.APPROVED:
        return False
    changed = agent.sums.receive(said, study)
    if changed:
        listed = said.statement.phase == "sum"
        agent.journal.write(Event.SUM_LIST if listed else Event.SUM_ENDED, study.sha256)
    return changed


def queue_again(agent: Agent) -> None:
    """Queue what a killed agent made and stored and did not get to queue."""
    for study in agent.studies.every():
        attempt = agent.sums.current(study.sha256)
        if attempt is not None and attempt.keys is not None:
            agent.outbox.add(KEYS, study.sha256, attempt.keys)
        if attempt is not None and attempt.masked is not None:
            agent.outbox.add(MASKED, study.sha256, attempt.masked)


def bound_to_key(agent: Agent) -> tuple[str, ...]:
    """Name the approved sums that still need the statement key which this site signs with now.

    The others' approvals bind the roster and its keys: no signed change puts another key there.
    """
    now, public, site = datetime.now(UTC), agent.statement_key.public, agent.config.name
    return tuple(
        study.statement.study_id
        for study in agent.studies.every()
        if (noise := study.statement.noise) is not None
        and noise.key_of(site) == public
        and now <= study.statement.closes_at
        and agent.consent.verdict(study.sha256) is Verdict.APPROVED
        and not _is_over(agent, study)
    )


def settle_sums(agent: Agent) -> None:
    """Erase outcomes that have no further use.

    They are kept while another attempt may be asked for: until the coordinator says that the sum
    is known, the last attempt was charged, or the study has closed.
    """
    now = datetime.now(UTC)
    for study in agent.studies.every():
        if study.statement.noise is None or agent.sums.current(study.sha256) is None:
            continue
        if _is_over(agent, study) or now > study.statement.closes_at:
            outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
            if outcomes.known():
                outcomes.erase()


def _is_over(agent: Agent, study: Opened[Study]) -> bool:
    """Whether the coordinator knows the sum, or the last attempt was charged here."""
    attempt, attempts = agent.sums.current(study.sha256), noise_of(study).attempts
    if attempt is None:
        return False
    last = charge_name(study.statement, attempts)
    spent = attempt.number == attempts and agent.ledger.charged(study.sha256, last)
    return spent or attempt.done
