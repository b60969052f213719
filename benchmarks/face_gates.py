"""Scans spoiled on purpose: how many are defaced rightly, caught by a gate, or let through wrong.

    python benchmarks/face_gates.py [--arms facemask,quickshear,reface] [--first N]
                                    [--held-out SEED] [--scans PT] [--part 1/2]

Without `--held-out` the scans are those on which the gates' thresholds were set; with it they are
drawn anew, other people spoiled in other ways (`face_gates_held_out`). With `--scans PT` they are
simulated emission images (`face_gates_pet`). The people are synthetic, so
the truth is known: where the face and the brain lie, whatever was done to the scan. A scan that
passes the gates is wrong if

- a fifth of the true face's skin still lies where it lay (reface: a tenth of the voxels about it
  were not written anew; of a PET, of those under the person's own skin, not the average's), or
- more than 0.5% of the true brain was touched, or
- there was no head, or no face in view: nobody can vouch for that.

One thread; a few minutes.
"""

# ruff: noqa: PLR2004  # phantoms are made of numbers

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import ndimage

from reidscope_site.face import gates
from reidscope_site.face.arms import ARMS
from reidscope_site.face.detect import Detector
from reidscope_site.face.gates import (
    LEAST_REWRITTEN,
    MOST_SKIN_LEFT,
    Gates,
    check,
    is_believed,
)
from reidscope_site.face.intent import Intent
from reidscope_site.face.raycast import turned
from reidscope_site.face.recognise import SCAN_MIN_SCORE
from reidscope_site.face.register import Registration, register
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import template
from reidscope_site.face.volume import Volume, resampled
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.synthetic.scan import pose, scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

Voxels = NDArray[np.float32]
MOST_TRUE_BRAIN_CHANGED = 0.005
LEAST_TRUE_FACE_SEEN = 0.5
PEOPLE = 6
LINE = "{:34s} {:>5} {:>6} {:>7} {:>5} {:>6}  {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled:
    """A scan, and the map from its grid to the template where it shows a head."""

    name: str
    volume: Volume
    truth: NDArray[np.float64] | None


def person(number: int, *, label: str = "gates") -> Spoiled:
    """One synthetic person as scanned; the template's left is the scan's right."""
    seed = PersonSeed(population=Population.PROBE, label=label, number=number % PEOPLE)
    volume = scan(seed, template())
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirrored[0, 3] = volume.voxels.shape[0] - 1
    across = np.diag([-1.0, 1.0, 1.0, 1.0])
    across[0, 3] = template().head.shape[0]
    return Spoiled(name="as scanned", volume=volume, truth=across @ pose(seed) @ mirrored)


def volume_of(voxels: NDArray[np.floating], *, emission: bool = False) -> Volume:
    """1 mm voxels with the corner at the origin."""
    kept = np.ascontiguousarray(voxels, dtype=np.float32)
    return Volume(voxels=kept, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4), emission=emission)


def with_voxels(one: Spoiled, voxels: NDArray[np.floating]) -> Spoiled:
    """Put other voxels in the place of a scan's; an emission image stays one."""
    return replace(one, volume=volume_of(voxels, emission=one.volume.emission))


def moved(
    one: Spoiled, linear: NDArray[np.float64], shift: tuple[float, float, float] = (0, 0, 0)
) -> Spoiled:
    """Turn, stretch and shift a scan in a field of 256 mm."""
    size = (256, 256, 256)
    old, new = (np.array(one.volume.voxels.shape) - 1) / 2, (np.array(size) - 1) / 2
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = old - linear @ (new + np.array(shift))
    voxels = resampled(torch.from_numpy(one.volume.voxels), matrix, size).numpy()
    truth = None if one.truth is None else one.truth @ matrix
    return replace(with_voxels(one, voxels), truth=truth)


def cropped(one: Spoiled, low: tuple[float, ...], high: tuple[float, ...]) -> Spoiled:
    """Keep a box, in shares of the field of view."""
    size = np.array(one.volume.voxels.shape)
    start, stop = (np.array(low) * size).astype(int), (np.array(high) * size).astype(int)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    shift = np.eye(4)
    shift[:3, 3] = start
    assert one.truth is not None
    return replace(with_voxels(one, one.volume.voxels[box]), truth=one.truth @ shift)


def shown(one: Spoiled, make: Callable[[Voxels, Voxels, Voxels], Voxels], noise: float) -> Spoiled:
    """Another contrast, of T1 brightness within [0, 1.3], brain and head within [0, 1]."""
    assert one.truth is not None
    size = one.volume.voxels.shape
    head = template()
    brain = resampled(head.brain.float(), one.truth, size).numpy()
    body = resampled(head.surface, one.truth, size).numpy()
    brain = ndimage.gaussian_filter(brain, 1)
    signal = make(np.clip(one.volume.voxels / 900, 0, 1.3), brain, body)
    added = np.random.default_rng(0).normal(0, noise, size)
    return with_voxels(one, np.clip(signal + added, 0, None))


def t2(bright: Voxels, brain: Voxels, body: Voxels) -> Voxels:
    """Brain dark where a T1 is bright, fat half as bright."""
    return brain * (1.1 - bright) * np.clip(body * 2 - 1, 0, 1) * 900 + (1 - brain) * bright * 600


def flair(bright: Voxels, brain: Voxels, body: Voxels) -> Voxels:  # noqa: ARG001  # one signature
    """Grey matter brightest, fluid dark."""
    return brain * (bright * (1.15 - bright)) * 1500 + (1 - brain) * bright * 500


def ct(bright: Voxels, brain: Voxels, body: Voxels) -> Voxels:
    """Soft tissue all alike, fat a little darker, a shell of bone about the brain."""
    inner = ndimage.binary_erosion(body > 0.5, iterations=5)
    away = ndimage.distance_transform_edt(brain < 0.5)
    soft = 1040 + (brain > 0.5) * 10 - 60 * ((bright > 0.7) & (brain < 0.5))
    dense = np.where(inner & (away > 2) & (away < 10), 2000, soft)
    return ndimage.gaussian_filter(np.where(body > 0.5, dense, 0.0), 0.7)


def inverted(bright: Voxels, brain: Voxels, body: Voxels) -> Voxels:  # noqa: ARG001  # one signature
    """Everything in the head the other way round."""
    return np.where(body > 0.5, 1 - np.clip(bright, 0, 1), 0) * 900


def rician(one: Spoiled, spread: float) -> Spoiled:
    """Add noise as a magnitude image has it."""
    draw, voxels = np.random.default_rng(1), one.volume.voxels
    noise = draw.normal(0, spread, (2, *voxels.shape))
    return with_voxels(one, np.hypot(voxels + noise[0], noise[1]))


def of_voxels(one: Spoiled, make: Callable[[Voxels], NDArray[np.floating]]) -> Spoiled:
    """Change brightness alone."""
    return with_voxels(one, make(one.volume.voxels))


def axes(size: int) -> NDArray[np.float64]:
    """Offsets from the middle of a cube, (3, size, size, size)."""
    return np.stack(np.meshgrid(*[np.arange(size) - size / 2] * 3, indexing="ij"))


def egg(where: NDArray[np.float64], radii: tuple[float, ...], middle: tuple[float, ...]) -> Voxels:
    """Distance from a middle in units of radii; an endless radius is a tube."""
    parts = [
        ((one - centre) / radius) ** 2
        for one, centre, radius in zip(where, middle, radii, strict=True)
    ]
    distance: Voxels = np.sqrt(np.sum(parts, axis=0))
    return distance


def bodies() -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Make what is no head."""
    where, none = axes(220), (0.0, 0.0, 0.0)
    endless = np.inf
    yield "a sphere", (egg(where, (80, 80, 80), none) < 1) * 500.0
    head_sized = egg(where, (75, 95, 110), none)
    yield "an egg of three layers", (head_sized < 1) * 400.0 + (head_sized < 0.7) * 300
    shells = egg(where, (75, 95, 90), none)
    yield (
        "a ball with scalp, skull, brain",
        np.select([shells < 0.75, shells < 0.85, shells < 1], [600, 50, 800], 0.0),
    )
    where = axes(256)
    torso = (egg(where, (110, 75, endless), none) < 1) * 500.0
    for side in (-50, 50):
        torso[egg(where, (38, 50, 90), (side, 0, 0)) < 1] = 30
    torso[egg(where, (18, 18, endless), (0, -50, 0)) < 1] = 900
    yield "a torso", torso
    where = axes(190)
    legs = np.zeros(where.shape[1:])
    for side in (-48, 48):
        leg = egg(where, (42, 42, endless), (side, 0, 0))
        legs += np.select([leg < 0.25, leg < 0.36, leg < 1], [800, 100, 600], 0)
    yield "two legs", legs
    knee = (egg(where, (60, 65, endless), none) < 1) * 400.0
    for height in (-52, 50):
        knee[egg(where, (40, 40, 45), (0, 0, height)) < 1] = 790
    yield "a knee", knee
    yield "noise alone", np.abs(np.random.default_rng(0).normal(0, 100, (190, 190, 190)))


def spoiled() -> Iterator[Spoiled]:
    """Every scan, named."""
    number = 0

    def next_person(name: str) -> Spoiled:
        nonlocal number
        number += 1
        return replace(person(number), name=name)

    yield next_person("as scanned")
    turns = [{axis: angle} for axis in ("yaw", "pitch", "roll") for angle in (-30.0, 30.0)]
    turns += [{"yaw": 30.0, "pitch": 30.0, "roll": 30.0}, {"pitch": -45.0, "roll": 20.0}]
    turns += [{"yaw": 90.0}, {"yaw": 180.0}, {"pitch": 90.0}, {"pitch": 180.0}, {"roll": 180.0}]
    for turn in turns:
        named = ", ".join(f"{axis} {angle:.0f}" for axis, angle in turn.items())
        yield moved(next_person(f"turned: {named}"), turned(**turn))
    yield moved(next_person("shifted 40 mm"), np.eye(3), (40, -30, 35))
    yield moved(next_person("shifted half out of view"), np.eye(3), (0, 110, 0))
    yield moved(next_person("of 80%"), np.eye(3) / 0.8)
    yield moved(next_person("of 120%"), np.eye(3) / 1.2)
    yield moved(next_person("10% too wide, 10% too flat"), np.diag([1 / 1.1, 1.0, 1.1]))
    yield moved(next_person("slices 1.5 times too thick"), np.diag([1.0, 1.0, 1 / 1.5]))
    boxes = {
        "without chin": ((0, 0, 0.3), (1, 1, 1)),
        "without mouth": ((0, 0, 0.42), (1, 1, 1)),
        "from the eyes up": ((0, 0, 0.52), (1, 1, 1)),
        "without crown": ((0, 0, 0), (1, 1, 0.75)),
        "without the back": ((0, 0.35, 0), (1, 1, 1)),
        "without face": ((0, 0, 0), (1, 0.75, 1)),
        "without tip of the nose": ((0, 0, 0), (1, 0.9, 1)),
        "one half": ((0.45, 0, 0), (1, 1, 1)),
        "neck alone": ((0, 0, 0), (1, 1, 0.4)),
    }
    for name, (low, high) in boxes.items():
        yield cropped(next_person(f"cropped: {name}"), low, high)
    for noise in (50.0, 100.0, 200.0):
        yield rician(next_person(f"noise of {noise:.0f} on 900"), noise)
    yield rician(moved(next_person("noise of 100, turned"), turned(yaw=25, pitch=-25)), 100)
    ramp = np.linspace(0.15, 1, template().head.shape[2])
    yield of_voxels(next_person("coil of the crown alone"), lambda v: v * ramp)
    yield of_voxels(next_person("negative"), lambda v: v.max() - v)
    for name, contrast in {"T2": t2, "FLAIR": flair, "CT": ct, "inverted": inverted}.items():
        yield shown(next_person(f"like a {name}"), contrast, 10)
    for name, contrast in {"T2": t2, "CT": ct}.items():
        one = shown(next_person(f"like a {name}, turned"), contrast, 10)
        yield moved(one, turned(yaw=-30, pitch=20, roll=15))
    slices = next_person("slices of 5 mm")
    coarse = ARMS["coarsen-5mm-slices"].apply(slices.volume, register(slices.volume))
    yield replace(slices, volume=coarse)
    done = next_person("defaced before")
    yield replace(done, volume=ARMS["facemask"].apply(done.volume, register(done.volume)))
    for name, voxels in bodies():
        noisy = np.abs(voxels + np.random.default_rng(2).normal(0, 5, voxels.shape))
        yield Spoiled(name=name, volume=volume_of(noisy), truth=None)


def verdict(one: Spoiled, after: Volume, found: Gates, intent: Intent) -> str:
    """Defaced rightly, caught (and by which gate), or wrong."""
    if not found.passed:
        reasons = {
            "registration": found.registered,
            "no face there": found.face_there,
            "face left": found.face_gone,
            "brain": found.brain_whole,
        }
        return "caught: " + next(name for name, held in reasons.items() if not held)
    if one.truth is None:
        return "WRONG: no head"
    true = check(one.volume, after, Registration(to_template=one.truth, ncc=1.0), intent=intent)
    anew = under_skin(one, after) if one.volume.emission else true.rewritten
    left = anew < LEAST_REWRITTEN if intent is Intent.AVERAGED else true.skin_left > MOST_SKIN_LEFT
    if true.seen < LEAST_TRUE_FACE_SEEN:
        return "WRONG: no face in view"
    if left:
        return "WRONG: face left"
    return "WRONG: brain" if true.brain_changed > MOST_TRUE_BRAIN_CHANGED else "right"


def under_skin(one: Spoiled, after: Volume) -> float:
    """Share of the voxels 1 to 5 mm under the true face's own skin that were written anew."""
    assert one.truth is not None
    before = one.volume.voxels
    points = gates._rays(Registration(to_template=one.truth, ncc=1.0))  # noqa: SLF001 - the same rays
    along = gates._along(before, points, gates._SMOOTHING_OF_PET_MM)  # noqa: SLF001 - as above
    level = gates._level(along)  # noqa: SLF001 - as above
    if level is None:
        return 1.0
    first = np.argmax(along > level, axis=1)[:, None] + 2 * np.arange(1, 6)
    found = (along > level).any(1)
    there = np.take_along_axis(points, first.clip(max=points.shape[2] - 1)[None], axis=2)[:, found]
    differs = ndimage.map_coordinates(
        np.abs(after.voxels - before), there.reshape(3, -1), order=0, mode="constant"
    )
    return float((differs > 0).mean())


def is_acquired(volume: Volume, registration: Registration, detector: Detector) -> bool:
    """Whether an experiment would look at the scan: it lies like a head and shows a face."""
    if not is_believed(registration):
        return False
    picture = face_picture(volume, registration)
    return picture is not None and bool(detector.faces(picture, min_score=SCAN_MIN_SCORE))


def _chosen(scans: str, seed: int | None) -> Iterator[Callable[[], Spoiled]]:
    """Give what makes each scan: of PET nothing is made before it is asked for."""
    # those modules are made of this one's parts
    import face_gates_held_out  # noqa: PLC0415 - said above
    import face_gates_pet  # noqa: PLC0415 - said above

    if scans == "PT":
        return face_gates_pet.spoiled() if seed is None else face_gates_pet.held_out(seed)
    made = spoiled() if seed is None else face_gates_held_out.held_out(seed)
    return (partial(_itself, one) for one in made)


def _itself(one: Spoiled) -> Spoiled:
    return one


def main(  # noqa: PLR0917 - typer reads the options off the signature
    arms: Annotated[str, typer.Option(help="by commas")] = "facemask,quickshear,reface",
    first: Annotated[int, typer.Option(help="only so many scans", min=1)] = 1000,
    held_out: Annotated[int | None, typer.Option(help="seed of scans that set nothing")] = None,
    scans: Annotated[str, typer.Option(help="MR or PT")] = "MR",
    skip: Annotated[int, typer.Option(help="so many scans", min=0)] = 0,
    part: Annotated[str, typer.Option(help="2/3: the second of every three scans")] = "1/1",
) -> None:
    """Deface every spoiled scan by every arm, and print what became of it."""
    torch.set_num_threads(1)
    names = arms.split(",")
    mine, of = (int(number) for number in part.split("/"))
    sums: dict[str, Counter[str]] = {name: Counter() for name in names}
    seconds: list[float] = []
    print(LINE.format("scan", "ncc", "size", "stretch", "seen", "relief", ", ".join(names)))
    detector = Detector(installed_model_bytes().detector)
    acquired: Counter[str] = Counter()
    for count, make in enumerate(_chosen(scans, held_out)):
        if count >= first:
            break
        if count < skip or count % of != mine - 1:
            continue
        one = make()
        start = time.process_time()
        registration = register(one.volume)
        registered = time.process_time() - start
        what = "no head" if one.truth is None else "head"
        acquired[what] += 1
        acquired[f"{what}, taken in"] += is_acquired(one.volume, registration, detector)
        said = []
        for name in names:
            start = time.process_time()
            after = ARMS[name].apply(one.volume, registration)
            found = check(one.volume, after, registration, intent=ARMS[name].intent)
            seconds.append(registered + time.process_time() - start)
            said.append(verdict(one, after, found, ARMS[name].intent))
            sums[name][said[-1].split(":")[0]] += 1
        print(
            LINE.format(
                one.name,
                *(
                    f"{value:.2f}"
                    for value in (found.ncc, found.size, found.stretch, found.seen, found.relief)
                ),
                ", ".join(said),
            ),
            flush=True,
        )
    for name in names:
        told = ", ".join(f"{kind} {sums[name][kind]}" for kind in ("right", "caught", "WRONG"))
        print(f"{name}: {told}")
    print(
        f"taken in: {acquired['head, taken in']} of {acquired['head']} heads, "
        f"{acquired['no head, taken in']} of {acquired['no head']} other bodies"
    )
    print(
        f"CPU seconds a scan and arm, registration and gates included: median "
        f"{np.median(seconds):.1f}, most {np.max(seconds):.1f}"
    )


if __name__ == "__main__":
    typer.run(main)
