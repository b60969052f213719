"""Seconds from a DICOM series to a person's cells: without defacing, and what each arm adds.

    python benchmarks/face_speed.py [--people 5] [--constants FOLDER] [--threads 1]

Wall and processor seconds a person, medians, one person at a time as at a site: de-identification,
reading, registration, rendering, embedding, comparison. An arm is defacing, its gates, and the
attackers' looks at it. Published times of others, on their machines: spm 20 s, deepdefacer 46 s,
pydeface 167 s, mri_deface 251 s, mri_reface tens of minutes, each defacing alone.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import typer

from reidscope_deid.keys import SiteKey
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.vocabulary import Attacker
from reidscope_site.experiments.face import FaceStudy, evaluate
from reidscope_site.face.calibration import read_calibration
from reidscope_site.face.constants import ConstantFiles, load_constants
from reidscope_site.face.weights import models_of
from reidscope_site.snapshot import Person, Scan
from reidscope_site.synthetic.people import write_people
from reidscope_site.synthetic.seeds import PersonSeed, Population

REFERENCE = Path(__file__).parents[1] / "examples/consortium/reference"
PACKAGES = ("reidscope", "torch", "onnxruntime", "opencv-python-headless", "pydicom", "numpy")


def main(
    people: Annotated[int, typer.Option(min=1)] = 5,
    constants: Path = REFERENCE,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Print the table."""
    files = ConstantFiles(
        gallery=(constants / "gallery.npy").read_bytes(),
        calibration=(constants / "calibration.json").read_bytes(),
        models=models_of(SFACE),
    )
    calibration = read_calibration(files.calibration)
    readings = [name.split("/") for name in calibration.means if "/" in name]
    print(f"{platform.python_version()}, {os.cpu_count()} processors, {threads} threads, "
          + ", ".join(f"{name} {version(name)}" for name in PACKAGES))  # fmt: skip
    # the experiment sets one thread for itself; more are measured by taking that away
    torch.set_num_threads(threads)
    if threads > 1:
        torch_threads = torch.set_num_threads
        torch.set_num_threads = lambda _count: torch_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        seeds = [
            PersonSeed(population=Population.SITE, label="speed", number=number)
            for number in range(people)
        ]
        write_people(root, seeds)
        work = root / "work"
        work.mkdir()
        listed = [
            Person(
                pseudonym=f"p{number}",
                scans=(Scan(kind="dicom", files=tuple(sorted(held.iterdir())), taken="1"),),
                photo=root / "photos" / f"{held.name}-1.png",
            )
            for number, held in enumerate(sorted((root / "dicom").iterdir()))
        ]
        print(f"{'arms':<34}{'wall s':>8}{'CPU s':>8}{'more than without':>19}")
        base = None
        others = {arm: ("unmodified", arm) for arm, _ in readings if arm != "unmodified"}
        plans = [("unmodified",), *others.values()]
        for arms in plans:
            for attackers in attackers_of(arms, readings):
                study = FaceStudy(
                    sha256="0" * 64,
                    constants=load_constants(
                        asked(arms, attackers, calibration.gallery_faces), files
                    ),
                    key=SiteKey(b"k" * 32),
                    work=work,
                )
                evaluate(listed[0], study)
                times = [timed(person, study) for person in listed]
                wall, used = (statistics.median(column) for column in zip(*times, strict=True))
                base = base or wall
                name = " + ".join(arms[1:]) or "unmodified"
                name += f" ({', '.join(attackers)})"
                print(f"{name:<34}{wall:>8.2f}{used:>8.2f}{wall - base:>19.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB; gallery of {calibration.gallery_faces:,}")


def attackers_of(arms: tuple[str, ...], readings: list[list[str]]) -> list[tuple[Attacker, ...]]:
    """Each attacker who was calibrated for these arms, alone and together."""
    both = (Attacker.CALIBRATED, Attacker.REPAIRING)
    repaired = all([arm, "repairing"] in readings for arm in arms[1:])
    return [both[:1], both] if len(arms) > 1 and repaired else [both[:1]]


def asked(arms: tuple[str, ...], attackers: tuple[Attacker, ...], faces: int) -> FaceExperiment:
    """Ask for one arm."""
    return FaceExperiment(
        recogniser=SFACE,
        attackers=attackers,
        anchors=(100,),
        arms=arms,
        reference_size=faces,
        reference_people="synthetic people",
        gallery_error=(GalleryError(gallery_size=100, sigma_ppm=0),),
    )


def timed(person: Person, study: FaceStudy) -> tuple[float, float]:
    """Wall and processor seconds of one person."""
    wall, used = time.perf_counter(), time.process_time()
    evaluate(person, study)
    return time.perf_counter() - wall, time.process_time() - used


if __name__ == "__main__":
    typer.run(main)
