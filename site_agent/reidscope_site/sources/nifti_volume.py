"""A NIfTI file becomes a volume: voxels and their place in space, nothing else.

Apart from `nifti`, which the index needs: an agent that waits loads no image library.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from reidscope_protocols.errors import GeometryError
from reidscope_site.face.geometry import SeriesProblem
from reidscope_site.face.slices import unusable
from reidscope_site.face.volume import Volume, to_ras
from reidscope_site.sources.nifti import AXES, MALFORMED_NIFTI, nifti_problem


def read_nifti(path: Path) -> Volume:
    """Read a head; header texts, extensions and the file's name are left behind.

    Raises
    ------
    GeometryError
        It is no volume of a head, lacks an orientation, or ends too early.
    OSError
        The disk fails: nobody's fault.
    """
    try:
        image = nibabel.load(path)
        problem = nifti_problem(image)
        if problem is not None:
            raise unusable(problem)
        voxels = np.asarray(image.dataobj, dtype=np.float32).reshape(image.shape[:AXES])
        affine = np.asarray(image.affine, dtype=np.float64)
    except GeometryError:
        raise
    except (*MALFORMED_NIFTI, OSError) as error:
        if not _is_malformed(error):
            raise
        # Theirs may quote the path.
        raise unusable(SeriesProblem.UNSUPPORTED) from None
    if not np.isfinite(voxels).all():
        raise unusable(SeriesProblem.UNSUPPORTED)
    return to_ras(voxels, affine)


def _is_malformed(error: Exception) -> bool:
    """Tell bytes that are wrong from a disk that is: nibabel and gzip raise OSError for both."""
    missing = isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError)
    return missing or not isinstance(error, OSError) or error.errno is None
