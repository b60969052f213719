"""A consortium of real processes on loopback: one coordinator, three sites, synthetic people."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
REFERENCE = Path(__file__).parents[2] / "examples" / "consortium" / "reference"
SITES = ("alpha", "bravo", "charlie")
PEOPLE = 2
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def wait_until(what: str, holds: Callable[[], bool], *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        time.sleep(0.3)


@dataclass
class Run:
    """A finished command."""

    code: int
    out: str
    err: str


@dataclass
class Consortium:
    """Homes, ports and processes of one test consortium."""

    root: Path
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def home(self, name: str) -> Path:
        return self.root / name

    def server(self, *words: object) -> Run:
        return command("reidscope-server", *words, "--home", self.home("coordinator"))

    def site(self, name: str, *words: object) -> Run:
        return command("reidscope-site", *words, "--home", self.home(name))

    def start(self, name: str, *words: str) -> subprocess.Popen[str]:
        log = (self.root / f"{name}.log").open("a")
        process = subprocess.Popen(
            [str(word) for word in words],
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=ENVIRONMENT,
        )
        self.processes[name] = process
        return process

    def up(self) -> None:
        home = str(self.home("coordinator"))
        self.start("coordinator", str(BIN / "reidscope-server"), "up", "--home", home)
        wait_until("coordinator", lambda: listening(self.ports[2]))

    def serve(self, name: str) -> None:
        self.start(name, str(BIN / "reidscope-site"), "serve", "--home", str(self.home(name)))

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def log(self, name: str) -> str:
        path = self.root / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def status(self, study: str) -> dict[str, dict[str, Any]]:
        done = command(
            "reidscope-server", "study", "status", study, "--json",
            "--home", self.home("coordinator"),
        )  # fmt: skip
        assert done.code == 0, done.err
        return {row["site"]: row for row in json.loads(done.out)["sites"]}


def command(program: str, *words: object) -> Run:
    done = subprocess.run(
        [str(BIN / program), *map(str, words)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
        check=False,
    )
    return Run(code=done.returncode, out=done.stdout, err=done.stderr)


def listening(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(1)
        return tried.connect_ex(("127.0.0.1", port)) == 0


def ok(done: Run) -> str:
    assert done.code == 0, done.err
    return done.out


def open_study(made: Consortium, study_id: str = "faces") -> str:
    """Write, sign and open a study; returns its sha256."""
    draft, signed = made.root / "draft.json", made.root / "study.dsse.json"
    ok(command("reidscope-server", "study", "new", "--id", study_id, "--sites", ",".join(SITES),
               "--constants", REFERENCE, "--out", draft, "--population", "synthetic people",
               "--arms", "facemask,quickshear", "--minimum-people", PEOPLE,
               "--minimum-sites", 2, "--home", made.home("coordinator")))  # fmt: skip
    home = made.home("coordinator")
    ok(command("reidscope-server", "study", "sign", draft, "--out", signed, "--home", home))
    said = ok(command("reidscope-server", "study", "open", signed, "--constants", REFERENCE,
                      "--home", home))  # fmt: skip
    return said.split()[-1]
