"""A NIfTI file becomes a volume: voxels and their place in space, nothing else.

Apart from `nifti`, which the index needs: an agent that waits loads no image library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from reidscope_protocols.errors import GeometryError
from reidscope_site.face.geometry import SeriesProblem
from reidscope_site.face.pet import head_of
from reidscope_site.face.slices import unusable
from reidscope_site.face.volume import Volume, to_ras
from reidscope_site.sources.nifti import AXES, MALFORMED_NIFTI, is_malformed, nifti_problem, placed
from reidscope_site.sources.pet_sidecar import PetSidecar, frame_shares, read_sidecars

_GONE = (FileNotFoundError, IsADirectoryError, PermissionError)


def read_nifti(path: Path, *, emission: bool = False, sidecars: Sequence[Path] = ()) -> Volume:
    """Read a head; header texts, extensions and the file's name are left behind.

    Parameters
    ----------
    path : Path
        Of one file.
    emission : bool
        Whether it is a PET: its frames are averaged over the time that they lasted; what is below 0
        is 0.
    sidecars : sequence of Path
        Of a PET (`pet_sidecar.sidecars_of`): where the frames' durations stand.

    Raises
    ------
    GeometryError
        It is no volume of a head, lacks an orientation, or ends too early; or it is a PET of
        several frames and no sidecar says how long each lasted.
    OSError
        The disk fails: nobody's fault.
    """
    try:
        # Frames are read one after the other: the file is opened once.
        image = nibabel.load(path, keep_file_open=emission)
        problem = nifti_problem(image, emission=emission)
        if problem is not None:
            raise unusable(problem)
        voxels = (
            _mean_frame(image, read_sidecars(sidecars))
            if emission
            else np.asarray(image.dataobj, dtype=np.float32).reshape(image.shape[:AXES])
        )
        affine = placed(image)
    except GeometryError:
        raise
    except (*MALFORMED_NIFTI, OSError) as error:
        if not (is_malformed(error) or isinstance(error, _GONE)):
            raise
        # Theirs may quote the path.
        raise unusable(SeriesProblem.UNSUPPORTED) from None
    # Resampling writes no number beside what was measured: air.
    voxels = np.where(np.isnan(voxels), np.float32(0), voxels)
    if not np.isfinite(voxels).all():
        raise unusable(SeriesProblem.UNSUPPORTED)
    volume = to_ras(voxels if emission else _above_air(voxels), affine)
    return head_of(replace(volume, emission=True)) if emission else volume


def _above_air(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make air 0 where it was written below 0, as in what was normalised or masked.

    What a scanner measures is never below 0: there voxels stay as they are.
    """
    air = np.median([voxels[i, j, k] for i in (0, -1) for j in (0, -1) for k in (0, -1)])
    return voxels if air >= 0 else np.maximum(voxels - np.float32(air), 0)


def _mean_frame(image: nibabel.Nifti1Image, said: PetSidecar) -> NDArray[np.float32]:
    """Average the frames of a PET, one in memory at a time; not below 0."""
    if len(image.shape) == AXES:
        return np.maximum(np.asarray(image.dataobj, dtype=np.float32), 0)
    shares = frame_shares(said, image.shape[AXES])
    if shares is None:
        raise unusable(SeriesProblem.FRAMES)
    total = np.zeros(image.shape[:AXES], np.float32)
    for frame, share in enumerate(shares):
        total += np.float32(share) * np.asarray(image.dataobj[..., frame], dtype=np.float32)
    mean: NDArray[np.float32] = np.maximum(total, 0)
    return mean
