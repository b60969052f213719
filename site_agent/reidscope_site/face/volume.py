"""A de-identified DICOM series becomes a volume in millimetres."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it

from reidscope_site.face.couch import without_couch
from reidscope_site.face.geometry import (
    MAX_VOXELS,
    SeriesProblem,
    SliceHeader,
    read_slice_header,
    series_problem,
)
from reidscope_site.face.pet import head_of
from reidscope_site.face.slices import Slices, read_any_slices, unusable
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "SeriesProblem",
    "SliceHeader",
    "Volume",
    "isotropic",
    "read_slice_header",
    "read_volume",
    "series_problem",
]

_ALIGNED = 1e-3
_MARGIN, _SINGULAR = 2, 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume(Unsendable):
    """A head.

    Attributes
    ----------
    voxels : ndarray of float32
        (i, j, k), brightness above air; i runs to the person's right, j to the front, k up, as
        nearly as the grid allows (RAS+).
    spacing_mm : tuple of 3 floats
        Along i, j, k.
    affine : ndarray of float64
        (4, 4), voxel indices to RAS mm.
    emission : bool
        Whether a tracer makes the brightness (PET): the brain outshines the skin then.

    Privacy
    -------
    One person's head, de-identified in its header only. Has no serialiser (docs/privacy.md, "What
    stays at the site").
    """

    voxels: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]
    emission: bool = False


def read_volume(files: Sequence[Path]) -> Volume:
    """Read one series.

    Parameters
    ----------
    files : sequence of Path
        Its slices in any order, any orientation; de-identified.

    Raises
    ------
    GeometryError
        If they are no volume of a head: the message says which `SeriesProblem`, and nothing of the
        data.
    """
    return volume_of(read_any_slices(files))


def volume_of(slices: Slices) -> Volume:
    """Make a volume of sorted slices; a CT's couch is left out, and of a PET all but the head.

    Raises
    ------
    GeometryError
        If a scaling makes a sample endless.
    """
    bright = slices.intensities
    if not np.isfinite(bright).all():
        raise unusable(SeriesProblem.UNSUPPORTED)
    volume = to_ras(_evened(bright, slices.places).transpose(0, 2, 1), slices.affine)
    if slices.emission:
        return head_of(replace(volume, emission=True))
    return without_couch(volume) if slices.dark else volume


def _evened(bright: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Put unevenly spaced slices onto the grid of the closest ones, linearly between neighbours."""
    count = int(np.floor(places[-1] + _ALIGNED)) + 1
    if count == len(places):
        return bright
    if count * bright[0].size > MAX_VOXELS:
        raise unusable(SeriesProblem.UNSUPPORTED)
    upper = np.clip(np.searchsorted(places, np.arange(count)), 1, len(places) - 1)
    evened = np.empty((count, *bright.shape[1:]), np.float32)
    for index, above in enumerate(upper):
        gap = places[above] - places[above - 1]
        share = np.float32(np.clip((index - places[above - 1]) / gap, 0, 1))
        evened[index] = (1 - share) * bright[above - 1] + share * bright[above]
    return evened


def to_ras(voxels: NDArray[np.float32], affine: NDArray[np.float64]) -> Volume:
    """Reorder and flip the axes of voxels (i, j, k) so that they run right, front and up."""
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels, affine))
    x, y, z = (float(step) for step in np.linalg.norm(image.affine[:3, :3], axis=0))
    return Volume(
        voxels=np.ascontiguousarray(image.dataobj, dtype=np.float32),
        spacing_mm=(x, y, z),
        affine=np.asarray(image.affine, dtype=np.float64),
    )


def isotropic(volume: Volume) -> Volume:
    """Resample to 1 mm along the axes of the scanner; what already is so comes back itself.

    Oblique slices are made upright: the head lies roughly along the scanner's axes, the slices need
    not.
    """
    if np.abs(volume.affine[:3, :3] - np.eye(3)).max() < _ALIGNED:
        return volume
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in volume.voxels.shape])).reshape(3, -1)
    world = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    low = world.min(1)
    shape = tuple(int(n) for n in np.floor(world.max(1) - low) + 1)
    affine = np.eye(4)
    affine[:3, 3] = low
    voxels = resampled(
        torch.from_numpy(volume.voxels), np.linalg.inv(volume.affine) @ affine, shape
    )
    return Volume(
        voxels=voxels.numpy(),
        spacing_mm=(1.0, 1.0, 1.0),
        affine=affine,
        emission=volume.emission,
    )


@torch.no_grad()
def resampled(
    voxels: torch.Tensor, onto: NDArray[np.float64], shape: tuple[int, ...]
) -> torch.Tensor:
    """Trilinear values on another grid.

    Parameters
    ----------
    voxels : Tensor
        (i, j, k), float32.
    onto : ndarray
        (4, 4), indices of the new grid to indices of `voxels`.
    shape : tuple of int
        Of the new grid.

    Returns
    -------
    Tensor
        Of that shape; 0 where `voxels` ends.
    """
    places = _places(voxels, onto, shape)
    out = torch.zeros(shape)
    # the rest is 0 whatever is computed: each value depends on its own place alone
    rows, columns, layers = reached(voxels, onto, shape)
    for i in range(rows.start, rows.stop):
        out[i, columns, layers] = _trilinear(voxels, places(i, (columns, layers)))
    return out


@torch.no_grad()
def resampled_at(
    voxels: torch.Tensor,
    onto: NDArray[np.float64],
    shape: tuple[int, ...],
    second: torch.Tensor,
) -> torch.Tensor:
    """Take one value of `resampled` for each first and third index.

    Parameters
    ----------
    voxels, onto, shape
        As there.
    second : Tensor
        (i, k), whole numbers: the second index, j.
    """
    places = _places(voxels, onto, shape)
    layers = torch.arange(shape[2])
    return torch.stack(
        [_trilinear(voxels, places(i, (row, layers))[None])[0] for i, row in enumerate(second)]
    )


def _trilinear(voxels: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = F.grid_sample(
        voxels[None, None], where[None, None], padding_mode="zeros", align_corners=True
    )[0, 0, 0]
    return found


def _places(
    voxels: torch.Tensor, onto: NDArray[np.float64], shape: tuple[int, ...]
) -> Callable[[int, tuple[Any, Any]], torch.Tensor]:
    """From a first index, and other indices, of a new grid to PyTorch's places in `voxels`."""
    matrix = torch.tensor(onto, dtype=torch.float32)
    # a singleton axis has no second index to scale by
    scale = 2 / (torch.tensor(voxels.shape, dtype=torch.float32) - 1).clamp(min=1)
    j, k = torch.meshgrid(
        torch.arange(shape[1], dtype=torch.float32),
        torch.arange(shape[2], dtype=torch.float32),
        indexing="ij",
    )
    plane = torch.stack([j, k], -1) @ matrix[:3, 1:3].T + matrix[:3, 3]

    def places(i: int, others: tuple[Any, Any]) -> torch.Tensor:
        return ((plane[others] + i * matrix[:3, 0]) * scale - 1).flip(-1)

    return places


def reached(
    voxels: torch.Tensor, onto: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    """Box of a new grid outside which `resampled` gives 0.

    Parameters
    ----------
    voxels : Tensor
        (i, j, k), float32.
    onto : ndarray
        (4, 4), indices of the new grid to indices of `voxels`.
    shape : tuple of int
        Of the new grid.
    """
    filled = voxels.numpy() != 0
    plane = filled.any(2)
    sides = [np.flatnonzero(line) for line in (plane.any(1), plane.any(0), filled.any((0, 1)))]
    if not sides[0].size:
        return slice(0, 0), slice(0, 0), slice(0, 0)
    if not np.isfinite(onto).all() or np.linalg.cond(onto[:3, :3]) > _SINGULAR:
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    # weights end one voxel off; another is for rounding
    ends = [(side[0] - _MARGIN, side[-1] + _MARGIN) for side in sides]
    back = np.linalg.inv(onto)
    there = back[:3, :3] @ np.array(np.meshgrid(*ends)).reshape(3, -1) + back[:3, 3:]
    i, j, k = (
        slice(int(np.clip(np.floor(low), 0, n)), int(np.clip(np.ceil(high) + 1, 0, n)))
        for low, high, n in zip(there.min(1), there.max(1), shape, strict=True)
    )
    return i, j, k
