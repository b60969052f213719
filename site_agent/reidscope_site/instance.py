"""Which database this is: drawn once, and where its file lay then, so that a copy is noticed."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from reidscope_protocols.errors import LedgerError

_BYTES = 16


class Instance:
    """The identity of one open database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def id(self) -> str:
        """32 hexadecimal digits, the same in every copy of the file."""
        return self._row()[0]

    def keep(self) -> None:
        """Draw the identity now, if there is none yet."""
        self._row()

    def check(self) -> None:
        """Raise LedgerError if the file is not the one that was made or settled here."""
        if self._row()[1] != self._place():
            raise LedgerError(
                "the site's database",
                got="a copy, or a file that was moved or restored",
                expected="the one file that this site has always used",
                do="go back to that file; if it is gone: reidscope-site ledger --adopt --role ROLE",
            )

    def settle(self) -> None:
        """Take this file for the site's one database from now on."""
        self._row()
        self._connection.execute("UPDATE instance SET place = ?", (self._place(),))

    def _row(self) -> tuple[str, str]:
        found = self._connection.execute("SELECT id, place FROM instance").fetchone()
        if found is None:
            found = (secrets.token_hex(_BYTES), self._place())
            self._connection.execute("INSERT OR IGNORE INTO instance VALUES (1, ?, ?)", found)
            found = self._connection.execute("SELECT id, place FROM instance").fetchone()
        return found[0], found[1]

    def _place(self) -> str:
        """Device and number of the file: a copy has another number."""
        (_, _, path), *_ = self._connection.execute("PRAGMA database_list").fetchall()
        file = Path(path).stat()
        return f"{file.st_dev}:{file.st_ino}"
