"""An agent and a coordinator that are killed at every named point, and what is left then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LOOP = Path(__file__).parents[2] / "benchmarks" / "kill_loop.py"
KILLS = 200
PLANNED = 240  # a point that is not reached in its cycle kills nobody


def test_two_hundred_kills_spend_nothing_twice_lose_no_release_and_leave_no_round_stuck(
    tmp_path: Path,
) -> None:
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, str(LOOP), "--kills", str(PLANNED), "--json", str(found)],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    # Each cycle holds the two disks against what must be true: a breach ends the loop.
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(found.read_text())
    assert sum(said["kills"].values()) >= KILLS
    assert sum(said["fates"].values()) == said["cycles"]
    assert len(said["kills"]) >= 40
    for point in said["lost_at"]:
        assert point.startswith("agent: ")
    assert said["fates"]["released"] > said["fates"].get("lost", 0)
