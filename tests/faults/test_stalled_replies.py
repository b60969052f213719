"""A site whose link breaks in the middle of an answer: it holds up nobody, and is asked again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attacks.parties import SiteParty, World

from reidscope_server import flower
from reidscope_server.flower import IN_MEMORY, Fleet, Reply, TlsFiles
from reidscope_server.up import fleet_sites

ASKED = "ab" * 32
AGENT = """
import json, os, sys, threading, time
from reidscope_site import flower

if sys.argv[2] == "stalls":
    # Announced, and then the link is silent: the bytes of the answer never come.
    flower.push_objects = lambda *_, **__: (print("silent", flush=True), time.sleep(600))
flower.answer_rounds(
    flower.FleetDoor(**json.loads(sys.argv[1])), lambda study: b"Nworking",
    stop=threading.Event(), trouble=lambda cut: None,
)
"""


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


@pytest.fixture
def agents(world: World) -> Iterator[Any]:
    """Start processes that answer rounds with the shipped client, or stall while they do."""
    with ExitStack() as held:

        def start(party: SiteParty, what: str) -> subprocess.Popen[str]:
            door = {
                "address": world.operator.home.config().addresses.fleet,
                "ca_pem": world.operator.home.key("ca.crt").read_text(),
                "certificate_file": str(party.home.key("transport.crt")),
                "key_file": str(party.home.key("transport.pem")),
            }
            process = subprocess.Popen(
                [sys.executable, "-c", AGENT, json.dumps(door), what],
                stdout=subprocess.PIPE,
                text=True,
            )
            held.callback(process.wait)
            held.callback(process.kill)
            return process

        yield start


def heard(fleet: Fleet, wanted: dict[str, str], seconds: float = 90) -> Reply:
    """Take turns until somebody has answered."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fleet.ask(wanted)
        for reply in fleet.replies():
            return reply
        time.sleep(0.1)
    message = f"no answer within {seconds} s"
    raise AssertionError(message)


@pytest.mark.slow
def test_an_answer_that_never_comes_whole_holds_up_no_other_site_and_is_asked_for_again(
    world: World, fleet: Fleet, agents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower, "_ASK_AGAIN_SECONDS", 0.5)
    stalling = agents(world.north, "stalls")
    assert stalling.stdout is not None
    while not fleet._grid._coming:
        fleet.ask({"north": ASKED})
        assert fleet.replies() == ()
        time.sleep(0.1)
    assert stalling.stdout.readline() == "silent\n"
    agents(world.south, "answers")
    # The patience with north outlasts this test: whoever waited for it would never hear south.
    monkeypatch.setattr(flower, "_PATIENCE_SECONDS", 3600)
    assert heard(fleet, {"north": ASKED, "south": ASKED}).site == "south"
    assert fleet._grid._coming
    assert [site for site, _, _ in fleet._pending.values()] == ["north"]
    # Given up, north owes its answer again; its new agent gives it.
    monkeypatch.setattr(flower, "_PATIENCE_SECONDS", 0)
    assert fleet.replies() == ()
    assert not fleet._grid._coming
    assert not fleet._pending
    stalling.kill()
    agents(world.north, "answers")
    reply = heard(fleet, {"north": ASKED})
    assert (reply.site, reply.content) == ("north", b"Nworking")


@pytest.mark.slow
def test_nothing_of_a_reply_that_was_taken_or_given_up_stays_in_memory(
    world: World, fleet: Fleet, agents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower, "_ASK_AGAIN_SECONDS", 0.1)
    agents(world.north, "answers")
    for _ in range(5):
        heard(fleet, {"north": ASKED})
    agents(world.south, "stalls")
    while not fleet._grid._coming:
        fleet.ask({"south": ASKED})
        fleet.replies()
        time.sleep(0.1)
    monkeypatch.setattr(flower, "_PATIENCE_SECONDS", 0)
    fleet.replies()
    assert len(fleet._state.object_store) == 0
    assert not fleet._state.message_ins_store
    assert not fleet._state.message_res_store


@given(content=st.dictionaries(st.text(max_size=8), st.binary(max_size=200), max_size=3))
def test_whatever_bytes_a_site_sends_as_a_reply_end_no_round(content: dict[str, bytes]) -> None:
    assert flower._inflated("a", {"a": b"", **content}) is None
    for kind in (b"Message", b"RecordDict", b"ConfigRecord", b"Nothing"):
        assert flower._inflated("a", {**content, "a": kind + b"  3\x00abc"}) is None


def test_queries_that_flower_has_dropped_are_asked_anew(world: World) -> None:
    """A clock that jumps makes Flower drop queries before their time."""
    home = world.operator.home
    fleet = Fleet(IN_MEMORY, lambda: fleet_sites(home))
    fleet._enrol_nodes()
    fleet.begin()
    fleet._pending["c" * 64] = ("north", ASKED, time.monotonic() + 60)
    assert fleet.replies() == ()
    assert not fleet._pending
    fleet._ended.set()
