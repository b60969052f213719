"""Quickshear (Schimke and Hale, 2011): a plane cuts the face away, clear of the brain.

The method and its 10 mm are the `quickshear` package's; the brain is the registered average head's,
not a skull-stripping: enough to place a plane, not a brain mask to publish.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import quickshear

from reidscope_site.face.intent import Intent
from reidscope_site.face.regions import brain, in_scan

if TYPE_CHECKING:
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

NAME = "quickshear"
INTENT = Intent.REMOVED
BUFFER_MM = 10
"""From the brain: the method's default. Its plane is straight: with more, faces stay."""


def apply(volume: Volume, registration: Registration) -> Volume:
    """Shear the face off a 1 mm scan; where no plane can be placed it comes back as it was."""
    inside = in_scan(brain(), registration, volume.voxels.shape)
    if not inside.any():
        return volume
    try:
        with warnings.catch_warnings():
            # the package's cross products of plane vectors, which NumPy is about to give up
            warnings.simplefilter("ignore", DeprecationWarning)
            sheared = quickshear.quickshear(
                nibabel.Nifti1Image(volume.voxels, volume.affine),
                nibabel.Nifti1Image(inside.astype(np.uint8), volume.affine),
                buff=BUFFER_MM,
            )
    except IndexError:  # the package's own, where a sliver of brain has no convex hull
        return volume
    return replace(volume, voxels=np.ascontiguousarray(sheared.dataobj, dtype=np.float32))
