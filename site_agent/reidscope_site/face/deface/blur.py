"""Blur: the face region is smoothed; the brain is untouched.

Fails visibly: a demonstration's weak defacer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from reidscope_site.face.intent import Intent
from reidscope_site.face.regions import face, guarded_brain, in_scan

if TYPE_CHECKING:
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

NAME = "blur"
INTENT = Intent.KEPT
SIGMA_MM = 6.0
_FEATHER_MM = 2.0
_REACH = 3.0
"""Gaussians end after so many standard deviations."""


def apply(volume: Volume, registration: Registration) -> Volume:
    """Blur the face of a 1 mm scan.

    Privacy
    -------
    The result still shows a face: stays at the site (docs/privacy.md, "What stays at the site").
    """
    shape = volume.voxels.shape
    region = in_scan(face(), registration, shape)
    if not region.any():
        return volume
    brain = in_scan(guarded_brain(), registration, shape)
    box = _box(region, margin=int(_REACH * (SIGMA_MM + _FEATHER_MM)))
    weight = ndimage.gaussian_filter(region[box].astype(np.float32), _FEATHER_MM, truncate=_REACH)
    weight[brain[box]] = 0
    sharp = volume.voxels[box]
    soft = ndimage.gaussian_filter(sharp, SIGMA_MM, truncate=_REACH)
    voxels = volume.voxels.copy()
    voxels[box] = sharp * (1 - weight) + soft * weight
    return replace(volume, voxels=voxels)


def _box(region: np.ndarray, *, margin: int) -> tuple[slice, ...]:
    """Slices that hold the region and `margin` voxels around it."""
    found = ndimage.find_objects(region.astype(np.int8))[0]
    return tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin))
        for side, size in zip(found, region.shape, strict=True)
    )
