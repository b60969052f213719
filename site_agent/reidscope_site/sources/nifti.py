"""One NIfTI file of a head: header checked before a voxel is read, then voxels and affine alone."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from reidscope_site.face.geometry import (
    COARSEST_MM,
    EXTENT_MM,
    MAX_VOXELS,
    PET_TALL_MM,
    SeriesProblem,
)
from reidscope_site.sources.finder import Finding

AXES = 3
PET_SUFFIX = "pet"
MOST_FRAMES = 512
"""Of a dynamic PET."""
_SCANNER = 1
"""qform_code, sform_code: the scanner's own coordinates."""
_ALIKE = 0.7
"""Cosine between the axes of two orientations that may be one, or one and its gantry's tilt."""
_STRETCH = 1.2
_REAL = frozenset("iufb")
_FLAT = 0.5
"""Axes that span less than half a cube's volume are no scanner's."""
_THIN_MM = 1.6
_CHUNK = 1 << 20
MALFORMED_NIFTI = (
    ImageFileError,
    HeaderDataError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    zlib.error,
)
"""What nibabel and gzip raise on bytes that are not what they claim to be; see `nifti_volume`."""


def find_head_in_nifti(path: Path, suffix: str) -> Finding:
    """Say whether a NIfTI file shows a face, and how gladly it is taken.

    Parameters
    ----------
    path : Path
        Its header is read, its length counted; no voxel is looked at.
    suffix : str
        What BIDS calls it: T1w, T2w, FLAIR or pet.

    Returns
    -------
    Finding
        Preference in the order of `finder`: T1w with voxels below 1.6 mm, other thin ones, thick
        ones, PET; then thinner, then larger.

    Raises
    ------
    OSError
        The file cannot be opened or read: says nothing about what it holds.

    Privacy
    -------
    A function of one person's file (docs/privacy.md, "Neighbours").
    """
    try:
        image = nibabel.load(path)
        emission = suffix == PET_SUFFIX
        problem = nifti_problem(image, emission=emission) or (
            SeriesProblem.TRUNCATED if _is_short(path, image) else None
        )
    except (*MALFORMED_NIFTI, OSError) as error:
        if not is_malformed(error):
            raise
        return Finding(problem=SeriesProblem.UNSUPPORTED)
    if problem is not None:
        return Finding(problem=problem)
    steps = np.linalg.norm(placed(image)[:AXES, :AXES], axis=0)
    thin = float(steps.max()) < _THIN_MM
    if emission:
        rank = 4 if float(steps[2] * image.shape[2]) <= EXTENT_MM[1] else 5
    else:
        rank = 3 if not thin else 0 if suffix == "T1w" else 2
    large = float(np.prod(steps * image.shape[:AXES]))
    return Finding(
        problem=None, preference=(rank, 0.0, round(float(steps.max()), 1), -round(large))
    )


def frames_in_nifti(path: Path) -> int:
    """Count the frames of a file that `find_head_in_nifti` found nothing wrong with."""
    return math.prod(nibabel.load(path).shape[AXES:])


def is_malformed(error: Exception) -> bool:
    """Tell bytes that are wrong from a disk that is: nibabel and gzip raise OSError for both."""
    return not isinstance(error, OSError) or error.errno is None


def nifti_problem(  # noqa: PLR0911  # one return a problem, in the order in which they are told
    image: nibabel.Nifti1Image, *, emission: bool = False
) -> SeriesProblem | None:
    """Say why an opened file is no volume of a head; None if its header promises one.

    A PET (`emission`) may have frames along its fourth axis, and a wider field of view.
    """
    if not isinstance(image, nibabel.Nifti1Image):  # NIfTI-2 is a kind of it
        return SeriesProblem.UNSUPPORTED
    shape, header = image.shape, image.header
    if len(shape) < AXES or header.get_data_dtype().kind not in _REAL:
        return SeriesProblem.UNSUPPORTED
    frames = math.prod(shape[AXES:])
    if frames != 1 and not (emission and len(shape) == AXES + 1 and frames <= MOST_FRAMES):
        return SeriesProblem.MANY_VOLUMES
    if min(shape) < 1 or math.prod(shape[:AXES]) > MAX_VOXELS:
        return SeriesProblem.UNSUPPORTED
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        return SeriesProblem.NO_ORIENTATION
    if _conflict(image):
        return SeriesProblem.TWO_ORIENTATIONS
    return _place_problem(placed(image), shape[:AXES], emission=emission)


def placed(image: nibabel.Nifti1Image) -> NDArray[np.float64]:
    """Voxel indices to RAS mm, (4, 4): of two orientations that of the scanner, else the sform.

    An sform may lay a head into an atlas, and so stretch it; beside the scanner's own qform it is
    not believed.
    """
    codes = _codes(image)
    if codes[0] == _SCANNER and codes[1] not in (0, _SCANNER):
        return np.asarray(image.get_qform(), dtype=np.float64)
    return np.asarray(image.affine, dtype=np.float64)


def _codes(image: nibabel.Nifti1Image) -> tuple[int, int]:
    return int(image.header["qform_code"]), int(image.header["sform_code"])


def _conflict(image: nibabel.Nifti1Image) -> bool:
    """Whether a file's two orientations cannot both be meant: which side is left would be a guess.

    A qform has no way to say that a gantry was tilted, so that much is let pass.
    """
    codes = _codes(image)
    if not all(codes):
        return False
    told = np.asarray(image.get_qform(), dtype=np.float64)[:AXES, :AXES]
    meant = np.asarray(image.get_sform(), dtype=np.float64)[:AXES, :AXES]
    if not (np.isfinite(told).all() and np.isfinite(meant).all()):
        return True
    if np.linalg.det(told) * np.linalg.det(meant) <= 0:
        return True
    if (codes[0] == _SCANNER) != (codes[1] == _SCANNER):
        return False
    lengths = np.linalg.norm(told, axis=0), np.linalg.norm(meant, axis=0)
    if min(length.min() for length in lengths) <= 0:
        return True
    cosines = (told / lengths[0] * meant / lengths[1]).sum(0)
    ratios = lengths[0] / lengths[1]
    return bool(cosines.min() < _ALIKE or max(ratios.max(), 1 / ratios.min()) > _STRETCH)


def _place_problem(
    affine: NDArray[np.float64], shape: tuple[int, ...], *, emission: bool
) -> SeriesProblem | None:
    axes = affine[:AXES, :AXES]
    steps = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or not steps.all():
        return SeriesProblem.NO_ORIENTATION
    if abs(np.linalg.det(axes / steps)) < _FLAT:
        return SeriesProblem.NO_ORIENTATION
    shortest, longest = EXTENT_MM[0], PET_TALL_MM if emission else EXTENT_MM[1]
    extents = steps * shape
    if extents.min() < shortest or extents.max() > longest:
        return SeriesProblem.NOT_A_HEAD
    return SeriesProblem.TOO_COARSE if steps.max() > COARSEST_MM else None


def _is_short(path: Path, image: nibabel.Nifti1Image) -> bool:
    """Whether the file ends before its last voxel."""
    wanted = int(image.dataobj.offset) + math.prod(image.shape) * image.get_data_dtype().itemsize
    if path.suffix != ".gz":
        return bool(path.stat().st_size < wanted)
    length = 0
    try:
        with gzip.open(path, "rb") as stream:
            while length < wanted and (chunk := stream.read(_CHUNK)):
                length += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return True
    return bool(length < wanted)
