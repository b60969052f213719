"""The average face drawn into a scan: in the scan's own brightness, without a seam.

What a replacing defacer does, and what an attacker does who repairs a cut scan. How bright the
scan shows what is bright or dark in the average head is learnt where both are there, as a curve of
medians: so the face of a T2 or a CT comes out like one.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from reidscope_site.face.template import template
from reidscope_site.face.volume import resampled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

_BINS = 16
_FEWEST = 50
_AIR_PERCENTILE = 50
_CORNER = 8
_LEAST_OCCUPIED = 0.3
_LEAST_TISSUE = 20.0


def average_drawn(
    volume: Volume,
    registration: Registration,
    *,
    weight: NDArray[np.float32],
    known: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Draw the registered average head over a scan.

    Parameters
    ----------
    volume : Volume
        1 mm.
    registration : Registration
        Of it.
    weight : ndarray of float32
        In [0, 1], on the volume's grid: how much of the average head a voxel takes; air is drawn
        where the average head has air.
    known : ndarray of bool
        On the volume's grid: where the scan's own brightness may be learnt.

    Returns
    -------
    ndarray of float32
        New voxels; those of weight 0 are the same.

    Privacy
    -------
    What is drawn holds the scan's pose and brightness, nothing of its shape (docs/privacy.md, "What
    stays at the site").
    """
    box = box_of(weight > 0, margin=0)
    voxels = volume.voxels.copy()
    if box is None:
        return voxels
    head, occupied = (_in_box(part, registration, box) for part in (_tissue(), template().surface))
    learnt = box_of(known, margin=0)
    if learnt is None:
        return voxels
    curve = _curve(
        _in_box(_tissue(), registration, learnt)[known[learnt]],
        volume.voxels[learnt][known[learnt]],
    )
    bright = np.interp(head, *curve).astype(np.float32)
    drawn = bright * occupied + air_of(volume.voxels) * (1 - occupied)
    share = weight[box]
    voxels[box] = voxels[box] * (1 - share) + drawn * share
    return voxels


def air_of(voxels: NDArray[np.float32]) -> float:
    """Brightness of nothing: the median of the grid's corners."""
    return float(np.percentile(corners_of(voxels), _AIR_PERCENTILE))


def corners_of(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Voxels of the grid's eight corners, (n,): of a head they are air."""
    ends = (slice(None, _CORNER), slice(-_CORNER, None))
    return np.concatenate([voxels[i, j, k].ravel() for i in ends for j in ends for k in ends])


def box_of(region: NDArray[np.bool_], *, margin: int) -> tuple[slice, slice, slice] | None:
    """Slices that hold a region and `margin` voxels around it; None for an empty one."""
    plane = np.any(region, axis=2)
    sides = [np.flatnonzero(line) for line in (plane.any(1), plane.any(0), region.any((0, 1)))]
    if not sides[0].size:
        return None
    i, j, k = (
        slice(max(0, int(side[0]) - margin), min(size, int(side[-1]) + 1 + margin))
        for side, size in zip(sides, region.shape, strict=True)
    )
    return i, j, k


@cache
def _tissue() -> Tensor:
    """Brightness of the template's tissue, without the air that a voxel at the skin holds too.

    Cached: public.
    """
    head = template()
    bright: Tensor = head.head / head.surface.clamp(min=_LEAST_OCCUPIED)
    return torch.where(head.surface > _LEAST_OCCUPIED, bright, torch.zeros(()))


def _in_box(
    part: Tensor, registration: Registration, box: tuple[slice, slice, slice]
) -> NDArray[np.float32]:
    """Values of a template's part in a box of the scan's grid."""
    corner = np.eye(4)
    corner[:3, 3] = [side.start for side in box]
    shape = tuple(side.stop - side.start for side in box)
    values: NDArray[np.float32] = resampled(part, registration.to_template @ corner, shape).numpy()
    return values


def _curve(
    average: NDArray[np.float32], scan: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median brightness of the scan by that of the average head, where it is not air."""
    tissue = average > _LEAST_TISSUE
    average, scan = average[tissue], scan[tissue]
    if len(average) < _FEWEST:
        return np.array([0.0, 1.0]), np.array([0.0, 0.0])
    edges = np.unique(np.quantile(average, np.linspace(0, 1, _BINS + 1)))
    which = np.clip(np.searchsorted(edges, average, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(which, minlength=len(edges) - 1)
    kept = [one for one in range(len(edges) - 1) if counts[one] >= _FEWEST]
    levels = np.array([np.median(average[which == one]) for one in kept], dtype=np.float64)
    medians = np.array([np.median(scan[which == one]) for one in kept], dtype=np.float64)
    return (levels, medians) if kept else (np.array([0.0, 1.0]), np.array([0.0, 0.0]))
