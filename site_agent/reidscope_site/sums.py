"""A site's part in secure sums: its key of each attempt, the one list it answers, what it sent.

    (called) -> keys made -> participants listed -> charged -> masked tables stored

killed after the charge: the attempt is lost, here and so for everybody.

An attempt has one key, and its key one list of participants: a second list is refused, whatever it
says. A later attempt ends the earlier ones; nothing is ever drawn again for them. Private halves
are sealed under the site key and erased once the masked tables are stored.

What is not here: charging and drawing (`masked_release`), and what the policy allows
(`distributed_policy`).
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reidscope_deid.keys import SiteKey
from reidscope_protocols.distributed import DistributedNoise
from reidscope_protocols.envelope import Opened, peek_payload, sign
from reidscope_protocols.errors import LedgerError, MalformedError, NotReadyError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.secure_sum import Participants, SumKeys, SumRound, participants
from reidscope_protocols.statements import WORLD
from reidscope_protocols.study import Study
from reidscope_site.ledger import Ledger
from reidscope_site.release import day_of_issue
from reidscope_site.store import transaction

_SEAL_DOMAIN = b"reidscope/sum-keys/v1"
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SumAttempt:
    """One attempt as this site knows it.

    Attributes
    ----------
    keys : bytes or None
        The signed SumKeys, once made.
    round_envelope : bytes or None
        The coordinator's list of participants with this site's key in it.
    masked : bytes or None
        The signed MaskedRelease, byte for byte, once stored.
    done : bool
        The coordinator says that the sum is known.
    """

    number: int
    keys: bytes | None
    round_envelope: bytes | None
    masked: bytes | None
    done: bool


class Sums:
    """The secure sums inside one open database."""

    def __init__(self, connection: sqlite3.Connection, site: str) -> None:
        self._connection = connection
        self._site = site

    def current(self, study_sha256: str) -> SumAttempt | None:
        """Return the latest attempt that this site knows of, None before its first."""
        row = self._connection.execute(
            "SELECT attempt, keys, round, masked, done FROM sum_attempt WHERE study_sha256 = ?"
            " ORDER BY attempt DESC LIMIT 1",
            (study_sha256,),
        ).fetchone()
        if row is None:
            return None
        return SumAttempt(
            number=row[0], keys=row[1], round_envelope=row[2], masked=row[3], done=bool(row[4])
        )

    def owes(self, study: Opened[Study], ledger: Ledger) -> bool:
        """Whether there is something to do now: measure and give keys, or send masked tables."""
        attempt = self.current(study.sha256)
        if attempt is None or attempt.done:
            return attempt is None
        if attempt.keys is None:
            return True
        if attempt.round_envelope is None or attempt.masked is not None:
            return False
        return not ledger.charged(study.sha256, charge_name(study.statement, attempt.number))

    def give_keys(self, study: Opened[Study], *, site_key: SiteKey, key: StatementKey) -> bytes:
        """Make this site's ephemeral key for the current attempt, once; return it signed.

        Privacy
        -------
        A random public key and the day: nothing about anybody (docs/privacy.md, "Noise in shares";
        docs/distributed-noise.md, "What is said").
        """
        attempt = self.current(study.sha256)
        if attempt is not None and attempt.keys is not None:
            return attempt.keys
        number = attempt.number if attempt is not None else 1
        private = X25519PrivateKey.generate()
        said = SumKeys(
            audience=(WORLD,),
            issued_at=day_of_issue(study.statement),
            not_after=study.statement.not_after,
            study_sha256=study.sha256,
            site=self._site,
            attempt=number,
            x25519=private.public_key().public_bytes_raw().hex(),
        )
        envelope = sign(said, key)
        sealed = _seal(site_key, private.private_bytes_raw(), study.sha256, number)
        with transaction(self._connection):
            self._connection.execute(
                "INSERT OR IGNORE INTO sum_attempt (study_sha256, attempt) VALUES (?, ?)",
                (study.sha256, number),
            )
            self._connection.execute(
                "UPDATE sum_attempt SET sealed = ?, keys = ?"
                " WHERE study_sha256 = ? AND attempt = ?",
                (sealed, envelope, study.sha256, number),
            )
        return envelope

    def receive(self, said: Opened[SumRound], study: Opened[Study]) -> bool:
        """Take the coordinator's word about an attempt; False if it changes nothing here.

        Raises
        ------
        StatementError
            A list that does not hold, or a second one for the same key.
        """
        noise = noise_of(study)
        current = self.current(study.sha256)
        latest = current.number if current is not None else 1
        told = said.statement
        if told.attempt > noise.attempts:
            raise MalformedError(
                "sum round",
                got=f"attempt {told.attempt}",
                expected=f"at most the study's {noise.attempts}",
                do="refuse it; tell the coordinator",
            )
        if told.phase == "done":
            return self._finish(study.sha256, told.attempt, current)
        if told.phase == "keys":
            return told.attempt > latest and self._call(study.sha256, told.attempt)
        if current is None or told.attempt != latest or current.round_envelope == said.envelope:
            return False
        envelopes = [text.encode() for text in told.keys]
        of = participants(study, noise, told.attempt, envelopes)
        if current.keys is None or of.envelopes.get(self._site) != current.keys:
            # Left out, or listed with a key that was never this site's: nothing to answer.
            return False
        if current.round_envelope is not None:
            if self.listed(study).sha256 == of.sha256:
                return False
            raise MalformedError(
                "sum round",
                got="a second list of participants for the same attempt",
                expected="the list that came first",
                do="compare lists with the other sites: somebody shows two",
            )
        with transaction(self._connection):
            changed = self._connection.execute(
                "UPDATE sum_attempt SET round = ? WHERE study_sha256 = ? AND attempt = ?"
                " AND round IS NULL",
                (said.envelope, study.sha256, told.attempt),
            ).rowcount
        return bool(changed)

    def has_list(self, study_sha256: str) -> bool:
        """Whether the participants of the current attempt are known here."""
        attempt = self.current(study_sha256)
        return attempt is not None and attempt.round_envelope is not None

    def listed(self, study: Opened[Study]) -> Participants:
        """Return the participants of the current attempt, checked again.

        Raises
        ------
        NotReadyError
            No list has come.
        """
        attempt = self.current(study.sha256)
        if attempt is None or attempt.round_envelope is None:
            raise NotReadyError(
                "secure sum",
                got="no list of participants",
                expected="the coordinator's",
                do="wait for the other sites",
            )
        told = SumRound.parse(peek_payload(attempt.round_envelope))
        envelopes = [text.encode() for text in told.keys]
        return participants(study, noise_of(study), attempt.number, envelopes)

    def private_key(self, study_sha256: str, number: int, site_key: SiteKey) -> X25519PrivateKey:
        """Open the private half of this site's key for an attempt.

        Raises
        ------
        LedgerError
            It was erased, or the site key is another one.
        """
        row = self._connection.execute(
            "SELECT CAST(sealed AS BLOB) FROM sum_attempt WHERE study_sha256 = ? AND attempt = ?",
            (study_sha256, number),
        ).fetchone()
        sealed = row[0] if row and row[0] else b""
        try:
            raw = AESGCM(site_key.branch(_SEAL_DOMAIN)).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound_to(study_sha256, number)
            )
        except (InvalidTag, ValueError):
            raise LedgerError(
                "secure sum",
                got="a key that was erased, or that this site key does not open",
                expected="the key that this site made for the attempt",
                do="let the attempt fail; restore the database and the key that belong together",
            ) from None
        return X25519PrivateKey.from_private_bytes(raw)

    def _call(self, study_sha256: str, number: int) -> bool:
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE sum_attempt SET sealed = NULL WHERE study_sha256 = ?", (study_sha256,)
            )
            self._connection.execute(
                "INSERT INTO sum_attempt (study_sha256, attempt) VALUES (?, ?)",
                (study_sha256, number),
            )
        return True

    def _finish(self, study_sha256: str, number: int, current: SumAttempt | None) -> bool:
        if current is None or current.done or number < current.number:
            return False
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE sum_attempt SET done = 1, sealed = NULL WHERE study_sha256 = ?",
                (study_sha256,),
            )
        return True


def charge_name(study: Study, attempt: int) -> str:
    """Name an attempt's charge in the ledger."""
    return " + ".join(table.table for table in study.tables) + f", attempt {attempt}"


def noise_of(study: Opened[Study]) -> DistributedNoise:
    """Return how a study shares its noise out; only studies that do are asked about here."""
    noise = study.statement.noise
    if noise is None:
        raise MalformedError(
            "sum round",
            got="a study with local noise",
            expected="one with distributed noise",
            do="refuse it; tell the coordinator",
        )
    return noise


def _seal(site_key: SiteKey, raw: bytes, study_sha256: str, number: int) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    seal = AESGCM(site_key.branch(_SEAL_DOMAIN))
    return nonce + seal.encrypt(nonce, raw, _bound_to(study_sha256, number))


def _bound_to(study_sha256: str, number: int) -> bytes:
    return f"{study_sha256}|{number}".encode()
