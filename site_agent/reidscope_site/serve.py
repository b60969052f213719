"""The agent's loop: fetch studies, run what was approved, answer rounds, carry out requests.

Three threads, each with its own database connection: the desk and the control service here, the
run of an approved study, and Flower; a fourth listens on the socket for people with roles, where
site.toml names one. All end when `stop` is set.
"""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reidscope_protocols.desk import Answer, Desk, Handler
from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import (
    DeclinedCallError,
    LedgerError,
    NotReadyError,
    ReidscopeError,
    StatementError,
    TransportError,
)
from reidscope_protocols.study import Study
from reidscope_protocols.terminal import forgiving
from reidscope_protocols.wire import pad
from reidscope_site.agent import Agent
from reidscope_site.allowed import is_open
from reidscope_site.config import Home
from reidscope_site.control import Control, control
from reidscope_site.flower import FleetDoor, answer_rounds
from reidscope_site.handover import WORD, Word, answer_for
from reidscope_site.journal import Event
from reidscope_site.logs import Log, LogEvent
from reidscope_site.measuring import measure
from reidscope_site.pace import Pace
from reidscope_site.progress import in_tenths
from reidscope_site.roles import Caller
from reidscope_site.rotation import alone
from reidscope_site.socket_roles import door, serve_people
from reidscope_site.taking_part import queue_again, settle_sums, take_round
from reidscope_site.upkeep import agree, keep_up
from reidscope_site.verbs import carry_out
from reidscope_site.worker import empty

_TICK_SECONDS = 0.2
_LOOK_SECONDS = 1.0
_SYNC_SECONDS = 2.0
_SELDOM_SECONDS = 30.0
_REMIND_SECONDS = 60.0
_FOLLOW_SECONDS = 10.0
_GREET_SECONDS = 30.0
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
    echo : bool
        Whether log lines go to standard output as well.
    """

    home: Home
    say: Say
    stop: threading.Event = field(default_factory=threading.Event)
    echo: bool = False
    _halt: threading.Event = field(default_factory=threading.Event)
    _log: Log | None = None
    _failed: set[str] = field(default_factory=set)
    _cut: dict[str, bool] = field(default_factory=dict)
    _remind_at: float = 0.0
    _follow_at: float = 0.0
    _greeted_at: float = 0.0
    _agreed: threading.Event = field(default_factory=threading.Event)
    _pace: Pace = field(default_factory=lambda: Pace(first=_SYNC_SECONDS, last=_SELDOM_SECONDS))

    def serve(self, handler: Callable[[Agent], Handler]) -> None:
        """Serve until stopped.

        Raises
        ------
        NotReadyError
            Another agent holds this home.
        """
        self.say = forgiving(self.say)
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
        # Where another command is changing keys, it finishes them itself.
        with suppress(NotReadyError), alone(self.home):
            pass
        try:
            agent.settle()
            queue_again(agent)
            settle_sums(agent)
        except LedgerError as error:
            self.say(f"refused: {error}")
        agent.journal.write(Event.SERVING)
        self._log = Log(self.home.log, echo=self.echo)
        self._note(LogEvent.STARTED)
        work = handler(agent)
        people: threading.Thread | None = None
        held = ExitStack()
        try:
            if agent.config.socket:
                listening = held.enter_context(door(Path(agent.config.socket)))
                people = threading.Thread(
                    target=self._people, args=(listening,), name="people", daemon=True
                )
                people.start()
            while not self.stop.is_set():
                if self.home.hold_file.exists():
                    self._rest(desk, work)
                else:
                    self._be_at_work(agent, desk, work)
        finally:
            self.stop.set()
            if people is not None:
                people.join(timeout=_CLAIM_SECONDS)
            held.close()
            desk.serve_waiting(work)
            with suppress(sqlite3.Error):  # a full disk must not keep an agent from stopping
                agent.journal.write(Event.STOPPED)
            self._note(LogEvent.STOPPED)
            self._log.close()
            agent.close()

    def _rest(self, desk: Desk, work: Handler) -> None:
        """Compute, fetch and answer nothing while `stop --hold` holds; people can still ask."""
        self.say("stopped by hand: everything is refused until `reidscope-site resume`")
        self._note(LogEvent.HELD)
        while self.home.hold_file.exists() and not self.stop.wait(_TICK_SECONDS):
            desk.serve_waiting(work)

    def _be_at_work(self, agent: Agent, desk: Desk, work: Handler) -> None:
        """Exchange, measure and answer until stopped or held."""
        self._halt = threading.Event()
        threads = [
            threading.Thread(target=self._answer, name="flower", daemon=True),
            threading.Thread(target=self._run_approved, name="run", daemon=True),
        ]
        for thread in threads:
            thread.start()
        self._pace.stir()
        try:
            while not (self.stop.wait(_TICK_SECONDS) or self.home.hold_file.exists()):
                if desk.serve_waiting(work):
                    self._pace.stir()
                if not self._pace.seconds():
                    self._sync(agent)
                    self._pace.looked()
        finally:
            self._halt.set()
            for thread in threads:
                # Whoever is being measured is measured to the end before anything starts anew.
                while thread.is_alive() and not self.stop.is_set():
                    thread.join(timeout=_TICK_SECONDS)
                    desk.serve_waiting(work)
                thread.join(timeout=_CLAIM_SECONDS)

    def _people(self, listening: socket.socket) -> None:
        """Answer people with roles, each as the account that the kernel says they are."""
        agent = Agent(self.home)

        def handler_of(caller: Caller) -> Handler:
            def carried_out(verb: str, arguments: Mapping[str, Any]) -> Answer:
                self._pace.stir()
                return carry_out(agent, verb, arguments, caller)

            return carried_out

        try:
            serve_people(listening, handler_of, self.stop)
        finally:
            agent.close()

    def _note(self, event: LogEvent, **numbers: float) -> None:
        if self._log is not None:
            self._log.write(event, **numbers)

    def _sync(self, agent: Agent) -> None:
        """Exchange decisions, studies, constants and receipts; a cut line is tried again later."""
        try:
            with control(self.home, agent.pinned, agent.sent) as channel:
                self._keep_up(agent, channel)
                again = time.monotonic() >= self._remind_at
                exchange(agent, channel, self._news, self._once, again=again)
                if again:
                    self._remind_at = time.monotonic() + _REMIND_SECONDS
        except TransportError as error:
            self._cut_line("control", str(error))
            # The coordinator may come back as another version: it is greeted anew.
            self._agreed.clear()
        except ReidscopeError as error:
            # A bad study or receipt is this site's own refusal: said here, and nobody else is told.
            self._once(f"refused: {error}", error.exit_code)
        except (OSError, sqlite3.Error):
            self._once(f"control: {_DISK}")
        else:
            self._cut_line("control", "")

    def _run_approved(self) -> None:
        agent = Agent(self.home)
        try:
            while not self._halt.wait(_LOOK_SECONDS):
                try:
                    agent.retire()
                    ready = agent.ready_to_run()
                except sqlite3.Error:
                    self._once(f"waiting: {_DISK}")
                    continue
                except ReidscopeError as error:
                    # A missing model or a damaged file: said once, and tried again.
                    self._once(f"waiting: {error}")
                    continue
                waiting = [study for study in ready if _attempt(agent, study) not in self._failed]
                if waiting and not is_open(agent.policy):
                    self._once("waiting: the policy's hours have not begun")
                    continue
                for study in waiting:
                    name = study.statement.study_id
                    self.say(f"{name}: measuring")
                    self._note(LogEvent.MEASURING)
                    started = time.monotonic()
                    try:
                        done = measure(
                            agent, study, progress=in_tenths(name, self.say), stop=self._halt
                        )
                    except (NotReadyError, OSError, sqlite3.Error) as error:
                        # Of the last two the text could hold a path.
                        cause = str(error) if isinstance(error, NotReadyError) else _DISK
                        self._once(f"{name}: waiting: {cause}")
                        self._halt.wait(_DISK_SECONDS)
                        continue
                    except ReidscopeError as error:
                        self._failed.add(_attempt(agent, study))
                        with suppress(sqlite3.Error):  # a full disk: it is said all the same
                            agent.journal.write(Event.REFUSED, study.sha256)
                        self.say(f"{name}: {error}")
                        self._note(LogEvent.REFUSED, exit_code=error.exit_code)
                        continue
                    if done is not None:
                        what = "released" if study.statement.noise is None else "part of the sum"
                        self.say(f"{name}: {what} after {time.monotonic() - started:.0f} s")
                        self._note(LogEvent.RELEASED, bytes=len(done))
        finally:
            agent.close()

    def _answer(self) -> None:
        while not self._agreed.wait(_TICK_SECONDS):
            if self._halt.is_set():
                return
        agent = Agent(self.home)

        def answer(study_sha256: str) -> bytes:
            try:
                content = answer_for(agent, study_sha256)
                pad(content)
                agent.sent.keep("answer", content)
                self._pace.stir()
                self._note(LogEvent.ANSWERED, bytes=len(content))
            except Exception:  # noqa: BLE001  # nothing about an error may leave but a constant word
                return WORD + Word.UNKNOWN.encode()
            return content

        try:
            answer_rounds(
                lambda: self._door(agent),
                answer,
                stop=self._halt,
                trouble=self._rounds_are,
            )
        finally:
            agent.close()

    def _rounds_are(self, cut: bool) -> None:  # noqa: FBT001  # as `answer_rounds` calls it
        """Say whether rounds are cut: a coordinator that was restored forgot the greeting."""
        if cut and time.monotonic() - self._greeted_at > _GREET_SECONDS:
            self._agreed.clear()
        self._cut_line("rounds", "no connection" if cut else "")

    def _door(self, agent: Agent) -> FleetDoor:
        """Return the fleet port, as the pin and the keys are now."""
        if not self._agreed.is_set():
            raise NotReadyError(
                "rounds", got="no agreed versions", expected="a greeting first", do="wait"
            )
        pinned = agent.pinned
        return FleetDoor(
            address=pinned.addresses.fleet,
            ca_pem=pinned.roots_pem,
            certificate_file=str(self.home.certificate),
            key_file=str(self.home.key("transport.pem")),
        )

    def _keep_up(self, agent: Agent, channel: Control) -> None:
        """Agree on versions on a new line; follow the coordinator's keys now and then."""
        if not self._agreed.is_set():
            agree(channel)
            self._greeted_at = time.monotonic()
            self._agreed.set()
            self._follow_at = 0.0
        if time.monotonic() >= self._follow_at:
            keep_up(agent, channel, self.say, self._once)
            self._follow_at = time.monotonic() + _FOLLOW_SECONDS

    def _cut_line(self, which: str, trouble: str) -> None:
        # The first word of a line is said either way.
        if bool(trouble) is not self._cut.get(which):
            self._cut[which] = bool(trouble)
            self._pace.stir()
            event = LogEvent.CUT if trouble else LogEvent.CONNECTED
            self._note(event, rounds=which == "rounds")
            self.say(f"{which}: {trouble}; trying again" if trouble else f"{which}: connected")

    def _news(self, line: str) -> None:
        """Say what an exchange brought: more may follow soon."""
        self._pace.stir()
        self.say(line)

    def _once(self, line: str, exit_code: int = 0) -> None:
        if line not in self._failed:
            self._failed.add(line)
            self.say(line)
            self._note(LogEvent.REFUSED if exit_code else LogEvent.WAITING, exit_code=exit_code)


def _attempt(agent: Agent, study: Opened[Study]) -> str:
    """Name a study under its last decision, and its secure sum: a new yes is a new attempt."""
    summed = agent.sums.current(study.sha256)
    number = summed.number if summed is not None else 1
    return f"{study.sha256} {agent.consent.number(study.sha256)} {number}"


def exchange(
    agent: Agent, channel: Control, say: Say, refused: Say | None = None, *, again: bool = False
) -> None:
    """Do one exchange with the control service, in the order in which each step can matter.

    `refused` hears what is wrong with a study or a receipt, at every exchange; `say` if it is
    absent. With `again`, decisions that were handed over before are handed over once more: a
    coordinator that was restored from a backup has forgotten some, and holds no release without.
    """
    refused = refused or say
    _hand_over(agent, channel, say)
    if again:
        _remind(agent, channel, refused)
    known = {study.sha256 for study in agent.studies.every()}
    for envelope in channel.studies():
        try:
            study = agent.studies.receive(envelope)
        except StatementError as error:
            refused(f"study refused: {error}")
            continue
        if study.sha256 not in known:
            known.add(study.sha256)
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
        try:
            agent.take_receipt(envelope)
        except (StatementError, LedgerError) as error:
            # A receipt that is refused must not keep back the ones after it.
            refused(f"receipt refused: {error}")
    _exchange_sums(agent, channel, say, refused)


def _exchange_sums(agent: Agent, channel: Control, say: Say, refused: Say) -> None:
    """Hear about secure sums, if a study asks for one."""
    if all(study.statement.noise is None for study in agent.studies.every()):
        return
    for envelope in channel.rounds():
        try:
            if take_round(agent, envelope):
                say("secure sum: a word of the coordinator's was taken")
        except (StatementError, LedgerError) as error:
            refused(f"secure sum refused: {error}")
    settle_sums(agent)


def _hand_over(agent: Agent, channel: Control, say: Say) -> None:
    for item in agent.outbox.waiting("decision"):
        try:
            channel.decide(item.envelope)
        except DeclinedCallError as error:
            # What the coordinator refuses today must not block the rest.
            say(f"decision: {error}")
        agent.outbox.delivered(item.number)


def _remind(agent: Agent, channel: Control, refused: Say) -> None:
    """Hand every decision about a study that still holds over again: the same bytes, in order."""
    now = datetime.now(UTC)
    holding = {study.sha256 for study in agent.studies.every() if now <= study.statement.not_after}
    for item in agent.outbox.every():
        if item.kind == "decision" and item.study_sha256 in holding:
            try:
                channel.decide(item.envelope)
            except DeclinedCallError as error:
                refused(f"decision: {error}")
