"""Whether DICOM slices make one volume of a head, settled from their headers alone.

Used at `index`, on one person's own headers, before any pixel is read and before any study is
approved: which series is usable may not depend on anybody else, nor on an outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder

from reidscope_protocols.errors import NoDicomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EXTENT_MM = (100.0, 400.0)
"""A head's scan is at least and at most as long as this along every axis."""

HEAD_PARTS = frozenset({"BRAIN", "FACE", "HEAD", "HEADNECK", "SKULL", "WHOLEHEAD"})
"""Body parts that hold a face, letters alone; an empty one is no contradiction."""

BODY_PARTS = HEAD_PARTS | {"BODY", "TOTALBODY", "WHOLEBODY"}
"""Of a PET, whose head may be the upper end of a body."""

PET_WIDE_MM, PET_TALL_MM = 900.0, 2200.0
"""A tomograph's field of view is wider than a head, and a body's PET is taller."""

MODALITIES = frozenset({"CT", "MR", "PT"})

_PET = "PT"
"""Counts only in studies that ask for it (docs/face-experiment.md, "PET")."""

GREY = "MONOCHROME2"
"""The only reading of samples that is offered: brighter is more."""

MAX_VOXELS = 1 << 27
"""Memory stays bounded, whatever the headers say: half a gigabyte as float32."""

COARSEST_MM = 12.0
"""Where voxels are larger, no face is seen: a localizer, or what was made small."""

_AXES = 3
_COSINE_TOLERANCE = 1e-3
_SPACING_TOLERANCE_MM = 1e-3
_SAME_PLACE_MM = 1e-2
_DRIFT_MM = 0.5
_TILTED = 0.7
"""Tangent of the steepest gantry, with room: scanners tilt by 30 degrees."""
_UNEVEN = 0.1
_SKIPPED = 1.5
_RUN = 3
"""So many equal gaps in a row were meant; a lonely wide one is a slice that is gone."""
_WIDEST_MM = 10.0


class SeriesProblem(StrEnum):
    """Why slices are no usable volume of a head."""

    MISSING_SLICES = "missing-slices"
    DUPLICATE_SLICES = "duplicate-slices"
    ONE_SLICE = "one-slice"
    MIXED_GEOMETRY = "mixed-geometry"
    NOT_A_HEAD = "not-a-head"
    NO_DECODER = "no-decoder"
    NO_ORIENTATION = "no-orientation"
    TRUNCATED = "truncated"
    MANY_VOLUMES = "many-volumes"
    UNEVEN_SLICES = "uneven-slices"
    PET = "pet-is-not-written-back"
    NOT_CORRECTED = "pet-not-attenuation-corrected"
    UNITS = "pet-units-missing-mixed-or-of-no-activity"
    NO_SCALE = "pet-slice-without-scale"
    FRAMES = "pet-frames-without-durations"
    LOCALIZER = "localizer"
    DERIVED = "derived"
    SECONDARY_CAPTURE = "secondary-capture"
    DIFFUSION = "diffusion"
    MOSAIC = "mosaic"
    NO_AIR = "ct-scale-without-air"
    TOO_COARSE = "too-coarse"
    TWO_ORIENTATIONS = "two-orientations-that-differ"
    NAMED_OTHERWISE = "named-for-another-participant-or-session"
    MULTI_ECHO = "multi-echo"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHeader:
    """The geometry of one slice, as its header tells it; None where it tells nothing usable.

    Attributes
    ----------
    rows, columns : int
        Pixels.
    position : tuple of 3 floats or None
        Centre of the first pixel, mm, LPS.
    orientation : tuple of 6 floats or None
        Unit vectors along a row and along a column, LPS.
    pixel_spacing : tuple of 2 floats or None
        mm between rows, mm between columns.
    modality, body_part : str
        Upper case; empty where absent.
    frames : int
        In this file.
    samples : int
        Per pixel; 3 is colour.
    photometric : str
        How samples are read; upper case.
    decodable : bool
        Whether its pixels are written in a way that this installation decodes.

    Privacy
    -------
    About one person: stays at the site (docs/privacy.md, "What stays at the site").
    """

    rows: int
    columns: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    modality: str
    body_part: str = ""
    frames: int = 1
    samples: int = 1
    photometric: str = GREY
    decodable: bool = True

    @property
    def supported(self) -> bool:
        """Whether this is a single grey slice with whole geometry from a supported scanner."""
        if self.position is None or self.orientation is None or self.pixel_spacing is None:
            return False
        along_row, along_column = np.array(self.orientation).reshape(2, _AXES)
        upright = (
            abs(np.linalg.norm(along_row) - 1) < _COSINE_TOLERANCE
            and abs(np.linalg.norm(along_column) - 1) < _COSINE_TOLERANCE
            and abs(along_row @ along_column) < _COSINE_TOLERANCE
        )
        return (
            bool(upright)
            and min(self.pixel_spacing) > 0
            and min(self.rows, self.columns) > 0
            and self.frames == 1
            and self.samples == 1
            and self.photometric == GREY
            and self.modality in MODALITIES
        )


def read_slice_header(path: Path) -> SliceHeader:
    """Read one file's geometry; its pixels stay unread.

    Raises
    ------
    NoDicomError
        If the file is not DICOM.
    """
    try:
        return slice_header(pydicom.dcmread(path, stop_before_pixels=True))
    except (InvalidDicomError, OSError) as error:
        raise NoDicomError(
            "a slice", got="no readable DICOM", expected="a DICOM image", do="index again"
        ) from error


def slice_header(dataset: Dataset) -> SliceHeader:
    """Geometry of a dataset; malformed values become None or 0, never an error."""
    return SliceHeader(
        rows=_integer(dataset, "Rows", 0),
        columns=_integer(dataset, "Columns", 0),
        position=floats(dataset, "ImagePositionPatient", 3),
        orientation=floats(dataset, "ImageOrientationPatient", 6),
        pixel_spacing=floats(dataset, "PixelSpacing", 2),
        modality=_word(dataset, "Modality"),
        body_part="".join(filter(str.isalpha, _word(dataset, "BodyPartExamined"))),
        frames=_integer(dataset, "NumberOfFrames", 1),
        samples=_integer(dataset, "SamplesPerPixel", 1),
        photometric=_word(dataset, "PhotometricInterpretation") or GREY,
        decodable=_decodable(dataset),
    )


def series_problem(  # noqa: PLR0911  # one return a problem, in the order in which they are told
    headers: Sequence[SliceHeader],
) -> SeriesProblem | None:
    """Why these slices are no volume of a head, or None if they are one.

    Parameters
    ----------
    headers : sequence of SliceHeader
        One series of one person, in any order.

    Privacy
    -------
    A function of one person's headers (docs/privacy.md, "Neighbours").
    """
    voxels = sum(header.rows * header.columns for header in headers)
    if voxels > MAX_VOXELS or not all(header.supported for header in headers):
        return SeriesProblem.UNSUPPORTED
    if not all(header.decodable for header in headers):
        return SeriesProblem.NO_DECODER
    if len(headers) < 2:  # noqa: PLR2004  # two slices make the thinnest volume
        return SeriesProblem.ONE_SLICE
    if _differ(headers):
        return SeriesProblem.MIXED_GEOMETRY
    frames = frame_count(headers)
    if frames > 1:
        order = np.argsort(slice_places(headers), kind="stable")
        headers = [headers[index] for index in order[::frames]]
        if len(headers) < 2:  # noqa: PLR2004  # as above
            return SeriesProblem.ONE_SLICE
    along = slice_places(headers)
    gaps = np.diff(np.sort(along))
    if gaps.min() < _SAME_PLACE_MM:
        return _repeated(gaps)
    if _drifts(slice_offsets(headers), along, normal(headers[0])):
        return SeriesProblem.MIXED_GEOMETRY
    step = float(np.median(gaps))
    if not (_is_even(gaps) or _is_planned(gaps)):
        skipped = gaps.max() > _SKIPPED * step
        return SeriesProblem.MISSING_SLICES if skipped else SeriesProblem.MIXED_GEOMETRY
    return _shape_problem(headers, float(np.ptp(along)) + step, step)


def frame_count(headers: Sequence[SliceHeader]) -> int:
    """Frames that a PET has of every place, as a dynamic or gated one does; 1 of any other series.

    Returns
    -------
    int
        1 too where places are not taken equally often: `series_problem` says what is wrong then.
    """
    if len(headers) < 2 or any(header.modality != _PET for header in headers):  # noqa: PLR2004
        return 1
    gaps = np.diff(np.sort(slice_places(headers)))
    ends = np.flatnonzero(gaps >= _SAME_PLACE_MM)
    counts = np.diff(np.concatenate([[-1], ends, [len(gaps)]]))
    return int(counts[0]) if counts.min() == counts.max() else 1


def evenly_spaced(headers: Sequence[SliceHeader]) -> bool:
    """Whether the slices of a usable series lie at equal distances."""
    return _is_even(np.diff(np.sort(slice_places(headers))))


def normal(header: SliceHeader) -> NDArray[np.float64]:
    """Return the unit vector across a slice, (3,), LPS."""
    row, column = np.array(header.orientation).reshape(2, _AXES)
    across: NDArray[np.float64] = np.cross(row, column)
    return across


def slice_offsets(headers: Sequence[SliceHeader]) -> NDArray[np.float64]:
    """Positions less the first one's, (n, 3), mm, LPS."""
    positions = np.array([header.position for header in headers], dtype=np.float64)
    offsets: NDArray[np.float64] = positions - positions[0]
    return offsets


def slice_places(headers: Sequence[SliceHeader]) -> NDArray[np.float64]:
    """Distances from the first slice along the normal, (n,), mm."""
    places: NDArray[np.float64] = slice_offsets(headers) @ normal(headers[0])
    return places


def _repeated(gaps: NDArray[np.float64]) -> SeriesProblem:
    """Say whether every place is taken equally often, as in time, echo or diffusion series."""
    ends = np.flatnonzero(gaps >= _SAME_PLACE_MM)
    counts = np.diff(np.concatenate([[-1], ends, [len(gaps)]]))
    many = counts.min() > 1 and counts.min() == counts.max()
    return SeriesProblem.MANY_VOLUMES if many else SeriesProblem.DUPLICATE_SLICES


def _drifts(
    offsets: NDArray[np.float64], along: NDArray[np.float64], across: NDArray[np.float64]
) -> bool:
    """Whether slices lie beside the line of their stack.

    The line may lean: a gantry that was tilted shifts each slice by the same step, and the affine
    of the stack carries it.
    """
    sideways = offsets - np.outer(along, across)
    lean = sideways[np.argmax(np.abs(along))] / along[np.argmax(np.abs(along))]
    off = np.abs(sideways - np.outer(along, lean)).max()
    return bool(off > _DRIFT_MM or np.linalg.norm(lean) > _TILTED)


def _is_even(gaps: NDArray[np.float64]) -> bool:
    step = float(np.median(gaps))
    return bool(np.abs(gaps - step).max() <= _UNEVEN * step)


def _is_planned(gaps: NDArray[np.float64]) -> bool:
    """Whether gaps change in long runs, as where a CT is thin at the base and thick above."""
    if gaps.max() > _WIDEST_MM:
        return False
    turns = np.flatnonzero(np.abs(np.diff(gaps)) > _UNEVEN * gaps[:-1]) + 1
    runs = np.diff(np.concatenate([[0], turns, [len(gaps)]]))
    return bool(runs.min() >= _RUN)


def _differ(headers: Sequence[SliceHeader]) -> bool:
    first = headers[0]
    orientation, spacing = np.array(first.orientation), np.array(first.pixel_spacing)
    return any(
        (header.rows, header.columns, header.modality)
        != (first.rows, first.columns, first.modality)
        or np.abs(np.array(header.orientation) - orientation).max() > _COSINE_TOLERANCE
        or np.abs(np.array(header.pixel_spacing) - spacing).max() > _SPACING_TOLERANCE_MM
        for header in headers
    )


def _shape_problem(
    headers: Sequence[SliceHeader], tall_mm: float, step: float
) -> SeriesProblem | None:
    if not _like_a_head(headers, tall_mm):
        return SeriesProblem.NOT_A_HEAD
    coarsest = max(step, *(headers[0].pixel_spacing or ()))
    return SeriesProblem.TOO_COARSE if coarsest > COARSEST_MM else None


def _like_a_head(headers: Sequence[SliceHeader], tall_mm: float) -> bool:
    first = headers[0]
    spacing = first.pixel_spacing or (0.0, 0.0)
    shortest, longest = EXTENT_MM
    extents = (first.rows * spacing[0], first.columns * spacing[1], tall_mm)
    named = {header.body_part for header in headers} - {""}
    if first.modality == _PET:
        widest = max(extents[:2])
        return (
            named <= (BODY_PARTS if tall_mm > longest else HEAD_PARTS | {"WHOLEBODY"})
            and shortest <= min(extents)
            and widest <= PET_WIDE_MM
            and tall_mm <= PET_TALL_MM
        )
    return named <= HEAD_PARTS and all(shortest <= extent <= longest for extent in extents)


def floats(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Read so many finite numbers; None where an element holds anything else."""
    try:
        values = tuple(float(value) for value in dataset.get(keyword) or ())
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _decodable(dataset: Dataset) -> bool:
    """Whether pydicom has a decoder here; where nothing is said, pixels are native."""
    syntax = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if syntax is None:
        return True
    try:
        return not syntax.is_compressed or bool(get_decoder(syntax).is_available)
    except (NotImplementedError, ValueError):
        # A film, or a transfer syntax of a vendor's own.
        return False


def _integer(dataset: Dataset, keyword: str, default: int) -> int:
    try:
        return int(dataset.get(keyword) or default)
    except (TypeError, ValueError):
        return 0


def _word(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip().upper()
    except (TypeError, ValueError):
        return ""
