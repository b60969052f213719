"""What the ledger says to people: who spent what, on which digest, what is left, in odds too."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from reidscope_protocols.privacy import PrivacyLoss
from reidscope_site.agent import Agent

_OTHER = "(not a study)"
_FORGOTTEN = "(a study that is not kept here)"
_STUDY_KINDS = {"charged", "stored"}


def account(agent: Agent) -> dict[str, Any]:
    """Return the whole account, oldest entry first.

    Raises
    ------
    LedgerError
        The chain is broken, or its witness does not agree.

    Privacy
    -------
    Losses, digests and heads: nothing that was counted in data, for the site's own people
    (docs/privacy.md, "Composition").
    """
    agent.ledger.check()
    policy, spent = agent.policy, agent.ledger.spent()
    left = PrivacyLoss(max(0, policy.lifetime_cap.nano - spent.nano))
    return {
        "spent": str(spent),
        "left": str(left),
        "study_cap": policy.epsilon_per_study,
        "lifetime_cap": policy.epsilon_lifetime,
        "odds": rounded_odds(spent),
        "odds_at_the_cap": rounded_odds(policy.lifetime_cap),
        "spent_if_others_collude": str(agent.ledger.spent_alone()),
        "head": agent.ledger.head().model_dump(),
        "witnessed": agent.ledger.is_witnessed,
        "entries": list(_entries(agent)),
    }


def _entries(agent: Agent) -> Iterator[dict[str, Any]]:
    names = (
        {study.sha256: study.statement.study_id for study in agent.studies.every()}
        if agent.home.coordinator_file.exists()
        else {}
    )
    spent, cap = 0, agent.policy.lifetime_cap.nano
    for entry in agent.ledger.entries():
        spent += entry.loss.nano if entry.kind == "charged" else 0
        is_study = entry.kind in _STUDY_KINDS and int(entry.study_sha256, 16) != 0
        yield {
            "sequence": entry.sequence,
            "written at": entry.written_at,
            "kind": entry.kind,
            "name": names.get(entry.study_sha256, _FORGOTTEN) if is_study else _OTHER,
            "study": entry.study_sha256,
            "approved by": agent.consent.role(entry.study_sha256) if is_study else "",
            "table": entry.table,
            "epsilon": str(entry.loss),
            # With local noise nobody else's honesty matters: the two are one.
            "epsilon_alone": str(max(entry.loss, entry.alone)),
            "odds": rounded_odds(entry.loss),
            "left": str(PrivacyLoss(max(0, cap - spent))),
            "release": agent.ledger.state(entry.study_sha256) if is_study else "",
            "head": entry.head,
        }


def rounded_odds(loss: PrivacyLoss) -> float | None:
    """Return e^epsilon to two places; None where it is beyond any number."""
    return round(loss.odds, 2) if math.isfinite(loss.odds) else None
