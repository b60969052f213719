"""Flower delivers at most once and leases a node for 60 s: a killed agent waits for neither."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.attacks.parties import World

from reidscope_server.flower import Fleet, TlsFiles
from reidscope_server.up import fleet_sites

pytestmark = pytest.mark.slow

AGENT = """
import json, os, signal, sys, threading
from reidscope_site.flower import FleetDoor, answer_rounds

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
def fleet(world: World, tmp_path: Path) -> Iterator[Fleet]:
    home = world.operator.home
    held = Fleet(str(tmp_path / "flower.sqlite"), lambda: fleet_sites(home))
    tls = TlsFiles(
        certificate=str(home.key("tls.crt")),
        key=str(home.key("tls.pem")),
        authority=str(home.key("ca.crt")),
    )
    with held.door("127.0.0.1", home.config().fleet_port, tls):
        held.begin()
        yield held


def agent(world: World, what: str) -> subprocess.Popen[str]:
    """A process that answers rounds with the shipped client, or dies while it does."""
    home = world.north.home
    door = {
        "address": world.operator.home.config().addresses.fleet,
        "ca_pem": world.operator.home.key("ca.crt").read_text(),
        "certificate_file": str(home.key("transport.crt")),
        "key_file": str(home.key("transport.pem")),
    }
    return subprocess.Popen(
        [sys.executable, "-c", AGENT, json.dumps(door), what], stdout=subprocess.PIPE, text=True
    )


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
