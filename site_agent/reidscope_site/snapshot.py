"""The frozen snapshot: who is who, and which scans and photo are used, settled before approval.

Who gets in is settled by `indexing`; here it is kept, with a digest that approvals bind.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import InvariantError, NotReadyError
from reidscope_protocols.vocabulary import Mate
from reidscope_site.attributes import NOTHING_KNOWN, Attributes
from reidscope_site.store import transaction

_DIGEST_DOMAIN = b"reidscope/snapshot/v4"


ScanKind = Literal["dicom", "nifti"]
PhotoBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the upright photo; right and bottom are just outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One usable scan of one person's head.

    Attributes
    ----------
    kind : {"dicom", "nifti"}
        How it is stored.
    files : tuple of Path
        The slices of one series in any order, or one NIfTI file.
    taken : str
        When; sortable, only ever compared within one person.
    attributes : Attributes
        The person's, as this scan's own files tell them; what `cohort.as_asked` looks at.

    Privacy
    -------
    Points at the person's files: never leaves the site (docs/privacy.md, "What stays at the site").
    """

    kind: ScanKind
    files: tuple[Path, ...]
    taken: str
    attributes: Attributes = NOTHING_KNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One resolved person: scans to be attacked, and what they may be found by.

    Attributes
    ----------
    pseudonym : str
        The site's name for them.
    scans : tuple of Scan
        In the order of the person's own dates; at most one a date. None of somebody with PET alone.
    photo : Path or None
        The person's own, where the site has one.
    photo_box : tuple of 4 int, or None
        Where on the photo the person's face is, if somebody at the site marked it by hand.
    attributes : Attributes
        At the first scan; what cohorts and groups look at.
    others : tuple of Scan
        What else there is of those dates and of others, one a modality and date: for studies that
        name the modalities of a scan (`cohort.as_asked`). In the order of dates, the better first.

    Privacy
    -------
    Points at the person's files: never leaves the site (docs/privacy.md, "Neighbours").
    """

    pseudonym: str
    scans: tuple[Scan, ...]
    photo: Path | None
    photo_box: PhotoBox | None = None
    attributes: Attributes = NOTHING_KNOWN
    others: tuple[Scan, ...] = ()

    def __post_init__(self) -> None:
        taken = [scan.taken for scan in self.scans]
        if not (taken or self.others) or taken != sorted(set(taken)):
            raise InvariantError(
                "a person of the index",
                got="scans that are none, or not one a date in order",
                expected="one scan a date, first to last",
                do="report this",
            )

    @property
    def first(self) -> Scan:
        """The scan that is attacked: the first by the person's own dates."""
        return self.scans[0]

    def has(self, mate: Mate) -> bool:
        """Tell whether there is something of this kind to find the person by."""
        return self.photo is not None if mate == Mate.PHOTO else len(self.scans) > 1


class Snapshot:
    """The snapshot inside one open database."""

    def __init__(self, connection: sqlite3.Connection, opt_outs: Path | None = None) -> None:
        self._connection = connection
        self._opt_outs = opt_outs

    def freeze(self, people: Sequence[Person], key: SiteKey) -> str:
        """Replace the snapshot, and return its keyed digest.

        Privacy
        -------
        The digest is keyed, so that it cannot be tested against a guessed list of people
        (docs/privacy.md, "Neighbours").
        """
        rows = [
            (
                person.pseudonym,
                _encoded(person.scans),
                None if person.photo is None else str(person.photo),
                json.dumps(person.attributes.encoded()),
                _encoded(person.others),
            )
            for person in people
        ]
        with transaction(self._connection):
            self._connection.execute("DELETE FROM person")
            self._connection.executemany("INSERT INTO person VALUES (?, ?, ?, ?, ?)", rows)
            self._forget_marks_of_other_photos()
            return self._settle(key)

    def mark(self, boxes: Mapping[str, PhotoBox | None], key: SiteKey) -> str:
        """Keep, or with None take back, where people's faces are; return the new keyed digest.

        Parameters
        ----------
        boxes : mapping
            Pseudonyms of people with a photo; all are kept or none.
        key : SiteKey
            The site's.

        Raises
        ------
        InvariantError
            Somebody is not in the snapshot or has no photo: `review.marks` has looked before.

        Privacy
        -------
        The digest is another one afterwards, so that every approval given before is void
        (docs/privacy.md, "Neighbours").
        """
        photos = {person.pseudonym: person.photo for person in self.people()}
        with transaction(self._connection):
            for name, box in boxes.items():
                photo = photos.get(name)
                if photo is None:
                    raise InvariantError(
                        "a marked photo",
                        got="nobody's",
                        expected="a photo of somebody of the index",
                        do="report this",
                    )
                self._connection.execute("DELETE FROM photo_mark WHERE pseudonym = ?", (name,))
                if box is not None:
                    self._connection.execute(
                        "INSERT INTO photo_mark VALUES (?, ?, ?)",
                        (name, json.dumps(box), json.dumps(_stamp(photo))),
                    )
            return self._settle(key)

    def _forget_marks_of_other_photos(self) -> None:
        """Drop the marks of photos that were changed, or belong to nobody any more."""
        rows = self._connection.execute(
            "SELECT photo_mark.pseudonym, photo_mark.photo, person.photo FROM photo_mark"
            " LEFT JOIN person USING (pseudonym)"
        ).fetchall()
        for name, marked, photo in rows:
            if photo is None or json.dumps(_stamp(Path(photo))) != marked:
                self._connection.execute("DELETE FROM photo_mark WHERE pseudonym = ?", (name,))

    def _settle(self, key: SiteKey) -> str:
        """Write down the digest of what stands there now."""
        digest = self._digest_now(key)
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
        """Return the digest as people's files and opt-outs are now: another once one changed.

        Raises
        ------
        NotReadyError
            The site was never indexed.
        """
        self.digest()
        return self._digest_now(key)

    def _digest_now(self, key: SiteKey) -> str:
        people = digest_of(tuple(self.people()), key)
        if self._opt_outs is None:
            return people
        # Whoever opts out after the index was made is not measured under it.
        bound = f"{people} {_content(self._opt_outs)}".encode()
        return hmac.digest(key.branch(_DIGEST_DOMAIN), bound, "sha256").hex()

    def people(self) -> Iterator[Person]:
        """Every person, in the order of their pseudonyms."""
        rows = self._connection.execute(
            "SELECT pseudonym, scans, person.photo, box, attributes, others FROM person"
            " LEFT JOIN photo_mark USING (pseudonym) ORDER BY 1"
        )
        for name, scans, photo, box, attributes, others in rows.fetchall():
            yield Person(
                pseudonym=name,
                scans=_decoded(scans),
                photo=None if photo is None else Path(photo),
                photo_box=None if box is None else _box(json.loads(box)),
                attributes=Attributes.decoded(json.loads(attributes)),
                others=_decoded(others),
            )


def digest_of(people: Sequence[Person], key: SiteKey) -> str:
    """Keyed digest of who is who, their attributes, and every file's name, size and time."""
    rows = [
        [
            person.pseudonym,
            _stamped(person.scans),
            None if person.photo is None else _stamp(person.photo),
            person.photo_box,
            person.attributes.encoded(),
            *([_stamped(person.others)] if person.others else []),
        ]
        for person in sorted(people, key=lambda person: person.pseudonym)
    ]
    return hmac.digest(key.branch(_DIGEST_DOMAIN), json.dumps(rows).encode(), "sha256").hex()


def _encoded(scans: Sequence[Scan]) -> str:
    return json.dumps(
        [
            [scan.kind, scan.taken, [str(file) for file in scan.files], scan.attributes.encoded()]
            for scan in scans
        ]
    )


def _decoded(text: str) -> tuple[Scan, ...]:
    return tuple(
        Scan(
            kind=kind,
            taken=taken,
            files=tuple(Path(file) for file in files),
            attributes=Attributes.decoded(*known) if known else NOTHING_KNOWN,
        )
        for kind, taken, files, *known in json.loads(text)
    )


def _stamped(scans: Sequence[Scan]) -> list[list[object]]:
    return [[scan.kind, scan.taken, [_stamp(file) for file in scan.files]] for scan in scans]


def _box(numbers: Sequence[int]) -> PhotoBox:
    left, top, right, bottom = numbers
    return left, top, right, bottom


def _content(path: Path) -> str:
    """SHA-256 of a file, empty where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _stamp(path: Path) -> tuple[str, int, int]:
    """Name, size and time of a file: what a hand edit changes, without reading a pixel."""
    try:
        found = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), found.st_size, found.st_mtime_ns
