"""A synthetic person's scan: the average head, warped, posed, lit by a coil and made noisy."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from numpy.typing import NDArray
from torch import Tensor

from reidscope_site.face.raycast import turned
from reidscope_site.face.template import LATTICE_MM, Template, lattice_axes
from reidscope_site.face.volume import Volume
from reidscope_site.synthetic.seeds import PersonSeed
from reidscope_site.synthetic.shape import Displacement, displacement

ORIGIN_MM = (-88.0, -125.0, -150.0)
"""RAS mm of the first voxel."""
BRIGHTEST = 1200
NOISE = 6.0

_COIL = 0.12
_COIL_GRID = (3, 3, 3)
_TURN_DEGREES = 5.0
_SHIFT_MM = 6.0
_SIZE = 0.03


def scan(seed: PersonSeed, head: Template, *, visit: int = 0) -> Volume:
    """Scan a synthetic person: 1 mm, RAS+, whole numbers in [0, 1200].

    Parameters
    ----------
    seed : PersonSeed
        Who.
    head : Template
        The average head.
    visit : int
        Which scan: each has a pose, a coil and noise of its own; the head is the same.
    """
    return scan_of(displacement(seed, head), seed, head, visit=visit)


def scan_of(shape: Displacement, seed: PersonSeed, head: Template, *, visit: int = 0) -> Volume:
    """Scan a head of any shape, in the person's pose and with the person's noise."""
    shaped = imaged(posed(head, shape, pose(seed, visit=visit)), seed, visit=visit)
    # `photo` shows this shape as if its x ran to the person's left; x of RAS+ runs to the right
    voxels = np.ascontiguousarray(shaped[::-1])
    affine = np.eye(4)
    affine[:3, 3] = ORIGIN_MM
    return Volume(voxels=voxels, spacing_mm=(1.0, 1.0, 1.0), affine=affine)


def pose(seed: PersonSeed, *, visit: int = 0) -> NDArray[np.float64]:
    """How the person lay: (4, 4), scan indices to head mm; a few degrees, mm and per cent."""
    draw = seed.stream(_of_visit("pose", visit))
    yaw, pitch, roll = draw.uniform(-_TURN_DEGREES, _TURN_DEGREES, 3)
    return placed(
        turned(yaw=yaw, pitch=pitch, roll=roll) * draw.uniform(1 - _SIZE, 1 + _SIZE),
        draw.uniform(-_SHIFT_MM, _SHIFT_MM, 3),
    )


def placed(linear: NDArray[np.float64], shift_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn and scale about the middle of the template's grid, then shift: (4, 4)."""
    middle = np.array([88.0, 125.0, 150.0])
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = middle + shift_mm - linear @ middle
    return matrix


@torch.no_grad()
def posed(head: Template, shape: Displacement, to_head: NDArray[np.float64]) -> Tensor:
    """Intensities of a warped and posed head on the template's grid.

    The map from voxels to the average head is worked out on the lattice and interpolated: its
    affine part exactly.
    """
    size = tuple(head.head.shape)
    axes = lattice_axes(size)
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    matrix = torch.tensor(to_head, dtype=torch.float32)
    home = shape.home(points @ matrix[:3, :3].T + matrix[:3, 3])
    where = (home * (2 / (torch.tensor(size, dtype=torch.float32) - 1)) - 1).flip(-1)
    lattice = where.T.reshape(3, *(len(axis) for axis in axes))

    out = torch.empty(size)
    fine = (LATTICE_MM + 1, *((len(axis) - 1) * LATTICE_MM + 1 for axis in axes[1:]))
    for start in range(0, size[0], LATTICE_MM):
        slab = lattice[None, :, start // LATTICE_MM : start // LATTICE_MM + 2]
        count = min(LATTICE_MM, size[0] - start)
        grid = F.interpolate(slab, size=fine, mode="trilinear", align_corners=True)
        grid = grid[0, :, :count, : size[1], : size[2]].permute(1, 2, 3, 0)
        out[start : start + count] = F.grid_sample(
            head.head[None, None], grid[None], padding_mode="zeros", align_corners=True
        )[0, 0]
    return out


def imaged(tissue: Tensor, seed: PersonSeed, *, visit: int = 0) -> NDArray[np.float32]:
    """Gain, an uneven coil and Rician noise; whole numbers."""
    draw = seed.stream(_of_visit("scanner", visit))
    coil = torch.from_numpy(draw.normal(size=(1, 1, *_COIL_GRID)).astype(np.float32))
    coil = F.interpolate(
        coil.clamp(-2.5, 2.5), size=tuple(tissue.shape), mode="trilinear", align_corners=True
    )[0, 0]
    signal = tissue * (1 + _COIL * coil) * float(draw.uniform(0.85, 1.2))
    noise = NOISE * draw.standard_normal((2, *tissue.shape), dtype=np.float32)
    magnitude = np.hypot(signal.numpy() + noise[0], noise[1])
    whole: NDArray[np.float32] = np.clip(np.rint(magnitude), 0, BRIGHTEST).astype(np.float32)
    return whole


def _of_visit(stream: str, visit: int) -> str:
    return f"{stream} {visit}" if visit else stream
