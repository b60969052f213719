"""The slices of one series as they are stored, in their order along the series' normal.

    files -> headers checked -> sorted slices -> intensities in which air is dark

Kept apart from the volume, because a defaced series is written back into exactly these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from reidscope_protocols.errors import GeometryError
from reidscope_site.face.geometry import (
    SeriesProblem,
    SliceHeader,
    normal,
    series_problem,
    slice_header,
    slice_offsets,
)
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

AIR_HU = -1000.0
"""What a CT shows where there is nothing; an MR shows about 0."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slices(Unsendable):
    """One series, sorted.

    Attributes
    ----------
    stored : ndarray of int
        (slice, row, column): samples as the files hold them.
    slopes, intercepts : ndarray of float64
        (slice,): what makes modality values of them.
    dark : float
        Modality value of air: -1000 HU in a CT, else 0.
    affine : ndarray of float64
        (4, 4), indices (slice, column, row) to RAS mm.
    bits : tuple of (int, bool)
        Bits that a sample may use, and whether it has a sign.
    instances : tuple of str
        SOP instance UID of each slice.

    Privacy
    -------
    One person's head. Has no serialiser.
    """

    stored: NDArray[np.integer]
    slopes: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    dark: float
    affine: NDArray[np.float64]
    bits: tuple[int, bool]
    instances: tuple[str, ...]

    @property
    def intensities(self) -> NDArray[np.float32]:
        """Brightness above air, (slice, row, column); never below 0 in a CT."""
        slopes, intercepts = (
            part.astype(np.float32)[:, None, None] for part in (self.slopes, self.intercepts)
        )
        values = self.stored.astype(np.float32) * slopes + intercepts
        if not self.dark:
            return values
        bright: NDArray[np.float32] = np.maximum(values - np.float32(self.dark), 0)
        return bright

    def as_stored(self, bright: NDArray[np.float32], index: int) -> NDArray[np.integer]:
        """Turn brightness above air back into the samples of slice `index`, rounded and clipped."""
        bits, signed = self.bits
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        samples = (bright + self.dark - self.intercepts[index]) / (self.slopes[index] or 1.0)
        new: NDArray[np.integer] = np.clip(np.rint(samples), low, high).astype(self.stored.dtype)
        return new


def read_slices(files: Sequence[Path]) -> Slices:
    """Read one series.

    Parameters
    ----------
    files : sequence of Path
        Its slices in any order, any orientation.

    Raises
    ------
    GeometryError
        If they are no volume of a head: the message says which `SeriesProblem`, and nothing of the
        data.
    """
    try:
        datasets = [pydicom.dcmread(path) for path in files]
        headers = [slice_header(dataset) for dataset in datasets]
        problem = series_problem(headers)
        if problem is not None or not headers:
            raise unusable(problem or SeriesProblem.ONE_SLICE)
        order = np.argsort(slice_offsets(headers) @ normal(headers[0]), kind="stable")
        ordered = [datasets[index] for index in order]
        return Slices(
            stored=np.stack([np.asarray(one.pixel_array) for one in ordered]),
            slopes=np.array([float(one.get("RescaleSlope") or 1) for one in ordered]),
            intercepts=np.array([float(one.get("RescaleIntercept") or 0) for one in ordered]),
            dark=AIR_HU if headers[0].modality == "CT" else 0.0,
            affine=_affine([headers[index] for index in order]),
            bits=(int(ordered[0].BitsStored), bool(ordered[0].PixelRepresentation)),
            instances=tuple(str(one.get("SOPInstanceUID", "")) for one in ordered),
        )
    except (InvalidDicomError, ValueError, AttributeError, RuntimeError, TypeError) as error:
        # pydicom's own errors for a file or pixel data that it cannot decode
        raise unusable(SeriesProblem.UNSUPPORTED) from error


def unusable(problem: SeriesProblem) -> GeometryError:
    """Error that says why slices are no volume."""
    return GeometryError(
        "a series",
        got=problem.value,
        expected="evenly spaced slices of one head",
        do="leave it out or fix its headers; `reidscope-site index` says which kinds were left out",
    )


def _affine(ordered: Sequence[SliceHeader]) -> NDArray[np.float64]:
    """Map indices (slice, column, row) of sorted slices to RAS mm."""
    first = ordered[0]
    row, column = np.array(first.orientation).reshape(2, 3)
    between_rows, between_columns = first.pixel_spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = slice_offsets(ordered)[-1] / (len(ordered) - 1)
    affine[:3, 1] = row * between_columns
    affine[:3, 2] = column * between_rows
    affine[:3, 3] = np.array(first.position)
    return _LPS_TO_RAS @ affine
