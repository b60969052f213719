"""Skull-strip: the registered average head's brain and 5 mm around it stay, all else is emptied.

No segmentation: the mask is the average brain's, laid onto the scan (Dice .957 with deepbet's on
one real head). Enough to take every skin; not a brain mask to publish or to measure with.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from reidscope_site.face.intent import Intent
from reidscope_site.face.regions import guarded_brain, in_scan

if TYPE_CHECKING:
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

NAME = "skullstrip"
INTENT = Intent.REMOVED


def apply(volume: Volume, registration: Registration) -> Volume:
    """Keep the brain of a 1 mm scan; where no brain lies in it, it comes back as it was."""
    brain = in_scan(guarded_brain(), registration, volume.voxels.shape)
    if not brain.any():
        return volume
    return replace(volume, voxels=np.where(brain, volume.voxels, np.float32(0)))
