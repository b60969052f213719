"""The attacker who repairs: where a defaced scan has no face, the average one is filled in.

What is left of the person (brow, cheeks, jaw, the size and pose of the head) then lies in a whole
face, in which a recogniser finds its landmarks where they belong. Schwarz and others did so against
mri_deface and its like. The attacker sees the defaced scan alone and registers it himself, by all
but the face. Where a face was replaced instead of cut there is nothing to fill, and the scan comes
back as it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from reidscope_site.face.average import air_of, average_drawn, box_of
from reidscope_site.face.regions import free_air, front, in_scan
from reidscope_site.face.register import register
from reidscope_site.face.template import SKIN, template
from reidscope_site.face.volume import resampled, resampled_at

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

BELIEVED_NCC = 0.8
"""Below it the attacker gives up."""

CUT_MM = 6.0
DEEP_MM = 14.0
"""Where a scan with clean air begins so much deeper than the average head, it was cut, and around
it down to `CUT_MM`."""

_FRONT_FROM_MM = 110
"""The half of the template in which a face may be missing: from here to the front."""
_FEATHER_MM = 1.5
_SPREAD = 5
_SHARE_OF_TISSUE, _TISSUE_PERCENTILE = 0.25, 60
_AROUND_MM = 10
_CLEAN = 0.5


def repair(defaced: Volume) -> Volume | None:
    """Fill the missing part of a face from the average head.

    Parameters
    ----------
    defaced : Volume
        1 mm, as it was released.

    Returns
    -------
    Volume or None
        On the same grid; None where the registration is not believed.

    Privacy
    -------
    A function of one defaced scan: stays at the site (docs/privacy.md, "One person, one cell").
    """
    registration = register(defaced, face=False)
    if registration.ncc < BELIEVED_NCC:
        return None
    missing = _missing(defaced, registration)
    box = box_of(missing, margin=_AROUND_MM)
    if box is None:
        return defaced
    weight = np.zeros(missing.shape, np.float32)
    soft = ndimage.gaussian_filter(missing[box].astype(np.float32), _FEATHER_MM)
    weight[box] = np.clip(2 * soft, 0, 1)
    known = in_scan(front(), registration, missing.shape)
    known &= ~missing & (defaced.voxels > 0)
    drawn = average_drawn(defaced, registration, weight=weight, known=known)
    # filled, not carved: what is left of the person stands out as far as it did
    return replace(defaced, voxels=np.where(missing, drawn, np.maximum(drawn, defaced.voxels)))


def _missing(defaced: Volume, registration: Registration) -> NDArray[np.bool_]:
    """Where the average head is and the scan was cut: empty, in front of its first tissue.

    Where the scan's own air is noise, cut is what holds one value; where it is clean, what lies
    deep under the average skin.
    """
    shape = defaced.voxels.shape
    level = _level(defaced, registration)
    if level is None:
        return np.zeros(shape, bool)
    tissue = ndimage.gaussian_filter(defaced.voxels, 1.0) > level
    blank = _blank(defaced.voxels)
    clean = float(blank[in_scan(free_air(), registration, shape) & ~tissue].mean()) > _CLEAN
    head = template().surface.numpy()[:, _FRONT_FROM_MM:] > SKIN
    corner = np.eye(4)
    corner[1, 3] = _FRONT_FROM_MM
    onto = np.linalg.inv(registration.to_template) @ corner
    body = resampled(_floats(tissue), onto, head.shape).numpy() > SKIN
    scan = _first(ndimage.binary_opening(body, iterations=1))
    gap = np.where(head.any(1), scan - _first(head), 0)
    if clean:
        cut = ndimage.binary_propagation(
            ndimage.binary_opening(gap > DEEP_MM, iterations=2), mask=gap > CUT_MM
        )
    else:
        # one voxel under the average skin is looked at: there the cut shows, or the noise of air
        depth = (head.shape[1] - 2 - _first(head)).clip(0, head.shape[1] - 1).astype(int)
        found = resampled_at(_floats(blank), onto, head.shape, torch.from_numpy(depth))
        at_skin = found.numpy() > SKIN
        cut = ndimage.binary_opening(at_skin & (gap > CUT_MM / 2), iterations=2)
    columns = np.zeros(template().surface.shape, np.float32)
    behind = head.shape[1] - 1 - scan
    columns[:, _FRONT_FROM_MM:] = ndimage.binary_dilation(cut, iterations=2)[:, None] & (
        np.arange(head.shape[1])[None, :, None] > behind[:, None]
    )
    inside = in_scan(torch.from_numpy(columns), registration, shape)
    missing: NDArray[np.bool_] = inside & ~ndimage.binary_dilation(tissue, iterations=1)
    return missing


def _floats(part: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(part.astype(np.float32))


def _level(defaced: Volume, registration: Registration) -> float | None:
    """Brightness from which the scan holds tissue; None where nothing stands out."""
    air = air_of(defaced.voxels)
    found = defaced.voxels[in_scan(front(), registration, defaced.voxels.shape)]
    bright = found[found > air]
    if not bright.size:
        return None
    return air + _SHARE_OF_TISSUE * (float(np.percentile(bright, _TISSUE_PERCENTILE)) - air)


def _blank(voxels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels that equal their neighbours along every axis: no scanner writes them, defacers do."""
    same = np.ones(voxels.shape, bool)
    for axis in range(voxels.ndim):
        along, last = np.moveaxis(voxels, axis, 0), np.moveaxis(same, axis, 0)
        last[1:] &= along[1:] == along[:-1]
        last[0] &= along[0] == along[-1]
    return same


def _first(body: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mm from the front of a grid (x, y, z) to the first voxel of a body, (x, z)."""
    seen: NDArray[np.float64] = body[:, ::-1].argmax(1).astype(np.float64)
    seen[~body.any(1)] = body.shape[1]
    return seen
