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
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from reidscope_protocols.errors import GeometryError
from reidscope_site.face.frames import is_enhanced, rescaling, slice_headers
from reidscope_site.face.geometry import (
    SeriesProblem,
    SliceHeader,
    evenly_spaced,
    frame_count,
    series_problem,
    slice_offsets,
    slice_places,
)
from reidscope_site.face.pet import COUNTS, pet_problem, pet_traits
from reidscope_site.face.pet_frames import averaged, weights_of
from reidscope_site.face.samples import padded, padding_of, shows_air
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

AIR_HU = -1000.0
"""What a CT shows where there is nothing; an MR shows about 0."""

_STEPS = 1 << 24
"""Of an averaged PET, to its highest value: as fine as float32."""
_LEAST_ACTIVITY = 1e-30
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
        (4, 4), indices (slice, column, row) to RAS mm, were the slices evenly spaced.
    places : ndarray of float64
        (slice,): where each slice truly lies, as an index of `affine`; 0, 1, 2, ... where they are
        evenly spaced.
    bits : tuple of (int, bool)
        Bits that a sample may use, and whether it has a sign.
    instances : tuple of str
        SOP instance UID of each slice; of a PET's frames, the first's.
    paddings : tuple of (int, int) or None
        Samples of each slice that say "nothing was measured here", lowest and highest; none by
        itself.
    emission : bool
        Whether it is a PET: never below 0; its frames are averaged, and `stored` is not as the
        files hold it then, so that it is not written back.

    Privacy
    -------
    One person's head. Has no serialiser (docs/privacy.md, "What stays at the site").
    """

    stored: NDArray[np.integer]
    slopes: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    dark: float
    affine: NDArray[np.float64]
    places: NDArray[np.float64]
    bits: tuple[int, bool]
    instances: tuple[str, ...]
    paddings: tuple[tuple[int, int] | None, ...] = ()
    emission: bool = False

    @property
    def intensities(self) -> NDArray[np.float32]:
        """Brightness above air, (slice, row, column); never below 0 in a CT or a PET.

        Padding is air: a scanner may mark what lies beside its field of view with any number.
        """
        slopes, intercepts = (
            part.astype(np.float32)[:, None, None] for part in (self.slopes, self.intercepts)
        )
        values = self.stored.astype(np.float32) * slopes + intercepts
        empty = padded(self.stored, self.paddings)
        if empty is not None:
            values[empty] = self.dark
        if not self.dark and not self.emission:
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
    """Read a series that can be written back: a slice a file, evenly spaced.

    Parameters
    ----------
    files : sequence of Path
        Its slices in any order, any orientation.

    Raises
    ------
    GeometryError
        If they are no volume of a head, or not of this kind: the message says which
        `SeriesProblem`, and nothing of the data.
    """
    slices = read_any_slices(files)
    if slices.emission:
        raise unusable(SeriesProblem.PET)
    if len(set(slices.instances)) != len(slices.instances):
        raise unusable(SeriesProblem.UNSUPPORTED)
    if not np.array_equal(slices.places, np.arange(len(slices.places))):
        raise unusable(SeriesProblem.UNEVEN_SLICES)
    return slices


def read_any_slices(files: Sequence[Path]) -> Slices:
    """Read one series, multi-frame and unevenly spaced ones too.

    Raises
    ------
    GeometryError
        As `read_slices`.
    """
    try:
        datasets = [pydicom.dcmread(path) for path in files]
        headers = [header for dataset in datasets for header in slice_headers(dataset)]
        told = [one for one in map(pet_traits, datasets) if one is not None]
        problem = pet_problem(told) or series_problem(headers)
        problem = problem or pet_problem(told, frame_count(headers))
        if problem is not None or not headers:
            raise unusable(problem or SeriesProblem.ONE_SLICE)
        if not all(map(shows_air, datasets)):
            raise unusable(SeriesProblem.NO_AIR)
        order = np.argsort(slice_places(headers), kind="stable")
        ordered = [headers[index] for index in order]
        scaling = np.array([pair for dataset in datasets for pair in rescaling(dataset)])[order]
        planes = [plane for dataset in datasets for plane in _planes(dataset)]
        first = datasets[0]
        stored = np.stack([planes[index] for index in order])
        if told:
            weights = weights_of(datasets, counts=told[0].units in COUNTS)
            return _emitted(
                _Frames(stored=stored, scaling=scaling, weights=weights[order]),
                ordered[:: frame_count(headers)],
                tuple(_instances(datasets, order))[:: frame_count(headers)],
            )
        return Slices(
            stored=stored,
            slopes=scaling[:, 0],
            intercepts=scaling[:, 1],
            dark=AIR_HU if headers[0].modality == "CT" else 0.0,
            affine=_affine(ordered),
            places=_places(ordered),
            bits=(int(first.BitsStored), bool(first.PixelRepresentation)),
            instances=tuple(_instances(datasets, order)),
            paddings=tuple(_paddings(datasets, order)),
        )
    except (
        InvalidDicomError,
        ValueError,
        AttributeError,
        RuntimeError,
        TypeError,
        LookupError,
    ) as error:
        # pydicom's own errors for a file or pixel data that it cannot decode
        raise unusable(SeriesProblem.UNSUPPORTED) from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Frames:
    """Sorted slices of a PET: samples, (slope, intercept) of each, its weight among its place's."""

    stored: NDArray[np.integer]
    scaling: NDArray[np.float64]
    weights: NDArray[np.float64]


def _emitted(held: _Frames, ordered: Sequence[SliceHeader], instances: tuple[str, ...]) -> Slices:
    """Average the frames of a PET; `ordered` and `instances` are one a place."""
    scaling = held.scaling.astype(np.float32)
    values = held.stored.astype(np.float32)
    values *= scaling[:, 0, None, None]
    values += scaling[:, 1, None, None]
    places = len(ordered)
    mean = averaged(values, held.weights, len(values) // places)
    if not np.isfinite(mean).all():
        raise unusable(SeriesProblem.NO_SCALE)
    slope = max(float(np.abs(mean).max()), _LEAST_ACTIVITY) / _STEPS
    return Slices(
        stored=np.rint(mean / slope).astype(np.int32),
        slopes=np.full(places, slope),
        intercepts=np.zeros(places),
        dark=0.0,
        affine=_affine(ordered),
        places=_places(ordered),
        bits=(32, True),
        instances=instances,
        emission=True,
    )


def _planes(dataset: Dataset) -> NDArray[np.integer]:
    """Decode the samples of one file, (slice, row, column)."""
    samples = np.asarray(dataset.pixel_array)
    planes: NDArray[np.integer] = samples.reshape(-1, *samples.shape[-2:])
    return planes


def _instances(datasets: Sequence[Dataset], order: NDArray[np.intp]) -> list[str]:
    named = [
        str(dataset.get("SOPInstanceUID", ""))
        for dataset in datasets
        for _ in range(_slice_count(dataset))
    ]
    return [named[index] for index in order]


def _paddings(datasets: Sequence[Dataset], order: NDArray[np.intp]) -> list[tuple[int, int] | None]:
    marked = [
        padding for dataset in datasets for padding in [padding_of(dataset)] * _slice_count(dataset)
    ]
    return [marked[index] for index in order]


def _slice_count(dataset: Dataset) -> int:
    return len(dataset.PerFrameFunctionalGroupsSequence) if is_enhanced(dataset) else 1


def _places(ordered: Sequence[SliceHeader]) -> NDArray[np.float64]:
    """Where sorted slices lie, as indices of the evenly spaced grid of `_affine`."""
    if evenly_spaced(ordered):
        return np.arange(len(ordered), dtype=np.float64)
    along = slice_places(ordered)  # from the first, which is the lowest
    places: NDArray[np.float64] = along / np.diff(along).min()
    return places


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
    last = float(_places(ordered)[-1])
    row, column = np.array(first.orientation).reshape(2, 3)
    between_rows, between_columns = first.pixel_spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = slice_offsets(ordered)[-1] / last
    affine[:3, 1] = row * between_columns
    affine[:3, 2] = column * between_rows
    affine[:3, 3] = np.array(first.position)
    return _LPS_TO_RAS @ affine
