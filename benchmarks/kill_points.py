"""Where the kill loop ends a process: named moments of the shipped code, and how they are reached.

Nothing of this is in the shipped code: the process that is to die wraps one function after its
fork.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reidscope_protocols import database
from reidscope_server import rounds, studies
from reidscope_server.studies import Studies
from reidscope_site import consent, handover, ledger, measuring, release, witness
from reidscope_site import studies as site_studies
from reidscope_site.agent import Agent
from reidscope_site.outbox import Outbox
from reidscope_site.outcomes import Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a process ends: before or after the `nth` call of one function.

    Attributes
    ----------
    may_lose : bool
        Whether the table may be lost: after charging, before storing.
    """

    owner: Any
    name: str
    when: str
    nth: int = 1
    may_lose: bool = False


def after(owner: Any, name: str, nth: int = 1, *, may_lose: bool = False) -> Point:
    """Name the moment after a call."""
    return Point(owner=owner, name=name, when="after", nth=nth, may_lose=may_lose)


def before(owner: Any, name: str, nth: int = 1, *, may_lose: bool = False) -> Point:
    """Name the moment before a call."""
    return Point(owner=owner, name=name, when="before", nth=nth, may_lose=may_lose)


AGENT: dict[str, Point] = {
    "start: before what was left is settled": before(Agent, "settle"),
    "start: after what was left is settled": after(Agent, "settle"),
    "study: before it is kept": before(site_studies.Studies, "receive"),
    "study: kept, not noted": after(site_studies.Studies, "receive"),
    "decision: before it is signed": before(consent, "sign"),
    "decision: written, not noted": after(consent.Consent, "decide"),
    "decision: handed over, not noted": before(Outbox, "delivered"),
    "decision: handed over and noted": after(Outbox, "delivered"),
    "run: noted, nobody counted": before(measuring, "release"),
    "charge: before it": before(ledger.Ledger, "charge"),
    "charge: before the witness hears of it": before(witness.Witness, "announce"),
    "charge: the witness's file written, not yet renamed": before(Path, "replace"),
    "charge: the witness has heard, nothing written": after(witness.Witness, "announce"),
    "charge: written, not committed": after(ledger.Ledger, "_append"),
    "charge: committed, not confirmed": before(witness.Witness, "confirm", may_lose=True),
    "charge: confirmed": after(ledger.Ledger, "charge", may_lose=True),
    "noise: drawn, not signed": before(release, "sign", may_lose=True),
    "release: signed, not stored": before(ledger.Ledger, "store", may_lose=True),
    "store: the witness has heard, nothing written": after(
        witness.Witness, "announce", 2, may_lose=True
    ),
    "store: written, not committed": after(ledger.Ledger, "_append", 2, may_lose=True),
    "store: committed, not confirmed": before(witness.Witness, "confirm", 2),
    "store: confirmed": after(ledger.Ledger, "store"),
    "outcomes: before they are erased": before(Outcomes, "erase"),
    "outcomes: erased": after(Outcomes, "erase"),
    "outbox: before the release": before(Outbox, "add"),
    "outbox: after the release": after(Outbox, "add"),
    "answer: before it is read": before(handover, "_is_held"),
    "answer: noted, not sent": after(handover, "answer_for"),
    "receipt: before it is kept": before(Agent, "take_receipt"),
    "receipt: kept": after(Agent, "take_receipt"),
}
COORDINATOR: dict[str, Point] = {
    "decision: before it is looked up": before(Studies, "take_decision"),
    "decision: admitted, not written": after(studies, "admit_decision"),
    "decision: stored, not answered": after(Studies, "take_decision"),
    "release: before it is opened": before(Studies, "take_release"),
    "release: admitted, not written": after(studies, "admit"),
    "release: written, without a receipt": before(Studies, "_write_receipt"),
    "release: written with its receipt, not committed": after(Studies, "_write_receipt"),
    "release: stored, not noted": after(Studies, "take_release"),
    "release: noted": after(Studies, "hear"),
    "receipt: before it is served": before(Studies, "receipts_for"),
    "receipt: read, not served": after(Studies, "receipts_for"),
    "studies: before they are served": before(Studies, "envelopes_for"),
    "studies: read, not served": after(Studies, "envelopes_for"),
    "round: before a turn": before(rounds, "one_turn"),
    "round: between two turns": after(rounds, "one_turn"),
    "round: the end not noted": before(Studies, "set_collecting"),
    "round: the end noted": after(Studies, "set_collecting"),
}

Fault = Point | int | None
"""A named point, the number of an SQL statement, or nothing."""


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def doom(fault: Fault) -> None:
    """Wrap one function of the shipped code, in this process alone, so that it ends there."""
    if fault is None:
        return
    seen = [0]
    if isinstance(fault, int):
        connect = sqlite3.connect

        def reached(_: str) -> None:
            seen[0] += 1
            if seen[0] == fault:
                die()

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(reached)
            return connection

        database.sqlite3.connect = traced  # type: ignore[assignment]  # the doomed process's own
        return
    point, original = fault, getattr(fault.owner, fault.name)

    def doomed(*arguments: Any, **options: Any) -> Any:
        seen[0] += 1
        last = seen[0] == point.nth
        if last and point.when == "before":
            die()
        result = original(*arguments, **options)
        if last:
            die()
        return result

    setattr(point.owner, point.name, doomed)
