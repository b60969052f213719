"""PET that nobody emitted: what an attacker makes of simulated emission images, arm by arm.

    python benchmarks/face_pet.py [--people 24] [--calibrated-on 24] [--body] [--rows FOLDER]

Synthetic people are imaged as by a tomograph (`reidscope_site.synthetic.emission`) and searched for
among the shipped reference's 10,000 photos, by an attacker who knows how MR renders differ from
photos (the shipped means) and by one who knows how PET renders do (means of other synthetic
people's PET). The same people's MR is the comparison. Says what the machinery does with images of
this kind; says nothing about patients.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from reidscope_protocols.face_experiment import Renders
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.vocabulary import UNMODIFIED, Attacker, Mate
from reidscope_site.face.arms import resolve
from reidscope_site.face.calibration import IDENTIFIED, read_calibration, reading_name
from reidscope_site.face.constants import read_galleries
from reidscope_site.face.recognise import load
from reidscope_site.face.weights import models_of
from reidscope_site.reference.figures import Measured, Probes
from reidscope_site.reference.making import faceless
from reidscope_site.reference.people import Studio, readouts_of
from reidscope_site.reference.plan import Plan
from reidscope_site.reference.rows import RowFile
from reidscope_site.reference.synthetic_source import SyntheticSource
from reidscope_site.synthetic.emission import BODY_TOMOGRAPH, BRAIN_TOMOGRAPH
from reidscope_site.synthetic.seeds import Population

ARMS = (UNMODIFIED, "facemask", "quickshear", "reface")
ATTACKERS = (Attacker.CALIBRATED, Attacker.REPAIRING)
SHIPPED = Path(__file__).parents[1] / "examples" / "consortium" / "reference"

Rows = NDArray[np.float32]


def main(
    *,
    people: Annotated[int, typer.Option(min=2)] = 24,
    calibrated_on: Annotated[int, typer.Option(min=2)] = 24,
    body: Annotated[bool, typer.Option("--body", help="Voxels of a whole-body study.")] = False,
    constants: Annotated[Path, typer.Option()] = SHIPPED,
    rows: Annotated[Path, typer.Option(help="Rows that are done are kept here.")] = Path("rows"),
) -> None:
    """Print acquired, rank 1 and gates."""
    rows.mkdir(parents=True, exist_ok=True)
    tomograph = BODY_TOMOGRAPH if body else BRAIN_TOMOGRAPH
    pet = studio(SyntheticSource(tomograph=tomograph), ARMS)
    name = "body" if body else "brain"
    started = time.process_time()
    probes = released(pet, Population.PROBE, people, rows / f"{name}-probe")
    seconds = time.process_time() - started
    others = released(pet, Population.CALIBRATION, calibrated_on, rows / f"{name}-calibration")
    mr = studio(SyntheticSource(), ARMS[:1])
    compared = released(mr, Population.PROBE, people, rows / "mr-probe")
    photos = photographed(mr, people, rows / "photos")

    facts = read_calibration((constants / "calibration.json").read_bytes())
    galleries = read_galleries(
        (constants / "gallery.npy").read_bytes(),
        count=len(facts.galleries), dimension=facts.dimension,
    )  # fmt: skip
    by_name = dict(zip(facts.galleries, galleries, strict=True))
    mr_means = {what: np.array(mean, np.float32) for what, mean in facts.means.items()}
    pet_means = mr_means | {
        reading: mean
        for reading, found in by_reading(others, ARMS).items()
        for mean in [found[~faceless(found)].mean(0, dtype=np.float64).astype(np.float32)]
    }
    assert IDENTIFIED in pet_means
    print(f"{people} people, {tomograph}, {seconds / people:.1f} s of processor time each (0 if "
          f"their rows were kept), PET means of {calibrated_on} others")  # fmt: skip
    show("MR, attacker knows MR", compared, photos, ARMS[:1], mr_means, by_name)
    show("PET, attacker knows MR", probes, photos, ARMS, mr_means, by_name)
    show("PET, attacker knows PET", probes, photos, ARMS, pet_means, by_name)
    for place, arm in enumerate(ARMS[1:], start=1):
        print(f"gates let pass, {arm}: {probes[:, place - len(ARMS)].mean():.1%}")


def studio(source: SyntheticSource, arms: tuple[str, ...]) -> Studio:
    """Describe as the reference build does."""
    return Studio(
        source=source,
        recogniser=load(SFACE, models_of(SFACE)),
        mate=Mate.PHOTO,
        renders=Renders(),
        readouts=readouts_of(arms, ATTACKERS),
        treatments={arm: resolve(arm) for arm in arms},
    )


def released(made: Studio, population: Population, count: int, path: Path) -> Rows:
    """Rows of readings and gates, from disk where they are."""
    file = RowFile(path, len(made.readouts) * made.dimension + len(made.arms))
    for number in range(len(file), count):
        file.append(made.released_rows(population, number))
    return file.read()[:count]


def photographed(made: Studio, count: int, path: Path) -> Rows:
    """Rows of photos."""
    file = RowFile(path, made.dimension)
    for number in range(len(file), count):
        file.append(made.identified_row(Population.PROBE, number))
    return file.read()[:count]


def by_reading(rows: Rows, arms: tuple[str, ...]) -> dict[str, Rows]:
    """Cut rows into readings."""
    d = SFACE.dimension
    return {
        one.column: rows[:, place * d : (place + 1) * d]
        for place, one in enumerate(readouts_of(arms, ATTACKERS))
    }


def show(  # noqa: PLR0917  # a benchmark's table, each argument of another type
    what: str, rows: Rows, photos: Rows, arms: tuple[str, ...],
    means: dict[str, Rows], galleries: dict[str, NDArray[np.int8]],
) -> None:  # fmt: skip
    """Print one attacker's table."""
    plan = Plan(size=len(galleries[IDENTIFIED]), arms=arms, attackers=ATTACKERS)
    probes = Probes(identified=photos, released=by_reading(rows, arms))
    figures = Measured(plan=plan, probes=probes, means=means, galleries=galleries).figures()
    print(f"\n{what}: acquired {figures.people / len(rows):.1%}")
    for arm, attacker in plan.readings:
        name = reading_name(arm, attacker)
        rates = ", ".join(f"{rate:.1%} of {n}" for n, rate in figures.found[name].items())
        print(f"  {name:<24} rank 1: {rates}; strangers {figures.strangers_found[name]:.1%}")


if __name__ == "__main__":
    typer.run(main)
