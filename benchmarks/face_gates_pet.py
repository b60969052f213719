"""PET spoiled on purpose: simulated emission images for `face_gates.py --scans PT`.

Heads of synthetic people by a brain's or a body's tomograph: turned, shifted, cut, stretched, few
counts, little and much uptake in the skin, blurred as old tomographs do, badly corrected for
attenuation, moved during the scan, with hot spots beside and in the face, defaced before; and what
is no head: eggs, balls, torsos, legs, bottles that emit, noise, nothing. `spoiled` is what the
gates were tried on; `held_out` draws others from a seed, which nobody has looked at before.
"""

# ruff: noqa: PLR2004  # phantoms are made of numbers

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial

import face_gates_held_out as drawn
import numpy as np
from face_gates import (
    PEOPLE,
    Spoiled,
    Voxels,
    axes,
    bodies,
    cropped,
    egg,
    moved,
    of_voxels,
    volume_of,
    with_voxels,
)
from numpy.typing import NDArray
from scipy import ndimage

from reidscope_site.face.arms import ARMS
from reidscope_site.face.pet import head_of
from reidscope_site.face.raycast import turned
from reidscope_site.face.register import register
from reidscope_site.face.template import template
from reidscope_site.face.volume import Volume, isotropic, resampled
from reidscope_site.synthetic.emission import (
    BODY_TOMOGRAPH,
    BRAIN_BQML,
    BRAIN_TOMOGRAPH,
    Tomograph,
    emission,
)
from reidscope_site.synthetic.scan import pose
from reidscope_site.synthetic.seeds import PersonSeed, Population

HEADS, BODIES = 40, 24
TOMOGRAPHS = (BRAIN_TOMOGRAPH, BODY_TOMOGRAPH)
Draw = np.random.Generator


@lru_cache(maxsize=PEOPLE)
def person(number: int, *, label: str = "gates", tomograph: Tomograph | None = None) -> Spoiled:
    """One synthetic person as imaged: every second one by the voxels of a whole-body study."""
    seed = PersonSeed(population=Population.PROBE, label=label, number=number)
    chosen = TOMOGRAPHS[number % 2] if tomograph is None else tomograph
    volume = isotropic(emission(seed, template(), tomograph=chosen))
    across = np.diag([-1.0, 1.0, 1.0, 1.0])
    across[0, 3] = template().head.shape[0]
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirrored[0, 3] = template().head.shape[0] - 1
    return Spoiled(
        name="as scanned",
        volume=volume_of(volume.voxels, emission=True),
        truth=across @ pose(seed) @ mirrored,
    )


def hot(one: Spoiled, at_mm: tuple[float, float, float], radius: float, times: float) -> Spoiled:
    """Let a ball at a place of the average head emit so many times what a brain does."""
    assert one.truth is not None
    where = (np.linalg.inv(one.truth) @ np.array([*at_mm, 1.0]))[:3]
    grid = np.meshgrid(*[np.arange(n) for n in one.volume.voxels.shape], indexing="ij", sparse=True)
    away = sum((axis - at) ** 2 for axis, at in zip(grid, where, strict=True))
    ball = ndimage.gaussian_filter((away < radius**2).astype(np.float32), 2.5, truncate=3.0)
    return of_voxels(one, lambda voxels: voxels + times * BRAIN_BQML * ball)


def uncorrected(one: Spoiled, length_mm: float) -> Spoiled:
    """Leave attenuation in: what lies deep emits less, the rim shines."""
    body = ndimage.gaussian_filter(one.volume.voxels, 3) > 0.02 * one.volume.voxels.max()
    body = ndimage.binary_fill_holes(body)
    depth = ndimage.distance_transform_edt(body[::2, ::2, ::2]) * 2
    fine = ndimage.zoom(depth, 2, order=1)[tuple(slice(n) for n in body.shape)]
    padded = np.pad(fine, [(0, n - m) for n, m in zip(body.shape, fine.shape, strict=True)], "edge")
    return of_voxels(one, lambda voxels: voxels * np.exp(-padded / length_mm))


def blurred(one: Spoiled, fwhm_mm: float) -> Spoiled:
    """Smooth once more, as an old tomograph or a careful reader."""
    return of_voxels(one, lambda voxels: ndimage.gaussian_filter(voxels, fwhm_mm / 2.355))


def restless(one: Spoiled, degrees: float, mm: float) -> Spoiled:
    """Let the head move in the middle of the scan."""
    still, after = moved(one, np.eye(3)), moved(one, turned(yaw=degrees, pitch=degrees), (0, mm, 0))
    return with_voxels(still, (still.volume.voxels + after.volume.voxels) / 2)


def shaded(one: Spoiled, least: float) -> Spoiled:
    """Fall off along the body's axis, as where the map of attenuation was another's."""
    ramp = np.linspace(least, 1, one.volume.voxels.shape[2])
    return of_voxels(one, lambda voxels: voxels * ramp)


def grainy(one: Spoiled, share: float, seed: int = 4) -> Spoiled:
    """Add what random coincidences leave in the air, filtered: a share of the brain's activity."""
    noise = np.random.default_rng(seed).normal(0, 1, one.volume.voxels.shape).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, 2.0)
    smooth *= share * BRAIN_BQML / smooth.std()
    return of_voxels(one, lambda voxels: np.clip(voxels + smooth, 0, None))


def defaced(one: Spoiled, name: str) -> Spoiled:
    """Deface before."""
    return replace(one, volume=ARMS[name].apply(one.volume, register(one.volume)))


def emitting(voxels: NDArray[np.floating], draw: Draw, *, counts: float = 60.0) -> Volume:
    """Image a body that is no head: blur, counts, filter, as `emission` does."""
    activity = np.clip(voxels / max(float(voxels.max()), 1e-6), 0, None)
    soft = ndimage.gaussian_filter(activity.astype(np.float32), 2.0)
    counted = draw.poisson(soft * counts / 8) / counts * 8
    filtered = ndimage.gaussian_filter(counted.astype(np.float32), 2.0)
    return volume_of(filtered * BRAIN_BQML, emission=True)


def trunk(draw: Draw) -> Volume:
    """Make a body without a head: 900 mm of chest, lungs, a bladder; what `head_of` leaves."""
    step = 5.0
    x, y, z = np.meshgrid(*[step * np.arange(n) for n in (110, 110, 180)], indexing="ij")
    wide, deep = draw.uniform(150, 190), draw.uniform(100, 130)
    body = ((x - 275) / wide) ** 2 + ((y - 275) / deep) ** 2 < 1
    shoulders = 1 - np.clip((z - 780) / 120, 0, 1) ** 2
    body &= (np.abs(x - 275) < wide * shoulders) & (z < 890)
    voxels = 2000.0 * body
    for side in (-1, 1):
        lung = ((x - 275 - side * 80) / 55) ** 2 + ((y - 275) / 70) ** 2 + ((z - 700) / 120) ** 2
        voxels[lung < 1] = 500
        kidney = (x - 275 - side * 70) ** 2 + (y - 240) ** 2 + (z - 480) ** 2
        voxels[kidney < 45**2] = 20_000
    voxels[(x - 275) ** 2 + (y - 290) ** 2 + (z - 120) ** 2 < 45**2] = 100_000
    counted = draw.poisson(ndimage.gaussian_filter(voxels, 0.7) / 50) * 50.0
    volume = Volume(
        voxels=ndimage.gaussian_filter(counted, 0.6).astype(np.float32),
        spacing_mm=(step,) * 3,
        affine=np.diag([step, step, step, 1.0]),
        emission=True,
    )
    grid = isotropic(head_of(volume))
    return volume_of(grid.voxels, emission=True)


Make = Callable[[], Spoiled]


def then(make: Make, way: Callable[..., Spoiled], *how: object) -> Make:
    """Spoil a scan that is made only when it is asked for."""
    return lambda: way(make(), *how)


def other(name: str, make: Callable[[Draw], Volume]) -> Make:
    """Name what is no head."""
    return lambda: Spoiled(
        name=f"no head: {name}", volume=make(np.random.default_rng(3)), truth=None
    )


def no_heads() -> Iterator[Make]:
    """Everything else that a tomograph sees."""
    for name, voxels in bodies():
        yield other(name, partial(emitting, voxels))
    yield other("bottles", lambda draw: emitting(drawn.tubes(draw)[1], draw))
    yield other("blobs", lambda draw: emitting(drawn.blobs(draw)[1], draw))
    yield other("a brain's egg", lambda draw: emitting(brain_alone(draw)[1], draw))
    yield other("a doll's head", lambda draw: emitting(doll(draw)[1], draw))
    yield other("a trunk of 900 mm", trunk)
    for name, value in {"nothing": 0.0, "one value": 700.0}.items():
        yield other(name, partial(filled_with, value=value, middle=value))
    yield other("one hot voxel", partial(filled_with, value=0.0, middle=1e6))


def filled_with(_draw: Draw, *, value: float, middle: float) -> Volume:
    """Give one value everywhere but in the middle."""
    voxels = np.full((200, 200, 200), value, np.float32)
    voxels[100, 100, 100] = middle
    return volume_of(voxels, emission=True)


def spoiled() -> Iterator[Make]:  # noqa: C901 - one list, kind by kind
    """Every PET that the gates were tried on, named."""
    number = 0

    def following(name: str, tomograph: Tomograph | None = None) -> Make:
        nonlocal number
        number += 1
        told = name if number % 2 == 0 or tomograph else f"{name} (body)"
        mine = partial(person, number % PEOPLE, tomograph=tomograph)
        return lambda: replace(mine(), name=told)

    def imaged(name: str, **how: tuple[float, float]) -> Make:
        return following(name, replace(BRAIN_TOMOGRAPH, **how))  # type: ignore[arg-type]  # pairs all

    for _ in range(4):
        yield following("as scanned")
    for turn in (
        *({axis: angle} for axis in ("yaw", "pitch", "roll") for angle in (-30.0, 30.0)),
        {"yaw": 25.0, "pitch": 25.0, "roll": -25.0},
        {"pitch": -45.0, "roll": 20.0},
        {"yaw": 180.0},
        {"pitch": 90.0},
        {"roll": 180.0},
    ):
        named = ", ".join(f"{axis} {angle:.0f}" for axis, angle in turn.items())
        yield then(following(f"turned: {named}"), moved, turned(**turn))
    yield then(following("shifted 40 mm"), moved, np.eye(3), (40, -30, 35))
    yield then(following("shifted half out of view"), moved, np.eye(3), (0, 110, 0))
    yield then(following("of 80%"), moved, np.eye(3) / 0.8)
    yield then(following("of 120%"), moved, np.eye(3) / 1.2)
    yield then(following("10% too wide, 10% too flat"), moved, np.diag([1 / 1.1, 1.0, 1.1]))
    yield then(following("slices 1.5 times too thick"), moved, np.diag([1.0, 1.0, 1 / 1.5]))
    for name, (low, high) in {
        "without chin": ((0, 0, 0.3), (1, 1, 1)),
        "without mouth": ((0, 0, 0.42), (1, 1, 1)),
        "from the eyes up": ((0, 0, 0.52), (1, 1, 1)),
        "without crown": ((0, 0, 0), (1, 1, 0.75)),
        "without face": ((0, 0, 0), (1, 0.75, 1)),
        "without tip of the nose": ((0, 0, 0), (1, 0.9, 1)),
        "one half": ((0.45, 0, 0), (1, 1, 1)),
        "neck alone": ((0, 0, 0), (1, 1, 0.4)),
    }.items():
        yield then(following(f"cropped: {name}"), cropped, low, high)
    for few in (15.0, 4.0, 1.0):
        yield imaged(f"{few:.0f} counts a voxel", counts=(few, few))
    yield then(imaged("8 counts, turned", counts=(8.0, 8.0)), moved, turned(yaw=20, pitch=-20))
    for share in (0.0, 0.01, 0.03, 0.4, 1.0, 2.0):
        yield imaged(f"skin emits {share:.0%} of the brain", skin=(share, share))
    for width in (8.0, 12.0, 16.0):
        yield then(following(f"blurred by {width:.0f} mm more"), blurred, width)
    for share in (0.01, 0.03, 0.1):
        yield then(following(f"grain of {share:.0%} in the air"), grainy, share)
    for length in (150.0, 60.0, 25.0):
        yield then(following(f"attenuation left, 1/e at {length:.0f} mm"), uncorrected, length)
    yield then(following("dark to a tenth below"), shaded, 0.1)
    for degrees, mm in ((4.0, 4.0), (12.0, 10.0)):
        yield then(following(f"moved by {degrees:.0f} degrees, {mm:.0f} mm"), restless, degrees, mm)
    for name, spot in HOT.items():
        yield then(following(f"hot: {name}"), hot, *spot)
    for name in ("facemask", "quickshear", "skullstrip", "reface"):
        yield then(following(f"defaced before: {name}"), defaced, name)
    yield from no_heads()


HOT = {
    "a lesion in the brain": ((70.0, 120.0, 190.0), 12.0, 3.0),
    "a sinus": ((88.0, 195.0, 125.0), 12.0, 1.5),
    "a parotid gland": ((30.0, 150.0, 95.0), 14.0, 2.0),
    "on the cheek": ((55.0, 208.0, 110.0), 8.0, 3.0),
    "before the nose": ((88.0, 245.0, 115.0), 6.0, 1.0),
    "a line beside the neck": ((8.0, 200.0, 60.0), 10.0, 20.0),
}
"""Place in the average head (mm), radius, activity against the brain's."""


def held_out(seed: int) -> Iterator[Make]:
    """Draw 40 heads, each spoiled in one way or two, and 24 bodies that are none."""
    for number in range(HEADS):
        yield partial(drawn_head, seed, number)
    for number in range(BODIES):
        yield partial(drawn_body, seed, number)


def drawn_head(seed: int, number: int) -> Spoiled:
    """Image somebody whom no gate has seen by a tomograph of their own, and spoil that."""
    draw = np.random.default_rng([seed, 2, number])
    ways = (
        *(drawn.turn, drawn.shift, drawn.stretch, drawn.crop, drawn.crop, counts, skin, blur),
        *(grain, attenuation, motion, spot, before, drawn.half_dark, drawn.eaten, ramp),
    )
    tomograph = replace(
        TOMOGRAPHS[int(draw.integers(2))],
        skin=(0.03, 0.35),
        counts=(10.0, 240.0),
        fwhm_mm=(4.5, 9.0),
    )
    one = replace(person(number, label=f"held out PET {seed}", tomograph=tomograph), name="")
    for way in [ways[number % len(ways)], *([drawn.turn] if number % 3 == 0 else [])]:
        one = way(one, draw)
    return one


def drawn_body(seed: int, number: int) -> Spoiled:
    """Draw what is no head."""
    draw = np.random.default_rng([seed, 3, number])
    makers: tuple[Callable[[Draw], tuple[str, Voxels]], ...] = (
        *(drawn.layered_egg, drawn.ball, drawn.torso, drawn.legs, drawn.knee, drawn.tubes),
        *(drawn.box, drawn.blobs, drawn.hand, brain_alone, doll),
    )
    place = number % (len(makers) + 1)
    if place == len(makers):
        return Spoiled(name="no head: a trunk", volume=trunk(draw), truth=None)
    name, voxels = makers[place](draw)
    volume = emitting(voxels, draw, counts=float(draw.uniform(10, 200)))
    return Spoiled(name=f"no head: {name}", volume=volume, truth=None)


def counts(one: Spoiled, draw: Draw) -> Spoiled:
    """Count anew, few."""
    each = float(np.exp(draw.uniform(np.log(0.5), np.log(20))))

    def recounted(voxels: Voxels) -> Voxels:
        clear = np.clip(voxels, 0, None) / BRAIN_BQML
        counted = draw.poisson(clear * each / 8) / each * 8
        return ndimage.gaussian_filter(counted.astype(np.float32), 2.0) * BRAIN_BQML

    return drawn.said(one, f"{each:.1f} counts", of_voxels(one, recounted))


def skin(one: Spoiled, draw: Draw) -> Spoiled:
    """Emit more or less outside of the brain, or nothing."""
    assert one.truth is not None
    times = float(draw.choice([0.0, draw.uniform(0.05, 0.6), draw.uniform(2, 12)]))
    inside = volume_brain(one)
    changed = of_voxels(one, lambda voxels: voxels * (inside + times * (1 - inside)))
    return drawn.said(one, f"skin times {times:.2f}", changed)


def volume_brain(one: Spoiled) -> Voxels:
    """Give the true brain with a soft edge, 0 to 1, on the scan's grid."""
    assert one.truth is not None
    return resampled(template().brain.float(), one.truth, one.volume.voxels.shape).numpy()


def blur(one: Spoiled, draw: Draw) -> Spoiled:
    """Smooth by 4 to 18 mm more."""
    width = float(draw.uniform(4, 18))
    return drawn.said(one, f"blurred by {width:.0f} mm", blurred(one, width))


def grain(one: Spoiled, draw: Draw) -> Spoiled:
    """Grain of up to a sixth of the brain."""
    share = float(draw.uniform(0.005, 0.16))
    return drawn.said(one, f"grain of {share:.1%}", grainy(one, share, int(draw.integers(1 << 30))))


def attenuation(one: Spoiled, draw: Draw) -> Spoiled:
    """Leave some attenuation in."""
    length = float(draw.uniform(15, 150))
    return drawn.said(one, f"attenuation, 1/e at {length:.0f} mm", uncorrected(one, length))


def motion(one: Spoiled, draw: Draw) -> Spoiled:
    """Move in the middle."""
    degrees, mm = float(draw.uniform(-15, 15)), float(draw.uniform(-15, 15))
    return drawn.said(one, f"moved {degrees:.0f}/{mm:.0f}", restless(one, degrees, mm))


def spot(one: Spoiled, draw: Draw) -> Spoiled:
    """Let one to three balls about the face shine."""
    for _ in range(int(draw.integers(1, 4))):
        at = (draw.uniform(20, 156), draw.uniform(150, 250), draw.uniform(55, 190))
        one = hot(one, at, float(draw.uniform(4, 20)), float(np.exp(draw.uniform(-1, 3))))
    return drawn.said(one, "hot spots", one)


def before(one: Spoiled, draw: Draw) -> Spoiled:
    """Deface before."""
    name = str(draw.choice(["facemask", "quickshear", "skullstrip", "reface"]))
    return drawn.said(one, f"defaced before: {name}", defaced(one, name))


def ramp(one: Spoiled, draw: Draw) -> Spoiled:
    """Fall off along the body."""
    least = float(draw.uniform(0.05, 0.5))
    return drawn.said(one, f"dark to {least:.2f} below", shaded(one, least))


def brain_alone(draw: Draw) -> tuple[str, Voxels]:
    """Make an egg of a brain's size that nothing surrounds."""
    away = egg(axes(220), (draw.uniform(60, 75), draw.uniform(78, 95), draw.uniform(55, 72)),
               (0.0, 0.0, 20.0))  # fmt: skip
    return "a brain's egg", np.select([away < 0.8, away < 1], [550, 900], 0.0)


def doll(draw: Draw) -> tuple[str, Voxels]:
    """Join an egg with a hot core and a neck: a head's outline without a face."""
    where = axes(256)
    size = float(draw.uniform(0.85, 1.1))
    outer = egg(where, (75 * size, 95 * size, 110 * size), (0.0, 0.0, 0.0))
    core = egg(where, (62 * size, 80 * size, 62 * size), (0.0, -5.0, 35.0 * size))
    neck = egg(where, (55 * size, 60 * size, np.inf), (0.0, -15.0, 0.0))
    faint = draw.uniform(0.05, 0.3)
    below = (neck < 1) & (where[2] < 0)
    return "a doll's head", np.where(core < 1, 1.0, ((outer < 1) | below) * faint) * 900
