"""The agent's loop: fetch studies, run what was approved, answer rounds, carry out requests.

Three threads, each with its own database connection: the desk and the control service here, the
run of an approved study, and Flower. All end when `stop` is set.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reidscope_protocols.desk import Desk, Handler
from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import (
    DeclinedCallError,
    NotReadyError,
    ReidscopeError,
    StatementError,
    TransportError,
)
from reidscope_protocols.study import Study
from reidscope_protocols.wire import pad
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.control import Control, control
from reidscope_site.flower import FleetDoor, answer_rounds
from reidscope_site.handover import WORD, Word, answer_for
from reidscope_site.journal import Event
from reidscope_site.measuring import measure
from reidscope_site.worker import empty

_TICK_SECONDS = 0.2
_SYNC_SECONDS = 2.0
_CLAIM_SECONDS = 10.0
_DISK_SECONDS = 30.0
_DISK = "the disk is full or fails; make room, and it goes on"

Say = Callable[[str], None]


@dataclass
class Loop:
    """State of one running agent.

    Attributes
    ----------
    say : callable
        Prints a line on the site's own terminal.
    stop : threading.Event
        Set by a signal, by `reidscope-site stop`, or by the caller.
    """

    home: Home
    say: Say
    stop: threading.Event = field(default_factory=threading.Event)
    _failed: set[str] = field(default_factory=set)
    _cut: dict[str, bool] = field(default_factory=dict)

    def serve(self, handler: Callable[[Agent], Handler]) -> None:
        """Serve until stopped.

        Raises
        ------
        NotReadyError
            Another agent holds this home.
        """
        desk = Desk(self.home.root)
        deadline = time.monotonic() + _CLAIM_SECONDS
        while True:
            with desk.claim() as held:
                if held:
                    self._serve(desk, handler)
                    return
            if time.monotonic() > deadline:
                raise NotReadyError(
                    "agent",
                    got="a home that another process holds",
                    expected="one agent a home",
                    do="stop the other one first",
                )
            time.sleep(_TICK_SECONDS)

    def _serve(self, desk: Desk, handler: Callable[[Agent], Handler]) -> None:
        agent = Agent(self.home)
        empty(self.home.work)
        agent.journal.write(Event.SERVING)
        door = FleetDoor(
            address=agent.pinned.addresses.fleet,
            ca_pem=agent.pinned.ca_pem,
            certificate_file=str(self.home.key("transport.crt")),
            key_file=str(self.home.key("transport.pem")),
        )
        threads = [
            threading.Thread(target=self._answer, args=(door,), name="flower", daemon=True),
            threading.Thread(target=self._run_approved, name="run", daemon=True),
        ]
        for thread in threads:
            thread.start()
        carry_out = handler(agent)
        next_sync = 0.0
        try:
            while not self.stop.wait(_TICK_SECONDS):
                desk.serve_waiting(carry_out)
                if time.monotonic() >= next_sync:
                    self._sync(agent)
                    next_sync = time.monotonic() + _SYNC_SECONDS
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(timeout=_CLAIM_SECONDS)
            desk.serve_waiting(carry_out)
            agent.journal.write(Event.STOPPED)
            agent.close()

    def _sync(self, agent: Agent) -> None:
        """Exchange decisions, studies, constants and receipts; a cut line is tried again later."""
        try:
            with control(self.home, agent.pinned) as channel:
                exchange(agent, channel, self.say, self._once)
        except TransportError as error:
            self._cut_line("control", str(error))
        except ReidscopeError as error:
            # A bad study or receipt is this site's own refusal: said here, and nobody else is told.
            self._once(f"refused: {error}")
        except (OSError, sqlite3.Error):
            self._once(f"control: {_DISK}")
        else:
            self._cut_line("control", "")

    def _run_approved(self) -> None:
        agent = Agent(self.home)
        try:
            while not self.stop.wait(_TICK_SECONDS):
                try:
                    ready = agent.ready_to_run()
                except sqlite3.Error:
                    self._once(f"waiting: {_DISK}")
                    continue
                except ReidscopeError as error:
                    # A missing model or a damaged file: said once, and tried again.
                    self._once(f"waiting: {error}")
                    continue
                waiting = [study for study in ready if _attempt(agent, study) not in self._failed]
                for study in waiting:
                    name = study.statement.study_id
                    self.say(f"{name}: measuring")
                    started = time.monotonic()
                    try:
                        done = measure(agent, study, progress=self._progress(name), stop=self.stop)
                    except (NotReadyError, OSError, sqlite3.Error) as error:
                        # Of the last two the text could hold a path.
                        cause = str(error) if isinstance(error, NotReadyError) else _DISK
                        self._once(f"{name}: waiting: {cause}")
                        self.stop.wait(_DISK_SECONDS)
                        continue
                    except ReidscopeError as error:
                        self._failed.add(_attempt(agent, study))
                        agent.journal.write(Event.REFUSED, study.sha256)
                        self.say(f"{name}: {error}")
                        continue
                    if done is not None:
                        self.say(f"{name}: released after {time.monotonic() - started:.0f} s")
        finally:
            agent.close()

    def _progress(self, name: str) -> Callable[[int, int], None]:
        """Say on the site's own terminal, in tenths, how far the run is."""
        last = [0]

        def said(done: int, of: int) -> None:
            tenth = 10 * done // of
            if tenth > last[0]:
                last[0] = tenth
                self.say(f"{name}: {10 * tenth} % of the people")

        return said

    def _answer(self, door: FleetDoor) -> None:
        agent = Agent(self.home)

        def answer(study_sha256: str) -> bytes:
            try:
                content = answer_for(agent, study_sha256)
                pad(content)
            except Exception:  # noqa: BLE001  # nothing about an error may leave but a constant word
                return WORD + Word.UNKNOWN.encode()
            return content

        try:
            answer_rounds(
                door,
                answer,
                stop=self.stop,
                trouble=lambda cut: self._cut_line("rounds", "no connection" if cut else ""),
            )
        finally:
            agent.close()

    def _cut_line(self, which: str, trouble: str) -> None:
        if bool(trouble) != self._cut.get(which, False):
            self._cut[which] = bool(trouble)
            self.say(f"{which}: {trouble}; trying again" if trouble else f"{which}: connected")

    def _once(self, line: str) -> None:
        if line not in self._failed:
            self._failed.add(line)
            self.say(line)


def _attempt(agent: Agent, study: Opened[Study]) -> str:
    """Name a study under its last decision: a new yes is a new attempt."""
    return f"{study.sha256} {agent.consent.number(study.sha256)}"


def exchange(agent: Agent, channel: Control, say: Say, refused: Say | None = None) -> None:
    """Do one exchange with the control service, in the order in which each step can matter.

    `refused` hears what is wrong with a study, at every exchange; `say` if it is absent.
    """
    refused = refused or say
    for item in agent.outbox.waiting("decision"):
        try:
            channel.decide(item.envelope)
        except DeclinedCallError as error:
            # What the coordinator refuses today it refuses tomorrow: it must not block the rest.
            say(f"decision: {error}")
        agent.outbox.delivered(item.number)
    known = {study.sha256 for study in agent.studies.every()}
    for envelope in channel.studies():
        try:
            study = agent.studies.receive(envelope)
        except StatementError as error:
            refused(f"study refused: {error}")
            continue
        if study.sha256 not in known:
            agent.journal.write(Event.STUDY_RECEIVED, study.sha256)
            say(f"{study.statement.study_id}: study received, waits for a decision")
        for constant in agent.constants.missing(study.statement):
            try:
                agent.keep_constant(channel.constant(constant), constant)
            except (StatementError, NotReadyError, DeclinedCallError) as error:
                # One study that cannot be had must not keep back the others and the receipts.
                refused(f"{study.statement.study_id}: {error}")
            else:
                say(f"{study.statement.study_id}: constant {constant.role} kept")
    for envelope in channel.receipts():
        agent.take_receipt(envelope)
