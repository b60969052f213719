"""A consortium of synthetic people on one machine: real processes, real ports, a real report.

One coordinator and several site agents run as they would at a coordinating centre and at hospitals:
each in a process of its own, with a home folder, keys and a data folder of its own. Everything that
a person would type is typed here, and shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

BIN = Path(sys.executable).parent
REFERENCE = Path(__file__).parent / "reference"
MARKER = ".reidscope-demo"
NAMES = (
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
)
STUDY = "demo"
GRACE_SECONDS = 15
NOTICE = "Demonstration: one account of one machine holds every role, at the sites and here."


COMMANDS: set[subprocess.Popen[str]] = set()
"""Commands under way, which an interrupt ends."""


@dataclass
class Processes:
    """Every process that the demo started, so that every one of them is stopped."""

    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, command: Sequence[str], *, log: Path, label: str) -> subprocess.Popen[str]:
        """Start a daemon whose lines go to a log file and, labelled, to the terminal."""
        process = subprocess.Popen(  # noqa: S603  # our own console scripts
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        threading.Thread(target=relay, args=(process, log, label), daemon=True).start()
        return process

    def stop(self) -> None:
        """Ask every process to stop, then make it."""
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for process in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # Its own group: a worker of an agent that died goes with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def relay(process: subprocess.Popen[str], log: Path, label: str) -> None:
    """Copy a process's lines to its log and to the terminal."""
    with log.open("w", encoding="utf-8") as stream:
        for line in process.stdout or ():
            stream.write(line)
            stream.flush()
            print(f"  {label:<12}| {line.rstrip()}", flush=True)


@dataclass
class Stages:
    """What was done and how long it took."""

    done: list[tuple[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and say so."""
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        yield
        taken = time.monotonic() - started
        self.done.append((name, taken))
        print(f"   {taken:.0f} s", flush=True)


def run(*command: str | Path, show: bool = True) -> str:
    """Run one of reidscope's commands, shown as typed; its failure ends the demo."""
    words = [str(word) for word in command]
    if show:
        print(f"$ {' '.join([Path(words[0]).name, *words[1:]])}", flush=True)
    process = subprocess.Popen(  # noqa: S603  # our own console scripts
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    COMMANDS.add(process)
    out, err = process.communicate()
    COMMANDS.discard(process)
    if show and out.strip():
        print("  " + out.strip().replace("\n", "\n  "), flush=True)
    if process.returncode:
        print(err.strip(), file=sys.stderr, flush=True)
        raise typer.Exit(max(1, process.returncode))
    return out


def free_ports(count: int) -> list[int]:
    """Find ports that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]


def wait_for(
    what: str, ready: Any, *, seconds: float, alive: Sequence[subprocess.Popen[str]]
) -> None:
    """Wait until `ready()` holds, or a daemon has died."""
    deadline = time.monotonic() + seconds
    while not ready():
        if any(process.poll() is not None for process in alive):
            print(f"a process ended while waiting for {what}: see logs/", file=sys.stderr)
            raise typer.Exit(1)
        if time.monotonic() > deadline:
            print(f"no {what} within {seconds:.0f} s: see logs/", file=sys.stderr)
            raise typer.Exit(1)
        time.sleep(0.5)


@dataclass(frozen=True)
class Consortium:
    """Folders and names of one demonstration."""

    out: Path
    sites: tuple[str, ...]
    reference: Path

    @property
    def coordinator(self) -> Path:
        """The coordinator's home."""
        return self.out / "coordinator"

    def site(self, name: str) -> Path:
        """Return a site's home."""
        return self.out / "sites" / name

    def data(self, name: str) -> Path:
        """Return a site's data folder."""
        return self.out / "data" / name


def make_people(consortium: Consortium, people: int) -> None:
    """Make every site's synthetic people, all sites at once."""

    def one(numbered: tuple[int, str]) -> None:
        number, name = numbered
        command = [sys.executable, "-m", "reidscope_site.synthetic", "--out", consortium.data(name)]
        first = str(number * people)
        run(*command, "--people", str(people), "--site", name, "--first-seed", first, show=False)
        print(f"  {name}: {people} people, each a head scan and two photos", flush=True)

    with ThreadPoolExecutor(len(consortium.sites)) as pool:
        list(pool.map(one, enumerate(consortium.sites)))


def enrol(consortium: Consortium, people: int, epsilon: str) -> None:
    """Invite, make and enrol every site, and let each look at its own data."""
    for place, name in enumerate(consortium.sites, start=1):
        home, data = consortium.site(name), consortium.data(name)
        invitation = consortium.out / f"invitation-{name}.json"
        run(BIN / "reidscope-server", "token", name, "--out", invitation,
            "--home", consortium.coordinator)  # fmt: skip
        run(BIN / "reidscope-site", "init", "--name", name, "--dicom", data / "dicom",
            "--photos", data / "photos", "--links", data / "links.csv",
            "--declared-people", str(people), "--population", "synthetic people",
            "--population-reached", str(900 * place**3), "--region", "Synthetia",
            "--epsilon-per-study", epsilon, "--epsilon-lifetime", str(2 * float(epsilon)),
            "--home", home)  # fmt: skip
        run(BIN / "reidscope-site", "enroll", invitation, "--home", home)
        invitation.unlink()

    def index(name: str) -> None:
        command = [BIN / "reidscope-site", "index", "--home", consortium.site(name)]
        print(f"$ reidscope-site index --home {consortium.site(name)}", flush=True)
        print(f"  {name}: {run(*command, show=False).strip()}", flush=True)

    with ThreadPoolExecutor(len(consortium.sites)) as pool:
        list(pool.map(index, consortium.sites))


def open_study(
    consortium: Consortium, people: int, epsilon: str, *, arms: str, attackers: str, anchors: str
) -> None:
    """Write the study down, plan it, sign it, open it."""
    server, out = BIN / "reidscope-server", consortium.out
    draft, signed = out / "study.draft.json", out / "study.dsse.json"
    run(server, "study", "new", "--id", STUDY, "--sites", ",".join(consortium.sites),
        "--constants", consortium.reference, "--out", draft, "--population", "synthetic people",
        "--title", "Faces in synthetic head scans", "--arms", arms, "--attackers", attackers,
        "--anchors", anchors,
        "--epsilon", epsilon, "--minimum-people", str(min(people, 20)),
        "--minimum-sites", str(len(consortium.sites)), "--days", "1",
        "--home", consortium.coordinator)  # fmt: skip
    everyone = ",".join(str(people) for _ in consortium.sites)
    run(server, "study", "plan", draft, "--people", everyone, "--force")
    run(server, "study", "sign", draft, "--out", signed, "--home", consortium.coordinator)
    run(server, "study", "open", signed, "--constants", consortium.reference,
        "--home", consortium.coordinator)  # fmt: skip


def has_study(home: Path) -> bool:
    """Whether a site has received the study and its constants."""
    rows = json.loads(run(BIN / "reidscope-site", "studies", "--json", "--home", home, show=False))
    return any(row["study"] == STUDY and row["constants"] == "complete" for row in rows)


def fresh_folder(out: Path) -> None:
    """Make the output folder, replacing only what an earlier demo made."""
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        print(f"{out} holds something that no demo made: name another with --out", file=sys.stderr)
        raise typer.Exit(2)
    shutil.rmtree(out, ignore_errors=True)
    (out / "logs").mkdir(parents=True)
    (out / MARKER).touch()


def demonstrate(
    consortium: Consortium, processes: Processes, stages: Stages, *, people: int, epsilon: str,
    arms: str, attackers: str, anchors: str, seconds: float,
) -> None:  # fmt: skip
    """Do it all, from nothing to a report."""
    server, logs = BIN / "reidscope-server", consortium.out / "logs"
    with stages.stage("synthetic people at every site"):
        make_people(consortium, people)
    with stages.stage("a coordinator, and sites that enrol with one-time tokens"):
        ports = free_ports(3)
        run(server, "init", "--home", consortium.coordinator, "--host", "127.0.0.1",
            "--enrolment-port", str(ports[0]), "--control-port", str(ports[1]),
            "--fleet-port", str(ports[2]))  # fmt: skip
        up = processes.start([str(server), "up", "--home", str(consortium.coordinator)],
                             log=logs / "coordinator.log", label="coordinator")  # fmt: skip
        wait_for("coordinator", lambda: listening(ports[2]), seconds=60, alive=[up])
        enrol(consortium, people, epsilon)
    with stages.stage("a signed study"):
        open_study(consortium, people, epsilon, arms=arms, attackers=attackers, anchors=anchors)
    with stages.stage("agents, and a person's yes at every site"):
        agents = [
            processes.start(
                [str(BIN / "reidscope-site"), "serve", "--home", str(consortium.site(name))],
                log=logs / f"{name}.log",
                label=name,
            )
            for name in consortium.sites
        ]
        for name in consortium.sites:
            home = consortium.site(name)
            wait_for("study", lambda home=home: has_study(home), seconds=120, alive=agents)
            run(BIN / "reidscope-site", "approve", STUDY, "--home", home)
    with stages.stage("de-identify, attack, release: every site by itself"):
        run(server, "collect", STUDY, "--home", consortium.coordinator,
            "--timeout", str(seconds))  # fmt: skip
    with stages.stage("the report"):
        report = consortium.out / "report"
        run(server, "report", STUDY, "--out", report, "--home", consortium.coordinator,
            "--notice", NOTICE)  # fmt: skip
        run(server, "verify", report)
        for name in consortium.sites:
            run(BIN / "reidscope-site", "verify", report, "--home", consortium.site(name))


def listening(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as tried:
        tried.settimeout(1)
        return tried.connect_ex(("127.0.0.1", port)) == 0


def main(
    *,
    people: Annotated[int, typer.Option(min=2, help="People at each site.")] = 25,
    sites: Annotated[int, typer.Option(min=1, max=len(NAMES), help="Hospitals.")] = 3,
    epsilon: Annotated[str, typer.Option(help="Of the one joint table at each site.")] = "2",
    arms: Annotated[str, typer.Option(help="Defacers, by commas.")] = "facemask,quickshear",
    attackers: Annotated[str, typer.Option(help="By commas; the first reads every arm.")] = (
        "calibrated,repairing"
    ),
    anchors: Annotated[str, typer.Option(help="Gallery sizes, ascending.")] = "100,1000",
    reference: Annotated[Path, typer.Option(help="Public constants.", file_okay=False)] = REFERENCE,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("demo-output"),
    seconds: Annotated[float, typer.Option(help="To wait for the slowest site.")] = 3600.0,
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Keep the synthetic scans (26 MB a person).")
    ] = False,
) -> None:
    """Run a consortium of synthetic people on this machine, and end with its report."""
    os.environ["OMP_NUM_THREADS"] = "1"  # one thread an agent: the agents share the cores

    def interrupted(number: int, frame: FrameType | None) -> None:
        del number, frame
        # Threads that wait for a command end with it: nothing is left to finish first.
        for command in tuple(COMMANDS):
            command.terminate()
        raise KeyboardInterrupt

    # SIGINT too: a shell that starts the demo in the background has it ignored otherwise.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    fresh_folder(out)
    consortium = Consortium(out=out.resolve(), sites=NAMES[:sites], reference=reference)
    processes, stages = Processes(), Stages()
    started = time.monotonic()
    try:
        demonstrate(
            consortium, processes, stages, people=people, epsilon=epsilon, arms=arms,
            attackers=attackers, anchors=anchors, seconds=seconds,
        )  # fmt: skip
    except KeyboardInterrupt:
        print("\ninterrupted: stopping every process", file=sys.stderr)
        raise typer.Exit(130) from None
    finally:
        processes.stop()
        if not keep_data:
            shutil.rmtree(consortium.out / "data", ignore_errors=True)
    print("\nstages")
    for name, taken in stages.done:
        print(f"  {taken:6.0f} s  {name}")
    print(f"  {time.monotonic() - started:6.0f} s  in all")
    print_headlines(consortium.out / "report")


def print_headlines(report: Path) -> None:
    """Say where the report is and its headline numbers."""
    said = json.loads((report / "report.json").read_text())
    print(f"\nSYNTHETIC PEOPLE  {said['study']['title']}")
    for row in said["identification"]:
        found = f"{row['rate']:.0%} ({row['low']:.0%} to {row['high']:.0%})"
        attack = f"{row['arm']:<12} {row['attacker']:<11}"
        print(f"  {attack} found among {row['gallery_size']:>6,} faces: {found}")
    for row in said["failed_gates"]:
        failed = f"{row['rate']:.0%} ({row['low']:.0%} to {row['high']:.0%})"
        print(f"  {row['arm']:<12} failed its gates: {failed}")
    print(f"  epsilon {said['privacy']['epsilon_total']:g} a person, at one site")
    print(f"\nreport: {report / 'index.html'}")


if __name__ == "__main__":
    typer.run(main)
