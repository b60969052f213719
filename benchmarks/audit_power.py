"""How often the audit of tests/audit raises a false alarm, and what it catches.

    python benchmarks/audit_power.py --audits 1000

Each audit is one release of a table of canary cells by the shipped `noisy_counter`; a false alarm
is a lower bound above the true epsilon. An audit with less noise than is claimed is one that must
be caught.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import typer
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.audit.auditor import Canaries, audited  # found by the line above

from reidscope_protocols.privacy import NANO, PrivacyLoss  # as above
from reidscope_site.release import noisy_counter  # as above

LESS_NOISE = (1.0, 1.1, 1.2, 1 / 0.7, 2.0)


def bounds(epsilon: float, cells: int, audits: int) -> np.ndarray:
    """Return what each audit proves of releases whose epsilon is `epsilon`."""
    counter = noisy_counter(cells, PrivacyLoss(round(epsilon * NANO)))
    proved = []
    for _ in range(audits):
        canaries = Canaries.drawn(cells)
        counts = np.array(counter(canaries.people()))
        proved.append(audited(counts - canaries.base, canaries.present))
    return np.array(proved)


def main(audits: int = 1000, powers: int = 50, cells: int = 12_288, claimed: float = 1.0) -> None:
    """Print the table."""
    print(f"opendp {version('opendp')}, {cells} canaries an audit, claimed epsilon {claimed:g}")
    print(f"{'true epsilon':>12} {'audits':>7} {'mean bound':>10} {'least':>7} {'above claim':>11}"
          f" {'at most (95%)':>13} {'s each':>7}")  # fmt: skip
    for factor in LESS_NOISE:
        count = audits if factor == 1 else powers
        started = time.perf_counter()
        proved = bounds(factor * claimed, cells, count)
        alarms = int((proved > claimed).sum())
        most = stats.beta.ppf(0.95, alarms + 1, count - alarms) if alarms < count else 1.0
        each = (time.perf_counter() - started) / count
        print(f"{factor * claimed:>12.3f} {count:>7} {proved.mean():>10.3f} {proved.min():>7.3f}"
              f" {alarms:>11} {most:>13.4f} {each:>7.2f}")  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
