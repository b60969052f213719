"""Regions of the average head, and where they lie in a scan."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from scipy import ndimage

from reidscope_site.face.template import LATTICE_MM, MIDLINE_MM, NECK_MM, SKIN, template
from reidscope_site.face.volume import reached, resampled

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from reidscope_site.face.register import Registration

BRAIN_MARGIN_MM = 5.0
"""The registered brain is grown by so much before a defacer may come near it."""

_DEPTH_MM = 22.0
_TOP_MM = 114.0
_BOTTOM_MM = -30.0
_HALF_WIDTH_MM = 66.0
_REARMOST_MM = 158.0
_SPILL_MM = 15.0
_FRONT_FROM_MM = 130
_CLEAR_MM = 8.0
_CELL, _FEWEST_CELLS = 2, 2


@cache
def brain() -> Tensor:
    """Brain of the template: 0 or 1, float32. Cached: public."""
    return template().brain.float()


@cache
def head() -> Tensor:
    """Head of the template, occupancy in [0, 1], float32: without its synthetic neck. Public."""
    occupied = template().surface.clone()
    occupied[:, :, :NECK_MM] = 0
    return occupied


@cache
def front() -> Tensor:
    """Front half of the template's head around its face: 0 or 1, float32. Cached: public."""
    occupied = (head() > SKIN).float()
    occupied[:, :_FRONT_FROM_MM] = 0
    occupied[:, :, int(_TOP_MM) + NECK_MM :] = 0
    return occupied


@cache
def soft_tissue() -> Tensor:
    """Head of the template, clear of the brain and of what its blur spills: 0 or 1. Public."""
    clear = torch.from_numpy(_to_brain() > _SPILL_MM)
    return ((head() > SKIN) & clear).float()


@cache
def free_air() -> Tensor:
    """Air beside and above the template's head: 0 or 1, float32; no defacer cuts there. Public."""
    air = (template().clearance > _CLEAR_MM).float()
    fine = F.interpolate(air[None, None], scale_factor=LATTICE_MM)[0, 0]
    nothing: Tensor = fine[tuple(slice(n) for n in template().surface.shape)].contiguous()
    nothing[:, _FRONT_FROM_MM:, : int(_TOP_MM) + NECK_MM] = 0
    return nothing


@cache
def guarded_brain() -> Tensor:
    """Brain of the template and `BRAIN_MARGIN_MM` around it: 0 or 1, float32. Cached: public."""
    return torch.from_numpy((_to_brain() <= BRAIN_MARGIN_MM).astype(np.float32))


@cache
def face() -> Tensor:
    """Face of the template, 0 or 1, float32: 22 mm deep, chin to brow, clear of the brain.

    Cached: public.
    """
    head = template().surface.numpy() > SKIN
    deep = head.shape[1]
    front = deep - 1 - head[:, ::-1].argmax(1).astype(np.float64)
    front[~head.any(1)] = 0
    front = ndimage.gaussian_filter(front, 3)
    x, z = np.meshgrid(np.arange(head.shape[0]), np.arange(head.shape[2]) - NECK_MM, indexing="ij")
    facial = (np.abs(x - MIDLINE_MM) < _HALF_WIDTH_MM) & (z > _BOTTOM_MM) & (z < _TOP_MM)
    from_mm = np.where(facial, np.maximum(front - _DEPTH_MM, _REARMOST_MM), np.inf)
    region = np.arange(deep)[None, :, None] >= from_mm[:, None, :]
    return torch.from_numpy((region & (_to_brain() > BRAIN_MARGIN_MM)).astype(np.float32))


def in_scan(
    region: Tensor, registration: Registration, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Where a template region lies in a scan's 1 mm grid of that shape, to half a millimetre or so.

    Evaluated on every second voxel and interpolated: four times faster, and registration is no
    better than that.
    """
    cells = tuple(-(-n // _CELL) + 1 for n in shape)
    onto = registration.to_template @ np.diag([_CELL, _CELL, _CELL, 1.0])
    inside = np.zeros(shape, bool)
    # one cell more on every side: there the interpolation ends
    box = [
        slice(max(0, side.start - 1), min(n, side.stop + 1))
        for side, n in zip(reached(region, onto, cells), cells, strict=True)
    ]
    if any(side.stop - side.start < _FEWEST_CELLS for side in box):
        return inside
    coarse = resampled(region, onto, cells)[tuple(box)]
    full = tuple((n - 1) * _CELL + 1 for n in coarse.shape)
    fine = F.interpolate(coarse[None, None], size=full, mode="trilinear", align_corners=True)[0, 0]
    i, j, k = (
        slice(side.start * _CELL, min(side.start * _CELL + n, whole))
        for side, n, whole in zip(box, full, shape, strict=True)
    )
    inside[i, j, k] = (
        fine[: i.stop - i.start, : j.stop - j.start, : k.stop - k.start].numpy() > SKIN
    )
    return inside


@cache
def _to_brain() -> NDArray[np.float32]:
    """Distance to the template's brain, mm, (176, 250, 295)."""
    outside = ~template().brain.numpy()
    distance: NDArray[np.float32] = ndimage.distance_transform_edt(outside).astype(np.float32)
    return distance
