"""The average head that ships with the package: a public constant, the same for everybody.

Coordinates of the template ("template mm") are those of its 1 mm grid: x to the left-to-right of
RAS+, y to the front, z up, from (0, 0, 0) at the rearmost lowest corner. The face looks to +y.
Below z = `NECK_MM` stands a synthetic neck. Where it comes from: data/README.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

NECK_MM = 45
"""Height of the synthetic neck and jaw under the real average head."""

MIDLINE_MM = 88.0
FACE_CENTRE_MM = (88.0, 205.0, 118.0)
"""What a camera looks at: between the eyes and the mouth, behind the skin."""

LATTICE_MM = 4
"""Spacing of the coarse lattice on which displacements and distances are kept."""

SKIN = 0.5
"""Occupancy at the skin."""

_HEAD_STEP = 3.0
_BRAIN_MARGIN_MM = 12.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """The average head.

    Attributes
    ----------
    head : Tensor
        T1-like intensities, float32, (176, 250, 295), 1 mm, RAS+; 0 outside.
    surface : Tensor
        Occupancy in [0, 1], float32, same grid; the skin is at `SKIN`.
    brain : Tensor
        Bool, same grid; by deepbet.
    freedom : Tensor
        (45, 64, 75) on the lattice: 0 in the brain, rising smoothly to 1 at 12 mm from it. Shapes
        are multiplied by it, so that no identity moves the brain.
    clearance : Tensor
        (45, 64, 75) on the lattice: mm to the head, 0 within it.
    sha256 : str
        Of the two shipped files, one after the other.
    """

    head: Tensor
    surface: Tensor
    brain: Tensor
    freedom: Tensor
    clearance: Tensor
    sha256: str


@cache
def template() -> Template:
    """Load the shipped template. Cached: it is public and the same for everybody."""
    folder = resources.files("reidscope_site.data")
    head_bytes = (folder / "average_head.npz").read_bytes()
    brain_bytes = (folder / "brain_mask.npz").read_bytes()
    with (
        resources.as_file(folder / "average_head.npz") as head_path,
        resources.as_file(folder / "brain_mask.npz") as brain_path,
    ):
        stored = np.load(head_path, allow_pickle=False)
        head, surface = stored["head"], stored["surface"]
        packed = np.load(brain_path, allow_pickle=False)
        shape = tuple(packed["shape"])
        brain = np.unpackbits(packed["packed"], count=int(np.prod(shape))).reshape(shape) > 0
    coarse = (slice(None, None, LATTICE_MM),) * 3
    to_brain = ndimage.distance_transform_edt(~brain[coarse]) * LATTICE_MM
    to_head = ndimage.distance_transform_edt(surface[coarse] <= SKIN * 255) * LATTICE_MM
    ramp = np.clip(to_brain / _BRAIN_MARGIN_MM, 0, 1)
    return Template(
        head=torch.from_numpy(head.astype(np.float32) * _HEAD_STEP),
        surface=torch.from_numpy(surface.astype(np.float32) / 255),
        brain=torch.from_numpy(brain),
        freedom=_on_lattice(ramp * ramp * (3 - 2 * ramp), shape),
        clearance=_on_lattice(to_head, shape),
        sha256=hashlib.sha256(head_bytes + brain_bytes).hexdigest(),
    )


def lattice_axes(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Template mm of lattice points along x, y and z; the last lies on or beyond the grid."""
    x, y, z = (
        torch.arange(0, extent + LATTICE_MM, LATTICE_MM, dtype=torch.float32) for extent in shape
    )
    return x, y, z


def _on_lattice(coarse: NDArray[np.float64], shape: tuple[int, ...]) -> Tensor:
    sizes = [len(axis) for axis in lattice_axes(shape)]
    missing = [(0, size - have) for size, have in zip(sizes, coarse.shape, strict=True)]
    padded = np.pad(coarse, missing, mode="edge")
    return torch.from_numpy(np.ascontiguousarray(padded, dtype=np.float32))
