"""PET that nobody emitted: what an attacker makes of simulated emission images, arm by arm.

    python benchmarks/face_pet.py [--people 24] [--body] [--rows FOLDER] [--arms facemask,blur]

Synthetic people are imaged as by a tomograph (`reidscope_site.synthetic.emission`) and searched for
among the shipped reference's 10,000 photos, by an attacker who knows how MR renders differ from
photos (the shipped means) and by one who knows how PET renders do (means of the PET of the other
half of these people, so that nobody helps to find themselves). The same people's MR is the
comparison. Says what the machinery does with images of this kind; says nothing about patients.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
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

ARMS = (
    *("facemask", "quickshear", "reface", "skullstrip"),
    *("blur", "coarsen-3mm", "coarsen-5mm-slices"),
)
ATTACKERS = (Attacker.CALIBRATED, Attacker.REPAIRING)
SHIPPED = Path(__file__).parents[1] / "examples" / "consortium" / "reference"

Rows = NDArray[np.float32]


def main(
    *,
    people: Annotated[int, typer.Option(min=2)] = 24,
    body: Annotated[bool, typer.Option("--body", help="Voxels of a whole-body study.")] = False,
    constants: Annotated[Path, typer.Option()] = SHIPPED,
    rows: Annotated[Path, typer.Option(help="Rows that are done are kept here.")] = Path("rows"),
    arms: Annotated[str, typer.Option(help="By commas; external-<name> too.")] = ",".join(ARMS),
) -> None:
    """Print acquired, rank 1 and gates."""
    rows.mkdir(parents=True, exist_ok=True)
    chosen = (UNMODIFIED, *arms.split(","))
    tomograph = BODY_TOMOGRAPH if body else BRAIN_TOMOGRAPH
    pet = studio(SyntheticSource(tomograph=tomograph), chosen)
    name = f"{'body' if body else 'brain'}-{'-'.join(chosen[1:])}"
    started = time.process_time()
    probes = released(pet, Population.PROBE, people, rows / f"{name}-probe")
    seconds = time.process_time() - started
    mr = studio(SyntheticSource(), chosen[:1])
    compared = released(mr, Population.PROBE, people, rows / "mr-probe")
    photos = photographed(mr, people, rows / "photos")

    facts = read_calibration((constants / "calibration.json").read_bytes())
    galleries = read_galleries(
        (constants / "gallery.npy").read_bytes(),
        count=len(facts.galleries), dimension=facts.dimension,
    )  # fmt: skip
    by_name = dict(zip(facts.galleries, galleries, strict=True))
    mr_means = {what: np.array(mean, np.float32) for what, mean in facts.means.items()}
    print(f"{people} people, {tomograph}, {seconds / people:.1f} s of processor time each (0 if "
          "their rows were kept)")  # fmt: skip
    everybody = Fold(rows=probes, photos=photos, means=mr_means)
    show("MR, attacker knows MR", chosen[:1], [replace(everybody, rows=compared)], by_name)
    # The shipped means of MR are of some arms; of the others this attacker knows unmodified MR's.
    show("PET, attacker knows MR", chosen, [replace(everybody, means=filled(mr_means, chosen))],
         by_name)  # fmt: skip
    halves = [slice(0, None, 2), slice(1, None, 2)]
    folds = [
        Fold(
            rows=probes[mine],
            photos=photos[mine],
            means=mr_means | means_of(probes[others], chosen),
        )
        for mine, others in (halves, halves[::-1])
    ]
    show("PET, attacker knows PET", chosen, folds, by_name)
    for place, arm in enumerate(chosen[1:], start=1):
        print(f"gates let pass, {arm}: {probes[:, place - len(chosen)].mean():.1%}")
    for reading, found in by_reading(probes, chosen).items():
        print(f"detector finds a face, {reading}: {1 - faceless(found).mean():.1%}")


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


def means_of(rows: Rows, arms: tuple[str, ...]) -> dict[str, Rows]:
    """Means of the readings, of whoever has a face in them; nothing where nobody has."""
    return {
        reading: found[kept].mean(0, dtype=np.float64).astype(np.float32)
        if (kept := ~faceless(found)).any()
        else np.zeros(found.shape[1], np.float32)
        for reading, found in by_reading(rows, arms).items()
    }


def filled(means: dict[str, Rows], arms: tuple[str, ...]) -> dict[str, Rows]:
    """Complete the means by what the attacker has who never saw an arm."""
    known = means[reading_name(UNMODIFIED, Attacker.CALIBRATED)]
    return {
        reading_name(one.arm, one.attacker): known for one in readouts_of(arms, ATTACKERS)
    } | means


@dataclass(frozen=True)
class Fold:
    """People, their photos, and what the attacker knows without them."""

    rows: Rows
    photos: Rows
    means: dict[str, Rows]


def show(
    what: str, arms: tuple[str, ...], folds: list[Fold], galleries: dict[str, NDArray[np.int8]]
) -> None:
    """Print one attacker's table: mean of the folds, by people."""
    plan = Plan(size=len(galleries[IDENTIFIED]), arms=arms, attackers=ATTACKERS)
    found = [
        Measured(
            plan=plan,
            probes=Probes(identified=fold.photos, released=by_reading(fold.rows, arms)),
            means=fold.means,
            galleries=galleries,
        ).figures()
        for fold in folds
    ]
    acquired, people = sum(one.people for one in found), sum(len(fold.rows) for fold in folds)
    print(f"\n{what}: acquired {acquired / people:.1%}")
    for arm, attacker in plan.readings:
        name = reading_name(arm, attacker)
        rates = {
            n: sum(one.found.get(name, {}).get(n, 0.0) * one.people for one in found)
            / max(acquired, 1)
            for n in found[0].found[reading_name(UNMODIFIED, Attacker.CALIBRATED)]
        }
        strangers = sum(one.strangers_found.get(name, 0.0) * one.people for one in found) / max(
            acquired, 1
        )
        print(f"  {name:<24} rank 1: "
              + ", ".join(f"{rate:.1%} of {n}" for n, rate in rates.items())
              + f"; strangers {strangers:.1%}")  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
