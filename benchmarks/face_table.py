"""The whole experiment on synthetic people: arm x attacker, exact beside what would be published.

    python benchmarks/face_table.py --constants FOLDER [--constants FOLDER]... [--people 60]

For every folder of public constants (one a mate and direction): acquired, exact rank 1 and rank 5,
one noisy release of the same people through the real mechanism with its 95% interval, failed gates,
people who lost 1% of the brain, and processor seconds a person. Every person has two scans and a
photo; nobody of them helped to build the constants.
"""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer

from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import LedgerHead, Release, ReleasedTable
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Attacker, FailedGate, Mate
from reidscope_server.draft import Answers, ConstantsFolder, draft, read_constants
from reidscope_server.estimates import damage, failed_gates, identification
from reidscope_server.pooling import pool
from reidscope_site.experiments.face import cells
from reidscope_site.face.constants import ConstantFiles, FaceConstants, load_constants
from reidscope_site.face.evaluate import classify, read_faces
from reidscope_site.face.weights import models_of
from reidscope_site.reference.rehearsal import RehearsedPerson, rehearsed, summed_up
from reidscope_site.reference.synthetic_source import SyntheticSource
from reidscope_site.release import noisy_counter
from reidscope_site.synthetic.seeds import Population

PACKAGES = ("reidscope", "torch", "onnxruntime", "opencv-python-headless", "opendp", "numpy")


@dataclass(frozen=True)
class Person:
    """What came of one person: exact chances, and the cells of one study's coin."""

    exact: RehearsedPerson
    cells: tuple[int, ...]


def main(
    constants: Annotated[list[Path], typer.Option(help="Folder of a public reference.")],
    *,
    people: Annotated[int, typer.Option(min=1)] = 60,
    jobs: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    epsilon: Annotated[str, typer.Option()] = "2",
    arms: Annotated[str, typer.Option(help="By commas.")] = "facemask,quickshear",
    attackers: Annotated[str, typer.Option(help="By commas.")] = "calibrated,repairing",
    released: Annotated[bool, typer.Option("--released", help="Gates hold nothing back.")] = False,
) -> None:
    """Print a table a folder."""
    print(f"{platform.python_version()}, {jobs} processes, "
          + ", ".join(f"{name} {version(name)}" for name in PACKAGES))  # fmt: skip
    for folder in constants:
        read = read_constants(folder)
        choice = arms.split(","), [Attacker(name) for name in attackers.split(",")]
        study = a_study(read, epsilon, *choice, released=released)
        with ProcessPoolExecutor(
            jobs,
            mp_context=get_context("spawn"),
            initializer=start,
            initargs=(study, folder),
        ) as pool_of_processes:
            found = list(pool_of_processes.map(evaluate, range(people)))
        show(study, found, folder)


def a_study(
    read: ConstantsFolder,
    epsilon: str,
    arms: list[str],
    attackers: list[Attacker],
    *,
    released: bool,
) -> Study:
    """Ask for arms and attackers that the constants are calibrated for."""
    return draft(
        Answers(
            study_id="benchmark",
            title="t",
            question="q",
            population="synthetic people",
            sites=("one",),
            arms=tuple(arms),
            anchors=tuple(sorted(read.sigma_ppm)),
            epsilon=PrivacyLoss.from_decimal(epsilon),
            reference_people="synthetic people",
            minimum_declared_people=1,
            minimum_sites=1,
            days=1,
            attackers=tuple(attackers),
            damage_arms=tuple(arms),
            failed_gate=FailedGate.RELEASED if released else FailedGate.NOT_RELEASED,
        ),
        read,
    )


LOADED: list[FaceConstants] = []


def start(study: Study, folder: Path) -> None:
    """Load the constants once a process."""
    files = ConstantFiles(
        gallery=(folder / "gallery.npy").read_bytes(),
        calibration=(folder / "calibration.json").read_bytes(),
        models=models_of(study.experiment.recogniser),
    )
    LOADED[:] = [load_constants(study.experiment, files)]


def evaluate(number: int) -> Person:
    """Attack one person of the rehearsal's population."""
    (constants,) = LOADED
    source = SyntheticSource()
    scan = source.scan(Population.REHEARSAL, number, 0)
    mate = (
        source.photo(Population.REHEARSAL, number)
        if constants.experiment.mate is Mate.PHOTO
        else source.scan(Population.REHEARSAL, number, 1)
    )
    started = time.process_time()
    read = read_faces(scan, mate, constants)
    exact = rehearsed(read, constants, seconds=time.process_time() - started)
    coin = (int.from_bytes(hashlib.sha256(b"coin %d" % number).digest()[:8]) + 1) / 2**64
    return Person(exact=exact, cells=cells(classify([read], constants, coin), constants))


def show(study: Study, found: list[Person], folder: Path) -> None:
    """Print one folder's table."""
    asked = study.experiment
    exact = summed_up(asked, [person.exact for person in found])
    now = datetime.now(UTC)
    release = Release(
        audience=("coordinator",), issued_at=now, not_after=now + timedelta(days=1),
        study_sha256="0" * 64, site="one",
        tables=tuple(
            ReleasedTable(
                table=table.table,
                counts=noisy_counter(len(table.cells), table.loss)(
                    [person.cells[place] for person in found]
                ),
                epsilon_nano=table.epsilon_nano, mechanism="discrete-laplace", scale="1",
            )
            for place, table in enumerate(study.tables)
        ),
        declared_people=len(found), ledger=LedgerHead(sequence=1, head="0" * 64), versions={},
    )  # fmt: skip
    noisy = identification(study, pool(study, [release]))
    gates = {row.arm: row for row in failed_gates(study, [release])}
    print(f"\n{folder.name}: mate {asked.mate}, {asked.direction}, reference of "
          f"{asked.reference_size:,}, {len(found)} people, acquired {exact.acquired:.1%}, "
          f"{statistics.median(p.exact.seconds for p in found):.1f} s of processor time each, "
          f"epsilon {study.loss} ({', '.join(str(t.loss) for t in study.tables)})")  # fmt: skip
    print(f"{'arm':<20}{'attacker':<12}{'N':>6}{'rank 1':>8}{'rank 5':>8}{'published':>10}  "
          f"{'95% interval':<18}{'gates failed':>13}{'noisy':>7}{'lost 1%':>9}")  # fmt: skip
    for rate, row in zip(exact.rates, noisy, strict=True):
        failed = "" if rate.failed_gates is None else f"{rate.failed_gates:.1%}"
        lost = "" if rate.lost_1_percent is None else f"{rate.lost_1_percent:.1%}"
        gate = f"{gates[rate.arm].rate:.0%}" if rate.arm in gates else ""
        interval = f"{row.low:.1%} to {row.high:.1%}"
        print(f"{rate.arm:<20}{rate.attacker:<12}{rate.gallery_size:>6}{rate.rank_1:>8.1%}"
              f"{rate.rank_5:>8.1%}{row.rate:>10.1%}  {interval:<18}{failed:>13}{gate:>7}"
              f"{lost:>9}")  # fmt: skip
    assert damage(study, [release])


if __name__ == "__main__":
    typer.run(main)
