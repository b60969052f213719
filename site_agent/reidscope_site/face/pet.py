"""What a PET's headers must say before its voxels are believed, and where its head is.

A PET is taken where every slice has a scale of its own above 0, all are in one unit of activity,
and the series is said to be corrected for attenuation: without that correction, skin and lungs
shine as no tracer makes them. Several frames of one place (dynamic, gated) are averaged, each for
as long as it lasted (`pet_frames`), and are refused where they do not say so. Bodies are taken too:
the head is what lies within 260 mm of their top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import Dataset
from scipy import ndimage

from reidscope_site.face.frames import frame_groups, is_enhanced
from reidscope_site.face.geometry import SeriesProblem
from reidscope_site.face.pet_frames import are_durations, durations_said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from reidscope_site.face.volume import Volume

PET = "PT"
PET_TAGS = (
    "Units",
    "CorrectedImage",
    "AttenuationCorrected",
    "SeriesType",
    "RescaleSlope",
    "RescaleIntercept",
    "ActualFrameDuration",
)
"""Elements that are looked at beside those of every series."""

ACTIVITY_UNITS = frozenset({"BQML", "CNTS", "CPS", "GML", "PROPCNTS", "PROPCPS"})
"""Of PS3.3 C.8.9.1.1.3: activity, counts, or uptake. The others are of what was worked out of
them: no picture of a head."""

COUNTS = frozenset({"CNTS", "PROPCNTS"})
"""Units of what was counted in a frame, not of how much a second: longer frames hold more of it."""

HEAD_MM = 260.0
"""From the vertex to below the chin."""
ROOM_MM = 320.0
"""Across: a head, and room for how it lies."""

_TALL_MM = 400.0
_COARSE_MM = 8.0
_OF_A_BODY, _SHARE = 0.05, 0.3
_WITHIN_A_BODY = 98.0
"""A body fills more than a fiftieth of any field of view, a bladder or a brain less."""
_UNSAID = "UNSAID"
"""A multi-frame PET need not say its unit."""
_FALSE, _TRUE = "NO", "YES"


@dataclass(frozen=True, slots=True, kw_only=True)
class PetTraits:
    """What one file of a PET says of its numbers; empty or None where it does not.

    Attributes
    ----------
    units : str
        As DICOM writes them.
    attenuation : bool
        Whether it is said to be corrected for attenuation.
    kind : tuple of str
        SeriesType: STATIC, DYNAMIC, GATED or WHOLE BODY; IMAGE or REPROJECTION.
    scaled : bool
        Whether every slice says a finite slope above 0, and no endless intercept.
    timed : bool
        Whether every slice says for how long it was counted.
    """

    units: str = ""
    attenuation: bool = False
    kind: tuple[str, ...] = ()
    scaled: bool = False
    timed: bool = False


def pet_traits(dataset: Dataset) -> PetTraits | None:
    """Read what a PET says; None of another modality."""
    if _text(dataset, "Modality").upper() != PET:
        return None
    return PetTraits(
        units=_text(dataset, "Units").upper() or (_UNSAID if is_enhanced(dataset) else ""),
        attenuation=_is_corrected(dataset),
        kind=_words(dataset, "SeriesType"),
        scaled=all(map(_is_scale, _scales(dataset))),
        timed=are_durations(durations_said(dataset)),
    )


def pet_problem(told: Sequence[PetTraits], frames: int = 1) -> SeriesProblem | None:
    """Say why the files of one PET series are no image of activity; None if they are, or of none.

    Parameters
    ----------
    told : sequence of PetTraits
        Of its files; empty of another modality.
    frames : int
        Of every place (`geometry.frame_count`).

    Privacy
    -------
    A function of one person's headers (docs/privacy.md, "Neighbours").
    """
    if not told:
        return None
    if any("REPROJECTION" in one.kind for one in told):
        return SeriesProblem.DERIVED
    if not all(one.attenuation for one in told):
        return SeriesProblem.NOT_CORRECTED
    units = {one.units for one in told}
    if len(units) != 1 or not units <= ACTIVITY_UNITS | {_UNSAID}:
        return SeriesProblem.UNITS
    if not all(one.scaled for one in told):
        return SeriesProblem.NO_SCALE
    # Counts add up, however long each frame was counted.
    timed = units <= COUNTS or all(one.timed for one in told)
    return None if frames == 1 or timed else SeriesProblem.FRAMES


def head_of(volume: Volume) -> Volume:
    """Cut a head out of a tomograph's wide field of view, and out of a body's PET.

    Parameters
    ----------
    volume : Volume
        RAS+; k runs up.

    Returns
    -------
    Volume
        At most `ROOM_MM` across and, of a body, `HEAD_MM` down from its top; unchanged where it is
        no larger, or where nothing emits.
    """
    tall = volume.voxels.shape[2] * volume.spacing_mm[2] > _TALL_MM
    wide = [volume.voxels.shape[axis] * volume.spacing_mm[axis] > ROOM_MM for axis in (0, 1)]
    if not tall and not any(wide):
        return volume
    body = _body(volume.voxels, volume.spacing_mm)
    if not body.any():
        return volume
    kept = [slice(None)] * 3
    if tall:
        top = int(np.flatnonzero(body.any((0, 1)))[-1]) + 1
        margin = round(_COARSE_MM / volume.spacing_mm[2])
        count = round(HEAD_MM / volume.spacing_mm[2])
        kept[2] = slice(max(0, top - count), top + margin)
        body = body[:, :, kept[2]]
    for axis in (0, 1):
        if wide[axis]:
            half = round(ROOM_MM / volume.spacing_mm[axis] / 2)
            middle = round(float(ndimage.center_of_mass(body)[axis]))
            kept[axis] = slice(max(0, middle - half), middle + half)
    affine = volume.affine.copy()
    starts = [side.start or 0 for side in kept]
    affine[:3, 3] += volume.affine[:3, :3] @ np.array(starts, dtype=np.float64)
    cut = np.ascontiguousarray(volume.voxels[kept[0], kept[1], kept[2]])
    return replace(volume, voxels=cut, affine=affine)


def _body(voxels: NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Where something emits: hot organs do not hide skin, for the median of what emits decides."""
    smooth = ndimage.gaussian_filter(voxels, [_COARSE_MM / 2 / step for step in spacing_mm])
    emitting = smooth[smooth > _OF_A_BODY * np.percentile(smooth, _WITHIN_A_BODY)]
    level = _SHARE * float(np.median(emitting)) if emitting.size else np.inf
    labels, count = ndimage.label(smooth > level)
    if not count:
        return np.zeros(voxels.shape, bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = labels == sizes.argmax()
    return largest


def _is_corrected(dataset: Dataset) -> bool:
    said = _text(dataset, "AttenuationCorrected").upper()
    if said in {_FALSE, _TRUE}:
        return said == _TRUE
    return "ATTN" in _words(dataset, "CorrectedImage")


def _scales(dataset: Dataset) -> Iterator[Dataset]:
    if not is_enhanced(dataset):
        yield dataset
        return
    for frame in frame_groups(dataset):
        yield frame.group("PixelValueTransformationSequence")


def _is_scale(source: Dataset) -> bool:
    slope, intercept = _number(source, "RescaleSlope"), source.get("RescaleIntercept")
    zero = intercept is None or np.isfinite(_number(source, "RescaleIntercept"))
    return bool(np.isfinite(slope) and slope > 0 and zero)


def _number(dataset: Dataset, keyword: str) -> float:
    """Read one number; not a number where there is none."""
    try:
        value: Any = dataset.get(keyword)
        return float("nan") if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return float("nan")


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip()
    except (TypeError, ValueError):
        return ""


def _words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    try:
        value: Any = dataset.get(keyword)
    except (TypeError, ValueError):
        return ()
    if not value:
        return ()
    values = [value] if isinstance(value, str) else list(value)
    return tuple(str(each).strip().upper() for each in values)
