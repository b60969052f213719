"""The wire's end of many sites in one process: a thread each, the shipped code in every thread.

    python benchmarks/federation_sites.py ROOT        (started by federation.py)

Each thread is one site: its own home, ledger, keys, certificate and sockets; it answers rounds with
`reidscope_site.flower` from its own ledger. What is left out of an agent: the loop around it, and
everything that has to do with people. Lines on standard input: `exchange` does one exchange of each
site with the control service; the end of the input ends the process.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from federation_world import Consortium
from flwr.supercore.task_identity import TaskIdentity

from reidscope_site.agent import Agent
from reidscope_site.control import control
from reidscope_site.flower import FleetDoor, answer_rounds
from reidscope_site.handover import answer_for
from reidscope_site.serve import exchange
from reidscope_site.upkeep import agree

APART_SECONDS = 0.02
AT_ONCE = 16
"""Exchanges under way at once: hospitals do not all call in the same instant."""


class _OfThisThread:
    """A value a thread: Flower keeps its identity once a process, which is one site a process."""

    def __init__(self) -> None:
        self._held = threading.local()

    def __get__(self, _holder: object, _kind: type | None = None) -> Any:
        return getattr(self._held, "value", None)

    def __set__(self, _holder: object, value: Any) -> None:
        self._held.value = value


def one_identity_a_thread() -> None:
    """Let many sites live in this process."""
    for name in ("_task_id", "_run_id", "_node_id"):
        setattr(type(TaskIdentity), name, _OfThisThread())


def live(made: Consortium, site: str, stop: threading.Event, said: Callable[[bool], None]) -> None:
    """Be one site until `stop`."""
    agent = Agent(made.home(site))
    with control(agent.home, agent.pinned) as channel:
        agree(channel)  # the fleet port turns a site away that has not said its versions
    door = FleetDoor(
        address=agent.pinned.addresses.fleet,
        ca_pem=agent.pinned.roots_pem,
        certificate_file=str(agent.home.certificate),
        key_file=str(agent.home.key("transport.pem")),
    )
    answer_rounds(door, lambda sha256: answer_for(agent, sha256), stop=stop, trouble=said)
    agent.close()


def exchange_once(made: Consortium, site: str) -> None:
    """Fetch studies, hand decisions over, fetch receipts, over a channel of the site's own."""
    agent = Agent(made.home(site))
    with control(agent.home, agent.pinned) as channel:
        exchange(agent, channel, lambda _line: None)
    agent.close()


def tell(**said: Any) -> None:
    """Write one line for federation.py."""
    print(json.dumps(said), flush=True)


def main() -> None:
    """Be all the sites of a consortium until standard input ends."""
    made = Consortium(Path(sys.argv[1]))
    one_identity_a_thread()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stop, lock, sites = threading.Event(), threading.Lock(), made.sites
    up: set[str] = set()
    all_up, cuts = threading.Event(), [0]

    def said(site: str, cut: bool) -> None:  # noqa: FBT001  # the shipped client's own callback
        with lock:
            cuts[0] += cut
            (up.discard if cut else up.add)(site)
            if len(up) == len(sites) and not all_up.is_set():
                all_up.set()
                tell(connected=len(up), cut=cuts[0])

    for site in sites:
        thread = threading.Thread(
            target=live, args=(made, site, stop, partial(said, site)), daemon=True
        )
        thread.start()
        time.sleep(APART_SECONDS)
    for line in sys.stdin:
        if line.strip() == "exchange":
            started = time.monotonic()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda site: exchange_once(made, site), made.sites))
            tell(exchanged=time.monotonic() - started, cut=cuts[0])
    stop.set()


if __name__ == "__main__":
    main()
