"""Flower delivers at most once and leases a node for 60 s: a killed agent waits for neither."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from tests.attacks.parties import World

from reidscope_server.flower import IN_MEMORY, Fleet, TlsFiles
from reidscope_server.up import fleet_sites

pytestmark = pytest.mark.slow

AGENT = """
import json, os, signal, sys, threading
from reidscope_site import flower
from reidscope_site.flower import FleetDoor, answer_rounds

flower._HEARTBEAT_SECONDS = float(sys.argv[3])

def answer(study):
    print("asked", flush=True)
    if sys.argv[2] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return b"Nworking"

answer_rounds(
    FleetDoor(**json.loads(sys.argv[1])), answer,
    stop=threading.Event(), trouble=lambda cut: print("cut" if cut else "connected", flush=True),
)
"""
ASKED = "ab" * 32


@pytest.fixture
def fleet(world: World) -> Iterator[Fleet]:
    home = world.operator.home
    held = Fleet(IN_MEMORY, lambda: fleet_sites(home))
    tls = TlsFiles(
        certificate=str(home.key("tls.crt")),
        key=str(home.key("tls.pem")),
        authority=str(home.key("ca.crt")),
    )
    with held.door("127.0.0.1", home.config().fleet_port, tls):
        held.begin()
        yield held


def agent(world: World, what: str, beat: float = 30.0) -> subprocess.Popen[str]:
    """A process that answers rounds with the shipped client, or dies while it does."""
    home = world.north.home
    door = {
        "address": world.operator.home.config().addresses.fleet,
        "ca_pem": world.operator.home.key("ca.crt").read_text(),
        "certificate_file": str(home.key("transport.crt")),
        "key_file": str(home.key("transport.pem")),
    }
    return subprocess.Popen(
        [sys.executable, "-c", AGENT, json.dumps(door), what, str(beat)],
        stdout=subprocess.PIPE,
        text=True,
    )


def online(fleet: Fleet) -> bool:
    return any(node.status == "online" for node in fleet._grid.get_nodes())


def until_answered(fleet: Fleet, seconds: float) -> float:
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        fleet.ask({"north": ASKED})
        if fleet.replies():
            return time.monotonic() - started
        time.sleep(0.2)
    message = f"no answer within {seconds} s"
    raise AssertionError(message)


def test_an_agent_killed_with_a_query_in_its_hands_is_asked_again_as_soon_as_it_is_back(
    world: World, fleet: Fleet
) -> None:
    dying = agent(world, "dies")
    deadline = time.monotonic() + 90
    while dying.poll() is None:
        fleet.ask({"north": ASKED})
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert dying.returncode == -9
    again = agent(world, "answers")
    try:
        assert again.stdout is not None
        assert again.stdout.readline() == "connected\n"
        # Flower's node lease is 60 s, and the query that was pulled never comes again.
        assert until_answered(fleet, 60) < 30
    finally:
        again.kill()
        again.wait()


def test_an_agent_that_hangs_past_its_lease_is_not_asked_and_answers_when_it_is_back(
    world: World, fleet: Fleet
) -> None:
    """Its lease is two heartbeats, as Flower has it; a query to it would be delivered to nobody."""
    held = agent(world, "answers", beat=10.0)
    try:
        until_answered(fleet, 60)
        held.send_signal(signal.SIGSTOP)
        while online(fleet):
            time.sleep(0.2)
        fleet.ask({"north": ASKED})
        assert not fleet._pending
        held.send_signal(signal.SIGCONT)
        until_answered(fleet, 60)
    finally:
        held.kill()
        held.wait()
