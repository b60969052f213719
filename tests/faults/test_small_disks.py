"""Real processes whose home lies on a disk that is full: they live, say so, and go on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.faults.test_bad_links import ENVIRONMENT, Round, at_work, finished

__all__ = ["at_work"]

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
MEGABYTES = 64
FILLER = "filler"


@pytest.fixture
def on_a_small_disk() -> Iterator[Callable[[Path], None]]:
    """Move a home onto a file system of its own; making one takes the rights to mount."""
    mounted: list[Path] = []

    def move(home: Path) -> None:
        aside = home.with_name(f"{home.name}-aside")
        shutil.copytree(home, aside)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=700", "small", str(home)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no right to mount a small disk here")
        mounted.append(home)
        shutil.copytree(aside, home, dirs_exist_ok=True)

    yield move
    for home in mounted:
        subprocess.run(["umount", "--lazy", str(home)], check=True)


def fill(home: Path) -> None:
    """Leave not a byte."""
    with (home / FILLER).open("ab", buffering=0) as stream:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while stream.write(bytes(size)):
                    pass


def asked(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / program, *words],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
        check=False,
    )


def test_an_agent_whose_disk_is_full_says_so_charges_nothing_and_releases_when_there_is_room(
    at_work: Round, on_a_small_disk: Callable[[Path], None]
) -> None:
    home = at_work.world.north.home.root
    on_a_small_disk(home)
    at_work.up()
    at_work.serve()
    at_work.wait("agent", lambda: "measuring" in at_work.said("site") or finished(at_work))
    fill(home)
    time.sleep(8)
    assert at_work.processes["site"].poll() is None
    # Whoever asks is answered or told that the disk is full, in one line; the agent lives.
    done = asked("reidscope-site", "status", "--home", str(home))
    assert done.returncode in (0, 10)
    assert done.stderr.count("\n") <= 1
    assert "Traceback" not in at_work.said("site") + done.stderr
    (home / FILLER).unlink()
    at_work.wait("release", lambda: finished(at_work))
    at_work.check()


def test_a_coordinator_whose_disk_is_full_takes_the_release_when_there_is_room(
    at_work: Round, on_a_small_disk: Callable[[Path], None]
) -> None:
    home = at_work.world.operator.home.root
    on_a_small_disk(home)
    at_work.up()
    at_work.wait("coordinator", lambda: "listening" in at_work.said("server"))
    fill(home)
    at_work.serve()
    at_work.wait("loss", lambda: "the disk is full" in at_work.said("server"))
    assert "Traceback" not in at_work.said("server") + at_work.said("site")
    (home / FILLER).unlink()
    at_work.wait("release", lambda: finished(at_work))
    at_work.check()
