"""Decisions of people at the site: an approval binds digest, software, policy and snapshot.

Any change of one of the four voids it. The later decision wins. Nothing can be withdrawn once an
outcome exists: a choice made after looking would depend on the data.
"""

from __future__ import annotations

import secrets
import sqlite3
from datetime import UTC, datetime

from reidscope_protocols.envelope import Opened, sign
from reidscope_protocols.errors import ConsentMissingError, PolicyRefusalError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.statements import COORDINATOR, Decision
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site import package
from reidscope_site.config import Policy
from reidscope_site.ledger import Ledger
from reidscope_site.store import transaction


class Consent:
    """The decisions inside one open database."""

    def __init__(self, connection: sqlite3.Connection, site: str) -> None:
        self._connection = connection
        self._site = site

    def decide(
        self,
        study: Opened[Study],
        verdict: Verdict,
        *,
        role: str,
        reason: DecisionReason,
        policy: Policy,
        snapshot_digest: str,
        key: StatementKey,
    ) -> bytes:
        """Write a decision down, sign it and put it into the outbox.

        Raises
        ------
        PolicyRefusalError
            The role may not decide, or outcomes of this study exist already.
        StaleError
            The study has ended.
        """
        if role not in policy.roles:
            raise PolicyRefusalError(
                "role",
                got="one that the policy does not name",
                expected="one of " + ", ".join(policy.roles),
                do="ask somebody who holds one of these roles",
            )
        study.statement.check_time(datetime.now(UTC))
        if verdict is not Verdict.APPROVED and self._outcomes_exist(study.sha256):
            raise PolicyRefusalError(
                "decision",
                got=f"{verdict} after people were evaluated",
                expected="a decision before any outcome exists",
                do="let the study end: a choice made after looking would tell about the data",
            )
        decision = Decision(
            audience=(COORDINATOR,),
            issued_at=datetime.now(UTC),
            not_after=study.statement.not_after,
            study_sha256=study.sha256,
            site=self._site,
            verdict=verdict,
            reason=reason,
            role=role,
            package_version=package.version(),
            package_sha256=package.sha256(),
            policy_sha256=policy.sha256,
            nonce=secrets.token_hex(16),
        )
        envelope = sign(decision, key)
        bound = (decision.package_sha256, decision.policy_sha256, snapshot_digest)
        with transaction(self._connection):
            last = self._last(study.sha256)
            if verdict is Verdict.APPROVED and (last is None or last[1:] != bound):
                # Outcomes under another package, policy or index are not what this yes is about.
                self._connection.execute(
                    "DELETE FROM outcome WHERE study_sha256 = ?", (study.sha256,)
                )
            self._connection.execute(
                "INSERT INTO decision (study_sha256, verdict, package_sha256, policy_sha256,"
                " snapshot_digest, envelope) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    study.sha256,
                    verdict,
                    decision.package_sha256,
                    decision.policy_sha256,
                    snapshot_digest,
                    envelope,
                ),
            )
            self._connection.execute(
                "INSERT INTO outbox (kind, study_sha256, envelope) VALUES ('decision', ?, ?)",
                (study.sha256, envelope),
            )
        return envelope

    def verdict(self, study_sha256: str) -> Verdict | None:
        """Return the last decision about a study, None where nobody decided."""
        row = self._last(study_sha256)
        return Verdict(row[0]) if row else None

    def number(self, study_sha256: str) -> int:
        """Return the number of the last decision about a study, 0 where nobody decided."""
        (number,) = self._connection.execute(
            "SELECT COALESCE(MAX(number), 0) FROM decision WHERE study_sha256 = ?", (study_sha256,)
        ).fetchone()
        return int(number)

    def require(self, study: Opened[Study], *, policy: Policy, snapshot_digest: str) -> None:
        """Raise ConsentMissingError unless an approval binds all that is about to be used."""
        row = self._last(study.sha256)
        now = datetime.now(UTC)
        if row is None or row[0] != Verdict.APPROVED:
            raise _missing("no approval" if row is None else f"the decision {row[0]}")
        bound = {
            "the installed package": row[1] == package.sha256(),
            "the policy file": row[2] == policy.sha256,
            "the index": row[3] == snapshot_digest,
        }
        changed = [what for what, same in bound.items() if not same]
        if changed:
            raise _missing("an approval that was given before a change of " + ", ".join(changed))
        if not study.statement.opens_at <= now <= study.statement.closes_at:
            raise _missing("an approval outside the study's dates")

    def _last(self, study_sha256: str) -> tuple[str, str, str, str] | None:
        row: tuple[str, str, str, str] | None = self._connection.execute(
            "SELECT verdict, package_sha256, policy_sha256, snapshot_digest FROM decision"
            " WHERE study_sha256 = ? ORDER BY number DESC LIMIT 1",
            (study_sha256,),
        ).fetchone()
        return row

    def _outcomes_exist(self, study_sha256: str) -> bool:
        row = self._connection.execute(
            "SELECT 1 FROM outcome WHERE study_sha256 = ? LIMIT 1", (study_sha256,)
        ).fetchone()
        return row is not None or Ledger(self._connection).charged(study_sha256)


def _missing(got: str) -> ConsentMissingError:
    return ConsentMissingError(
        "consent",
        got=got,
        expected="an approval of this study digest, package, policy and index, within its dates",
        do="`reidscope-site show` it, then approve or decline",
    )
