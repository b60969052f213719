"""How the agent stands, and who decides: for the site's own people and their monitoring."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import NotReadyError
from reidscope_protocols.study import Study
from reidscope_site import package
from reidscope_site.account import rounded_odds
from reidscope_site.agent import Agent
from reidscope_site.allowed import is_open
from reidscope_site.config import Policy

_UNDECIDED = "none yet"
_ONE_OF_TWO = "one of two approved"


def said_of(agent: Agent, study: Opened[Study]) -> str:
    """Say in a word what was decided about a study."""
    verdict = agent.consent.verdict(study.sha256)
    policy = agent.policy
    if policy.approvals_needed > 1 and not agent.ledger.charged(study.sha256):
        try:
            index = agent.snapshot.digest()
        except NotReadyError:
            # Nothing was approved without an index.
            index = ""
        if agent.consent.waits_for_another(study, policy=policy, snapshot_digest=index):
            return _ONE_OF_TWO
    return str(verdict or _UNDECIDED)


def standing(agent: Agent) -> dict[str, Any]:
    """Return what `status` shows.

    Privacy
    -------
    Holds nothing that was counted in data; for the site's own people all the same (docs/privacy.md,
    "What stays at the site").
    """
    policy, spent = agent.policy, agent.ledger.spent()
    studies = agent.studies.every() if agent.home.coordinator_file.exists() else ()
    released = sum(agent.has_released(study.sha256) for study in studies)
    return {
        "site": agent.config.name,
        "version": package.version(),
        "package_sha256": package.sha256(),
        "policy_sha256": policy.sha256,
        "enrolled": agent.home.certificate.exists(),
        "stopped_by_hand": agent.home.hold_file.exists(),
        "within_hours": is_open(policy),
        "studies": dict(Counter(said_of(agent, study) for study in studies)),
        "released": released,
        "decisions_waiting_to_leave": len(agent.outbox.waiting("decision")),
        "epsilon_spent": str(spent),
        "epsilon_lifetime": policy.epsilon_lifetime,
        "odds": rounded_odds(spent),
        "disk_free_bytes": shutil.disk_usage(agent.home.root).free,
    }


def who_decides(policy: Policy) -> Iterator[str]:
    """Say, as lines below a study's explanation, whose yes it needs and when the agent works."""
    people = "one person" if policy.approvals_needed == 1 else "two people, by two accounts or keys"
    signed = ", ".join(policy.signing_keys)
    yield "Who decides here"
    yield f"  needed      {people}, out of: {', '.join(policy.roles)}"
    if signed:
        yield f"  signature   by a key that the policy names, for: {signed}"
    yield f"  holds       {policy.approval_days} days; taken back with decline --withdraw"
    if policy.hours:
        yield f"  hours       computed and answered {' and '.join(policy.hours)} alone"
