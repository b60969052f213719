"""Signed statements that wait to leave, and those that left: `sent` byte for byte."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from reidscope_site.store import transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One signed statement."""

    number: int
    kind: str
    study_sha256: str
    envelope: bytes


class Outbox:
    """The outbox inside one open database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def waiting(self, kind: str) -> tuple[Outgoing, ...]:
        """Return statements of a kind that nobody took yet."""
        return self._select("WHERE kind = ? AND delivered_at IS NULL", (kind,))

    def every(self) -> tuple[Outgoing, ...]:
        """Return everything that was ever signed for the coordinator."""
        return self._select("", ())

    def delivered(self, number: int) -> None:
        """Note that a statement was taken; it stays here."""
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE outbox SET delivered_at = ? WHERE number = ?",
                (datetime.now(UTC).isoformat(timespec="seconds"), number),
            )

    def add(self, kind: str, study_sha256: str, envelope: bytes) -> None:
        """Queue a statement, once however often it is offered."""
        with transaction(self._connection):
            known = self._connection.execute(
                "SELECT 1 FROM outbox WHERE envelope = ?", (envelope,)
            ).fetchone()
            if not known:
                self._connection.execute(
                    "INSERT INTO outbox (kind, study_sha256, envelope) VALUES (?, ?, ?)",
                    (kind, study_sha256, envelope),
                )

    def _select(self, where: str, parameters: tuple[str, ...]) -> tuple[Outgoing, ...]:
        rows = self._connection.execute(
            # Safety: `where` is one of two constants of this class.
            f"SELECT number, kind, study_sha256, envelope FROM outbox {where} ORDER BY number",  # noqa: S608
            parameters,
        )
        return tuple(
            Outgoing(number=number, kind=kind, study_sha256=study, envelope=envelope)
            for number, kind, study, envelope in rows.fetchall()
        )
