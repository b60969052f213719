"""The coordinator's one process: three doors, the rounds, and the requests of its own commands."""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import grpc

from reidscope_protocols.desk import Desk, Handler
from reidscope_protocols.errors import NotReadyError, TransportError
from reidscope_protocols.terminal import forgiving
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.flower import IN_MEMORY, Fleet, FleetSite, TlsFiles
from reidscope_server.key_files import described, key_path, unlock
from reidscope_server.roots import end_overlap, trusted_pem
from reidscope_server.rounds import one_turn
from reidscope_server.service import control_server, enrolment_server
from reidscope_server.up_to_date import UpToDate

_TICK_SECONDS = 0.2
_TURN_SECONDS = 1.0
_CLAIM_SECONDS = 10.0
_GRACE_SECONDS = 2.0
_SWITCH_SECONDS = 0.0005

Say = Callable[[str], None]


def run(
    home: ServerHome,
    *,
    handler: Callable[[Coordinator], Handler],
    say: Say,
    stop: threading.Event,
) -> None:
    """Run until `stop` is set.

    Raises
    ------
    NotReadyError
        Another coordinator holds this home.
    TransportError
        A port is taken.
    """
    say = forgiving(say)
    # The rounds read a database between requests of many sites: each read would wait 5 ms for the
    # interpreter while they come in.
    sys.setswitchinterval(_SWITCH_SECONDS)
    desk = Desk(home.root)
    deadline = time.monotonic() + _CLAIM_SECONDS
    while True:
        with desk.claim() as held:
            if held:
                _run(home, desk, handler=handler, say=say, stop=stop)
                return
        if time.monotonic() > deadline:
            raise NotReadyError(
                "coordinator",
                got="a home that another process holds",
                expected="one coordinator a home",
                do="stop the other one first",
            )
        time.sleep(_TICK_SECONDS)


def _run(
    home: ServerHome,
    desk: Desk,
    *,
    handler: Callable[[Coordinator], Handler],
    say: Say,
    stop: threading.Event,
) -> None:
    config = home.config()
    unlock(home)
    say(f"keys: {described(home)}")
    enrolment = EnrolmentDoor(home, say)
    fleet = Fleet(IN_MEMORY, UpToDate(home.database, lambda: fleet_sites(home)))
    control = _started(control_server, home, "control")
    try:
        with (
            Coordinator.opened(home) as coordinator,
            _tls_files(home) as tls,
            fleet.door(config.host, config.fleet_port, tls),
        ):
            fleet.begin()
            say(f"control {config.addresses.control}, fleet {config.addresses.fleet}: listening")
            carry_out = handler(coordinator)
            next_turn = 0.0
            failing = False
            roots = trusted_pem(home)
            while not stop.wait(_TICK_SECONDS):
                desk.serve_waiting(carry_out)
                if end_overlap(home, now=datetime.now(UTC)):
                    say("roots: the overlap ended, the new one is trusted alone")
                if roots != (roots := trusted_pem(home)):
                    fleet.renew(tls, roots.decode())
                enrolment.match(wanted=coordinator.sites.token_outstanding())
                if time.monotonic() >= next_turn:
                    failing = _turn(coordinator, fleet, say, failing=failing)
                    next_turn = time.monotonic() + _TURN_SECONDS
            desk.serve_waiting(carry_out)
    finally:
        enrolment.match(wanted=False)
        control.stop(_GRACE_SECONDS).wait()


@contextmanager
def _tls_files(home: ServerHome) -> Iterator[TlsFiles]:
    with key_path(home, "tls.pem") as key:
        yield TlsFiles(
            certificate=str(home.key("tls.crt")), key=key, authority=str(home.key("ca.crt"))
        )


def _turn(coordinator: Coordinator, fleet: Fleet, say: Say, *, failing: bool) -> bool:
    """Do one turn of the rounds; a disk that is full or fails ends neither them nor the process.

    Returns whether it failed, so that it is said once. What was answered meanwhile is asked again.
    """
    try:
        one_turn(coordinator, fleet, say)
    except (OSError, sqlite3.Error, TransportError):
        if not failing:
            say("rounds: the disk is full or fails; make room, and they go on")
        return True
    return False


def fleet_sites(home: ServerHome) -> tuple[FleetSite, ...]:
    """Return the sites that may use the fleet door now: revocation takes effect at once."""
    with Coordinator.opened(home) as coordinator:
        greeted = coordinator.greetings.accepted()
        return tuple(
            FleetSite(
                name=name,
                certificate_sha256=certificate_sha256,
                transport_key=transport_key,
                greeted=name in greeted,
            )
            for name, certificate_sha256, transport_key in coordinator.sites.at_the_doors()
        )


class EnrolmentDoor:
    """The enrolment port: open while a token is outstanding, closed otherwise."""

    def __init__(self, home: ServerHome, say: Say) -> None:
        self._home = home
        self._say = say
        self._server: grpc.Server | None = None

    def match(self, *, wanted: bool) -> None:
        """Open or close the port, if it is not so already."""
        address = self._home.config().addresses.enrolment
        if wanted and self._server is None:
            self._server = _started(enrolment_server, self._home, "enrolment")
            self._say(f"enrolment {address}: open, a token is outstanding")
        elif not wanted and self._server is not None:
            self._server.stop(_GRACE_SECONDS).wait()
            self._server = None
            self._say(f"enrolment {address}: closed, no token is outstanding")


def _started(
    build: Callable[[ServerHome], grpc.Server], home: ServerHome, which: str
) -> grpc.Server:
    try:
        server = build(home)
    except RuntimeError:
        raise TransportError(
            f"{which} port",
            got="a port that could not be opened",
            expected="a free port on this host",
            do="stop what listens there, or choose another port with init",
        ) from None
    server.start()
    return server
