"""A synthetic person's photograph: pose, light, expression, and a painted skin.

The rays sample the average head through the person's displacement: no volume is resampled. What a
scan does not show (skin tone, brows, open eyes, hair) is painted, so that a photo and a scan differ
as they do in life.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reidscope_site.face.raycast import Camera, Lamp, Look, render, sample, turned
from reidscope_site.face.template import (
    FACE_CENTRE_MM,
    LATTICE_MM,
    MIDLINE_MM,
    NECK_MM,
    SKIN,
    Template,
)
from reidscope_site.synthetic.seeds import PersonSeed
from reidscope_site.synthetic.shape import Displacement, displacement

SIZE_PX = 256

_SKINS = (
    (0.96, 0.80, 0.70),
    (0.90, 0.70, 0.58),
    (0.80, 0.58, 0.44),
    (0.66, 0.46, 0.34),
    (0.50, 0.34, 0.25),
    (0.38, 0.25, 0.18),
)
_HAIRS = ((0.10, 0.08, 0.07), (0.25, 0.16, 0.10), (0.45, 0.32, 0.18), (0.55, 0.52, 0.50))
_IRISES = ((0.25, 0.15, 0.08), (0.30, 0.38, 0.45), (0.28, 0.34, 0.20))
_LATTICE_SLACK_MM = 4.0
"""Linear interpolation of a distance between lattice points overestimates it by less."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarpedHead:
    """The average head seen through a displacement: a `Surface`."""

    template: Template
    displacement: Displacement
    level: float = SKIN

    @property
    def extent_mm(self) -> Tensor:
        """Far corner of the template's grid."""
        return torch.tensor(self.template.surface.shape, dtype=torch.float32) - 1

    def occupancy(self, points: Tensor) -> Tensor:
        """Occupancy of the average head where these points come from."""
        return sample(self.template.surface, self.displacement.home(points))

    def empty_mm(self, points: Tensor) -> Tensor:
        """Distance to the average head, less all that a displacement can take from it."""
        clearance = sample(self.template.clearance, points, spacing_mm=LATTICE_MM)
        return clearance - self.displacement.largest_mm - _LATTICE_SLACK_MM


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Complexion:
    """What is painted on a face; colours are RGB in [0, 1], (3,)."""

    skin: Tensor
    hair: Tensor
    iris: Tensor
    hairline_mm: float
    brow_mm: float
    eye_mm: float
    bald: bool


def complexion(seed: PersonSeed) -> Complexion:
    """Choose the person's colours: the same in every photo."""
    draw = seed.stream("complexion")
    skin = np.array(_SKINS[draw.integers(len(_SKINS))]) * draw.uniform(0.93, 1.05, 3)
    return Complexion(
        skin=torch.tensor(skin, dtype=torch.float32),
        hair=torch.tensor(_HAIRS[draw.integers(len(_HAIRS))]),
        iris=torch.tensor(_IRISES[draw.integers(len(_IRISES))]),
        hairline_mm=draw.uniform(150, 172) + NECK_MM,
        brow_mm=draw.uniform(2.2, 4.0),
        eye_mm=draw.uniform(4.0, 5.5),
        bald=bool(draw.random() < 0.25),  # noqa: PLR2004  # a quarter of people
    )


def photo(seed: PersonSeed, head: Template, *, shot: int = 0) -> NDArray[np.uint8]:
    """Photograph a synthetic person, whose left is where x of the template runs to.

    Parameters
    ----------
    seed : PersonSeed
        Who.
    head : Template
        The average head.
    shot : int
        Which photo: each has a pose, light and expression of its own.

    Returns
    -------
    ndarray of uint8
        (256, 256, 3), RGB.
    """
    draw = seed.stream(f"photo {shot}")
    shape = displacement(seed, head, smile=0.7 * draw.random(), raised_brows=0.5 * draw.random())
    camera = Camera(
        target_mm=FACE_CENTRE_MM,
        turn=turned(yaw=draw.uniform(-14, 14), pitch=draw.uniform(-6, 6)),
        size_px=SIZE_PX,
    )
    key = Lamp(
        towards=(draw.uniform(-0.8, 0.8), 1.0, draw.uniform(0.2, 0.8)),
        strength=draw.uniform(0.7, 1.0),
    )
    look = Look(lamps=(key, Lamp(towards=(-0.8, 0.6, 0.2), strength=0.3)), ambient=0.3)
    colours = complexion(seed)
    surface = WarpedHead(template=head, displacement=shape)
    return render(surface, camera, look, lambda points: _paint(shape.home(points), colours))


def _paint(home: Tensor, colours: Complexion) -> Tensor:
    """Colours of points of the average head, (n, 3)."""
    x = (home[:, 0] - MIDLINE_MM).abs()
    y = home[:, 1]
    z = home[:, 2] - NECK_MM
    front = y > 185  # noqa: PLR2004  # the plane of the ears
    skin, hair = colours.skin, colours.hair
    lips = skin * torch.tensor([0.92, 0.62, 0.62])
    colour = skin.expand(len(home), 3).clone()

    def edge(inside: Tensor, softness: float) -> Tensor:
        return torch.sigmoid(inside * softness)

    def lay(over: Tensor, weight: Tensor) -> None:
        colour.add_((over - colour) * weight.clamp(0, 1)[:, None])

    cheeks = torch.exp(-((x - 40) ** 2 + (z - 52) ** 2) / 400)
    lay(skin * torch.tensor([1.04, 0.88, 0.86]), 0.6 * cheeks)

    arch = 100.5 + 3.0 * (1 - ((x - 32) / 20) ** 2)
    brows = edge(colours.brow_mm - (z - arch).abs(), 1.6) * edge(20 - (x - 32).abs(), 0.8)
    lay(hair, front * brows * 0.85)

    lay(lips, front * edge(1 - ((x / 22) ** 2 + ((z - 30) / 7.5) ** 2), 6) * 0.85)
    lay(lips * 0.35, front * edge(1 - (z - 30).abs(), 3) * edge(20 - x, 1) * 0.8)

    across, up = x - 32.5, z - 84.0
    eye = edge(1 - ((across / 13.5) ** 2 + (up / colours.eye_mm) ** 2), 7) * front
    lay(torch.tensor([0.92, 0.90, 0.88]), eye * 0.95)
    radius = torch.sqrt(across**2 + up**2)
    lay(colours.iris, eye * edge(5.6 - radius, 3))
    lay(torch.tensor([0.03, 0.03, 0.03]), eye * edge(2.4 - radius, 3))
    lid = ((across / 14.0) ** 2 + (up / (colours.eye_mm + 0.6)) ** 2 - 1) / 0.22
    lay(hair * 0.4, front * torch.exp(-(lid**2)) * (up > -0.4 * colours.eye_mm) * 0.75)

    if not colours.bald:
        behind = 0.55 * (205 - y).clamp(min=0)
        lay(hair, edge(z + NECK_MM - colours.hairline_mm + behind, 0.5))
    return colour
