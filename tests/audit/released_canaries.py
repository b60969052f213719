"""Canaries through the real release path: sealed outcomes, ledger, noise, signature, stored bytes.

    world = CanarySite(agent, coordinator, make_study)
    statistic, present, claimed = world.released()

A table has at most 4,096 cells, so that four studies of the same site carry 12,288 canaries. The
attacker asks for each release twice and averages what arrives, in case the second draw is fresh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tests.audit.auditor import Canaries, Coins, Numbers

from reidscope_protocols.envelope import Opened, open_envelope
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.privacy import NANO
from reidscope_protocols.statements import Release, ReleasedTable
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Attacker, KeyRole
from reidscope_site.agent import Agent
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.release import release

STUDIES = 4
EPSILON = "1.25"
"""The gates take a fifth: the joint table's own epsilon is 1."""
MANY_CELLS: dict[str, Any] = {
    "arms": ("unmodified", "a", "b", "c", "d", "e"),
    "anchors": (100, 1000),
    "asked": {"attackers": (Attacker.CALIBRATED, Attacker.REPAIRING)},
    "epsilon": EPSILON,
}


def opened(agent: Agent, envelope: bytes, study: Opened[Study]) -> Release:
    """Check a release's signature as the coordinator does."""
    said = study.statement
    record = KeyRecord(
        role=KeyRole.SITE,
        site="north",
        public=agent.statement_key.public,
        not_before=said.issued_at,
        not_after=said.not_after,
    )
    ring = KeyRing((record,))
    return open_envelope(envelope, Release, ring, role=KeyRole.SITE, site="north").statement


@dataclass
class CanarySite:
    """A site whose people are canaries."""

    agent: Agent
    coordinator: Any
    make_study: Callable[..., Study]

    def released(self) -> tuple[Numbers, Coins, float]:
        """Return a number a canary, whether it is there, and the epsilon that is claimed."""
        statistics, coins, claimed = [], [], 0.0
        # Nothing here is killed: the disk need not be waited for 12,000 times.
        self.agent.connection.execute("PRAGMA synchronous = OFF")
        for number in range(STUDIES):
            study = self.coordinator.opened(
                self.make_study(study_id=f"canaries-{number}", **MANY_CELLS)
            )
            canaries = Canaries.drawn(len(study.statement.joint_table.cells) - 1)
            outcomes = Outcomes(self.agent.connection, self.agent.site_key, study.sha256)
            for person, cell in enumerate(canaries.people()):
                outcomes.keep(f"P-{person}", Outcome(cells=(cell, 0)))
            answers = [self._joint(study, outcomes) for _ in range(2)]
            counts = np.mean([answer.counts[:-1] for answer in answers], axis=0)
            statistics.append(counts - canaries.base)
            coins.append(canaries.present)
            claimed = answers[0].epsilon_nano / NANO
        return np.concatenate(statistics), np.concatenate(coins), claimed

    def _joint(self, study: Opened[Study], outcomes: Outcomes) -> ReleasedTable:
        envelope = release(
            study,
            outcomes,
            ledger=self.agent.ledger,
            policy=self.agent.policy,
            site="north",
            key=self.agent.statement_key,
            versions={},
        )
        return opened(self.agent, envelope, study).tables[0]
