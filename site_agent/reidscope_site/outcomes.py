"""Each person's cells, sealed at rest under the study's own key, until the tables are released.

Then rows and key are overwritten: what a backup or a free page still holds opens to nobody.
An Outcome has one codec, here, and it ends in ciphertext: pickle, copy and JSON of it raise.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reidscope_deid.keys import SiteKey
from reidscope_protocols.database import fold_log
from reidscope_protocols.errors import LedgerError
from reidscope_site.store import transaction
from reidscope_site.study_key import StudyKey, destroy, is_destroyed

_NONCE_BYTES = 12
_CELL_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Outcome:
    """The cell of each of a study's tables that one person fell into.

    Privacy
    -------
    Exact and about one person: may not leave the site (docs/privacy.md, "One person, one cell").
    """

    cells: tuple[int, ...]

    def __repr__(self) -> str:
        return "Outcome(...)"

    def __reduce__(self) -> NoReturn:
        message = "an outcome is about one person: it is sealed by `outcomes`, never serialised"
        raise TypeError(message)


class Outcomes:
    """The outcomes of one study inside one open database."""

    def __init__(self, connection: sqlite3.Connection, key: SiteKey, study_sha256: str) -> None:
        self._connection = connection
        self._key = StudyKey(connection, key, study_sha256)
        self._study = study_sha256

    def keep(self, pseudonym: str, outcome: Outcome) -> None:
        """Seal one person's outcome; the sealed size is the same for everybody of a study.

        Raises
        ------
        OutcomeMissingError
            The study was wiped.
        """
        seal = self._key.made()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = b"".join(cell.to_bytes(_CELL_BYTES, "big") for cell in outcome.cells)
        sealed = nonce + seal.encrypt(nonce, plain, self._bound_to(pseudonym))
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO outcome VALUES (?, ?, ?)", (self._study, pseudonym, sealed)
            )

    def known(self) -> frozenset[str]:
        """Pseudonyms of the people who were evaluated already."""
        rows = self._connection.execute(
            "SELECT pseudonym FROM outcome WHERE study_sha256 = ?", (self._study,)
        )
        return frozenset(pseudonym for (pseudonym,) in rows)

    def all(self) -> tuple[Outcome, ...]:
        """Open every outcome of the study.

        Raises
        ------
        LedgerError
            A sealed outcome was altered, or the site key is another one.
        OutcomeMissingError
            The study was wiped: what is left is no table of everybody.
        """
        rows = self._connection.execute(
            "SELECT pseudonym, CAST(sealed AS BLOB) FROM outcome WHERE study_sha256 = ?"
            " ORDER BY pseudonym",
            (self._study,),
        ).fetchall()
        if not rows and not is_destroyed(self._connection, self._study):
            # Nobody has such a mate here: a table of nobody, and no key was ever needed.
            return ()
        seal = self._key.held()
        return tuple(self._open(seal, pseudonym, sealed) for pseudonym, sealed in rows)

    def erase(self) -> None:
        """Overwrite the study's outcomes and its key (SQLite's secure_delete), for good."""
        erase(self._connection, self._study)

    def _open(self, seal: AESGCM, pseudonym: str, sealed: bytes) -> Outcome:
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            plain = seal.decrypt(nonce, text, self._bound_to(pseudonym))
        except (InvalidTag, ValueError, TypeError):
            # Altered bytes, too few of them, or no bytes at all.
            raise LedgerError(
                "outcomes",
                got="a sealed outcome that this site key does not open",
                expected="outcomes sealed by this site",
                do="restore the database and the key that belong together",
            ) from None
        return Outcome(
            cells=tuple(
                int.from_bytes(plain[start : start + _CELL_BYTES], "big")
                for start in range(0, len(plain), _CELL_BYTES)
            )
        )

    def _bound_to(self, pseudonym: str) -> bytes:
        return f"outcome|{self._study}|{pseudonym}".encode()


def erase(connection: sqlite3.Connection, study_sha256: str) -> None:
    """Overwrite what a study holds about people: this needs no key, and cannot be undone."""
    with transaction(connection):
        connection.execute("DELETE FROM outcome WHERE study_sha256 = ?", (study_sha256,))
        destroy(connection, study_sha256)
    # The write-ahead log still holds the old pages until it is folded in and cut.
    fold_log(connection)
