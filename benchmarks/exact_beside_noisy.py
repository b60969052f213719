"""The exact rates of a demonstration's synthetic people beside the published noisy ones.

    python examples/consortium/demo.py --keep-data && python benchmarks/exact_beside_noisy.py

Exact rates are never shown before release, and never of real people: these people never were. Each
is evaluated a second time, in reverse order, with the site's own key, so that the coins and
therefore the cells must be the very ones behind the release.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import torch
import typer

from reidscope_deid.keys import load_key
from reidscope_protocols.cells import found_in
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.experiments.face import FaceStudy, evaluate
from reidscope_site.face.constants import ConstantFiles, load_constants


def exact_table(home: Path) -> tuple[str, list[int], float]:
    """Count one site's cells exactly; returns its name, the counts and seconds a person."""
    torch.set_num_threads(1)
    agent = Agent(Home(home))
    (study,) = agent.studies.every()
    said = study.statement
    constants = load_constants(
        said.experiment,
        ConstantFiles(
            gallery=agent.constants.read(said.constant(ConstantRole.REFERENCE_GALLERY)),
            calibration=agent.constants.read(said.constant(ConstantRole.CALIBRATION)),
            models={one.sha256: agent.constants.read(one) for one in said.constants},
        ),
    )
    task = FaceStudy(
        sha256=study.sha256,
        constants=constants,
        key=load_key(agent.home.key("site.key")),
        work=agent.home.work,
    )
    people = list(agent.snapshot.people())
    counts = [0] * len(said.joint_table.cells)
    started = time.process_time()
    for person in reversed(people):
        counts[evaluate(person, task).cells[0]] += 1
    name = agent.config.name
    agent.close()
    return name, counts, (time.process_time() - started) / len(people)


def main(demo: Path = Path("demo-output")) -> None:
    """Print the table."""
    report = json.loads((demo / "report" / "report.json").read_text())
    if report["study"]["population"] != "synthetic people":
        sys.exit("exact rates of real people are never shown")
    homes = sorted((demo / "sites").iterdir())
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        exact = {name: (counts, each) for name, counts, each in pool.map(exact_table, homes)}
    table = report["tables"][0]
    print(f"python {sys.version.split()[0]}, torch {version('torch')}, opencv "
          f"{version('opencv-python-headless')}, reidscope {version('reidscope')}")  # fmt: skip
    for name, (counts, each) in exact.items():
        noisy = table["counts"][name]
        print(f"{name:<10} {sum(counts)} people, {each:.2f} CPU s each")
        print(f"  exact {counts}\n  noisy {noisy}")
    total = [sum(column) for column in zip(*(counts for counts, _ in exact.values()), strict=True)]
    people = sum(total)
    attackers = [row["attacker"] for row in report["identification"]]
    print(f"{'arm':<24} {'gallery':>8} {'exact':>7} {'published':>10}  95% interval")
    for row in report["identification"]:
        arm, attacker, size = row["arm"], row["attacker"], row["gallery_size"]
        column = arm if attacker == attackers[0] else f"{arm}/{attacker}"
        hits = sum(
            count
            for label, count in zip(table["cells"], total, strict=True)
            if found_in(label, arm=column, gallery_size=size)
        )
        inside = "covers" if row["low"] <= hits / people <= row["high"] else "MISSES"
        print(f"{column:<24} {size:>8,} {hits / people:>7.1%} {row['rate']:>10.1%}  "
              f"{row['low']:.1%} to {row['high']:.1%}  {inside}")  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
