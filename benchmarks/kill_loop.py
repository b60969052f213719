"""kill -9 of an agent and of a coordinator at named points, again and again, and what is left then.

    python benchmarks/kill_loop.py [--kills 600] [--statements] [--seed 0] [--json FILE]

Each cycle is one study: a site receives and approves it, measures (everybody's outcome is sealed
beforehand: no face is looked at), releases, answers a round, and keeps its receipt. The agent and
the coordinator are two processes of the shipped code on real homes; this process is the wire
between them. Each of the two is killed once a cycle (SIGKILL to itself, at its point), sometimes
again right after it was started anew, and is started again. After each cycle:

- epsilon was charged exactly once, and the ledger's chain and its witness agree;
- the release's bytes are the same wherever they are found, at the site, on the wire, at the
  coordinator; or the table is lost: charged, never drawn again, and only if the kill fell between
  charging and storing;
- no outcome is left, the receipt has arrived, the round has ended.

With `--statements` the kills fall before every SQL statement, one after the other, as well. How a
point is reached: the child that is to die wraps one function of the shipped code, after the fork
and in its own memory. The shipped code holds no switch for it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kill_points import AGENT, COORDINATOR, Fault, Point
from kill_processes import DiedError, Process, agent_life, coordinator_life
from kill_world import STUDIES_A_WORLD, TURNS, World, check

from reidscope_protocols.envelope import Opened
from reidscope_protocols.study import Study


@dataclass
class Cycle:
    """One study's life, with the processes that are to die in it."""

    world: World
    study: Opened[Study]
    agent_faults: list[Fault]
    coordinator_faults: list[Fault]
    kills: int = 0
    reached: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._agent = self._start_agent()
        self._coordinator = self._start_coordinator()

    def _start_agent(self) -> Process:
        fault = self.agent_faults.pop(0) if self.agent_faults else None
        return Process(agent_life(self.world.site), fault)

    def _start_coordinator(self) -> Process:
        fault = self.coordinator_faults.pop(0) if self.coordinator_faults else None
        return Process(coordinator_life(self.world.server, "north"), fault)

    def to_coordinator(self, *request: Any) -> tuple[bool, Any]:
        """Carry a request; a coordinator that died is started again, and the line is cut."""
        try:
            return True, self._coordinator.ask(*request)
        except DiedError:
            self.kills += 1
            self.reached.append("coordinator")
            self._coordinator = self._start_coordinator()
            return False, None

    def to_agent(self, *request: Any) -> tuple[bool, Any]:
        """Carry a request; an agent that died is started again."""
        try:
            return True, self._agent.ask(*request, calls=self.to_coordinator)
        except DiedError:
            self.kills += 1
            self.reached.append("agent")
            self._agent = self._start_agent()
            return False, None

    def run(self) -> None:
        """Take turns until the round has ended and its receipt is kept."""
        replies: list[tuple[str, bytes]] = []
        for turn in range(TURNS):
            self.to_agent("sync", turn > 0)
            self.to_agent("approve")
            self.to_agent("sync", False)
            self.to_agent("run")
            heard, wanted = self.to_coordinator("turn", replies)
            # Flower delivers at most once: what a coordinator that died had in hand is gone.
            replies = []
            if wanted:
                answered, content = self.to_agent("answer", wanted)
                if answered:
                    replies = [(wanted, content)]
                    if content[:1] == b"R":
                        self.world.frames.setdefault(wanted, set()).add(content[1:])
            elif heard and turn > 1:
                self.to_agent("sync", False)
                break
        else:
            message = "a round that is stuck"
            raise AssertionError(message)
        self._agent.end()
        self._coordinator.end()


@dataclass
class Tally:
    """Kills and fates, by point."""

    kills: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)
    lost_at: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    cycles: int = 0


def plan(kills: int, rng: random.Random) -> list[tuple[list[str], list[str]]]:
    """Choose points for each cycle: every point once before any point twice, then pairs."""
    cycles = []
    agents, coordinators = list(AGENT), list(COORDINATOR)
    planned = 0
    while planned < kills:
        if len(cycles) % max(len(agents), len(coordinators)) == 0:
            rng.shuffle(agents)
            rng.shuffle(coordinators)
        agent = [agents[len(cycles) % len(agents)]]
        coordinator = [coordinators[len(cycles) % len(coordinators)]]
        if rng.random() < 0.5:  # noqa: PLR2004  # every other one dies again
            agent.append(rng.choice(agents))
        cycles.append((agent, coordinator))
        planned += len(agent) + len(coordinator)
    return cycles


def name_of(fault: Fault, points: dict[str, Point], who: str) -> str:
    """Say where a process was to die."""
    if isinstance(fault, int):
        return f"{who}: SQL statement {fault}"
    return next(f"{who}: {name}" for name, point in points.items() if point is fault)


def one_cycle(world: World, number: int, agent: list[Fault], coordinator: list[Fault],
              tally: Tally) -> None:  # fmt: skip
    """Run one study with its kills, check what is left, and count."""
    planned = {"agent": list(agent), "coordinator": list(coordinator)}
    # A statement between charging and storing cannot be told by its number alone.
    may_lose = any(isinstance(fault, int) or (fault and fault.may_lose) for fault in agent)
    study = world.open_study(number)
    cycle = Cycle(world, study, agent, coordinator)
    cycle.run()
    for who, points in (("agent", AGENT), ("coordinator", COORDINATOR)):
        died = cycle.reached.count(who)
        for place, fault in enumerate(planned[who]):
            named = name_of(fault, points, who)
            (tally.kills if place < died else tally.missed)[named] += 1
    fate = check(world, study, may_lose=may_lose)
    tally.fates[fate] += 1
    tally.cycles += 1
    if fate == "lost":
        for fault in planned["agent"][: cycle.reached.count("agent")]:
            if isinstance(fault, int) or (fault and fault.may_lose):
                tally.lost_at[name_of(fault, AGENT, "agent")] += 1


def loop(kills: int, *, statements: bool, seed: int) -> Tally:
    """Kill until `kills` processes have died at named points, then before every statement."""
    tally, rng = Tally(), random.Random(seed)  # noqa: S311  # which point comes when, no secret
    root = Path(tempfile.mkdtemp(prefix="kill-loop-"))
    planned: list[tuple[list[Fault], list[Fault]]] = [
        ([AGENT[name] for name in agent], [COORDINATOR[name] for name in coordinator])
        for agent, coordinator in plan(kills, rng)
    ]
    if statements:
        planned += [([number], [number]) for number in range(1, STATEMENTS + 1)]
    try:
        for number, (agent, coordinator) in enumerate(planned):
            if number % STUDIES_A_WORLD == 0:
                shutil.rmtree(root, ignore_errors=True)
                root.mkdir()
                world = World.made(root)
            one_cycle(world, number, agent, coordinator, tally)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return tally


STATEMENTS = 240


def main() -> None:
    """Read the options, kill, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=600)
    parser.add_argument("--statements", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    started = time.monotonic()
    tally = loop(given.kills, statements=given.statements, seed=given.seed)
    seconds = time.monotonic() - started
    named = {name: count for name, count in tally.kills.items() if "SQL" not in name}
    for name, count in sorted(named.items()):
        lost = f", {tally.lost_at[name]} tables lost" if tally.lost_at[name] else ""
        print(f"{count:5d}  {name}{lost}")
    sql = tally.kills.total() - sum(named.values())
    if sql:
        print(f"{sql:5d}  before an SQL statement, the 1st to the {STATEMENTS}th")
    print(
        f"{tally.kills.total()} kills in {tally.cycles} studies, {seconds:.0f} s:"
        f" {tally.fates['released']} released, {tally.fates['lost']} lost (charged once),"
        " none charged twice, none stuck"
    )
    unreached = sorted(({f"agent: {n}" for n in AGENT} | {f"coordinator: {n}" for n in COORDINATOR})
                       - set(named))  # fmt: skip
    if unreached:
        print("never reached:", "; ".join(unreached))
    if given.json:
        given.json.write_text(
            json.dumps(
                {
                    "kills": tally.kills,
                    "fates": tally.fates,
                    "lost_at": tally.lost_at,
                    "unreached": unreached,
                    "cycles": tally.cycles,
                    "seconds": seconds,
                }
            )
        )


if __name__ == "__main__":
    main()
