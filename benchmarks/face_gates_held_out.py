"""Scans spoiled by chance, of other people than the gates' thresholds were set on.

`python benchmarks/face_gates.py --held-out SEED` draws from here: every angle, shift, crop, noise,
contrast and body from the seed, so that nobody has looked at these scans before.
"""

# ruff: noqa: PLR2004  # phantoms are made of numbers

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from face_gates import (
    Spoiled,
    Voxels,
    axes,
    cropped,
    ct,
    egg,
    flair,
    inverted,
    moved,
    of_voxels,
    person,
    rician,
    shown,
    t2,
    volume_of,
)
from scipy import ndimage

from reidscope_site.face.arms import ARMS
from reidscope_site.face.raycast import turned
from reidscope_site.face.register import register

HEADS, BODIES = 36, 18
CONTRASTS = {"T2": t2, "FLAIR": flair, "CT": ct, "inverted": inverted}


def held_out(seed: int) -> Iterator[Spoiled]:
    """Draw 36 heads, each spoiled in one way or two, and 18 bodies that are none."""
    draw = np.random.default_rng([seed, 1])
    ways = (turn, shift, stretch, crop, crop, noise, contrast, coil, defaced, half_dark, eaten)
    for number in range(HEADS):
        one = replace(person(number, label=f"held out {seed}"), name="")
        for way in [ways[number % len(ways)], *([turn] if number % 3 == 0 else [])]:
            one = way(one, draw)
        yield one
    makers = (layered_egg, ball, torso, legs, knee, tubes, box, blobs, hand)
    for number in range(BODIES):
        name, voxels = makers[number % len(makers)](draw)
        spread = draw.uniform(2, 40)
        noisy = np.abs(voxels + draw.normal(0, spread, voxels.shape))
        yield Spoiled(name=f"no head: {name}", volume=volume_of(noisy), truth=None)


def said(one: Spoiled, what: str, volume: Spoiled) -> Spoiled:
    """Name what was done."""
    return replace(volume, name=f"{one.name}, {what}" if one.name else what)


def turn(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """By up to 60 degrees about each axis; now and then the other way up."""
    angles = dict(zip(("yaw", "pitch", "roll"), draw.uniform(-60, 60, 3), strict=True))
    if draw.random() < 0.3:
        angles["roll"] += 180
    words = "/".join(f"{angle:.0f}" for angle in angles.values())
    return said(one, f"turned {words}", moved(one, turned(**angles)))


def shift(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """By up to 100 mm."""
    by = draw.uniform(-100, 100, 3)
    words = "/".join(f"{mm:.0f}" for mm in by)
    return said(one, f"shifted {words}", moved(one, np.eye(3), (by[0], by[1], by[2])))


def stretch(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """One voxel size written wrongly, by up to a half."""
    factors = np.ones(3)
    factors[draw.integers(3)] = np.exp(draw.uniform(-0.4, 0.4))
    words = "/".join(f"{1 / factor:.2f}" for factor in factors)
    return said(one, f"stretched {words}", moved(one, np.diag(factors)))


def crop(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """Take a slab from one side, up to two thirds."""
    low, high = [0.0] * 3, [1.0] * 3
    axis, share = int(draw.integers(3)), draw.uniform(0.1, 0.65)
    if draw.random() < 0.5:
        low[axis] = share
    else:
        high[axis] = 1 - share
    words = f"cut to {low[axis]:.2f}-{high[axis]:.2f} of axis {axis}"
    return said(one, words, cropped(one, tuple(low), tuple(high)))


def noise(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """Up to a quarter of the brightest."""
    spread = draw.uniform(30, 250)
    return said(one, f"noise of {spread:.0f}", rician(one, spread))


def contrast(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """Another sequence, or CT, with noise."""
    name = str(draw.choice(list(CONTRASTS)))
    return said(one, f"like a {name}", shown(one, CONTRASTS[name], draw.uniform(2, 30)))


def coil(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """Brightness that falls off along one axis, to a tenth."""
    axis, least = int(draw.integers(3)), draw.uniform(0.1, 0.5)
    shape = [1, 1, 1]
    shape[axis] = one.volume.voxels.shape[axis]
    ramp = np.linspace(least, 1, shape[axis])
    ramp = (ramp if draw.random() < 0.5 else ramp[::-1]).reshape(shape)
    return said(one, f"dark to {least:.2f} along axis {axis}", of_voxels(one, lambda v: v * ramp))


def defaced(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """Defaced before somebody sends it."""
    name = str(draw.choice(["facemask", "quickshear", "skullstrip"]))
    after = ARMS[name].apply(one.volume, register(one.volume))
    return said(one, f"defaced before: {name}", replace(one, volume=after))


def half_dark(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """Let a metal's shadow fall on the face: a ball of 20 to 70 mm without signal."""
    size, radius = one.volume.voxels.shape, draw.uniform(20, 70)
    middle = np.array(size) * [draw.uniform(0.3, 0.7), 0.85, draw.uniform(0.3, 0.6)]
    grid = np.meshgrid(*[np.arange(n) for n in size], indexing="ij", sparse=True)
    away = sum((axis - at) ** 2 for axis, at in zip(grid, middle, strict=True))
    words = f"no signal in a ball of {radius:.0f} mm"
    return said(one, words, of_voxels(one, lambda v: np.where(away > radius**2, v, 0)))


def eaten(one: Spoiled, draw: np.random.Generator) -> Spoiled:
    """Slices lost: every second one twice, or a gap in the middle."""
    first = int(one.volume.voxels.shape[2] * draw.uniform(0.2, 0.6))
    lost = int(draw.uniform(10, 50))

    def without(voxels: Voxels) -> Voxels:
        kept = voxels.copy()
        kept[:, :, first : first + lost] = 0
        return kept

    return said(one, f"{lost} slices lost from {first}", of_voxels(one, without))


Body = tuple[str, Voxels]


def layered_egg(draw: np.random.Generator) -> Body:
    """Give scalp, skull and brain of a head's size, and no face."""
    where = axes(230)
    radii = (draw.uniform(60, 85), draw.uniform(75, 105), draw.uniform(75, 110))
    away = egg(where, radii, (0.0, 0.0, 0.0))
    shells = [away < draw.uniform(0.68, 0.8), away < 0.86, away < 1]
    return "an egg of scalp, skull and brain", np.select(
        shells, [*draw.uniform(300, 800, 1), draw.uniform(20, 120), draw.uniform(400, 900)], 0.0
    )


def ball(draw: np.random.Generator) -> Body:
    """Fill the phantom of a quality check."""
    radius = draw.uniform(60, 100)
    away = egg(axes(220), (radius, radius, radius), (0.0, 0.0, 0.0))
    return f"a ball of {radius:.0f} mm", (away < 1) * draw.uniform(300, 900)


def torso(draw: np.random.Generator) -> Body:
    """Chest with lungs and a spine."""
    where, endless = axes(256), np.inf
    wide, deep = draw.uniform(95, 120), draw.uniform(65, 90)
    voxels = (egg(where, (wide, deep, endless), (0.0, 0.0, 0.0)) < 1) * 500.0
    for side in (-1, 1):
        lung = (side * wide * 0.45, 0.0, draw.uniform(-20, 20))
        voxels[egg(where, (wide * 0.35, deep * 0.65, draw.uniform(70, 110)), lung) < 1] = 30
    voxels[egg(where, (18, 18, endless), (0.0, -deep * 0.65, 0.0)) < 1] = 900
    return "a torso", voxels


def legs(draw: np.random.Generator) -> Body:
    """Two thighs with bones."""
    where = axes(200)
    radius = draw.uniform(35, 48)
    voxels = np.zeros(where.shape[1:])
    for side in (-50.0, 50.0):
        leg = egg(where, (radius, radius, np.inf), (side, 0.0, 0.0))
        voxels += np.select([leg < 0.25, leg < 0.36, leg < 1], [800, 100, 600], 0)
    return "two legs", voxels


def knee(draw: np.random.Generator) -> Body:
    """One knee with two bones."""
    where = axes(200)
    thick = draw.uniform(50, 70)
    voxels = (egg(where, (thick, thick * 1.1, np.inf), (0.0, 0.0, 0.0)) < 1) * 400.0
    for height in (-52.0, 50.0):
        bone = (thick * 0.65, thick * 0.65, draw.uniform(38, 50))
        voxels[egg(where, bone, (0.0, 0.0, height)) < 1] = 790
    return "a knee", voxels


def tubes(draw: np.random.Generator) -> Body:
    """Fill bottles."""
    where = axes(200)
    voxels = np.zeros(where.shape[1:])
    for _ in range(6):
        at = (*draw.uniform(-70, 70, 2), 0.0)
        radius = draw.uniform(10, 30)
        voxels[egg(where, (radius, radius, 80), at) < 1] = draw.uniform(200, 900)
    return "bottles", voxels


def box(draw: np.random.Generator) -> Body:
    """Fill a box of gel, with a rod."""
    where = np.abs(axes(220))
    sides = draw.uniform(55, 100, 3)
    voxels = np.where((where < sides[:, None, None, None]).all(0), 500.0, 0.0)
    voxels[(where[0] < 8) & (where[1] < 8)] = 900
    return "a box", voxels


def blobs(draw: np.random.Generator) -> Body:
    """Smooth noise cut at a level: a thing of a head's size and no form."""
    field = ndimage.gaussian_filter(draw.normal(0, 1, (110, 110, 110)), draw.uniform(6, 14))
    big = np.kron(field > np.quantile(field, 0.7), np.ones((2, 2, 2)))
    away = egg(axes(220), (95, 105, 105), (0.0, 0.0, 0.0))
    return "blobs", big * (away < 1) * 600.0


def hand(draw: np.random.Generator) -> Body:
    """Join a palm and five fingers."""
    where = axes(220)
    voxels = (egg(where, (45, 18, 55), (0.0, 0.0, -40.0)) < 1) * 500.0
    for number in range(5):
        at = (-40.0 + 20 * number, 0.0, draw.uniform(20, 50))
        voxels[egg(where, (9, 9, 55), at) < 1] = draw.uniform(400, 700)
    return "a hand", voxels
