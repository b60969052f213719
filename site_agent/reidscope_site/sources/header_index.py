"""What was read of every file, kept sealed in the site's database: only what changed is read again.

A file is known by its path, size and time of change. Rows are sealed under a branch of the site
key and found by a keyed digest of the path, so that the database tells nobody who is in it. Another
version of reidscope starts over: its rules may read other elements.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reidscope_deid.keys import SiteKey
from reidscope_site import package
from reidscope_site.sources.facts import FileFacts, read_facts
from reidscope_site.store import transaction

_SEAL_DOMAIN = b"reidscope/header-index/seal/v1"
_PLACE_DOMAIN = b"reidscope/header-index/place/v1"
_NONCE_BYTES = 12
_BATCH = 2000
_NOTHING = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file as the folder lists it."""

    path: str
    size: int
    mtime_ns: int


class HeaderIndex:
    """Facts about files inside one open database.

    Privacy
    -------
    Holds PatientIDs and dates of birth, encrypted; nothing of it leaves the site (docs/privacy.md,
    "What stays at the site").
    """

    def __init__(self, connection: sqlite3.Connection, key: SiteKey) -> None:
        self._connection = connection
        self._seal = AESGCM(key.branch(_SEAL_DOMAIN))
        self._place = key.branch(_PLACE_DOMAIN)
        self._new: list[tuple[bytes, int, int, bytes]] = []
        self._found: list[tuple[bytes, bytes]] = []
        self._seen: set[bytes] = set()
        self.read = 0
        """Files that were opened: new ones and changed ones."""
        self.unopened = 0
        """Files that could not be opened: tried again the next time."""

    @classmethod
    def opened(cls, connection: sqlite3.Connection, key: SiteKey) -> Self:
        """Open the index; what another version of reidscope wrote is forgotten."""
        wanted = package.sha256()
        row = connection.execute("SELECT package_sha256 FROM header_index").fetchone()
        if row is None or row[0] != wanted:
            with transaction(connection):
                connection.execute("DELETE FROM header")
                connection.execute("DELETE FROM finding")
                connection.execute("INSERT OR REPLACE INTO header_index VALUES (1, ?)", (wanted,))
        return cls(connection, key)

    def facts(self, file: FoundFile) -> FileFacts | None:
        """Facts of a file, from its header only where it is new or changed.

        A file that cannot be opened (rights, a network that fails) has none, and is not remembered:
        neither its size nor its time tells when it can.
        """
        place = self._digest(file.path)
        self._seen.add(place)
        row = self._connection.execute(
            "SELECT size, mtime_ns, sealed FROM header WHERE place = ?", (place,)
        ).fetchone()
        if row is not None and row[:2] == (file.size, file.mtime_ns):
            known = self._open("header", place, row[2])
            if known is not None:
                return FileFacts.decode(known) if known != _NOTHING else None
        try:
            facts = read_facts(Path(file.path))
        except OSError:
            self.unopened += 1
            return None
        self.read += 1
        text = _NOTHING if facts is None else facts.encode()
        self._new.append((place, file.size, file.mtime_ns, self._sealed("header", place, text)))
        if len(self._new) >= _BATCH:
            self.keep()
        return facts

    def finding(self, what: str, files: Iterable[FoundFile], compute: Callable[[], str]) -> str:
        """Return what was found out about exactly these files; else find it out and keep it.

        Nothing is kept where `compute` raises.
        """
        stamps = sorted((file.path, file.size, file.mtime_ns) for file in files)
        place = self._digest(json.dumps([what, stamps]))
        self._seen.add(place)
        row = self._connection.execute(
            "SELECT sealed FROM finding WHERE place = ?", (place,)
        ).fetchone()
        known = None if row is None else self._open("finding", place, row[0])
        if known is not None:
            return known
        found = compute()
        self._found.append((place, self._sealed("finding", place, found)))
        if len(self._found) >= _BATCH:
            self.keep()
        return found

    def keep(self) -> None:
        """Write what was read since the last time."""
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT OR REPLACE INTO header VALUES (?, ?, ?, ?)", self._new
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO finding VALUES (?, ?)", self._found
            )
        self._new.clear()
        self._found.clear()

    def forget_unmet(self) -> None:
        """Forget files that were not met since the index was opened: they are gone."""
        for table in ("header", "finding"):
            kept = self._connection.execute(f"SELECT place FROM {table}")  # noqa: S608 - constants
            gone = [row for row in kept if row[0] not in self._seen]
            with transaction(self._connection):
                self._connection.executemany(
                    f"DELETE FROM {table} WHERE place = ?",  # noqa: S608 - one of two constants
                    gone,
                )

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._place, text.encode("utf-8", "surrogateescape"), "sha256")[:16]

    def _sealed(self, table: str, place: bytes, text: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, text.encode(), table.encode() + b"|" + place)

    def _open(self, table: str, place: bytes, sealed: bytes) -> str | None:
        """Open a row; None where it was altered or sealed under another key: it is read again."""
        try:
            nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            return self._seal.decrypt(nonce, text, table.encode() + b"|" + place).decode()
        except (InvalidTag, ValueError):
            return None
