"""The frames of a PET made one image: each counts for as long as it lasted.

Early frames of a dynamic study last seconds and are noise, late ones minutes: a mean that counts
them alike is a picture of the noise. Activity (Bq/ml, uptake, counts a second) is weighted by
duration; what was counted adds up, and is a mean of equal weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import Dataset

from reidscope_site.face.frames import frame_groups, is_enhanced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def durations_said(dataset: Dataset) -> NDArray[np.float64]:
    """Say how long each slice of a file was counted, ms; not a number where it does not say.

    ActualFrameDuration; of a multi-frame image each frame's FrameAcquisitionDuration.
    """
    if not is_enhanced(dataset):
        return np.array([_milliseconds(dataset, "ActualFrameDuration")])
    return np.array(
        [
            _milliseconds(frame.group("FrameContentSequence"), "FrameAcquisitionDuration")
            for frame in frame_groups(dataset)
        ]
    )


def are_durations(said: NDArray[np.float64]) -> bool:
    """Whether all are finite and above 0; so is none at all not."""
    return bool(said.size and np.isfinite(said).all() and (said > 0).all())


def weights_of(datasets: Sequence[Dataset], *, counts: bool) -> NDArray[np.float64]:
    """Give each slice its weight among the frames of its place, above 0.

    Parameters
    ----------
    datasets : sequence of Dataset
        Files of one PET series.
    counts : bool
        Whether the values are what was counted.

    Returns
    -------
    ndarray of float64
        (slice,), file by file: durations, or 1 each of counts, and where not all are known (of one
        frame a place that is all the same; of several `pet.pet_problem` refuses it).
    """
    said = np.concatenate([durations_said(dataset) for dataset in datasets])
    return np.ones(len(said)) if counts or not are_durations(said) else said


def averaged(
    values: NDArray[np.float32], weights: NDArray[np.float64], frames: int
) -> NDArray[np.float32]:
    """Average the frames of each place, weighted.

    Parameters
    ----------
    values : ndarray of float32
        (place * frames, row, column), place by place.
    weights : ndarray of float64
        (place * frames,), above 0.
    frames : int
        Of each place.

    Returns
    -------
    ndarray of float32
        (place, row, column).
    """
    if frames == 1:
        return values
    places = len(values) // frames
    out = np.empty((places, *values.shape[1:]), np.float32)
    shares = weights.reshape(places, frames)
    shares = shares / shares.sum(1, keepdims=True)
    for place, share in enumerate(shares):
        held = values[place * frames : (place + 1) * frames]
        out[place] = np.tensordot(share, held.astype(np.float64), 1)
    return out


def _milliseconds(dataset: Dataset, keyword: str) -> float:
    try:
        value: Any = dataset.get(keyword)
        return float("nan") if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return float("nan")
