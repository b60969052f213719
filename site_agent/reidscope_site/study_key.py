"""One key a study: what is sealed under it can be read by nobody once it is destroyed.

Drawn when the first person of a study is evaluated, wrapped under a branch of the site key, and
overwritten when the release is stored, when the study closes without one, or when somebody wipes
it. Sealed cells in free pages, in the write-ahead log or in a later backup are then noise. A copy
of the database from before holds the wrapped key, and opens to whoever has the site key as well.
"""

from __future__ import annotations

import secrets
import sqlite3
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import LedgerError, OutcomeMissingError
from reidscope_site.store import transaction

_WRAP_DOMAIN = b"reidscope/study-key/v1"
_NONCE_BYTES = 12
_KEY_BITS = 256


class StudyKey:
    """The key of one study inside one open database."""

    def __init__(self, connection: sqlite3.Connection, key: SiteKey, study_sha256: str) -> None:
        self._connection = connection
        self._wrap = AESGCM(key.branch(_WRAP_DOMAIN))
        self._study = study_sha256

    def made(self) -> AESGCM:
        """Return the key, drawing it the first time.

        Raises
        ------
        OutcomeMissingError
            It was destroyed.
        LedgerError
            It was altered, or the site key is another one.
        """
        with transaction(self._connection):
            if self._row() is None:
                nonce = secrets.token_bytes(_NONCE_BYTES)
                drawn = AESGCM.generate_key(bit_length=_KEY_BITS)
                wrapped = nonce + self._wrap.encrypt(nonce, drawn, self._bound_to())
                self._connection.execute(
                    "INSERT INTO study_key VALUES (?, ?, ?, NULL)",
                    (self._study, wrapped, _now()),
                )
        return self.held()

    def held(self) -> AESGCM:
        """Return the key that was drawn before; see `made`."""
        row = self._row()
        if row is not None and row[0] is None:
            raise OutcomeMissingError(
                "outcomes",
                got="a study whose key was destroyed",
                expected="one whose people were evaluated and not wiped",
                do="count it as lost: nobody can read what was sealed",
            )
        wrapped = b"" if row is None else row[0]
        nonce, text = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return AESGCM(self._wrap.decrypt(nonce, text, self._bound_to()))
        except (InvalidTag, ValueError, TypeError):
            # Altered bytes, too few of them, or none.
            raise LedgerError(
                "outcomes",
                got="a study's key that this site key does not open",
                expected="one wrapped by this site",
                do="restore the database and the key that belong together",
            ) from None

    def _row(self) -> tuple[Any] | None:
        row: tuple[Any] | None = self._connection.execute(
            "SELECT wrapped FROM study_key WHERE study_sha256 = ?", (self._study,)
        ).fetchone()
        return row

    def _bound_to(self) -> bytes:
        return f"study_key|{self._study}".encode()


def destroy(connection: sqlite3.Connection, study_sha256: str) -> None:
    """Overwrite a study's key, for good: none is drawn again. Inside the caller's transaction."""
    connection.execute(
        "INSERT INTO study_key VALUES (?, NULL, ?, ?) ON CONFLICT (study_sha256)"
        " DO UPDATE SET wrapped = NULL, destroyed_at = COALESCE(destroyed_at, excluded.made_at)",
        (study_sha256, _now(), _now()),
    )


def is_destroyed(connection: sqlite3.Connection, study_sha256: str) -> bool:
    """Tell whether a study's key is gone for good."""
    return bool(
        connection.execute(
            "SELECT 1 FROM study_key WHERE study_sha256 = ? AND destroyed_at IS NOT NULL",
            (study_sha256,),
        ).fetchone()
    )


def alive(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the sha256 of studies whose key can still be used."""
    rows = connection.execute("SELECT study_sha256 FROM study_key WHERE destroyed_at IS NULL")
    return tuple(sha256 for (sha256,) in rows.fetchall())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
