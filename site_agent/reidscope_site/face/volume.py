"""A de-identified DICOM series becomes a volume in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pydicom
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from pydicom.errors import InvalidDicomError

from reidscope_protocols.errors import GeometryError
from reidscope_site.face.geometry import (
    SeriesProblem,
    SliceHeader,
    normal,
    read_slice_header,
    series_problem,
    slice_header,
    slice_offsets,
)
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from collections.abc import Sequence

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

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_ALIGNED = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume(Unsendable):
    """A head.

    Attributes
    ----------
    voxels : ndarray of float32
        (i, j, k); i runs to the person's right, j to the front, k up, as nearly as the grid allows
        (RAS+).
    spacing_mm : tuple of 3 floats
        Along i, j, k.
    affine : ndarray of float64
        (4, 4), voxel indices to RAS mm.

    Privacy
    -------
    One person's head, de-identified in its header only. Has no serialiser.
    """

    voxels: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]


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
    try:
        datasets = [pydicom.dcmread(path) for path in files]
        headers = [slice_header(dataset) for dataset in datasets]
        problem = series_problem(headers)
        if problem is not None or not headers:
            raise _unusable(problem or SeriesProblem.ONE_SLICE)
        order = np.argsort(slice_offsets(headers) @ normal(headers[0]), kind="stable")
        slices = np.stack([_intensities(datasets[index]) for index in order])
    except (InvalidDicomError, ValueError, AttributeError, RuntimeError) as error:
        # pydicom's own errors for a file or pixel data that it cannot decode
        raise _unusable(SeriesProblem.UNSUPPORTED) from error
    if not np.isfinite(slices).all():
        raise _unusable(SeriesProblem.UNSUPPORTED)
    return to_ras(slices.transpose(0, 2, 1), _affine([headers[index] for index in order]))


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
    return Volume(voxels=voxels.numpy(), spacing_mm=(1.0, 1.0, 1.0), affine=affine)


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
    matrix = torch.tensor(onto, dtype=torch.float32)
    # a singleton axis has no second index to scale by
    scale = 2 / (torch.tensor(voxels.shape, dtype=torch.float32) - 1).clamp(min=1)
    j, k = torch.meshgrid(
        torch.arange(shape[1], dtype=torch.float32),
        torch.arange(shape[2], dtype=torch.float32),
        indexing="ij",
    )
    plane = torch.stack([j, k], -1) @ matrix[:3, 1:3].T + matrix[:3, 3]
    out = torch.empty(shape)
    for i in range(shape[0]):
        where = ((plane + i * matrix[:3, 0]) * scale - 1).flip(-1)
        out[i] = F.grid_sample(
            voxels[None, None], where[None, None], padding_mode="zeros", align_corners=True
        )[0, 0, 0]
    return out


def _intensities(dataset: pydicom.Dataset) -> NDArray[np.float32]:
    """Modality values of one slice, (rows, columns)."""
    slope = float(dataset.get("RescaleSlope") or 1)
    intercept = float(dataset.get("RescaleIntercept") or 0)
    return np.asarray(dataset.pixel_array, dtype=np.float32) * np.float32(slope) + np.float32(
        intercept
    )


def _affine(ordered: Sequence[SliceHeader]) -> NDArray[np.float64]:
    """Map indices (slice, column, row) of sorted slices to RAS mm."""
    first = ordered[0]
    row, column = np.array(first.orientation).reshape(2, 3)
    between_rows, between_columns = first.pixel_spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = slice_offsets(ordered)[-1] / (len(ordered) - 1)
    affine[:3, 1] = row * between_columns
    affine[:3, 2] = column * between_rows
    affine[:3, 3] = np.array(first.position)
    return _LPS_TO_RAS @ affine


def _unusable(problem: SeriesProblem) -> GeometryError:
    return GeometryError(
        "a series",
        got=problem.value,
        expected="evenly spaced slices of one head",
        do="leave it out or fix its headers; `reidscope-site index` says which kinds were left out",
    )
