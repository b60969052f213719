"""The shape of a synthetic face: 26 named modes on the average head, and a little roughness.

A mode is a few Gaussian bumps of displacement; its coefficient is the person's, in standard
deviations, clipped at 2.3. Places are template mm with z counted from the floor of the real average
head (`NECK_MM` above the grid's).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from torch import Tensor

from reidscope_site.face.raycast import sample
from reidscope_site.face.template import (
    LATTICE_MM,
    MIDLINE_MM,
    NECK_MM,
    Template,
    lattice_axes,
)
from reidscope_site.synthetic.seeds import PersonSeed

_CLIP = 2.3
_ROUGHNESS_MM = 0.7
_ROUGHNESS_GRID = (9, 12, 14)


@dataclass(frozen=True, slots=True)
class Bump:
    """A Gaussian bump of displacement.

    Attributes
    ----------
    at : tuple of float
        Its centre, mm.
    towards : tuple of float
        Displacement at the centre for an amplitude of 1 mm.
    width_mm : float
        Standard deviation.
    mirrored : bool
        Whether the other side of the face has one too.
    """

    at: tuple[float, float, float]
    towards: tuple[float, float, float]
    width_mm: float
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Mode:
    """One way in which faces differ; `deviation_mm` is the standard deviation among people."""

    name: str
    deviation_mm: float
    bumps: tuple[Bump, ...]


MODES = (
    Mode(
        "nose_length",
        3.5,
        (Bump((88, 235, 56), (0, 0, -1), 13), Bump((88, 226, 48), (0, 0, -0.6), 12)),
    ),
    Mode("nose_projection", 4.0, (Bump((88, 235, 56), (0, 1, 0), 14),)),
    Mode("nose_tip_up", 3.0, (Bump((88, 236, 55), (0, 0.2, 1), 9),)),
    Mode(
        "nose_bridge",
        3.0,
        (Bump((88, 223, 78), (0, 1, 0), 11), Bump((88, 219, 90), (0, 0.6, 0), 11)),
    ),
    Mode("nose_hump", 2.0, (Bump((88, 228, 68), (0, 1, 0), 8),)),
    Mode("nose_width", 3.0, (Bump((73, 223, 52), (-1, 0, 0), 10, mirrored=True),)),
    Mode("bridge_width", 2.2, (Bump((78, 216, 76), (-1, 0, 0), 9, mirrored=True),)),
    Mode("jaw_width", 5.0, (Bump((36, 170, 10), (-1, 0, 0), 30, mirrored=True),)),
    Mode("chin_projection", 5.0, (Bump((88, 212, -5), (0, 1, 0), 20),)),
    Mode("chin_height", 4.5, (Bump((88, 205, -16), (0, 0, -1), 24),)),
    Mode("chin_width", 4.0, (Bump((64, 205, -8), (-1, 0, 0), 16, mirrored=True),)),
    Mode("cheekbone_width", 4.0, (Bump((26, 180, 68), (-1, 0, 0), 24, mirrored=True),)),
    Mode("cheekbone_projection", 3.0, (Bump((50, 206, 66), (-0.3, 1, 0), 15, mirrored=True),)),
    Mode("cheek_fullness", 3.5, (Bump((46, 203, 38), (-0.5, 1, 0), 18, mirrored=True),)),
    Mode("eye_spacing", 3.0, (Bump((58, 207, 85), (-1, 0, 0), 16, mirrored=True),)),
    Mode("eye_depth", 2.5, (Bump((57, 206, 85), (0, 1, 0), 13, mirrored=True),)),
    Mode("eye_height", 2.5, (Bump((57, 207, 85), (0, 0, 1), 16, mirrored=True),)),
    Mode(
        "brow_ridge",
        3.0,
        (
            Bump((60, 216, 102), (0, 1, -0.2), 13, mirrored=True),
            Bump((88, 222, 106), (0, 0.8, 0), 12),
        ),
    ),
    Mode("brow_height", 2.5, (Bump((60, 216, 102), (0, 0, 1), 13, mirrored=True),)),
    Mode(
        "lip_fullness",
        2.2,
        (Bump((88, 221, 36), (0, 0.8, 0.6), 9), Bump((88, 217, 24), (0, 0.8, -0.6), 9)),
    ),
    Mode("mouth_width", 3.2, (Bump((66, 211, 30), (-1, 0, 0), 12, mirrored=True),)),
    Mode("mouth_height", 3.0, (Bump((88, 220, 31), (0, 0, 1), 17),)),
    Mode("lower_face_projection", 3.0, (Bump((88, 216, 25), (0, 1, 0), 26),)),
    Mode("face_length", 4.0, (Bump((88, 205, 0), (0, 0, -1), 45),)),
    Mode("forehead_slope", 4.0, (Bump((88, 212, 148), (0, 1, 0), 30),)),
    Mode("temple_width", 3.0, (Bump((14, 165, 115), (-1, 0, 0), 28, mirrored=True),)),
)

SMILE = Mode(
    "smile",
    4.0,
    (
        Bump((66, 211, 30), (-0.7, -0.3, 0.8), 11, mirrored=True),
        Bump((46, 206, 48), (-0.2, 0.5, 0.5), 13, mirrored=True),
    ),
)
RAISED_BROWS = Mode("raised_brows", 4.0, (Bump((60, 216, 102), (0, 0, 1), 12, mirrored=True),))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Displacement:
    """How far a face lies from the average one, on the template's lattice.

    Attributes
    ----------
    lattice : Tensor
        (3, 45, 64, 75), mm along x, y, z.
    largest_mm : float
        No point is displaced further.
    """

    lattice: Tensor
    largest_mm: float

    def home(self, points: Tensor) -> Tensor:
        """Where points of this head, (n, 3) mm, lie in the average head."""
        return points - sample(self.lattice, points, spacing_mm=LATTICE_MM).T


def coefficients(seed: PersonSeed) -> tuple[float, ...]:
    """Give the person's modes, in standard deviations, in the order of `MODES`."""
    return tuple(seed.stream("shape").normal(size=len(MODES)).clip(-_CLIP, _CLIP).tolist())


def displacement(
    seed: PersonSeed, head: Template, *, smile: float = 0.0, raised_brows: float = 0.0
) -> Displacement:
    """Shape a person's head; the brain stays where it is, by `Template.freedom`."""
    lattice = torch.zeros(3, *head.freedom.shape)
    axes = lattice_axes(tuple(head.head.shape))
    amounts = dict(zip(MODES, coefficients(seed), strict=True)) | {
        SMILE: smile,
        RAISED_BROWS: raised_brows,
    }
    for mode, amount in amounts.items():
        if amount:
            for bump in mode.bumps:
                _push(lattice, axes, bump, amount * mode.deviation_mm)
    coarse = seed.stream("roughness").normal(size=(1, 3, *_ROUGHNESS_GRID)).astype(np.float32)
    rough = F.interpolate(
        torch.from_numpy(coarse), size=lattice.shape[1:], mode="trilinear", align_corners=True
    )[0]
    lattice += rough / rough.std() * _ROUGHNESS_MM
    lattice *= head.freedom
    largest_mm = float((lattice**2).sum(0).max()) ** 0.5
    return Displacement(lattice=lattice, largest_mm=largest_mm)


def _push(lattice: Tensor, axes: tuple[Tensor, ...], bump: Bump, amplitude_mm: float) -> None:
    x, y, z = bump.at
    for side in (1, -1) if bump.mirrored else (1,):
        centre = (x if side == 1 else 2 * MIDLINE_MM - x, y, z + NECK_MM)
        falls = [
            torch.exp(-0.5 * ((axis - middle) / bump.width_mm) ** 2)
            for axis, middle in zip(axes, centre, strict=True)
        ]
        weight = falls[0][:, None, None] * falls[1][None, :, None] * falls[2][None, None]
        for component, along in enumerate(bump.towards):
            if along:
                lattice[component] += (
                    amplitude_mm * along * (side if component == 0 else 1) * weight
                )
