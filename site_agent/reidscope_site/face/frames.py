"""The slices inside one file: one in a classic image, many in an enhanced multi-frame one.

An enhanced CT or MR says what is the same for all frames once (shared functional groups) and the
rest frame by frame (PS3.3 C.7.6.16). Frames come in any order; so do they leave here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydicom import Dataset

from reidscope_site.face.geometry import SliceHeader, floats, slice_header

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACED = ("PlanePositionSequence", "ImagePositionPatient", 3)
_TURNED = ("PlaneOrientationSequence", "ImageOrientationPatient", 6)
_MEASURED = ("PixelMeasuresSequence", "PixelSpacing", 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameGroups:
    """What a frame says itself, else what all frames share.

    Attributes
    ----------
    shared, own : Dataset
        Items of the functional groups sequences.
    """

    shared: Dataset
    own: Dataset

    def group(self, keyword: str) -> Dataset:
        """First item of one functional group; empty where there is none."""
        for place in (self.own, self.shared):
            found = _first(place, keyword)
            if found is not None:
                return found
        return Dataset()


def is_enhanced(dataset: Dataset) -> bool:
    """Whether a dataset describes its frames in functional groups."""
    return bool(dataset.get("PerFrameFunctionalGroupsSequence"))


def frame_groups(dataset: Dataset) -> Iterator[FrameGroups]:
    """Functional groups of every frame, in stored order."""
    shared = _first(dataset, "SharedFunctionalGroupsSequence") or Dataset()
    for own in _items(dataset, "PerFrameFunctionalGroupsSequence"):
        yield FrameGroups(shared=shared, own=own)


def slice_headers(dataset: Dataset) -> tuple[SliceHeader, ...]:
    """Geometry of every slice of a file, in stored order.

    Parameters
    ----------
    dataset : Dataset
        Its header; pixels are not looked at.

    Returns
    -------
    tuple of SliceHeader
        One of a classic image, one a frame of an enhanced one. A file whose number of frames is not
        that of its functional groups keeps `frames`, which is not supported.

    Privacy
    -------
    About one person: stays at the site (docs/privacy.md, "What stays at the site").
    """
    whole = slice_header(dataset)
    if not is_enhanced(dataset):
        return (whole,)
    groups = tuple(frame_groups(dataset))
    if len(groups) != whole.frames:
        return (replace(whole, frames=0),)
    return tuple(
        replace(
            whole,
            position=_floats(frame, _PLACED),
            orientation=_floats(frame, _TURNED),
            pixel_spacing=_floats(frame, _MEASURED),
            frames=1,
        )
        for frame in groups
    )


def rescaling(dataset: Dataset) -> Iterator[tuple[float, float]]:
    """Slope and intercept of every slice of a file, in stored order."""
    sources: Iterator[Dataset] = (
        (frame.group("PixelValueTransformationSequence") for frame in frame_groups(dataset))
        if is_enhanced(dataset)
        else iter((dataset,))
    )
    for source in sources:
        yield float(source.get("RescaleSlope") or 1), float(source.get("RescaleIntercept") or 0)


def _floats(frame: FrameGroups, where: tuple[str, str, int]) -> tuple[float, ...] | None:
    sequence, keyword, count = where
    return floats(frame.group(sequence), keyword, count)


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    found: Any = dataset.get(keyword)
    return [item for item in found or () if isinstance(item, Dataset)]


def _first(dataset: Dataset, keyword: str) -> Dataset | None:
    items = _items(dataset, keyword)
    return items[0] if items else None
