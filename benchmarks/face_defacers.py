"""What defacing costs and does, arm by arm: seconds, gates, damage; and what a repair brings back.

    python benchmarks/face_defacers.py [--people 8] [--threads 1] [--arms ...] [--repaired]

Seconds are of the wall clock, medians over people, with registration and gates apart: run it on a
machine that does nothing else. `--repaired` adds the attack on every defaced scan, as it was
released and after `face.repair`: rank 1 and the mean chance of rank 1 at 100 strangers, by the
shipped recogniser against the public gallery of `examples/consortium/reference`. Means are taken
over the very people that are probed, leaving each out: a mean over few is rough.
"""

from __future__ import annotations

import importlib.util
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from reidscope_site.face.arms import ARMS, UNMODIFIED, Arm, resolve
from reidscope_site.face.damage import DAMAGE_CLASSES, Damage, damage_class, measure
from reidscope_site.face.gates import Gates, check
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.register import Registration, register
from reidscope_site.face.repair import repair
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import template
from reidscope_site.face.volume import Volume
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

GALLERY = Path(__file__).parents[1] / "examples/consortium/reference/gallery.npy"
PACKAGES = ("nibabel", "numpy", "quickshear", "scipy", "torch")
STRANGERS = 99
COLUMNS = "{:22s} {:>7} {:>7} {:>7} {:>8} {:>9} {:>9} {:>7}  {}"
Made = TypeVar("Made")
Rows = dict[str, list[NDArray[np.float32] | None]]


def main(
    people: Annotated[int, typer.Option(help="how many people", min=1)] = 8,
    threads: Annotated[int, typer.Option(help="of PyTorch", min=1)] = 1,
    arms: Annotated[str, typer.Option(help="by commas; external-<name> too")] = ",".join(ARMS),
    *,
    repaired: Annotated[bool, typer.Option(help="attack, as released and repaired")] = False,
) -> None:
    """Measure every arm on synthetic people and print the table."""
    torch.set_num_threads(threads)
    chosen = [resolve(name) for name in arms.split(",")]
    seconds: dict[str, list[float]] = defaultdict(list)
    gates: dict[str, list[Gates]] = defaultdict(list)
    damages: dict[str, list[Damage]] = defaultdict(list)
    faces: Rows = defaultdict(list)
    weights = installed_model_bytes()
    recogniser = Recogniser.from_bytes(detector=weights.detector, recogniser=weights.recogniser)
    register(scan(someone(0), template()))  # what is cached is loaded before the clock runs
    found = Findings(seconds=seconds, gates=gates, damages=damages, faces=faces)
    for number in range(people):
        examine(number, chosen, recogniser if repaired else None, found)
    print_versions(people, threads, chosen)
    print_table(chosen, seconds, gates, damages)
    if repaired:
        print_attack(faces, np.load(GALLERY))


def someone(number: int) -> PersonSeed:
    """Name a public probe."""
    return PersonSeed(population=Population.PROBE, label="defacers", number=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is gathered, by arm or stage."""

    seconds: dict[str, list[float]]
    gates: dict[str, list[Gates]]
    damages: dict[str, list[Damage]]
    faces: Rows

    def time(self, stage: str, make: Callable[[], Made]) -> Made:
        """Make something and keep how long it took."""
        start = time.perf_counter()
        made = make()
        self.seconds[stage].append(time.perf_counter() - start)
        return made


def examine(number: int, chosen: list[Arm], recogniser: Recogniser | None, found: Findings) -> None:
    """Deface one person by every arm; with a recogniser, attack too."""
    head = scan(someone(number), template())
    registration = found.time("register", lambda: register(head))
    if recogniser is not None:
        found.faces["photo"].append(values(recogniser, photo(someone(number), template())))
    for arm in chosen:
        after = found.time(arm.name, partial(arm.apply, head, registration))
        checked = partial(check, head, after, registration, intent=arm.intent)
        found.gates[arm.name].append(found.time("gates", checked))
        found.damages[arm.name].append(measure(head, after, registration, again=number == 0))
        if recogniser is not None:
            attack(found, recogniser, arm, Head(volume=after, registration=registration))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """A treated scan and its pose."""

    volume: Volume
    registration: Registration


def attack(found: Findings, recogniser: Recogniser, arm: Arm, head: Head) -> None:
    """Describe a defaced scan as released and repaired; a scan without a face gives None."""
    released = face_picture(head.volume, head.registration)
    found.faces[arm.name].append(values(recogniser, released))
    whole = found.time("repair", partial(repair, head.volume))
    shown = face_picture(head.volume if whole is None else whole, head.registration)
    found.faces[f"{arm.name}, repaired"].append(values(recogniser, shown))


def values(recogniser: Recogniser, picture: NDArray[np.uint8] | None) -> NDArray[np.float32] | None:
    """Embed a picture."""
    if picture is None:
        return None
    embedding = recogniser.embed(picture).embedding
    return None if embedding is None else embedding.values


def print_versions(people: int, threads: int, chosen: list[Arm]) -> None:
    """Say what ran."""
    have = [name for name in PACKAGES if importlib.util.find_spec(name)]
    print(f"{people} people, {threads} thread(s), python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in have), end="")
    print("".join(f", {arm.name} {arm.version}" for arm in chosen if arm.version))


def print_table(
    chosen: list[Arm],
    seconds: dict[str, list[float]],
    gates: dict[str, list[Gates]],
    damages: dict[str, list[Damage]],
) -> None:
    """One row an arm."""
    shared = [statistics.median(seconds[name]) for name in ("register", "gates")]
    mended = f", repair {statistics.median(seconds['repair']):.2f} s" if seconds["repair"] else ""
    print(f"register {shared[0]:.2f} s, gates {shared[1]:.2f} s{mended}")
    print(
        COLUMNS.format(
            "arm", "s", "s, all", "passed", "no face", "brain", "head ml", "Dice", "worst damage"
        )
    )
    for arm in chosen:
        name, found = arm.name, damages[arm.name]
        own = statistics.median(seconds[name])
        dice = found[0].brain_dice
        worst = max(damage_class(one) for one in found)
        print(
            COLUMNS.format(
                name,
                f"{own:.2f}",
                f"{own + sum(shared):.2f}",
                f"{sum(one.passed for one in gates[name])}/{len(found)}",
                f"{sum(one.face_gone for one in gates[name])}/{len(found)}",
                f"{statistics.mean(one.brain_lost for one in found):.4%}",
                f"{statistics.mean(one.head_removed_ml for one in found):.0f}",
                "" if dice is None else f"{dice:.3f}",
                DAMAGE_CLASSES[worst],
            )
        )


def print_attack(faces: Rows, gallery: NDArray[np.int8]) -> None:
    """Rank 1 among the people, and the mean chance of it at `STRANGERS` of the gallery."""
    mates = faces.pop("photo")
    print(f"\n{'arm':34s} {'faces':>6} {'rank 1':>7} {'chance at 100':>14}")
    for name, rows in faces.items():
        if name == f"{UNMODIFIED}, repaired":
            continue
        known = [
            (row, mate)
            for row, mate in zip(rows, mates, strict=True)
            if row is not None and mate is not None
        ]
        if len(known) < 2:  # noqa: PLR2004  # a mean of the others needs another
            print(f"{name:34s} {len(known):6d}")
            continue
        probes, photos = (np.stack(part).astype(np.float64) for part in zip(*known, strict=True))
        first, chance = ranked(probes, photos, gallery.astype(np.float64))
        print(f"{name:34s} {len(known):6d} {first / len(rows):7.2f} {chance / len(rows):14.3f}")


def ranked(
    probes: NDArray[np.float64], photos: NDArray[np.float64], gallery: NDArray[np.float64]
) -> tuple[float, float]:
    """Sum rank 1 and its chance over probes, each centred by the means of the others."""
    first = chance = 0.0
    strangers = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    for index, probe in enumerate(probes):
        others = np.arange(len(probes)) != index
        seen = probe - probes[others].mean(0)
        known = photos - photos[others].mean(0)
        known = known / np.linalg.norm(known, axis=1, keepdims=True)
        scores = known @ seen
        first += float(scores.argmax() == index)
        better = float((strangers @ seen > scores[index]).mean())
        chance += (1 - better) ** STRANGERS
    return first, chance


if __name__ == "__main__":
    typer.run(main)
