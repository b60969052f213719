"""The demonstration stops every process that it started, and touches nothing but its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.federation.consortium import wait_until

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "examples" / "consortium" / "demo.py"


def processes_about(folder: Path) -> list[int]:
    """Find processes whose command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in words:
                found.append(int(entry.name))
    return found


def interrupt(demo: subprocess.Popen[bytes], _: Path) -> None:
    demo.send_signal(signal.SIGINT)


def kill_the_coordinator(_: subprocess.Popen[bytes], out: Path) -> None:
    for process in processes_about(out / "coordinator"):
        if b"\0up\0" in (Path("/proc") / str(process) / "cmdline").read_bytes():
            os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize(("blow", "code"), [(interrupt, 130), (kill_the_coordinator, 75)])
def test_a_demo_that_is_interrupted_or_fails_stops_every_process_that_it_started(
    tmp_path: Path, blow: Callable[[subprocess.Popen[bytes], Path], None], code: int
) -> None:
    out = tmp_path / "out"
    with (tmp_path / "log").open("w") as log:
        demo = subprocess.Popen(
            [sys.executable, str(DEMO), "--people", "2", "--sites", "1", "--out", str(out)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(
                "running agent",
                lambda: "calibration kept" in (tmp_path / "log").read_text(),
                seconds=180,
            )
            blow(demo, out)
            assert demo.wait(240) == code
        finally:
            demo.kill()
    time.sleep(0.5)
    assert processes_about(out) == []
    assert not (out / "data").exists()


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = subprocess.run(
        [sys.executable, str(DEMO), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
