"""Facemask: everything from 22 mm under the skin of the face forwards is emptied.

The region is the average head's, registered: brow to chin, clear of the brain. Takes the eyes too,
which a plane that must spare the brain often leaves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reidscope_site.face.intent import Intent
from reidscope_site.face.regions import face, guarded_brain, in_scan

if TYPE_CHECKING:
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

NAME = "facemask"
INTENT = Intent.REMOVED


def apply(volume: Volume, registration: Registration) -> Volume:
    """Empty the face of a 1 mm scan; where no face lies in it, it comes back as it was."""
    region = in_scan(face(), registration, volume.voxels.shape)
    region &= ~in_scan(guarded_brain(), registration, volume.voxels.shape)
    if not region.any():
        return volume
    voxels = volume.voxels.copy()
    voxels[region] = 0
    return replace(volume, voxels=voxels)
