"""The site's privacy ledger: charged before anything is sampled, never refunded, hash-chained.

    charge -> (sample) -> store -> (send)

One account over all the site's people. A table of a study digest is charged once and stored once;
what was stored is re-sent byte for byte. A charge without a stored release is spent: its table is
lost and is never drawn again. Every entry carries 32 random bytes, so that its head can leave the
site without letting anybody test a guess. Integers alone: nano-epsilon.

What is not here: drawing noise and building a Release (`release`), deciding (`consent`).
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reidscope_protocols.errors import BudgetExhaustedError, LedgerError, OutcomeMissingError
from reidscope_protocols.privacy import LARGEST_NANO, PrivacyLoss
from reidscope_protocols.statements import LedgerHead
from reidscope_site.config import Policy
from reidscope_site.instance import Instance
from reidscope_site.store import transaction
from reidscope_site.witness import Seen, Witness

_GENESIS = "0" * 64
_SALT_BYTES = 32
_IN_HAND = timedelta(minutes=1)
_NOTHING = PrivacyLoss(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One line of the ledger; `head` chains it to all before it.

    Attributes
    ----------
    alone : PrivacyLoss
        Of a charge under distributed noise: what it costs if everybody else colludes; else 0.
    """

    sequence: int
    kind: str
    study_sha256: str
    table: str
    loss: PrivacyLoss
    digest: str
    salt: bytes
    written_at: str
    head: str
    alone: PrivacyLoss = _NOTHING

    def chained_to(self, previous: str) -> str:
        """Return the head that this entry must have after `previous`."""
        body = json.dumps(
            [
                previous,
                self.sequence,
                self.kind,
                self.study_sha256,
                self.table,
                self.loss.nano,
                self.digest,
                self.salt.hex(),
                self.written_at,
                # Absent for local noise: chains that were made before it was recorded still hold.
                *([self.alone.nano] if self.alone.nano else ()),
            ],
            separators=(",", ":"),
        )
        return hashlib.sha256(body.encode()).hexdigest()


class Ledger:
    """The ledger inside one open database."""

    def __init__(self, connection: sqlite3.Connection, witness: Witness | None = None) -> None:
        self._connection = connection
        self._witness = witness
        self._instance = Instance(connection)

    @property
    def is_witnessed(self) -> bool:
        """Whether a second file remembers where this ledger stands."""
        return self._witness is not None

    def entries(self) -> Iterator[LedgerEntry]:
        """Every entry, oldest first."""
        rows = self._connection.execute(
            "SELECT sequence, kind, study_sha256, table_name, nano, digest, salt, written_at, head,"
            " alone_nano FROM ledger ORDER BY sequence"
        )
        for sequence, kind, study, table, nano, digest, salt, written_at, head, alone in rows:
            losses = (isinstance(each, int) and 0 <= each <= LARGEST_NANO for each in (nano, alone))
            if not (all(losses) and isinstance(salt, bytes)):
                raise _broken(sequence)
            yield LedgerEntry(
                sequence=sequence,
                kind=kind,
                study_sha256=study,
                table=table,
                loss=PrivacyLoss(nano),
                digest=digest,
                salt=salt,
                written_at=written_at,
                head=head,
                alone=PrivacyLoss(alone),
            )

    def check(self) -> None:
        """Raise LedgerError unless the chain holds and stands where its witness saw it."""
        self._check_chain()
        if self._witness is not None:
            self._instance.check()
            self._witness.check(self._instance.id, self.head())

    def _check_chain(self) -> None:
        head = _GENESIS
        for expected, entry in enumerate(self.entries(), start=1):
            if entry.sequence != expected or entry.head != entry.chained_to(head):
                raise _broken(expected)
            head = entry.head

    def check_holds(self, seen: LedgerHead) -> None:
        """Raise LedgerError unless this ledger holds a head that the coordinator has signed for.

        A database that was put back to an older state lacks it.
        """
        row = self._connection.execute(
            "SELECT head FROM ledger WHERE sequence = ?", (seen.sequence,)
        ).fetchone()
        if row is None or row[0] != seen.head:
            raise LedgerError(
                "ledger",
                got="one without the head of a receipt by the coordinator",
                expected="every head that was ever sent",
                do="release nothing: an older database stands here; restore the newest",
            )

    def head(self) -> LedgerHead:
        """Return where the chain stands; an empty ledger's head is 64 zeros."""
        row = self._connection.execute(
            "SELECT sequence, head FROM ledger ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return LedgerHead(sequence=row[0] if row else 0, head=row[1] if row else _GENESIS)

    def spent(self) -> PrivacyLoss:
        """Sum of every charge."""
        (nano,) = self._connection.execute(
            "SELECT COALESCE(SUM(nano), 0) FROM ledger WHERE kind = 'charged'"
        ).fetchone()
        return PrivacyLoss(nano)

    def spent_alone(self, study_sha256: str | None = None) -> PrivacyLoss:
        """Sum of what every charge costs if all others collude; full charges for local noise."""
        (nano,) = self._connection.execute(
            "SELECT COALESCE(SUM(MAX(nano, alone_nano)), 0) FROM ledger WHERE kind = 'charged'"
            " AND (? IS NULL OR study_sha256 = ?)",
            (study_sha256, study_sha256),
        ).fetchone()
        return PrivacyLoss(nano)

    def spent_on(self, study_sha256: str) -> PrivacyLoss:
        """Sum of the charges for one study: several, where attempts of a secure sum failed."""
        (nano,) = self._connection.execute(
            "SELECT COALESCE(SUM(nano), 0) FROM ledger WHERE kind = 'charged' AND study_sha256 = ?",
            (study_sha256,),
        ).fetchone()
        return PrivacyLoss(nano)

    def charges(self, study_sha256: str) -> int:
        """Count the charges for one study."""
        (count,) = self._connection.execute(
            "SELECT COUNT(*) FROM ledger WHERE kind = 'charged' AND study_sha256 = ?",
            (study_sha256,),
        ).fetchone()
        return int(count)

    def check_budget(self, loss: PrivacyLoss, policy: Policy, study_sha256: str = "") -> None:
        """Raise BudgetExhaustedError if `loss` does not fit under both caps of the policy.

        `study_sha256` adds what was charged for the study before.
        """
        of_study = PrivacyLoss(self.spent_on(study_sha256).nano + loss.nano)
        if of_study > policy.study_cap:
            raise BudgetExhaustedError(
                "epsilon of this study",
                got=f"{of_study}",
                expected=f"at most {policy.study_cap} a study (the site's policy)",
                do="ask for a study with a smaller epsilon",
            )
        left = max(0, policy.lifetime_cap.nano - self.spent().nano)
        if loss.nano > left:
            raise BudgetExhaustedError(
                "epsilon left at this site",
                got=f"a request for {loss}",
                expected=f"at most {PrivacyLoss(left)}"
                f" (lifetime cap {policy.lifetime_cap}, spent {self.spent()})",
                do="decline: what was spent never comes back",
            )

    def charge(
        self,
        study_sha256: str,
        table: str,
        loss: PrivacyLoss,
        policy: Policy,
        *,
        alone: PrivacyLoss | None = None,
    ) -> LedgerHead:
        """Charge a table durably, before anything is sampled for it.

        Parameters
        ----------
        alone : PrivacyLoss, optional
            Under distributed noise: what the charge costs if everybody else colludes.

        Raises
        ------
        OutcomeMissingError
            The table was charged before and its release was not stored: it is lost.
        BudgetExhaustedError
            It does not fit under the policy's caps; nothing is charged.

        Privacy
        -------
        Every loss of every study adds up in one account, for ever (docs/privacy.md, "Composition").
        """
        self._introduce()
        with transaction(self._connection):
            self.check()
            charged = self._connection.execute(
                "SELECT 1 FROM ledger WHERE kind = 'charged' AND study_sha256 = ?"
                " AND table_name = ?",
                (study_sha256, table),
            ).fetchone()
            if charged:
                raise OutcomeMissingError(
                    "table",
                    got="one that was charged before and has no stored release",
                    expected="a table that was never charged",
                    do="count it as lost: it is never drawn again",
                )
            self.check_budget(loss, policy, study_sha256)
            head = self._append("charged", study_sha256, table, loss, digest="", alone=alone)
        self._confirm()
        return head

    def adopt(self, policy: Policy) -> PrivacyLoss:
        """Go on with this ledger though its witness does not agree, and charge the worst case.

        Returns
        -------
        PrivacyLoss
            What was charged: what the witness knows to be spent beyond this ledger; everything
            that is left where there is no witness of it.

        Raises
        ------
        LedgerError
            The chain is broken, or site.toml names no witness.
        """
        witness = self._witness
        if witness is None:
            raise LedgerError(
                "ledger",
                got="no witness to adopt without",
                expected="a witness in site.toml",
                do="add one: witness = FILE, on another volume",
            )
        self._introduce()
        with transaction(self._connection):
            self._check_chain()
            left = max(0, policy.lifetime_cap.nano - self.spent().nano)
            seen = _read_or_none(witness)
            if seen is not None and seen.allows(self._instance.id, self.head()):
                left = 0
            elif seen is not None and seen.instance == self._instance.id:
                newer = seen.current.sequence > self.head().sequence
                left = max(0, seen.spent_nano - self.spent().nano) if newer else left
            loss = PrivacyLoss(left)
            number = self.head().sequence + 1
            self._instance.settle()
            self._append("charged", _GENESIS, f"adopted {number}", loss, digest="")
        self._confirm()
        return loss

    def _introduce(self) -> None:
        """Commit this database's identity before its witness hears of it.

        Drawn inside the first charge, it would be rolled back by a kill before the commit: the
        witness would then remember a ledger that nobody has.
        """
        if self._witness is not None:
            self._instance.keep()

    def _confirm(self) -> None:
        """Tell the witness where the ledger stands now; another thread's entry may follow ours."""
        if self._witness is not None:
            with transaction(self._connection):
                self._witness.confirm(self._instance.id, self.head(), self.spent())

    def store(self, study_sha256: str, table: str, envelope: bytes) -> None:
        """Keep a release for ever; the ledger notes its sha256."""
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO released (study_sha256, envelope) VALUES (?, ?)",
                (study_sha256, envelope),
            )
            digest = hashlib.sha256(envelope).hexdigest()
            self._append("stored", study_sha256, table, PrivacyLoss(0), digest=digest)
        self._confirm()

    def store_masked(self, study_sha256: str, attempt: int, table: str, envelope: bytes) -> None:
        """Keep the masked release of an attempt; its private mask key has no further use."""
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE sum_attempt SET masked = ?, sealed = NULL"
                " WHERE study_sha256 = ? AND attempt = ?",
                (envelope, study_sha256, attempt),
            )
            digest = hashlib.sha256(envelope).hexdigest()
            self._append("stored", study_sha256, table, PrivacyLoss(0), digest=digest)
        self._confirm()

    def check_noted(self, envelope: bytes, study_sha256: str, table: str) -> None:
        """Raise LedgerError unless the ledger notes these bytes as a table's stored release."""
        noted = self._connection.execute(
            "SELECT 1 FROM ledger WHERE kind = 'stored' AND study_sha256 = ? AND table_name = ?"
            " AND digest = ?",
            (study_sha256, table, hashlib.sha256(envelope).hexdigest()),
        ).fetchone()
        if noted is None:
            raise _not_noted()

    def stored(self, study_sha256: str) -> bytes | None:
        """Return the release's bytes, exactly as they were stored."""
        row = self._connection.execute(
            "SELECT envelope FROM released WHERE study_sha256 = ?", (study_sha256,)
        ).fetchone()
        if row is None:
            return None
        envelope: bytes = row[0]
        noted = self._connection.execute(
            "SELECT digest FROM ledger WHERE kind = 'stored' AND study_sha256 = ?", (study_sha256,)
        ).fetchone()
        if noted is None or noted[0] != hashlib.sha256(envelope).hexdigest():
            raise _not_noted()
        return envelope

    def charged(self, study_sha256: str, table: str | None = None) -> bool:
        """Whether any table of this study was charged, or that one."""
        row = self._connection.execute(
            "SELECT 1 FROM ledger WHERE kind = 'charged' AND study_sha256 = ?"
            " AND (? IS NULL OR table_name = ?)",
            (study_sha256, table, table),
        ).fetchone()
        return row is not None

    def state(self, study_sha256: str) -> str:
        """Say in a word what became of a study's tables: `stored`, `in hand`, `lost` or none."""
        if self.stored(study_sha256) is not None:
            return "stored"
        if not self.charged(study_sha256):
            return ""
        return "in hand" if self.in_hand(study_sha256, datetime.now(UTC)) else "lost"

    def in_hand(self, study_sha256: str, now: datetime) -> bool:
        """Whether the last charge is so young that its release may be about to be stored."""
        row = self._connection.execute(
            "SELECT written_at FROM ledger WHERE kind = 'charged' AND study_sha256 = ?"
            " ORDER BY sequence DESC LIMIT 1",
            (study_sha256,),
        ).fetchone()
        # Either way: a clock that was turned back must not make a lost table young for months.
        return row is not None and abs(now - datetime.fromisoformat(row[0])) < _IN_HAND

    def _append(
        self,
        kind: str,
        study_sha256: str,
        table: str,
        loss: PrivacyLoss,
        *,
        digest: str,
        alone: PrivacyLoss | None = None,
    ) -> LedgerHead:
        last = self.head()
        entry = LedgerEntry(
            sequence=last.sequence + 1,
            kind=kind,
            study_sha256=study_sha256,
            table=table,
            loss=loss,
            digest=digest,
            salt=secrets.token_bytes(_SALT_BYTES),
            written_at=datetime.now(UTC).isoformat(timespec="seconds"),
            head="",
            alone=alone or _NOTHING,
        )
        head = entry.chained_to(last.head)
        if self._witness is not None:
            new = LedgerHead(sequence=entry.sequence, head=head)
            spent = PrivacyLoss(self.spent().nano + loss.nano)
            self._witness.announce(self._instance.id, last, new, spent)
        self._connection.execute(
            "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.sequence,
                kind,
                study_sha256,
                table,
                loss.nano,
                digest,
                entry.salt,
                entry.written_at,
                head,
                entry.alone.nano,
            ),
        )
        return LedgerHead(sequence=entry.sequence, head=head)


def _read_or_none(witness: Witness) -> Seen | None:
    try:
        return witness.read()
    except LedgerError:
        return None  # adopting is for exactly this


def _not_noted() -> LedgerError:
    return LedgerError(
        "stored release",
        got="bytes that the ledger does not note",
        expected="the bytes that were stored",
        do="send nothing; restore the database",
    )


def _broken(entry: int) -> LedgerError:
    return LedgerError(
        "ledger",
        got=f"a broken chain at entry {entry}",
        expected="each entry's head to follow from the one before",
        do="release nothing; restore the database and tell the coordinator",
    )
