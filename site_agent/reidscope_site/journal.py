"""The site's journal: what happened and when, for its own people; constant words, no data."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from reidscope_site.store import transaction


class Event(StrEnum):
    """All that is ever written."""

    INITIALISED = "initialised"
    ENROLLED = "enrolled"
    INDEXED = "indexed"
    REVIEWED = "contact sheets made"
    MARKED = "faces marked by hand"
    STUDY_RECEIVED = "study received"
    CONSTANT_KEPT = "constant kept"
    APPROVED = "approved"
    ONE_OF_TWO = "one of two approved"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    RUN_STARTED = "run started"
    RELEASED = "released"
    REFUSED = "refused"
    SENT = "release handed to Flower"
    SUM_KEYS = "keys for a secure sum made"
    SUM_LIST = "participants of a secure sum received"
    SUM_ENDED = "secure sum ended or begun again"
    MASKED = "masked tables stored"
    EXPORTED = "exported"
    ADOPTED = "ledger adopted"
    RECEIPT = "receipt received"
    SERVING = "agent started"
    STOPPED = "agent stopped"
    HELD = "everything refused"
    RESUMED = "refusals ended"
    WIPED = "study key destroyed"
    KEYS_ROTATED = "own keys changed"
    RENEWED = "certificate renewed"
    KEY_FOLLOWED = "coordinator key new"
    ROOT_FOLLOWED = "coordinator root new"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One line of the journal."""

    number: int
    written_at: str
    event: str
    study_sha256: str | None


class Journal:
    """The journal inside one open database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write(self, event: Event, study_sha256: str | None = None) -> None:
        """Add a line."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO journal (written_at, event, study_sha256) VALUES (?, ?, ?)",
                (now, event, study_sha256),
            )

    def entries(self) -> Iterator[JournalEntry]:
        """Every line, oldest first."""
        rows = self._connection.execute(
            "SELECT number, written_at, event, study_sha256 FROM journal ORDER BY number"
        )
        for number, written_at, event, study in rows.fetchall():
            yield JournalEntry(
                number=number, written_at=written_at, event=event, study_sha256=study
            )
