"""What a CT shows beside the person: couch, head rest and tubes, taken out before a face is read.

A couch is made of thin walls around foam, a head is thick. What is left when thin parts are opened
away is the head; it grows back along its own tissue, far enough for ears and nose; all else becomes
air. The couch may touch the head: a patch behind it stays, where no face is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.volume import Volume

TISSUE = 700.0
"""Brightness above air, HU + 1000: skin and fat are above it, foam and air below."""

_COARSE_MM = 3.0
_THIN_MM = 9.0
"""Half the thickness below which a part counts as thin."""
_GROWTH_MM = 30.0
_RIM_MM = 9.0


def without_couch(volume: Volume) -> Volume:
    """Make air of what is not the person.

    Parameters
    ----------
    volume : Volume
        A CT, brightness above air.

    Returns
    -------
    Volume
        The same grid; unchanged where nothing is thick enough to be a head.
    """
    strides = [max(1, round(_COARSE_MM / step)) for step in volume.spacing_mm]
    coarse = volume.voxels[:: strides[0], :: strides[1], :: strides[2]]
    steps = [step * stride for step, stride in zip(volume.spacing_mm, strides, strict=True)]
    tissue = coarse > TISSUE
    # Brain and bone inside: a head is thick however much air its sinuses hold.
    filled = ndimage.binary_fill_holes(tissue)
    if filled.all():
        return volume
    core = _largest(ndimage.distance_transform_edt(filled, sampling=steps) > _THIN_MM)
    if core is None:
        return volume
    head = ndimage.distance_transform_edt(~core, sampling=steps) <= _THIN_MM + max(steps)
    head &= filled
    rounds = round((_GROWTH_MM - _THIN_MM) / min(steps))
    head = ndimage.binary_dilation(head, iterations=rounds, mask=filled)
    near = ndimage.distance_transform_edt(~head, sampling=steps) <= _RIM_MM
    kept = near
    for axis, stride in enumerate(strides):
        kept = np.repeat(kept, stride, axis=axis)
    shape = volume.voxels.shape
    kept = kept[: shape[0], : shape[1], : shape[2]]
    return replace(volume, voxels=np.where(kept, volume.voxels, np.float32(0)))


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    labels, count = ndimage.label(mask)
    if not count:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = labels == sizes.argmax()
    return largest
