"""A defaced scan written back into the samples of its own slices.

    slices -> 1 mm scan -> registered -> defaced -> what differs -> new samples -> gates

Where the defacer changed nothing the samples stay bit for bit; where it cut, they become air; where
it replaced, they take the new brightness. The gates look at the samples that will be written, not
at what the defacer meant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from reidscope_site.face.gates import Gates, check
from reidscope_site.face.register import register
from reidscope_site.face.slices import Slices, read_slices
from reidscope_site.face.unsendable import Unsendable
from reidscope_site.face.volume import Volume, isotropic, resampled, volume_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from reidscope_site.face.arms import Arm
    from reidscope_site.face.detect import Detector

_TOUCHED = 0.25
"""A sample whose surroundings were changed by more than this share is changed too."""

_HOLES = 2
"""Noise of the air in front of a face leaves holes so many mm wide in what differs."""

_CORNER = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DefacedSlices(Unsendable):
    """New samples of a series.

    Attributes
    ----------
    samples : ndarray of int
        (slice, row, column), as the files hold them.
    instances : tuple of str
        SOP instance UID of each slice.
    ncc : float
        How well the average head could be laid onto the scan, at most 1.
    gates : Gates
        What the samples show.

    Privacy
    -------
    One person's head. Has no serialiser (docs/privacy.md, "What stays at the site").
    """

    samples: NDArray[np.integer]
    instances: tuple[str, ...]
    ncc: float
    gates: Gates


def deface_slices(
    files: Sequence[Path], arm: Arm, *, detector: Detector | None = None
) -> DefacedSlices:
    """Deface one series.

    Parameters
    ----------
    files : sequence of Path
        Its slices, in any order; only read.
    arm : Arm
        The defacer.
    detector : Detector, optional
        Asked before and after, for the record (`Gates.detected`).

    Raises
    ------
    GeometryError
        The files are no volume of a head.
    """
    slices = read_slices(files)
    volume = volume_of(slices)
    before = isotropic(volume)
    registration = register(before)
    after = arm.apply(before, registration)
    written = _written(slices, before, after)
    seen = isotropic(volume_of(replace(slices, stored=written)))
    return DefacedSlices(
        samples=written,
        instances=slices.instances,
        ncc=registration.ncc,
        gates=check(before, seen, registration, detector=detector),
    )


def _written(slices: Slices, before: Volume, after: Volume) -> NDArray[np.integer]:
    """Give the samples of every slice; those that nothing touches are the same."""
    changed = np.abs(after.voxels - before.voxels) > 0
    if not changed.any():
        return slices.stored
    cut = changed & (after.voxels <= 0)
    changed = ndimage.binary_closing(changed, iterations=_HOLES) | changed
    onto = np.linalg.inv(before.affine) @ slices.affine
    count, rows, columns = slices.stored.shape
    shape = (count, columns, rows)
    parts = (changed.astype(np.float32), cut.astype(np.float32), after.voxels)
    touched, emptied, bright = (
        resampled(torch.from_numpy(part), onto, shape).numpy().transpose(0, 2, 1) for part in parts
    )
    air = _air(slices)
    written = slices.stored.copy()
    for index in range(count):
        where = touched[index] > _TOUCHED
        # Half cut, half kept would leave a rim of the old skin.
        new = np.where(emptied[index] > 0, air, bright[index])
        written[index][where] = slices.as_stored(new, index)[where]
    return written


def _air(slices: Slices) -> float:
    """Brightness of nothing: 0 in a CT (-1000 HU), else that of the corners of the slices."""
    if slices.dark:
        return 0.0
    bright = slices.intensities
    ends = (slice(None, _CORNER), slice(-_CORNER, None))
    return float(np.median([bright[:, rows, columns] for rows in ends for columns in ends]))
