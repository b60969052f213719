"""The face in a scan, as an attacker sees it: the largest bright body, rendered from the front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from skimage.filters import threshold_otsu

from reidscope_protocols.face_experiment import Renders
from reidscope_site.face.average import air_of
from reidscope_site.face.raycast import Camera, GridSurface, Lamp, Look, look_at, shade, turned
from reidscope_site.face.regions import in_scan, soft_tissue
from reidscope_site.face.template import FACE_CENTRE_MM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

_SHARE_OF_OTSU = 0.6
_SHARE_OF_SKIN = 0.5
_SMOOTHING_MM = 0.8
_BRIGHTEST = 99.9
_COLOUR = (0.95, 0.78, 0.68)
_FRONT = Look(
    lamps=(
        Lamp(towards=(-0.4, 1.0, 0.5), strength=0.9),
        Lamp(towards=(0.7, 0.7, 0.2), strength=0.35),
    )
)
"""The one light: from the upper left, filled from the right."""

_ASIDE_DEGREES, _ABOVE_DEGREES = 15.0, 10.0
_LIGHT_ASIDE, _LIGHT_ABOVE = 0.8, 0.7
_KEY_STRENGTH, _FILL_STRENGTH = 1.0, 0.25
_GRID = 9


def reconstruct(volume: Volume, registration: Registration) -> GridSurface | None:
    """Skin of the largest bright body of a 1 mm scan, or None if nothing stands out.

    Parameters
    ----------
    volume : Volume
        1 mm along the scanner's axes.
    registration : Registration
        Of it: where a PET's level is read, whose brain outshines its skin. An MR's or a CT's is
        read off the whole scan.

    Privacy
    -------
    One person's face: stays in the process (docs/privacy.md, "What stays at the site").
    """
    floor = float(volume.voxels[::2, ::2, ::2].min())
    level = _emitting(volume, registration) if volume.emission else _standing_out(volume, floor)
    if level is None:
        return None
    smooth = ndimage.gaussian_filter(volume.voxels, _SMOOTHING_MM, truncate=3.0)
    bright = smooth > level
    labels, count = ndimage.label(bright)
    if count == 0:
        return None
    if count > 1:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        bright &= labels != sizes.argmax()
        np.copyto(smooth, floor, where=bright)
    return GridSurface.of(torch.from_numpy(smooth), level)


def _standing_out(volume: Volume, floor: float) -> float | None:
    """Brightness between air and body; None where nothing is brighter than air."""
    thin = volume.voxels[::2, ::2, ::2]
    ceiling = float(np.percentile(thin, _BRIGHTEST))
    if ceiling <= floor:
        return None
    return float(threshold_otsu(np.minimum(thin, ceiling))) * _SHARE_OF_OTSU


def _emitting(volume: Volume, registration: Registration) -> float | None:
    """Half of what skin and muscle emit, clear of the brain; None where they emit nothing.

    Half, for that is what a blurred edge has where it lies.
    """
    air = air_of(volume.voxels)
    found = volume.voxels[in_scan(soft_tissue(), registration, volume.voxels.shape)]
    bright = found[found > air]
    if not bright.size:
        return None
    level = air + _SHARE_OF_SKIN * (float(np.median(bright)) - air)
    return level if level > air else None


def face_picture(volume: Volume, registration: Registration) -> NDArray[np.uint8] | None:
    """Render a 1 mm scan once, from the front; None if nothing stands out."""
    return next(face_pictures(volume, registration, Renders()), None)


def face_pictures(
    volume: Volume, registration: Registration, renders: Renders
) -> Iterator[NDArray[np.uint8]]:
    """Render a 1 mm scan in every view and light of a plan.

    Parameters
    ----------
    volume : Volume
        1 mm along the scanner's axes.
    registration : Registration
        Its turn is the head's pose.
    renders : Renders
        The study's.

    Yields
    ------
    ndarray of uint8
        (256, 256, 3), RGB; view by view, light by light; nothing if no body stands out.

    Privacy
    -------
    One person's face: never leaves the site; `review` alone writes it, into its owner's folder
    (docs/privacy.md, "What stays at the site").
    """
    surface = reconstruct(volume, registration)
    if surface is None:
        return
    target = registration.in_scan(FACE_CENTRE_MM)
    colour = torch.tensor(_COLOUR)
    for turn in views(renders.views):
        seen = look_at(surface, Camera(target_mm=target, turn=turn @ registration.turn))
        for look in lights(renders.lights):
            mirrored = shade(seen, look, lambda points: colour.expand(len(points), 3))
            # x of a scan runs to the person's right, which a photograph shows on its left
            yield np.ascontiguousarray(mirrored[:, ::-1])


def views(count: int) -> tuple[NDArray[np.float64], ...]:
    """Give turns of the head, (3, 3): 1 from the front, 3 to the sides, 9 above and below too."""
    aside = (0.0,) if count == 1 else (0.0, -_ASIDE_DEGREES, _ASIDE_DEGREES)
    above = (0.0, -_ABOVE_DEGREES, _ABOVE_DEGREES) if count == _GRID else (0.0,)
    return tuple(turned(yaw=yaw, pitch=pitch) for pitch in above for yaw in aside)


def lights(count: int) -> tuple[Look, ...]:
    """Give lights: the one; or a key lamp in 3 or 9 directions, with a weak one from the front."""
    if count == 1:
        return (_FRONT,)
    above = (0.0, -_LIGHT_ABOVE, _LIGHT_ABOVE) if count == _GRID else (_LIGHT_ABOVE / 2,)
    return tuple(
        Look(
            lamps=(
                Lamp(towards=(x, 1.0, z), strength=_KEY_STRENGTH),
                Lamp(towards=(0.0, 1.0, 0.0), strength=_FILL_STRENGTH),
            )
        )
        for z in above
        for x in (0.0, -_LIGHT_ASIDE, _LIGHT_ASIDE)
    )
