"""The frozen snapshot: who is who, and which series and photo are used, settled before approval.

One series a person, the first usable by the person's own dates. Usable is decided from that
person's own headers and geometry; no rule compares two people. What fails later is a cell.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from reidscope_deid.keys import SiteKey
from reidscope_deid.pseudonyms import pseudonym
from reidscope_protocols.errors import NotReadyError, NoUsablePeopleError
from reidscope_site.face.volume import read_slice_header, series_problem
from reidscope_site.sources.dicom_folder import FolderListing, ScanSeries
from reidscope_site.store import transaction

_DIGEST_DOMAIN = b"reidscope/snapshot/v1"


class Exclusion(StrEnum):
    """Why a person is not in the snapshot, where no series of theirs names a reason itself."""

    NO_PHOTO = "no-photo"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Result of indexing: people to attack, and how many others there were, by reason."""

    people: tuple[Person, ...]
    excluded: Mapping[str, int]


def resolve(
    listing: FolderListing,
    links: Mapping[str, Path],
    key: SiteKey,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Resolution:
    """Settle who takes part, one person at a time.

    Raises
    ------
    NoUsablePeopleError
        Nobody has a usable head series and a photo.

    Privacy
    -------
    The counts are exact: they are shown on the site's own terminal and never leave it.
    """
    people: list[Person] = []
    excluded: Counter[str] = Counter()
    for number, (patient, series) in enumerate(listing.series.items(), start=1):
        photo = links.get(patient)
        chosen, problem = _first_usable(series)
        if photo is None:
            excluded[Exclusion.NO_PHOTO] += 1
        elif chosen is None:
            excluded[problem] += 1
        else:
            name = pseudonym(key, patient)
            people.append(Person(pseudonym=name, files=chosen.files, photo=photo))
        if progress:
            progress(number, len(listing.series))
    if not people:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(excluded.items()))
        raise NoUsablePeopleError(
            "index",
            got=f"nobody with a usable head series and a photo ({reasons})",
            expected="at least one such person",
            do="look at the data folder and the link file",
        )
    ordered = sorted(people, key=lambda person: person.pseudonym)
    return Resolution(people=tuple(ordered), excluded=dict(excluded))


def _first_usable(series: Sequence[ScanSeries]) -> tuple[ScanSeries | None, str]:
    problem = ""
    for candidate in series:
        found = series_problem([read_slice_header(path) for path in candidate.files])
        if found is None:
            return candidate, ""
        problem = problem or str(found)
    return None, problem


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
        digest = hmac.digest(key.branch(_DIGEST_DOMAIN), json.dumps(rows).encode(), "sha256").hex()
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

    def people(self) -> Iterator[Person]:
        """Every person, in the order of their pseudonyms."""
        rows = self._connection.execute("SELECT pseudonym, files, photo FROM person ORDER BY 1")
        for name, files, photo in rows.fetchall():
            yield Person(
                pseudonym=name,
                files=tuple(Path(file) for file in json.loads(files)),
                photo=Path(photo),
            )
