"""What the sidecars of a BIDS PET say: whether it was corrected, and how long each frame lasted.

    trc-FDG_pet.json <- sub-01_pet.json <- sub-01_ses-1_trc-FDG_pet.json    the nearest word counts

A sidecar may stand beside its image or in a folder above it, where it holds for every image with
its entities (BIDS, "The Inheritance Principle"). Of a PET of several frames the mean is that of the
activity over the time that they lasted (`FrameDuration`, seconds); one that does not say how long
each of its frames lasted is refused: alike, frames of seconds would outweigh those of minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reidscope_site.face.geometry import SeriesProblem
from reidscope_site.face.pet import COUNTS
from reidscope_site.face.pet_frames import are_durations

_NOT_CORRECTED = frozenset({"", "n/a", "na", "no", "nac", "none", "false"})
_NOT_CORRECTED_NAME = "rec-nac"
_LARGEST = 1 << 20  # bytes
_COUNTED = COUNTS | {"COUNTS"}
_PARTICIPANT = "sub-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PetSidecar:
    """What was said.

    Attributes
    ----------
    corrected : bool
        Whether a correction for attenuation is named.
    counts : bool
        Whether voxels are what was counted, which adds up, and not activity.
    durations_s : tuple of float, or None
        Of the frames, in their order; None where they are not said, or not as numbers.
    """

    corrected: bool = False
    counts: bool = False
    durations_s: tuple[float, ...] | None = None


def sidecars_of(image: Path) -> tuple[Path, ...]:
    """Sidecars that hold for a PET, the farthest first.

    Parameters
    ----------
    image : Path
        `.../sub-01/[ses-1/]pet/sub-01_..._pet.nii.gz`; where no folder above it is a participant's,
        the folder of the image alone is looked at.
    """
    stem = image.name.partition(".nii")[0]
    folders = [image.parent]
    above = [*image.parents]
    ends = [place for place, one in enumerate(above) if one.name.startswith(_PARTICIPANT)]
    if ends:
        folders = above[: ends[0] + 2]  # the dataset holds its participants' folders
    found = []
    for folder in reversed(folders):
        held = [one for one in sorted(folder.glob("*.json")) if _holds_for(one.stem, stem)]
        found.extend(sorted(held, key=lambda one: len(one.stem.split("_"))))
    return tuple(found)


def read_sidecars(sidecars: Sequence[Path]) -> PetSidecar:
    """Read sidecars, the farthest first; what cannot be read says nothing.

    Privacy
    -------
    Of one person's image, or of every image of the dataset: three words are read, nothing else
    (docs/privacy.md, "What stays at the site").
    """
    said: dict[str, Any] = {}
    for path in sidecars:
        said |= _object(path)
    word = said.get("AttenuationCorrection")
    units = said.get("Units")
    return PetSidecar(
        corrected=isinstance(word, str) and word.strip().lower() not in _NOT_CORRECTED,
        counts=isinstance(units, str) and units.strip().upper() in _COUNTED,
        durations_s=_numbers(said.get("FrameDuration")),
    )


def sidecar_problem(image: Path, said: PetSidecar, frames: int) -> SeriesProblem | None:
    """Say why a PET is no picture of activity, by its name and its sidecars; None if it is.

    Parameters
    ----------
    image : Path
        Its name alone is looked at.
    said : PetSidecar
        Of it.
    frames : int
        That the image has.
    """
    named = any(part.startswith(_NOT_CORRECTED_NAME) for part in image.name.split("_"))
    if named or not said.corrected:
        return SeriesProblem.NOT_CORRECTED
    return SeriesProblem.FRAMES if frame_shares(said, frames) is None else None


def frame_shares(said: PetSidecar, frames: int) -> NDArray[np.float64] | None:
    """Share of each frame in the mean, (frames,), 1 together; None where they are not known.

    One frame needs no duration. Counts add up: their shares are equal.
    """
    if frames == 1 or said.counts:
        return np.full(frames, 1 / frames)
    durations = np.array(said.durations_s or ())
    if len(durations) != frames or not are_durations(durations):
        return None
    shares: NDArray[np.float64] = durations / durations.sum()
    return shares if np.isfinite(shares).all() else None


def _holds_for(sidecar: str, image: str) -> bool:
    """Whether every entity of a sidecar's name, and its suffix, is the image's too."""
    *entities, suffix = sidecar.split("_")
    *own, kind = image.split("_")
    return suffix == kind and set(entities) <= set(own)


def _object(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _numbers(said: Any) -> tuple[float, ...] | None:
    values = said if isinstance(said, list) else [said]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return None
    try:
        return tuple(float(one) for one in values)
    except OverflowError:
        return None
