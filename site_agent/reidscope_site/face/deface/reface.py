"""Reface: the face of the registered average head in place of the person's.

What mri_reface and afni_refacer do: matched in brightness, without a seam, air in front of it. The
scan still shows a face, nobody's. Brow to chin, as deep as `facemask` cuts and clear of the brain;
ears stay. The person's pose and the size of the head stay too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from reidscope_site.face.average import average_drawn, box_of
from reidscope_site.face.intent import Intent
from reidscope_site.face.regions import face, guarded_brain, in_scan

if TYPE_CHECKING:
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

NAME = "reface"
INTENT = Intent.AVERAGED
_FEATHER_MM = 4.0
_AROUND_MM = 12


def apply(volume: Volume, registration: Registration) -> Volume:
    """Replace the face of a 1 mm scan; where no face lies in it, it comes back as it was.

    Privacy
    -------
    Under the new face nothing of the old one's shape is left but at the seam, 4 mm wide
    (docs/privacy.md, "What stays at the site").
    """
    shape = volume.voxels.shape
    region = in_scan(face(), registration, shape)
    region &= ~in_scan(guarded_brain(), registration, shape)
    box = box_of(region, margin=_AROUND_MM)
    if box is None:
        return volume
    weight = np.zeros(shape, np.float32)
    inside = np.pad(region[box], 1, mode="edge")[1:-1, 1:-1, 1:-1]
    depth = ndimage.distance_transform_edt(inside)
    weight[box] = np.clip(depth / _FEATHER_MM, 0, 1)
    known = np.zeros(shape, bool)
    known[box] = True
    return replace(volume, voxels=average_drawn(volume, registration, weight=weight, known=known))
