"""Whether a defaced scan may be called defaced: is the face gone, is the brain whole.

Geometry alone: no recogniser says that a face is gone, for recognisers still find faces in cut
heads. The skin between mouth and the bridge of the nose is looked for along rays from the front,
before and after; the brain is the registered average head's. Thresholds are ours, set on synthetic
heads and one real one: a defacer that only blurs does not pass. Passing is no measure of how many
people would be found: that is what the experiment is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from reidscope_site.face.regions import brain, in_scan
from reidscope_site.face.skin import reconstruct
from reidscope_site.face.template import FACE_CENTRE_MM, MIDLINE_MM, SKIN, template

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

MOVED_MM = 8.0
"""Skin that lies so much deeper than it did shows another shape than the person's."""

MOST_SKIN_LEFT = 0.2
"""Share of the skin between mouth and the bridge of the nose that may lie where it lay."""

MOST_BRAIN_CHANGED = 0.001
"""Share of the registered brain that may have been touched."""

_HALF_WIDTH_MM = 35
_BELOW_MM, _ABOVE_MM = 43, 7
_BEFORE_MM, _BEHIND_MM = 25.0, 45.0
_STEP_MM = 0.5
_SMOOTHING_MM = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What was found.

    Attributes
    ----------
    skin_left : float
        Share, 0 to 1, of the rays whose first skin lies less than `MOVED_MM` from where it lay; 1
        if no skin was found before.
    brain_changed : float
        Share, 0 to 1, of the registered brain whose intensities differ.

    Privacy
    -------
    About one person: stays at the site.
    """

    skin_left: float
    brain_changed: float

    @property
    def face_gone(self) -> bool:
        """Whether the skin of the face is no longer there."""
        return self.skin_left <= MOST_SKIN_LEFT

    @property
    def brain_whole(self) -> bool:
        """Whether the brain is as it was."""
        return self.brain_changed <= MOST_BRAIN_CHANGED

    @property
    def passed(self) -> bool:
        """Whether both hold."""
        return self.face_gone and self.brain_whole


def check(before: Volume, after: Volume, registration: Registration) -> Gates:
    """Compare a 1 mm scan with itself defaced.

    Parameters
    ----------
    before, after : Volume
        On the same grid; `after` as it will be written.
    registration : Registration
        Of `before`.
    """
    inside = in_scan(brain(), registration, before.voxels.shape)
    changed = np.abs(after.voxels - before.voxels)[inside] > _noticeable(before)
    return Gates(
        skin_left=_skin_left(before, after, registration),
        brain_changed=float(changed.mean()) if changed.size else 1.0,
    )


def _noticeable(volume: Volume) -> float:
    """Say what is more than rounding: a thousandth of the scan's range."""
    return float(np.percentile(volume.voxels[::3, ::3, ::3], 99.5)) / 1000


def _skin_left(before: Volume, after: Volume, registration: Registration) -> float:
    surface = reconstruct(before)
    if surface is None:
        return 1.0
    rays = _rays(registration)
    smooth = ndimage.gaussian_filter(after.voxels, _SMOOTHING_MM, truncate=3.0)
    was = _depth(surface.voxels.numpy(), rays, surface.level)
    now = _depth(smooth, rays, surface.level)
    seen = np.isfinite(was)
    if not seen.any():
        return 1.0
    return float((np.abs(now[seen] - was[seen]) < MOVED_MM).mean())


def _depth(
    voxels: NDArray[np.float32], rays: NDArray[np.float64], level: float
) -> NDArray[np.float64]:
    """Mm along each ray to the first voxel brighter than `level`; infinite where there is none."""
    bright = ndimage.map_coordinates(voxels, rays, order=1, mode="constant") > level
    first = np.argmax(bright, axis=1) * _STEP_MM
    depth: NDArray[np.float64] = np.where(bright.any(axis=1), first, np.inf)
    return depth


def _rays(registration: Registration) -> NDArray[np.float64]:
    """Points of each ray in the scan's grid, (3, rays, steps), from the front inwards."""
    points = _template_rays()
    inverse = np.linalg.inv(registration.to_template)
    flat = inverse[:3, :3] @ points.reshape(3, -1) + inverse[:3, 3:]
    return flat.reshape(points.shape)


@cache
def _template_rays() -> NDArray[np.float64]:
    """Rays through the face of the template, (3, rays, steps), mm. Cached: public."""
    head = template().surface.numpy() > SKIN
    deep = head.shape[1]
    front = deep - 1 - head[:, ::-1].argmax(1).astype(np.float64)
    middle, height = int(MIDLINE_MM), int(FACE_CENTRE_MM[2])
    across = np.arange(middle - _HALF_WIDTH_MM, middle + _HALF_WIDTH_MM + 1, 2)
    up = np.arange(height - _BELOW_MM, height + _ABOVE_MM + 1, 2)
    x, z = (part.ravel() for part in np.meshgrid(across, up, indexing="ij"))
    kept = head[x, :, z].any(1)
    x, z = x[kept], z[kept]
    along = np.arange(-_BEFORE_MM, _BEHIND_MM, _STEP_MM)
    y = front[x, z][:, None] - along
    shape = y.shape
    return np.stack(
        [np.broadcast_to(x[:, None], shape), y, np.broadcast_to(z[:, None], shape)]
    ).astype(np.float64)
