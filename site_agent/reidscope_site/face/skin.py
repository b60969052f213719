"""The face in a scan, as an attacker sees it: the largest bright body, rendered from the front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from skimage.filters import threshold_otsu

from reidscope_site.face.raycast import Camera, GridSurface, Lamp, Look, render
from reidscope_site.face.template import FACE_CENTRE_MM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

_SHARE_OF_OTSU = 0.6
_SMOOTHING_MM = 0.8
_BRIGHTEST = 99.9
_COLOUR = (0.95, 0.78, 0.68)
_LOOK = Look(
    lamps=(
        Lamp(towards=(-0.4, 1.0, 0.5), strength=0.9),
        Lamp(towards=(0.7, 0.7, 0.2), strength=0.35),
    )
)


def reconstruct(volume: Volume) -> GridSurface | None:
    """Skin of the largest bright body of a 1 mm scan, or None if nothing stands out.

    Privacy
    -------
    One person's face: stays in the process.
    """
    thin = volume.voxels[::2, ::2, ::2]
    ceiling = float(np.percentile(thin, _BRIGHTEST))
    floor = float(thin.min())
    if ceiling <= floor:
        return None
    level = float(threshold_otsu(np.minimum(thin, ceiling))) * _SHARE_OF_OTSU
    smooth = ndimage.gaussian_filter(volume.voxels, _SMOOTHING_MM, truncate=3.0)
    bright = smooth > level
    labels, count = ndimage.label(bright)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    smooth[bright & (labels != sizes.argmax())] = floor
    return GridSurface(voxels=torch.from_numpy(smooth), level=level)


def face_picture(volume: Volume, registration: Registration) -> NDArray[np.uint8] | None:
    """Render a 1 mm scan from the front, (256, 256, 3) RGB; the pose is the registration's.

    Privacy
    -------
    One person's face: never written, never leaves the process.
    """
    surface = reconstruct(volume)
    if surface is None:
        return None
    camera = Camera(target_mm=registration.in_scan(FACE_CENTRE_MM), turn=registration.turn)
    colour = torch.tensor(_COLOUR)
    mirrored = render(surface, camera, _LOOK, lambda points: colour.expand(len(points), 3))
    # x of a scan runs to the person's right, which a photograph shows on its left
    return np.ascontiguousarray(mirrored[:, ::-1])
