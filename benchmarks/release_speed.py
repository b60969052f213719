"""How long a site takes to turn 10,000 cells into noise: at most half a second is the target.

    python benchmarks/release_speed.py

The shipped `noisy_counter`, charge and all: OpenDP proves the loss, counts everybody and samples.
"""

from __future__ import annotations

import statistics
import time
from importlib.metadata import version

import numpy as np
import typer

from reidscope_protocols.privacy import PrivacyLoss
from reidscope_site.release import noisy_counter

EPSILONS = ("0.01", "0.25", "1", "2")


def seconds(cells: int, people: int, epsilon: str, repeats: int) -> list[float]:
    """Time whole releases: the measurement is built anew each time."""
    everybody = np.random.default_rng(0).integers(0, cells, people).tolist()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        counts = noisy_counter(cells, PrivacyLoss.from_decimal(epsilon))(everybody)
        taken.append(time.perf_counter() - started)
        if len(counts) != cells:
            raise AssertionError
    return taken


def main(cells: int = 10_000, repeats: int = 20) -> None:
    """Print the table."""
    print(f"opendp {version('opendp')}; {cells} cells, seconds a release of {repeats}")
    print(f"{'people':>8} {'epsilon':>8} {'median':>8} {'worst':>8}")
    for people in (0, 84, 5_000, 100_000):
        for epsilon in EPSILONS:
            taken = seconds(cells, people, epsilon, repeats)
            print(f"{people:>8} {epsilon:>8} {statistics.median(taken):>8.3f} {max(taken):>8.3f}")


if __name__ == "__main__":
    typer.run(main)
