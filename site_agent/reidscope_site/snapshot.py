"""The frozen snapshot: who is who, and which series and photo are used, settled before approval.

Who gets in is settled by `indexing`; here it is kept, with a digest that approvals bind.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import NotReadyError
from reidscope_site.store import transaction

_DIGEST_DOMAIN = b"reidscope/snapshot/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One resolved person: the series to be attacked and the person's own photo.

    Privacy
    -------
    Points at the person's files: never leaves the site.
    """

    pseudonym: str
    files: tuple[Path, ...]
    photo: Path


class Snapshot:
    """The snapshot inside one open database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def freeze(self, people: Sequence[Person], key: SiteKey) -> str:
        """Replace the snapshot, and return its keyed digest.

        Privacy
        -------
        The digest is keyed, so that it cannot be tested against a guessed list of people.
        """
        rows = [
            (person.pseudonym, json.dumps([str(file) for file in person.files]), str(person.photo))
            for person in people
        ]
        digest = _digest(people, key)
        with transaction(self._connection):
            self._connection.execute("DELETE FROM person")
            self._connection.executemany("INSERT INTO person VALUES (?, ?, ?)", rows)
            self._connection.execute(
                "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?)",
                (digest, datetime.now(UTC).isoformat(timespec="seconds")),
            )
        return digest

    def digest(self) -> str:
        """Return the digest that an approval binds.

        Raises
        ------
        NotReadyError
            The site was never indexed.
        """
        row = self._connection.execute("SELECT digest FROM snapshot").fetchone()
        if row is None:
            raise NotReadyError(
                "index", got="none", expected="a frozen snapshot", do="run `reidscope-site index`"
            )
        digest: str = row[0]
        return digest

    def found_again(self, key: SiteKey) -> str:
        """Return the digest as people's files are now: another one once a file was changed.

        Raises
        ------
        NotReadyError
            The site was never indexed.
        """
        self.digest()
        return _digest(tuple(self.people()), key)

    def people(self) -> Iterator[Person]:
        """Every person, in the order of their pseudonyms."""
        rows = self._connection.execute("SELECT pseudonym, files, photo FROM person ORDER BY 1")
        for name, files, photo in rows.fetchall():
            yield Person(
                pseudonym=name,
                files=tuple(Path(file) for file in json.loads(files)),
                photo=Path(photo),
            )


def _digest(people: Sequence[Person], key: SiteKey) -> str:
    rows = [
        [person.pseudonym, [_stamp(file) for file in person.files], _stamp(person.photo)]
        for person in sorted(people, key=lambda person: person.pseudonym)
    ]
    return hmac.digest(key.branch(_DIGEST_DOMAIN), json.dumps(rows).encode(), "sha256").hex()


def _stamp(path: Path) -> tuple[str, int, int]:
    """Name, size and time of a file: what a hand edit changes, without reading a pixel."""
    try:
        found = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), found.st_size, found.st_mtime_ns
