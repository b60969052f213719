"""Coarsen: the scan as a coarser protocol would have shown it, brought back to its grid.

Two arms: 3 mm isotropic (a functional scan's), and 5 mm slices (a routine clinical one's): means
over cells, then linear between their centres. No defacer: the skin stays where it was and the brain
is blurred with it, so that no gate passes. It answers another question: how exposed are the scans
that nobody defaces because they are coarse?
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it

from reidscope_site.face.intent import Intent

if TYPE_CHECKING:
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

INTENT = Intent.KEPT


def coarsen_3mm(volume: Volume, registration: Registration) -> Volume:  # noqa: ARG001  # as `Apply` asks
    """Average a 1 mm scan over cells of 3 mm."""
    return _coarsened(volume, (3, 3, 3))


def coarsen_5mm_slices(volume: Volume, registration: Registration) -> Volume:  # noqa: ARG001  # as `Apply` asks
    """Average a 1 mm scan over axial slices of 5 mm."""
    return _coarsened(volume, (1, 1, 5))


ARMS = (("coarsen-3mm", coarsen_3mm), ("coarsen-5mm-slices", coarsen_5mm_slices))


def _coarsened(volume: Volume, cell_mm: tuple[int, int, int]) -> Volume:
    """Means over cells, linear in between; the grid is filled up by its own edge first."""
    size = volume.voxels.shape
    voxels = torch.from_numpy(volume.voxels)[None, None]
    missing = [-n % cell for n, cell in zip(size, cell_mm, strict=True)]
    padded = F.pad(voxels, [0, missing[2], 0, missing[1], 0, missing[0]], mode="replicate")
    means = F.avg_pool3d(padded, cell_mm)
    fine = F.interpolate(means, size=padded.shape[2:], mode="trilinear", align_corners=False)
    return replace(volume, voxels=fine[0, 0, : size[0], : size[1], : size[2]].contiguous().numpy())
