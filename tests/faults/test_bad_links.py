"""Rounds of real processes through a link that is slow, loses connections, or goes down."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.attacks.parties import World
from tests.faults.proxy import GOOD, Fate, Proxy

from reidscope_protocols.envelope import Opened
from reidscope_protocols.study import Study
from reidscope_server.verbs import ask
from reidscope_site.agent import Agent

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass
class Round:
    """A coordinator, one agent that has something to release, and the two links between them."""

    world: World
    study: Opened[Study]
    control: Proxy
    fleet: Proxy
    log: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *words: str) -> None:
        with (self.log / name).open("ab") as stream:
            self.processes[name] = subprocess.Popen(
                words, stdout=stream, stderr=subprocess.STDOUT, env=ENVIRONMENT
            )

    def up(self) -> None:
        home = str(self.world.operator.home.root)
        self.start("server", str(BIN / "reidscope-server"), "up", "--home", home)

    def serve(self) -> None:
        home = str(self.world.north.home.root)
        self.start("site", str(BIN / "reidscope-site"), "serve", "--home", home)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def said(self, name: str) -> str:
        return (self.log / name).read_text()

    def standing(self, site: str = "north") -> dict[str, object]:
        status = ask(self.world.operator.home.root, "status", {"study": self.study.sha256})
        return next(row for row in status["sites"] if row["site"] == site)

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = 150) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"no {what}: {self.said('site')}"
            assert all(process.poll() is None for process in self.processes.values())
            time.sleep(0.3)

    def check(self) -> None:
        """Spent once, one release, the same bytes at both ends, and its receipt is kept."""
        agent = Agent(self.world.north.home)
        stored = agent.ledger.stored(self.study.sha256)
        assert stored is not None
        assert agent.ledger.spent() == self.study.statement.loss
        assert [entry.kind for entry in agent.ledger.entries()] == ["charged", "stored"]
        coordinator = self.world.operator.coordinator()
        assert coordinator.studies.release_of(self.study.sha256, "north") == stored
        (own,) = coordinator.studies.receipts_for("north")
        coordinator.close()
        kept = agent.connection.execute("SELECT envelope FROM receipt").fetchall()
        agent.close()
        assert kept == [(own,)]


@pytest.fixture
def at_work(world: World, tmp_path: Path) -> Iterator[Round]:
    """An approved study whose outcomes are sealed: what is left is to release and to answer."""
    study = world.operator.open()
    world.north.exchange()
    world.north.index()
    world.north.agent.close()
    # By the command: an approval binds the package as it is installed now, whatever this process
    # has loaded.
    home = str(world.north.home.root)
    subprocess.run(
        [BIN / "reidscope-site", "approve", study.sha256, "--home", home],
        check=True,
        env=ENVIRONMENT,
    )
    world.north.agent = Agent(world.north.home)
    world.north.evaluate(study)
    world.north.agent.close()
    config = world.operator.home.config()
    with ExitStack() as stack:
        control = stack.enter_context(Proxy(config.control_port))
        fleet = stack.enter_context(Proxy(config.fleet_port))
        pin = world.north.home.coordinator_file
        said = json.loads(pin.read_bytes())
        said["addresses"]["control"] = f"127.0.0.1:{control.port}"
        said["addresses"]["fleet"] = f"127.0.0.1:{fleet.port}"
        pin.write_text(json.dumps(said))
        ask(world.operator.home.root, "collect", {"study": study.sha256})
        made = Round(world=world, study=study, control=control, fleet=fleet, log=tmp_path)
        try:
            yield made
        finally:
            for name in list(made.processes):
                made.kill(name)


def finished(held: Round) -> bool:
    agent = Agent(held.world.north.home)
    receipt = agent.connection.execute("SELECT 1 FROM receipt").fetchone()
    agent.close()
    return bool(held.standing()["released"]) and receipt is not None


def test_a_slow_link_ends_with_the_same_release(at_work: Round) -> None:
    at_work.fleet.fate = at_work.control.fate = lambda _: Fate(delay=0.08)
    at_work.up()
    at_work.serve()
    at_work.wait("release", lambda: finished(at_work))
    at_work.check()


def test_a_link_that_cuts_most_connections_ends_with_the_same_release(at_work: Round) -> None:
    """Seven connections of ten are reset after some bytes: in a handshake, a query, an answer."""
    rng = random.Random(7)  # noqa: S311  # where the link breaks, no secret

    def fate(number: int) -> Fate:
        return GOOD if number % 10 >= 7 else Fate(cut_after=int(10 ** rng.uniform(2, 4.9)))

    at_work.fleet.fate = at_work.control.fate = fate
    at_work.up()
    at_work.serve()
    at_work.wait("release", lambda: finished(at_work))
    assert at_work.fleet.cut + at_work.control.cut >= 5
    at_work.check()


def test_a_link_that_goes_down_in_the_middle_is_taken_up_again(at_work: Round) -> None:
    at_work.up()
    at_work.serve()
    at_work.wait("agent", lambda: "rounds: connected" in at_work.said("site"))
    for link in (at_work.fleet, at_work.control):
        link.down = True
        link.cut_all()
    at_work.wait("loss", lambda: "no connection; trying again" in at_work.said("site"))
    time.sleep(2)
    if not at_work.standing()["released"]:
        assert at_work.standing()["waits_for"]
    for link in (at_work.fleet, at_work.control):
        link.down = False
    at_work.wait("release", lambda: finished(at_work))
    at_work.check()


def test_both_ends_killed_by_turns_end_with_one_release(at_work: Round) -> None:
    at_work.up()
    at_work.serve()
    at_work.wait("agent", lambda: "measuring" in at_work.said("site"))
    at_work.kill("site")
    at_work.serve()
    at_work.wait("agent", lambda: at_work.standing()["answer"] != "not heard")
    at_work.kill("server")
    at_work.up()
    at_work.wait("release", lambda: finished(at_work))
    at_work.check()
    row = at_work.standing("south")
    assert (row["released"], row["waits_for"]) == (False, "the agent: not heard yet")
