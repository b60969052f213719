"""Whether a defaced scan may be called defaced: was there a face, is it gone, is the brain whole.

    registration believed -> face in view and of a face's shape -> skin gone or replaced -> brain

Geometry alone: no recogniser says that a face is gone, for recognisers still find faces in cut
heads. The skin between mouth and the bridge of the nose is looked for along rays from the front,
before and after; the brain is the registered average head's. A scan in which no face is where the
registration says that it is (cropped away, upside down and missed, no head at all) does not pass:
nothing is known about it. Thresholds are ours, set by `benchmarks/face_gates.py` on synthetic heads
and checked on one real one. Passing is no measure of how many people would be found: that is what
the experiment is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from reidscope_site.face.emission_level import without_peaks
from reidscope_site.face.intent import Intent
from reidscope_site.face.regions import brain, in_scan
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import FACE_CENTRE_MM, MIDLINE_MM, SKIN, template

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.detect import Detector
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

MOVED_MM = 8.0
"""Skin that lies so much deeper than it did shows another shape than the person's."""

MOST_SKIN_LEFT = 0.2
"""Share of the skin between mouth and the bridge of the nose that may lie where it lay."""

MOST_SKIN_LEFT_IN_PET = 0.1
"""Less of a PET: its skin is a blurred edge, and the average head lies less exactly on it."""

REPLACED_MM = 3.0
"""Skin so far from where it lay is another face's; so near the average's, the average's."""

LEAST_AVERAGED = 0.8
"""Share of the skin that must lie where the registered average head's lies."""

LEAST_REPLACED = 0.2
"""Share of the skin that must have moved by `REPLACED_MM` where an unknown face takes its place."""

LEAST_REWRITTEN = 0.9
"""Share of the voxels about the skin that a replacer must have written anew."""

MOST_BRAIN_CHANGED = 0.001
"""Share of the registered brain that may have been touched or lost."""

LEAST_NCC = 0.85
SIZES = (0.75, 1.3)
"""Of a head against the average adult's: a child of two years has about .88."""
MOST_STRETCH = 1.3

LEAST_SEEN = 0.8
"""Share of the rays on which skin lies about where the registered average head has it."""

LEAST_RELIEF = 0.5
"""Correlation of the face's relief with the average face's, curvature apart."""

_NEAR_MM = 12.0
_HALF_WIDTH_MM = 35
_BELOW_MM, _ABOVE_MM = 43, 7
_BEFORE_MM, _BEHIND_MM = 25.0, 45.0
_STEP_MM = 0.5
_SMOOTHING_MM = 0.8
_SMOOTHING_OF_PET_MM = 2.0
"""Less than a tomograph's own blur, and enough for the grain of few counts in the air."""
_SHARE_OF_TISSUE, _TISSUE_PERCENTILE = 0.4, 75
_SHELL_MM = 4.0
_FEWEST_RAYS = 50
_NO_DETECTION = 0.0


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
    intent : Intent
        What the defacer meant to do.
    replaced : float
        Share of the rays whose first skin lies more than `REPLACED_MM` from where it lay.
    averaged : float
        Share of the rays whose first skin lies within `REPLACED_MM` of the average head's.
    rewritten : float
        Share of the voxels about the skin that differ.
    ncc, size, stretch : float
        The registration: similarity reached, size against the average head, largest over smallest.
    seen : float
        Share of the rays on which skin lay about where the average head has it.
    relief : float
        Correlation of the relief of that skin with the average face's, -1 to 1; 0 if unknown.
    emission : bool
        Whether the scan is a PET.
    detected : tuple of 2 floats, or None
        The detector's best score before and after, 0 without a face. No gate: detectors fire on
        nearly every cut head. None where no detector was given.

    Privacy
    -------
    About one person: stays at the site (docs/privacy.md, "What stays at the site").
    """

    skin_left: float
    brain_changed: float
    intent: Intent = Intent.REMOVED
    replaced: float = 0.0
    averaged: float = 0.0
    rewritten: float = 0.0
    ncc: float = 0.0
    size: float = 1.0
    stretch: float = 1.0
    seen: float = 0.0
    relief: float = 0.0
    emission: bool = False
    detected: tuple[float, float] | None = None

    @property
    def registered(self) -> bool:
        """Whether the average head lies on the scan as a head would."""
        return _as_on_a_head(self.ncc, self.size, self.stretch)

    @property
    def face_there(self) -> bool:
        """Whether there was a face where the registration says."""
        return self.seen >= LEAST_SEEN and self.relief >= LEAST_RELIEF

    @property
    def face_gone(self) -> bool:
        """Whether the skin of the face is no longer there."""
        if self.intent is Intent.AVERAGED:
            return self.averaged >= LEAST_AVERAGED and self.rewritten >= LEAST_REWRITTEN
        if self.intent is Intent.REPLACED:
            return self.replaced >= LEAST_REPLACED and self.rewritten >= LEAST_REWRITTEN
        return self.skin_left <= (MOST_SKIN_LEFT_IN_PET if self.emission else MOST_SKIN_LEFT)

    @property
    def brain_whole(self) -> bool:
        """Whether the brain is as it was."""
        return self.brain_changed <= MOST_BRAIN_CHANGED

    @property
    def passed(self) -> bool:
        """Whether all hold."""
        return self.registered and self.face_there and self.face_gone and self.brain_whole


def is_believed(registration: Registration) -> bool:
    """Whether the average head lies on a scan as on a head: `Gates.registered`, before defacing.

    Bodies that are no heads reach similarities above .9, most of them squeezed out of shape.
    """
    pose = registration.to_template[:3, :3]
    if not np.isfinite(pose).all() or np.linalg.matrix_rank(pose) < len(pose):
        # Values at the edge of float32 end in no pose at all, which has no size to ask for.
        return False
    return _as_on_a_head(registration.ncc, _size(registration), registration.stretch)


def check(
    before: Volume,
    after: Volume,
    registration: Registration,
    *,
    intent: Intent = Intent.REMOVED,
    detector: Detector | None = None,
) -> Gates:
    """Compare a 1 mm scan with itself defaced.

    Parameters
    ----------
    before, after : Volume
        On the same grid; `after` as it will be written.
    registration : Registration
        Of `before`.
    intent : Intent
        What the defacer means to do with the skin.
    detector : Detector, optional
        Asked for both, for the record.
    """
    noticeable = _noticeable(before)
    inside = in_scan(brain(), registration, before.voxels.shape)
    changed = np.abs(after.voxels - before.voxels)[inside] > noticeable
    skin = _skin(before, after, registration)
    return Gates(
        skin_left=skin.left,
        brain_changed=float(changed.mean()) if changed.size else 1.0,
        intent=intent,
        replaced=skin.replaced,
        averaged=skin.averaged,
        rewritten=_rewritten(before, after, registration, noticeable),
        ncc=registration.ncc,
        size=_size(registration),
        stretch=registration.stretch,
        seen=skin.seen,
        relief=skin.relief,
        emission=before.emission,
        detected=None
        if detector is None
        else (_score(before, registration, detector), _score(after, registration, detector)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Skin:
    """What the rays tell: shares of those that meet skin before, and the relief."""

    left: float = 1.0
    replaced: float = 0.0
    averaged: float = 0.0
    seen: float = 0.0
    relief: float = 0.0


def _skin(before: Volume, after: Volume, registration: Registration) -> _Skin:
    rays = _rays(registration)
    spread = _SMOOTHING_OF_PET_MM if before.emission else _SMOOTHING_MM
    along, there = _along(before.voxels, rays, spread), _along(after.voxels, rays, spread)
    level = _level(along)
    if level is None:
        return _Skin()
    was, now = _depth(along, level), _depth(there, level)
    met = np.isfinite(was)
    moved = np.abs(now[met] - was[met])
    near = np.abs(was - _BEFORE_MM) <= _NEAR_MM
    return _Skin(
        left=float((moved < MOVED_MM).mean()),
        replaced=float((moved >= REPLACED_MM).mean()),
        averaged=float((np.abs(now[met] - _BEFORE_MM) <= REPLACED_MM).mean()),
        seen=float(near.mean()),
        relief=_relief(was, near),
    )


def _level(along: NDArray[np.float32]) -> float | None:
    """Brightness at the skin, from what lies before and behind it; None where nothing stands out.

    Of the face's own surroundings and not of the whole scan: the skin of a T2 is darker than
    half of its brain.
    """
    before = along[:, : int((_BEFORE_MM - _NEAR_MM) / _STEP_MM)]
    first = int((_BEFORE_MM + 1) / _STEP_MM)
    behind = along[:, first : first + int(_NEAR_MM / _STEP_MM)]
    air, tissue = float(np.median(before)), float(np.percentile(behind, _TISSUE_PERCENTILE))
    level = air + _SHARE_OF_TISSUE * (tissue - air)
    return level if tissue > air and (along > level).any() else None


def _relief(was: NDArray[np.float64], near: NDArray[np.bool_]) -> float:
    """Correlate the relief of the skin met on `near` rays with the average face's."""
    if near.sum() < _FEWEST_RAYS:
        return 0.0
    x, front, z = _template_rays()[:, near, 0]
    across, up = (x - MIDLINE_MM) / _HALF_WIDTH_MM, (z - FACE_CENTRE_MM[2]) / _BELOW_MM
    trend = np.stack([np.ones_like(x), across, up, across**2, across * up, up**2], 1)
    seen = np.stack([front, front - was[near]], 1)
    bare = seen - trend @ np.linalg.lstsq(trend, seen, rcond=None)[0]
    spread = float(np.sqrt((bare**2).sum(0).prod()))
    return float(bare.prod(1).sum()) / spread if spread > 0 else 0.0


def _rewritten(
    before: Volume, after: Volume, registration: Registration, noticeable: float
) -> float:
    """Share of the voxels just under the average head's facial skin that differ."""
    points = _rays(registration)
    first = int((_BEFORE_MM + 1) / _STEP_MM)
    shell = points[:, :, first : first + int(_SHELL_MM / _STEP_MM) : 2].reshape(3, -1)
    there, here = (
        ndimage.map_coordinates(voxels, shell, order=0, mode="constant", cval=np.nan)
        for voxels in (after.voxels, before.voxels)
    )
    differs = np.abs(there - here)[np.isfinite(here)] > noticeable
    return float(differs.mean()) if differs.size else 0.0


def _score(volume: Volume, registration: Registration, detector: Detector) -> float:
    picture = face_picture(volume, registration)
    if picture is None:
        return _NO_DETECTION
    found = detector.faces(picture, min_score=_NO_DETECTION)
    return found[0].score if found else _NO_DETECTION


def _size(registration: Registration) -> float:
    """Size of the head against the average adult's."""
    return float(np.prod(registration.sizes) ** (1 / 3))


def _as_on_a_head(ncc: float, size: float, stretch: float) -> bool:
    smallest, largest = SIZES
    return ncc >= LEAST_NCC and smallest <= size <= largest and stretch <= MOST_STRETCH


def _noticeable(volume: Volume) -> float:
    """Say what is more than rounding: a thousandth of the scan's range, a PET's brain apart."""
    voxels = without_peaks(volume.voxels) if volume.emission else volume.voxels
    return float(np.percentile(voxels[::3, ::3, ::3], 99.5)) / 1000


def _along(
    voxels: NDArray[np.float32], rays: NDArray[np.float64], spread_mm: float
) -> NDArray[np.float32]:
    """Smoothed voxels along each ray, (rays, steps); 0 outside the grid."""
    margin = int(np.ceil(spread_mm * 3)) + 1
    flat = rays.reshape(3, -1)
    low = [
        int(np.clip(part.min() - margin, 0, n)) for part, n in zip(flat, voxels.shape, strict=True)
    ]
    high = [
        int(np.clip(part.max() + margin, 0, n)) for part, n in zip(flat, voxels.shape, strict=True)
    ]
    box = voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    if not box.size:
        return np.zeros(rays.shape[1:], np.float32)
    smooth = ndimage.gaussian_filter(box, spread_mm, truncate=3.0)
    local = rays - np.array(low)[:, None, None]
    found: NDArray[np.float32] = ndimage.map_coordinates(smooth, local, order=1, mode="constant")
    return found


def _depth(along: NDArray[np.float32], level: float) -> NDArray[np.float64]:
    """Mm along each ray to the first voxel brighter than `level`; infinite where there is none."""
    bright = along > level
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
