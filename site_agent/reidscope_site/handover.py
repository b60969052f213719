"""What the site says in a round: its stored release, or one of a few constant words.

The frame's first byte is a kind: `R` for a release's envelope, `N` for a word; in a secure sum `K`
for this site's keys and `M` for its masked release. The words depend on
what people decided and on the clock, never on data.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum

from reidscope_protocols.vocabulary import Sha256, Verdict
from reidscope_site.agent import Agent
from reidscope_site.allowed import is_open
from reidscope_site.journal import Event
from reidscope_site.study_key import is_destroyed
from reidscope_site.sums import charge_name

RELEASE = b"R"
WORD = b"N"
SUM_KEYS = b"K"
MASKED = b"M"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Word(StrEnum):
    """Why there is no release in this answer."""

    UNKNOWN = "unknown-study"
    UNDECIDED = "undecided"
    DECLINED = "declined"
    WORKING = "working"
    LOST = "lost"


def answer_for(agent: Agent, study_sha256: Sha256) -> bytes:
    """Answer a query about one study.

    Privacy
    -------
    A stored release, byte for byte, or a constant word (docs/privacy.md, "The wire").
    """
    if not _DIGEST.fullmatch(study_sha256):
        return WORD + Word.UNKNOWN.encode()
    held = _is_held(agent, study_sha256)
    summed = _of_secure_sum(agent, study_sha256)
    if summed and not held:
        agent.journal.write(Event.SENT, study_sha256)
        return summed
    stored = agent.ledger.stored(study_sha256)
    if stored is not None and not held:
        agent.journal.write(Event.SENT, study_sha256)
        return RELEASE + stored
    return WORD + _word(agent, study_sha256, held=held).encode()


def _of_secure_sum(agent: Agent, study_sha256: str) -> bytes:
    """Return what this site has to say in the current attempt of a secure sum; empty if nothing."""
    attempt = agent.sums.current(study_sha256)
    if attempt is None:
        return b""
    name = next(
        charge_name(study.statement, attempt.number)
        for study in agent.studies.every()
        if study.sha256 == study_sha256
    )
    if attempt.masked is not None:
        agent.ledger.check_noted(attempt.masked, study_sha256, name)
        return MASKED + attempt.masked
    # Charged and not stored: `_word` says whether it is being stored or lost.
    if attempt.keys is None or agent.ledger.charged(study_sha256, name):
        return b""
    if agent.consent.verdict(study_sha256) is not Verdict.APPROVED:
        return b""
    return SUM_KEYS + attempt.keys


def _is_held(agent: Agent, study_sha256: str) -> bool:
    """Whether the study's own clock, the policy's hours or a person say that nobody answers."""
    if agent.home.hold_file.exists() or not is_open(agent.policy):
        return True
    now = datetime.now(UTC)
    return any(
        study.sha256 == study_sha256 and now < (study.statement.answers_from or now)
        for study in agent.studies.every()
    )


def _is_charged(agent: Agent, study_sha256: str) -> bool:
    """Whether the study was charged; the current attempt, where it is a secure sum."""
    attempt = agent.sums.current(study_sha256)
    for study in agent.studies.every():
        if attempt is not None and study.sha256 == study_sha256:
            return agent.ledger.charged(study_sha256, charge_name(study.statement, attempt.number))
    return agent.ledger.charged(study_sha256)


def _word(agent: Agent, study_sha256: str, *, held: bool) -> Word:
    if all(study.sha256 != study_sha256 for study in agent.studies.every()):
        return Word.UNKNOWN
    if _is_charged(agent, study_sha256):
        # LOST is final for the coordinator: not while the release may be just being signed.
        young = agent.ledger.in_hand(study_sha256, datetime.now(UTC))
        return Word.WORKING if held or young else Word.LOST
    if is_destroyed(agent.connection, study_sha256):
        return Word.WORKING if held else Word.LOST
    verdict = agent.consent.verdict(study_sha256)
    if verdict is None:
        return Word.UNDECIDED
    return Word.WORKING if verdict is Verdict.APPROVED else Word.DECLINED
