"""What a round costs the coordinator: 5 and 50 agents as processes, up to 500 sites in one process.

    python benchmarks/federation.py [--agents 5 50] [--threads 5 50 100 200 500] [--rounds 3]
                                    [--idle 60] [--json FILE] [--keep FOLDER]

The coordinator is `reidscope-server up`, a process of its own, and every byte goes over mutual TLS
on 127.0.0.1: fleet over HTTPS, control over gRPC. Every site has its own home, keys, certificate,
approval, ledger, and a signed release with OpenDP's noise that was charged before. A round begins
with `collect` and ends when the last release was admitted and stored, signatures and all.

`--agents N` starts N times `reidscope-site serve`. `--threads N` has N sites in one process, each
with a thread and sockets of its own (federation_sites.py): 500 agents need 60 GB. Time and memory
are the coordinator's, read from /proc; sites and coordinator share the machine's cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from federation_world import Consortium

from reidscope_protocols.envelope import Opened
from reidscope_protocols.study import Study
from reidscope_server.verbs import ask

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_SECONDS = 600
POLL_SECONDS = 0.05
SETTLE_SECONDS = 5
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One round, or one stretch of waiting, of one coordinator.

    Attributes
    ----------
    sites : int
    kind : str
        `agents` (processes) or `threads`.
    what : str
        `exchange`, `round` or `idle`.
    seconds : float
        Wall time.
    cpu_seconds : float
        Of the coordinator.
    peak_mb : float
        Resident memory of the coordinator, its highest in that time.
    site_cpu_seconds, site_peak_mb : float
        Of one site, for agents: the mean, and the largest.
    """

    sites: int
    kind: str
    what: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    site_cpu_seconds: float = 0.0
    site_peak_mb: float = 0.0


@dataclass
class Watched:
    """A process whose CPU and memory are read from /proc."""

    process: subprocess.Popen[str]

    def reset(self) -> None:
        """Begin a new measurement of the peak."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def cpu(self) -> float:
        """Seconds of CPU so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_mb(self) -> float:
        """Highest resident memory since `reset`."""
        said = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(said.split("VmHWM:")[1].split()[0]) * 1024 / MIB


@contextmanager
def running(*words: str, log: Path) -> Iterator[Watched]:
    """Run a process for the block."""
    with log.open("a") as stream:
        process = subprocess.Popen(  # noqa: S603  # our own commands
            words, stdout=stream, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
        )
    try:
        yield Watched(process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    """Wait, in small steps."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            message = f"no {what} within {PATIENCE_SECONDS} s"
            raise TimeoutError(message)
        time.sleep(POLL_SECONDS)


def stored(made: Consortium, study: Opened[Study]) -> int:
    """Count the releases of a study that the coordinator has stored."""
    with sqlite3.connect(f"file:{made.server.database}?mode=ro", uri=True) as connection:
        count = connection.execute(
            "SELECT COUNT(*) FROM release WHERE study_sha256 = ?", (study.sha256,)
        ).fetchone()[0]
    connection.close()
    return int(count)


class Bench:
    """One consortium, measured."""

    def __init__(self, made: Consortium, kind: str, logs: Path) -> None:
        self.made, self.kind, self.logs = made, kind, logs
        self.agents: list[Watched] = []
        self.found: list[Measured] = []

    def measure(self, what: str, do: Callable[[], None]) -> Measured:
        """Run `do` and read what it cost the coordinator."""
        everybody = [self.server, *self.agents]
        for each in everybody:
            each.reset()
        before = [each.cpu() for each in everybody]
        started = time.monotonic()
        do()
        seconds = time.monotonic() - started
        used = [each.cpu() - was for each, was in zip(everybody, before, strict=True)]
        measured = Measured(
            sites=len(self.made.sites),
            kind=self.kind,
            what=what,
            seconds=seconds,
            cpu_seconds=used[0],
            peak_mb=self.server.peak_mb(),
            site_cpu_seconds=float(np.mean(used[1:])) if self.agents else 0.0,
            site_peak_mb=max((each.peak_mb() for each in self.agents), default=0.0),
        )
        self.found.append(measured)
        show(measured)
        return measured

    def run(self, studies: list[Opened[Study]], idle: float) -> None:
        """Start everybody, and measure exchanges, rounds and waiting."""
        home = str(self.made.server.root)
        with ExitStack() as held:
            up = str(BIN / "reidscope-server"), "up", "--home", home
            self.server = held.enter_context(running(*up, log=self.logs / "server.log"))
            wait_until("coordinator", lambda: "listening" in self.said("server"))
            if self.kind == "agents":
                self._start_agents(held)
            else:
                self._start_threads(held)
            for study in studies:
                ask(self.made.server.root, "collect", {"study": study.sha256})
                self.measure("round", lambda study=study: self._until_stored(study))
                time.sleep(1)
            self.measure("exchange", self._exchange) if self.kind == "threads" else None
            self.measure("idle", lambda: time.sleep(idle))

    def said(self, name: str) -> str:
        """Return what a process has printed."""
        return (self.logs / f"{name}.log").read_text()

    def _until_stored(self, study: Opened[Study]) -> None:
        wait_until("release", lambda: stored(self.made, study) == len(self.made.sites))

    def _start_agents(self, held: ExitStack) -> None:
        for site in self.made.sites:
            words = str(BIN / "reidscope-site"), "serve", "--home", str(self.made.home(site).root)
            self.agents.append(held.enter_context(running(*words, log=self.logs / f"{site}.log")))
        wait_until("decisions", lambda: self._decided() == len(self.made.sites))
        # The thread of the rounds starts beside the exchange that has just handed decisions over.
        time.sleep(SETTLE_SECONDS)

    def _start_threads(self, held: ExitStack) -> None:
        words = [sys.executable, str(HERE / "federation_sites.py"), str(self.made.root)]
        self.crowd = subprocess.Popen(  # noqa: S603  # our own script
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        held.callback(self.crowd.wait)
        held.callback(self.crowd.kill)
        self.measure("connect", self._heard)
        self.measure("exchange", self._exchange)

    def _heard(self) -> None:
        # Safety: a pipe was asked for.
        assert self.crowd.stdout is not None
        line = self.crowd.stdout.readline()
        if not line:
            message = "the sites' process ended"
            raise RuntimeError(message)
        if json.loads(line).get("cut"):
            print(f"  connections lost so far: {json.loads(line)['cut']}")

    def _exchange(self) -> None:
        assert self.crowd.stdin is not None
        self.crowd.stdin.write("exchange\n")
        self.crowd.stdin.flush()
        self._heard()

    def _decided(self) -> int:
        with sqlite3.connect(f"file:{self.made.server.database}?mode=ro", uri=True) as connection:
            row = connection.execute(
                "SELECT COUNT(DISTINCT site) FROM decision GROUP BY study_sha256 ORDER BY 1 LIMIT 1"
            ).fetchone()
        connection.close()
        return int(row[0]) if row else 0


def show(measured: Measured) -> None:
    """Print one row."""
    site = (
        f"; a site: {measured.site_cpu_seconds:.2f} s CPU, at most {measured.site_peak_mb:.0f} MB"
        if measured.site_peak_mb
        else ""
    )
    print(
        f"{measured.sites:4d} {measured.kind:8s} {measured.what:9s} {measured.seconds:7.2f} s,"
        f" coordinator {measured.cpu_seconds:7.2f} s CPU, {measured.peak_mb:5.0f} MB{site}",
        flush=True,
    )


def line(found: list[Measured], kind: str) -> str:
    """Fit seconds = a + b * sites to the rounds of one kind."""
    rounds = [each for each in found if each.kind == kind and each.what == "round"]
    sites = np.array([each.sites for each in rounds], dtype=float)
    if len(set(sites)) < 3:  # noqa: PLR2004  # a line through two points says nothing
        return ""
    said = []
    for name in ("seconds", "cpu_seconds", "peak_mb"):
        values = np.array([getattr(each, name) for each in rounds])
        slope, start = np.polyfit(sites, values, 1)
        straight = np.corrcoef(sites, values)[0, 1] ** 2
        said.append(f"{name} = {start:.2f} + {slope:.4f} a site (r2 {straight:.3f})")
    return f"{kind}: " + "; ".join(said)


def main() -> None:
    """Read the options, measure, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="*", default=[5, 50])
    parser.add_argument("--threads", type=int, nargs="*", default=[5, 50, 100, 200, 500])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of waiting, measured")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder for the homes and logs")
    given = parser.parse_args()
    names = ("reidscope", "flwr", "grpcio", "uvicorn", "cryptography", "sqlalchemy")
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version},",
        ", ".join(f"{name} {version(name)}" for name in names),
        f"; {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}",
    )
    found: list[Measured] = []
    for kind, counts in (("agents", given.agents), ("threads", given.threads)):
        for count in counts:
            root = Path(tempfile.mkdtemp(prefix="federation-", dir=given.keep))
            try:
                made = Consortium.made(root, count)
                studies = [made.open_study(number) for number in range(given.rounds)]
                for study in studies:
                    made.release_everywhere(study)
                bench = Bench(made, kind, root)
                bench.run(studies, given.idle)
                found += bench.found
            finally:
                if not given.keep:
                    shutil.rmtree(root, ignore_errors=True)
        print(line(found, kind))
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in found], indent=1))


if __name__ == "__main__":
    main()
