"""Decisions of people at the site: an approval binds digest, software, policy and snapshot.

Any change of one of the four voids it, and so does time. The later decision wins. Nothing can be
withdrawn once an outcome exists: a choice made after looking would depend on the data. Where the
policy asks for two people, the first yes waits, unsaid, for somebody else's; one person's no is
enough. Who may speak is settled by `roles`, and by `ssh_signatures` where the policy names keys.
"""

from __future__ import annotations

import secrets
import sqlite3
from datetime import UTC, datetime, timedelta

from reidscope_protocols.envelope import Opened, peek_payload, sign
from reidscope_protocols.errors import (
    ConsentMissingError,
    PolicyRefusalError,
    UnsupportedError,
)
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.programs import external
from reidscope_protocols.statements import COORDINATOR, Decision
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site import package
from reidscope_site.config import Policy
from reidscope_site.face.external.program import programs_of
from reidscope_site.ledger import Ledger
from reidscope_site.roles import Caller, Voice, check_role
from reidscope_site.ssh_signatures import DecisionText, check_signature
from reidscope_site.store import transaction
from reidscope_site.study_key import is_destroyed


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
        caller: Caller | None = None,
        signature: str = "",
    ) -> bytes | None:
        """Write a decision down, sign it and put it into the outbox.

        Parameters
        ----------
        caller : Caller, optional
            Who asks; this process's own account if absent.
        signature : str
            A person's, over `text`; empty where the policy names no keys for the role.

        Returns
        -------
        bytes or None
            The signed Decision; None while another person's approval is needed.

        Raises
        ------
        PolicyRefusalError
            The role may not decide, not for this caller, or outcomes of this study exist already.
        BadSignatureError
            None of the role's keys made the signature.
        StaleError
            The study has ended.
        """
        caller = caller or Caller.of_this_process()
        check_role(policy, role, caller, signed=bool(signature))
        text = self.text(study, verdict, role=role, policy=policy, snapshot_digest=snapshot_digest)
        signer = _signer(policy, text, signature)
        study.statement.check_time(datetime.now(UTC))
        if verdict is not Verdict.APPROVED and self._outcomes_exist(study.sha256):
            raise PolicyRefusalError(
                "decision",
                got=f"{verdict} after people were evaluated",
                expected="a decision before any outcome exists",
                do="let the study end: a choice made after looking would tell about the data",
            )
        voice = Voice(role=role, uid=caller.uid, signer=signer)
        bound = (_software(study, verdict), policy.sha256, snapshot_digest)
        with transaction(self._connection):
            if verdict is Verdict.APPROVED and policy.approvals_needed > 1:
                earlier = self._voices(study.sha256, bound, policy)
                partner = next((one for one in earlier if voice.is_somebody_else_than(one)), None)
                if partner is None:
                    self._keep_voice(study.sha256, voice, bound)
                    return None
                role = role if role == partner.role else f"{partner.role} and {role}"
            return self._write(
                study,
                verdict,
                role=role,
                reason=reason,
                bound=bound,
                declared=policy.declared_people,
                key=key,
            )

    def text(
        self,
        study: Opened[Study],
        verdict: Verdict,
        *,
        role: str,
        policy: Policy,
        snapshot_digest: str,
    ) -> DecisionText:
        """Return what a person signs for this decision, as things stand."""
        return DecisionText(
            verdict=verdict,
            role=role,
            site=self._site,
            study_sha256=study.sha256,
            package_sha256=_software(study, verdict),
            policy_sha256=policy.sha256,
            snapshot_digest=snapshot_digest,
            after=self.number(study.sha256),
        )

    def _write(
        self,
        study: Opened[Study],
        verdict: Verdict,
        *,
        role: str,
        reason: DecisionReason,
        bound: tuple[str, str, str],
        declared: int,
        key: StatementKey,
    ) -> bytes:
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
            package_sha256=bound[0],
            policy_sha256=bound[1],
            nonce=secrets.token_hex(16),
            declared_people=declared,
        )
        envelope = sign(decision, key)
        last = self._last(study.sha256)
        if verdict is Verdict.APPROVED and (last is None or last[1:4] != bound):
            # Outcomes under another package, policy or index are not what this yes is about.
            self._connection.execute("DELETE FROM outcome WHERE study_sha256 = ?", (study.sha256,))
            self._connection.execute(
                "DELETE FROM study_key WHERE study_sha256 = ? AND destroyed_at IS NULL",
                (study.sha256,),
            )
        self._connection.execute("DELETE FROM voice WHERE study_sha256 = ?", (study.sha256,))
        self._connection.execute(
            "INSERT INTO decision (study_sha256, verdict, package_sha256, policy_sha256,"
            " snapshot_digest, envelope) VALUES (?, ?, ?, ?, ?, ?)",
            (study.sha256, verdict, *bound, envelope),
        )
        self._connection.execute(
            "INSERT INTO outbox (kind, study_sha256, envelope) VALUES ('decision', ?, ?)",
            (study.sha256, envelope),
        )
        return envelope

    def _keep_voice(self, study_sha256: str, voice: Voice, bound: tuple[str, str, str]) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._connection.execute(
            "INSERT INTO voice (study_sha256, role, uid, signer, package_sha256, policy_sha256,"
            " snapshot_digest, given_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (study_sha256, voice.role, voice.uid, voice.signer, *bound, now),
        )

    def _voices(
        self, study_sha256: str, bound: tuple[str, str, str], policy: Policy
    ) -> tuple[Voice, ...]:
        """Return the approvals that wait for another, of this very digest, package and policy."""
        since = datetime.now(UTC) - timedelta(days=policy.approval_days)
        rows = self._connection.execute(
            "SELECT role, uid, signer FROM voice WHERE study_sha256 = ? AND package_sha256 = ?"
            " AND policy_sha256 = ? AND snapshot_digest = ? AND given_at >= ? ORDER BY number",
            (study_sha256, *bound, since.isoformat(timespec="seconds")),
        ).fetchall()
        return tuple(Voice(role=role, uid=uid, signer=signer) for role, uid, signer in rows)

    def waits_for_another(
        self, study: Opened[Study], *, policy: Policy, snapshot_digest: str
    ) -> bool:
        """Tell whether one person said yes and another is needed."""
        try:
            software = _software(study, Verdict.APPROVED)
        except UnsupportedError:
            return False  # without the program that an arm calls no yes stands
        bound = (software, policy.sha256, snapshot_digest)
        return bool(self._voices(study.sha256, bound, policy))

    def verdict(self, study_sha256: str) -> Verdict | None:
        """Return the last decision about a study, None where nobody decided."""
        row = self._last(study_sha256)
        return Verdict(row[0]) if row else None

    def role(self, study_sha256: str) -> str:
        """Return the role of the last decision about a study, empty where nobody decided."""
        row = self._last(study_sha256)
        return Decision.parse(peek_payload(row[4])).role if row else ""

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
            _installed(study): row[1] == _software(study, Verdict.APPROVED),
            "the policy file": row[2] == policy.sha256,
            "the index": row[3] == snapshot_digest,
        }
        changed = [what for what, same in bound.items() if not same]
        if changed:
            raise _missing("an approval that was given before a change of " + ", ".join(changed))
        given = Decision.parse(peek_payload(row[4])).issued_at
        if now > given + timedelta(days=policy.approval_days):
            raise _missing(f"an approval that expired after {policy.approval_days} days")
        if not study.statement.opens_at <= now <= study.statement.closes_at:
            raise _missing("an approval outside the study's dates")

    def _last(self, study_sha256: str) -> tuple[str, str, str, str, bytes] | None:
        row: tuple[str, str, str, str, bytes] | None = self._connection.execute(
            "SELECT verdict, package_sha256, policy_sha256, snapshot_digest, envelope"
            " FROM decision WHERE study_sha256 = ? ORDER BY number DESC LIMIT 1",
            (study_sha256,),
        ).fetchone()
        return row

    def _outcomes_exist(self, study_sha256: str) -> bool:
        row = self._connection.execute(
            "SELECT 1 FROM outcome WHERE study_sha256 = ? LIMIT 1", (study_sha256,)
        ).fetchone()
        wiped = is_destroyed(self._connection, study_sha256)
        return row is not None or wiped or Ledger(self._connection).charged(study_sha256)


def _signer(policy: Policy, text: DecisionText, signature: str) -> str:
    """Return the key that signed, empty where the role has none and nothing was signed."""
    keys = policy.signing_keys.get(text.role, ())
    if bool(keys) != bool(signature):
        raise PolicyRefusalError(
            "signature",
            got="none" if keys else "one for a role whose keys the policy does not name",
            expected=f"one by a key of {text.role}" if keys else "signing_keys in the policy file",
            do="see `reidscope-site approve --help`, --to-sign and --signature",
        )
    return check_signature(text, signature, keys) if keys else ""


def _software(study: Opened[Study], verdict: Verdict) -> str:
    """Digest of all that would compute the study; a no is said without its programs too."""
    if verdict is not Verdict.APPROVED:
        return package.sha256()
    return package.sha256_with(programs_of(study.statement.experiment.arms))


def _installed(study: Opened[Study]) -> str:
    called = external(study.statement.experiment.arms)
    return "the installed package" + (" or of an external defacer" if called else "")


def _missing(got: str) -> ConsentMissingError:
    return ConsentMissingError(
        "consent",
        got=got,
        expected="an approval of this study digest, package, policy and index, within its dates",
        do="`reidscope-site show` it, then approve or decline",
    )
