"""How much the tissue about a brain emits, before anybody knows where the head lies.

A brain emits five to twenty times what skin and muscle do: laid onto such a scan as it is, the
average head follows the brain, which looks alike from several sides, and not the outline of the
face. Cut off at little above what most of the head emits, it is an image of the whole head again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it

from reidscope_site.face.average import corners_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TIMES = 1.5
"""So much above soft tissue the rest is cut off."""
_CELL_MM = 4
_OF_A_HEAD = 98.0
"""A brain fills more than a fiftieth of a field of view, a gland or a line less."""
_EMITTING, _GRAIN = 0.03, 2.0
_SOFT_SHARE = 30.0
"""Of what emits in a head, skin, muscle and bone are more than a third, and the darker part."""


def without_peaks(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off what emits far more than soft tissue does.

    Parameters
    ----------
    voxels : ndarray of float32
        (i, j, k), activity on a 1 mm grid, not below 0.

    Returns
    -------
    ndarray of float32
        The same where nothing emits.
    """
    level = _soft_level(voxels)
    return voxels if level is None else np.minimum(voxels, np.float32(_TIMES * level))


def _soft_level(voxels: NDArray[np.float32]) -> float | None:
    """Activity of soft tissue, roughly; None where nothing stands out of the air's grain."""
    if min(voxels.shape) < _CELL_MM:
        return None
    means = F.avg_pool3d(torch.from_numpy(voxels)[None, None], _CELL_MM)[0, 0].numpy()
    air = float(np.percentile(corners_of(voxels), _OF_A_HEAD))
    least = max(_EMITTING * float(np.percentile(means, _OF_A_HEAD)), _GRAIN * air)
    emitting = means[means > least]
    return float(np.percentile(emitting, _SOFT_SHARE)) if emitting.size else None
