"""Faces in head scans: which series have one to remove, and the defacer that removes it.

    series -> whether it may show a face -> defacer -> samples by instance -> a stage of the engine

The de-identifier has no defacer of its own: whoever installs one registers it under the entry point
group `reidscope.defacers`, as the site agent does. A series that may show a face and that the
defacer does not vouch for is left out whole.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from reidscope_deid.options import OPTIONS, VISUAL_FEATURES
from reidscope_deid.part10 import Opened, open_part10
from reidscope_deid.pixel_change import PixelChange, PixelStage, Samples
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.samples import NATIVE_SYNTAXES
from reidscope_protocols.errors import UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GROUP = "reidscope.defacers"
"""Entry point group; each entry point is a function that returns defacers by name."""

FACES = "faces"
"""What is counted of series: by these words, beside what is counted of elements."""
SERIES_DEFACED = "series defaced"
DETECTOR_ASKED = "series a face detector looked at"
FOUND_BEFORE = "series with a face found before defacing"
FOUND_AFTER = "series with a face found after defacing"

_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_MODALITY, _BODY_PART = 0x00080060, 0x00180015
_SERIES, _INSTANCE = 0x0020000E, 0x00080018
_FEATURES = 0x00280302
_EXTREMES = (0x00280106, 0x00280107, 0x00280108, 0x00280109)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DefacedSeries:
    """What a defacer made of one series.

    Attributes
    ----------
    samples : mapping
        New samples of each slice, (rows, columns), by SOP instance UID.
    detected : tuple of 2 bools, or None
        Whether a face detector fires on a picture of the scan before and after. For the record
        alone: detectors fire on most cut heads. None where none was asked.
    """

    samples: Mapping[str, NDArray[np.integer]]
    detected: tuple[bool, bool] | None = None


class SeriesDefacer(Protocol):
    """Removes the face from one series."""

    def __call__(self, series: Sequence[Path]) -> DefacedSeries:
        """Give new samples of each slice.

        Parameters
        ----------
        series : sequence of Path
            The original files of one series; only read.

        Raises
        ------
        QuarantinedError
            The defacer's own check says that the face is still there or the brain was cut, or the
            series is nothing that it takes.

        Privacy
        -------
        Sees a face; keeps nothing of it (docs/privacy.md, "De-identification").
        """
        ...


class _Rules(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    volumes: Annotated[list[str], Field(min_length=1)]
    photographs: list[str]
    without_face: Annotated[list[str], Field(min_length=1)]


@cache
def _rules() -> _Rules:
    text = files("reidscope_deid").joinpath("data/faces.toml").read_text("utf-8")
    return _Rules.model_validate(tomllib.loads(text))


class FaceStage(PixelStage, Protocol):
    """A stage of one series, and what it counted of it."""

    @property
    def tally(self) -> Counter[tuple[int | str, str]]:
        """Counts for the record, once a series."""


def find_defacer(name: str) -> SeriesDefacer:
    """Look a defacer up among those that are installed.

    Raises
    ------
    UnsupportedError
        None of that name.
    """
    found: dict[str, SeriesDefacer] = {}
    for point in entry_points(group=GROUP):
        try:
            found |= point.load()()
        except ImportError:
            continue  # registered by an installation without the extra that it needs
    if name not in found:
        raise UnsupportedError(
            "--deface",
            got="another name" if found else "a defacer, and none is installed",
            expected=" or ".join(sorted(found)) or "an installed defacer",
            do="choose one" if found else "install reidscope[site]",
        )
    return found[name]


def may_show_face(opened: Opened) -> bool:
    """Whether a file is a slice of a volume in which a face could be seen, or a photograph.

    A body part that is named and holds no face is believed; none, or any other, is not.
    """
    modality = opened.value(_MODALITY).decode("ascii", "replace").upper()
    if modality in _rules().photographs:
        return True
    if modality not in _rules().volumes:
        return False
    said = opened.value(_BODY_PART).decode("ascii", "replace").upper()
    return "".join(filter(str.isalpha, said)) not in _rules().without_face


def group_by_series(paths: Sequence[str]) -> list[list[tuple[int, str]]]:
    """Files of one series together, numbered; series in the order of their first file.

    Files that cannot be opened stand alone: they are left out later, with their reason.
    """
    groups: dict[bytes, list[tuple[int, str]]] = {}
    for index, path in enumerate(paths):
        try:
            with Path(path).open("rb") as stream:
                series = open_part10(stream.read()).value(_SERIES)
        except (QuarantinedError, OSError):
            series = b""
        groups.setdefault(series or f"alone {index}".encode(), []).append((index, path))
    return list(groups.values())


@dataclass(frozen=True, slots=True, repr=False)
class _Defaced:
    """The stage of one series: new samples by instance, or why there are none."""

    series: DefacedSeries | None
    refused: QuarantinedError | None

    @property
    def tally(self) -> Counter[tuple[int | str, str]]:
        """What the record counts of a series that was defaced."""
        if self.series is None:
            return Counter()
        said = {SERIES_DEFACED: True}
        if self.series.detected is not None:
            said[DETECTOR_ASKED] = True
            said[FOUND_BEFORE], said[FOUND_AFTER] = self.series.detected
        return Counter({(FACES, what): 1 for what, holds in said.items() if holds})

    def __call__(self, opened: Opened) -> PixelChange | None:
        if not may_show_face(opened):
            return None
        if self.refused is not None:
            raise self.refused
        samples = self.series.samples if self.series is not None else {}
        new = samples.get(opened.value(_INSTANCE).decode("ascii", "replace"))
        if new is None:
            raise QuarantinedError(Reason.FACE)
        order = new.dtype.newbyteorder("<" if opened.encoding.little else ">")
        native = opened.syntax in NATIVE_SYNTAXES
        return PixelChange(
            codes=frozenset({OPTIONS[VISUAL_FEATURES].code}),
            samples=Samples(
                value=new.astype(order).tobytes(),
                encapsulated=False,
                syntax=opened.syntax if native else _EXPLICIT_LITTLE,
            ),
            # The extremes of the samples were those of the face too.
            elements={_FEATURES: (b"CS", b"NO"), **dict.fromkeys(_EXTREMES)},
        )


def stage_of_series(defacer: SeriesDefacer, series: Sequence[Path]) -> FaceStage:
    """Deface one series and hold its samples ready.

    Parameters
    ----------
    defacer : SeriesDefacer
        From `find_defacer`.
    series : sequence of Path
        Original files of one series.
    """
    opened = []
    for path in series:
        try:
            opened.append(open_part10(path.read_bytes()))
        except (QuarantinedError, OSError):
            # Left out with its own reason when its turn comes; a volume with a hole is refused.
            continue
    if not any(may_show_face(one) for one in opened):
        return _Defaced(None, None)
    try:
        return _Defaced(defacer(series), None)
    except QuarantinedError as refused:
        return _Defaced(None, refused)
