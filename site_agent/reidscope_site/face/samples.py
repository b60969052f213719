"""What stored samples mean beside their scale: which are padding, and whether a CT shows air."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset

from reidscope_site.face.frames import rescaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_TAGS = (
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
)
"""Elements that tell whether a CT's scale reaches down to air."""

_CT = "CT"
_DENSEST_AIR_HU = -500.0
"""Air is -1000 HU; a scale whose darkest sample is above this one shows none."""


def padding_of(dataset: Dataset) -> tuple[int, int] | None:
    """Lowest and highest sample that mark "nothing was measured here" (PS3.3 C.7.5.1.1.2).

    Returns
    -------
    tuple of int or None
        As samples are stored; None where the file names no such value.
    """
    first = _integer(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = _integer(dataset, "PixelPaddingRangeLimit")
    ends = sorted(_as_stored(end, dataset) for end in (first, first if last is None else last))
    return ends[0], ends[1]


def padded(
    stored: NDArray[np.integer], paddings: tuple[tuple[int, int] | None, ...]
) -> NDArray[np.bool_] | None:
    """Which samples are padding.

    Parameters
    ----------
    stored : ndarray of int
        (slice, row, column).
    paddings : tuple
        Of each slice, from `padding_of`.

    Returns
    -------
    ndarray of bool or None
        Its shape; None where no sample is.
    """
    if not any(paddings):
        return None
    found = np.zeros(stored.shape, dtype=bool)
    for index, padding in enumerate(paddings):
        if padding is not None:
            found[index] = (stored[index] >= padding[0]) & (stored[index] <= padding[1])
    return found if found.any() else None


def shows_air(dataset: Dataset) -> bool:
    """Whether a CT's samples can be as low as air; True of what is no CT.

    A CT without RescaleIntercept whose samples have no sign cannot: what a scanner calls 0 is air
    there, and would be taken for water.
    """
    if str(dataset.get("Modality") or "").strip().upper() != _CT:
        return True
    bits = _integer(dataset, "BitsStored") or _integer(dataset, "BitsAllocated") or 0
    darkest = -(1 << (bits - 1)) if _integer(dataset, "PixelRepresentation") and bits else 0
    try:
        scales = list(rescaling(dataset))
    except (TypeError, ValueError):
        return False
    return all(slope * darkest + intercept <= _DENSEST_AIR_HU for slope, intercept in scales)


def _as_stored(value: int, dataset: Dataset) -> int:
    """Read a value as the samples are read: some writers take the sign of another VR."""
    bits = _integer(dataset, "BitsAllocated") or 16
    wrapped = value & ((1 << bits) - 1)
    signed = bool(_integer(dataset, "PixelRepresentation"))
    return wrapped - (1 << bits) if signed and wrapped >> (bits - 1) else wrapped


def _integer(dataset: Dataset, keyword: str) -> int | None:
    try:
        value = dataset.get(keyword)
        return None if value is None or value == "" else int(value)
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return None
