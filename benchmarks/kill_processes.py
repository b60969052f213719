"""The lives of the kill loop's two processes, and the wire between them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, Pipe
from typing import Any, NoReturn

from kill_points import Fault, doom
from kill_world import ROLE

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import UnreachableError
from reidscope_protocols.study import Constant, Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_server import rounds
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.flower import Reply
from reidscope_site import handover, ledger, measuring, serve
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.constants import Constants
from reidscope_site.isolation import end_with_parent
from reidscope_site.outcomes import Outcome, Outcomes


class DiedError(Exception):
    """The process at the other end of the wire is no more."""


class Process:
    """A forked process that answers requests over a pipe, and can be found dead."""

    def __init__(self, life: Callable[[Connection], NoReturn], fault: Fault) -> None:
        assert threading.active_count() == 1  # a fork of threads could hang
        self.wire, theirs = Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.wire.close()
            end_with_parent()
            doom(fault)
            life(theirs)
        theirs.close()
        self.killed = False

    def ask(self, *request: Any, calls: Callable[..., Any] | None = None) -> Any:
        """Send a request; carry out what the process asks of the other one meanwhile."""
        try:
            self.wire.send(request)
            while True:
                kind, said = self.wire.recv()
                if kind == "answer":
                    return said
                assert calls is not None
                self.wire.send(calls(*said))
        except (EOFError, OSError):
            self._reap()
            raise DiedError from None

    def end(self) -> None:
        """Let the process end by itself, if it still lives."""
        if not self.killed:
            self.wire.send(("end",))
            os.waitpid(self.pid, 0)

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self.killed = True
        self.wire.close()
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            message = f"a process ended by itself: status {status}"
            raise RuntimeError(message)


class Channel:
    """The agent's control channel: each call goes to the coordinator through the wire."""

    def __init__(self, wire: Connection) -> None:
        self._wire = wire

    def _call(self, *said: Any) -> Any:
        self._wire.send(("call", said))
        done, answer = self._wire.recv()
        if not done:
            raise UnreachableError("wire", got="nothing", expected="an answer", do="try again")
        return answer

    def studies(self) -> tuple[bytes, ...]:
        """Fetch studies."""
        return tuple(self._call("studies"))

    def receipts(self) -> tuple[bytes, ...]:
        """Fetch receipts."""
        return tuple(self._call("receipts"))

    def decide(self, envelope: bytes) -> None:
        """Hand a decision over."""
        self._call("decide", envelope)

    def constant(self, constant: Constant) -> NoReturn:
        """Fail: nothing is missing in these worlds."""
        raise AssertionError(constant.role)


class Carrier:
    """What `one_turn` sees of Flower: whom it asked, and what the wire brought."""

    def __init__(self, replies: tuple[Reply, ...]) -> None:
        self.wanted: dict[str, str] = {}
        self._replies = replies

    def ask(self, wanted: dict[str, str]) -> None:
        """Note whom the round asks."""
        self.wanted = dict(wanted)

    def replies(self) -> tuple[Reply, ...]:
        """Give what came in."""
        return self._replies


def nobody_measures() -> None:
    """Leave out what has to do with faces: everybody's outcome is sealed already."""
    Constants.missing = lambda *_: ()  # type: ignore[method-assign]  # this process's own
    Constants.read = lambda *_: b""  # type: ignore[method-assign]  # same
    # A kill between charging and storing is said to be final after a minute: here at once.
    ledger._IN_HAND = timedelta(0)  # noqa: SLF001  # this process's own clock


def agent_life(home: Home) -> Callable[[Connection], NoReturn]:
    """Return the life of an agent: it settles, then does what the wire asks, until it ends."""

    def life(wire: Connection) -> NoReturn:
        nobody_measures()
        agent = Agent(home)
        agent.settle()
        while True:
            verb, *said = wire.recv()
            if verb == "end":
                os._exit(0)
            answer: Any = None
            if verb == "sync":
                try:
                    serve.exchange(agent, Channel(wire), quiet, again=said[0])  # type: ignore[arg-type]  # the channel, over the wire
                except UnreachableError:
                    answer = "cut"
            elif verb == "approve":
                answer = approve(agent)
            elif verb == "run":
                for study in agent.ready_to_run():
                    seal(agent, study)
                    measuring.measure(agent, study)
            elif verb == "answer":
                answer = handover.answer_for(agent, said[0])
            wire.send(("answer", answer))

    return life


def approve(agent: Agent) -> None:
    """Say yes to what waits."""
    for study in agent.studies.every():
        if agent.consent.verdict(study.sha256) is None:
            agent.decide(study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)


def seal(agent: Agent, study: Opened[Study]) -> None:
    """Put everybody into a cell, as a worker would have."""
    outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
    known = outcomes.known()
    for number, person in enumerate(agent.snapshot.people()):
        if person.pseudonym not in known:
            cells = tuple(number % len(table.cells) for table in study.statement.tables)
            outcomes.keep(person.pseudonym, Outcome(cells=cells))


def coordinator_life(home: ServerHome, site: str) -> Callable[[Connection], NoReturn]:
    """Return the life of a coordinator, which opens its home anew for each request."""

    def life(wire: Connection) -> NoReturn:
        while True:
            verb, *said = wire.recv()
            if verb == "end":
                os._exit(0)
            answer: Any = None
            with Coordinator.opened(home) as coordinator:
                if verb == "studies":
                    answer = coordinator.studies.envelopes_for(site)
                elif verb == "receipts":
                    answer = coordinator.studies.receipts_for(site)
                elif verb == "decide":
                    coordinator.studies.take_decision(said[0], site)
                elif verb == "turn":
                    replies = tuple(Reply(site=site, study_sha256=s, content=c) for s, c in said[0])
                    carrier = Carrier(replies)
                    rounds.one_turn(coordinator, carrier, quiet)  # type: ignore[arg-type]  # Flower, over the wire
                    answer = carrier.wanted.get(site)
            wire.send(("answer", answer))

    return life


def quiet(_: str) -> None:
    """Keep the terminal for the table."""
