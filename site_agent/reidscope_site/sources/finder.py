"""The head finder: which series shows a face, why not, and which of one date is taken.

A series is taken for a head if its own headers say so: a CT or an MR; neither localizer, derived
image, secondary capture, mosaic, diffusion nor multi-echo; grey slices of one geometry that form
one volume between 100 and 400 mm along every axis, of voxels of 12 mm at most; of a CT, with a
scale that reaches down to air; of no body part but the head, if one is named. Nobody picks
by hand. A PET counts in studies that ask for PET alone: a scale of its own for every slice, one
unit of activity, said to be corrected for attenuation (`face.pet`); its field of view may be wider,
and its head the upper end of a body.

Of one person's usable series of one date the first by this public order is taken:

1. three-dimensional T1-like MR, then CT, then any other three-dimensional MR, then the rest; last
   the PET of a head, and that of a body;
2. original before processed;
3. thinner slices (to 0.1 mm), then the larger part of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from reidscope_site.face.frames import frame_groups, is_enhanced
from reidscope_site.face.geometry import (
    EXTENT_MM,
    SeriesProblem,
    SliceHeader,
    frame_count,
    series_problem,
    slice_places,
)
from reidscope_site.face.pet import PET, PET_TAGS, PetTraits, pet_problem, pet_traits
from reidscope_site.face.samples import SAMPLE_TAGS, shows_air

FINDER_TAGS = (
    "ImageType",
    "SOPClassUID",
    "ConversionType",
    "MRAcquisitionType",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "DiffusionBValue",
    "ComplexImageComponent",
    *SAMPLE_TAGS,
    *PET_TAGS,
)
"""Elements that are looked at beside the geometry."""

_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT"})
_PROCESSED = frozenset(
    {"ADC", "FA", "MIP", "MINIP", "MPR", "PHASE", "PHASE MAP", "PROJECTION IMAGE", "P", "R", "I"}
    | {"REAL", "IMAGINARY"}
    | {"PERFUSION", "REFORMATTED", "SUBTRACTION", "TRACEW", "CBF", "CBV", "MTT", "TTP"}
)
_PET_PROCESSED = frozenset({"FUSED", "FUSION", "PARAMETRIC", "PATLAK"})
_MOSAIC = "MOSAIC"
_DIFFUSION = frozenset({"DIFFUSION", "DIFFUSION_ANISO"})
_T1_ECHO_MS = 15.0
_T1_REPETITION_MS = 1000.0
_UNKNOWN_MM = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What one file's header tells about the kind of image; empty or None where it does not.

    Attributes
    ----------
    image_type : tuple of str
        Upper case.
    capture : bool
        A secondary capture: a picture of a picture.
    acquisition : str
        "3D", "2D" or "".
    echoes_ms : tuple of float
        Every echo time in the file.
    repetition_ms, inversion_ms : float or None
    b_value : float
        Strongest diffusion weighting, s/mm2; 0 without one.
    pet : PetTraits or None
        Of a PET.
    air : bool
        Whether its scale reaches down to air; False of some CTs alone.
    """

    image_type: tuple[str, ...] = ()
    capture: bool = False
    acquisition: str = ""
    echoes_ms: tuple[float, ...] = ()
    repetition_ms: float | None = None
    inversion_ms: float | None = None
    b_value: float = 0.0
    pet: PetTraits | None = None
    air: bool = True

    @property
    def t1_like(self) -> bool:
        """Whether times are those of a T1-weighted image: dark water, bright skin fat."""
        echo = min(self.echoes_ms, default=None)
        if echo is None or echo > _T1_ECHO_MS:
            return False
        prepared = self.inversion_ms is not None and self.inversion_ms > 0
        return prepared or (self.repetition_ms or _UNKNOWN_MM) <= _T1_REPETITION_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether a series shows a face, and how gladly it is taken (smaller first)."""

    problem: SeriesProblem | None
    preference: tuple[float, ...] = ()


def traits_of(dataset: Dataset) -> Traits:
    """Read what a header tells; malformed values count as absent."""
    words = _words(dataset, "ImageType") + _words(dataset, "ComplexImageComponent")
    echoes = _numbers(dataset, "EchoTime")
    b_values = _numbers(dataset, "DiffusionBValue")
    inversions = _numbers(dataset, "InversionTime")
    if is_enhanced(dataset):
        for frame in frame_groups(dataset):
            echoes |= _numbers(frame.group("MREchoSequence"), "EffectiveEchoTime")
            b_values |= _numbers(frame.group("MRDiffusionSequence"), "DiffusionBValue")
            kind = frame.group("MRImageFrameTypeSequence")
            words += tuple(
                word
                for word in (*_words(kind, "FrameType")[2:], *_words(kind, "ComplexImageComponent"))
                if word not in words
            )
    repetition = min(_numbers(dataset, "RepetitionTime"), default=None)
    return Traits(
        image_type=tuple(word.upper() for word in words),
        capture=_capture(dataset),
        acquisition="".join(_words(dataset, "MRAcquisitionType"))[:2].upper(),
        echoes_ms=tuple(sorted(echoes)),
        repetition_ms=repetition,
        inversion_ms=max(inversions, default=None),
        b_value=max(b_values, default=0.0),
        pet=pet_traits(dataset),
        air=shows_air(dataset),
    )


def find_head(slices: Sequence[SliceHeader], traits: Sequence[Traits]) -> Finding:
    """Say whether a series shows a face.

    Parameters
    ----------
    slices : sequence of SliceHeader
        Every slice of one series of one person, in any order.
    traits : sequence of Traits
        Of its files.

    Privacy
    -------
    A function of one person's headers and of public constants (docs/privacy.md, "Neighbours").
    """
    problem = _kind_problem(traits) or series_problem(slices) or _frames_problem(slices, traits)
    if problem is not None:
        return Finding(problem=problem)
    return Finding(problem=None, preference=_preference(slices, traits))


def _kind_problem(  # noqa: PLR0911  # one return a kind, in the order in which they are told
    traits: Sequence[Traits],
) -> SeriesProblem | None:
    words = {word for each in traits for word in each.image_type}
    derived = any(each.image_type[:2] == ("DERIVED", "SECONDARY") for each in traits)
    if any(each.capture for each in traits):
        return SeriesProblem.SECONDARY_CAPTURE
    if words & _LOCALIZERS:
        return SeriesProblem.LOCALIZER
    if derived or words & _PROCESSED:
        return SeriesProblem.DERIVED
    if _MOSAIC in words:
        return SeriesProblem.MOSAIC
    if words & _DIFFUSION or any(each.b_value > 0 for each in traits):
        return SeriesProblem.DIFFUSION
    if len({echo for each in traits for echo in each.echoes_ms}) > 1:
        return SeriesProblem.MULTI_ECHO
    if not all(each.air for each in traits):
        return SeriesProblem.NO_AIR
    told = [each.pet for each in traits if each.pet is not None]
    if told and words & _PET_PROCESSED:
        return SeriesProblem.DERIVED
    return pet_problem(told)


def _frames_problem(
    slices: Sequence[SliceHeader], traits: Sequence[Traits]
) -> SeriesProblem | None:
    """Say of a usable PET why its frames cannot be made one image."""
    told = [each.pet for each in traits if each.pet is not None]
    return pet_problem(told, frame_count(slices)) if told else None


def _preference(slices: Sequence[SliceHeader], traits: Sequence[Traits]) -> tuple[float, ...]:
    first, kind = slices[0], traits[0]
    places = np.sort(slice_places(slices))[:: frame_count(slices)]
    step = float(np.median(np.diff(places)))
    rows, columns = first.pixel_spacing or (1.0, 1.0)
    large = (float(np.ptp(places)) + step) * first.rows * rows * first.columns * columns
    whole = kind.acquisition == "3D"
    if first.modality == PET:
        rank = 4 if float(np.ptp(places)) + step <= EXTENT_MM[1] else 5
    elif first.modality == "CT":
        rank = 1
    elif whole and kind.t1_like:
        rank = 0
    else:
        rank = 2 if whole else 3
    processed = any(each.image_type[:1] == ("DERIVED",) for each in traits)
    return float(rank), float(processed), round(max(step, rows, columns), 1), -round(large)


def _capture(dataset: Dataset) -> bool:
    classes = _words(dataset, "SOPClassUID")
    return any(uid == _CAPTURES or uid.startswith(f"{_CAPTURES}.") for uid in classes) or bool(
        _words(dataset, "ConversionType")
    )


def _words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError, LookupError, AttributeError, NotImplementedError):
        return ()
    if value is None or value == "":
        return ()
    values = [value] if isinstance(value, str) else list(value)
    return tuple(str(each).strip() for each in values if str(each).strip())


def _numbers(dataset: Dataset, keyword: str) -> set[float]:
    try:
        value = dataset.get(keyword)
        values = {float(value)} if isinstance(value, int | float | str) and value != "" else set()
    except (TypeError, ValueError, LookupError, AttributeError, NotImplementedError):
        return set()
    return {each for each in values if np.isfinite(each)}
