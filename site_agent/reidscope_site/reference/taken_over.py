"""A gallery of photos taken over from another reference: only what is new is made.

Photos do not depend on how scans are treated, rendered or attacked. A gallery of 10^5 of them that
somebody built and froze serves every study with the same recogniser in which scans search photos.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.errors import InputError
from reidscope_protocols.vocabulary import Mate
from reidscope_site.face.calibration import IDENTIFIED, read_calibration
from reidscope_site.face.constants import read_galleries
from reidscope_site.synthetic.seeds import Population

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.calibration import Calibration
    from reidscope_site.reference.plan import Plan

_GALLERY_FILE, _CALIBRATION_FILE = "gallery.npy", "calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """Galleries of photos, and what else their own reference says of them.

    Attributes
    ----------
    galleries : mapping
        Name to int8 (M, d), centred by `mean` but for a raw attacker's.
    mean : ndarray of float32
        (d,), of the photos that it was centred by.
    people, photos : str
        Whose faces those of the gallery are, and whose photos the mean was taken of.
    source : str
        What the people of that reference came from.
    """

    galleries: Mapping[str, NDArray[np.int8]]
    mean: NDArray[np.float32]
    people: str
    photos: str
    source: str

    @property
    def faces(self) -> int:
        """M."""
        return len(next(iter(self.galleries.values())))


def gallery_of(folder: Path) -> TakenOver:
    """Read the galleries of a reference folder.

    Raises
    ------
    InputError
        There is no reference, or not one in which scans search photos.
    MalformedError
        Its files are no reference's.
    """
    said = _calibration(folder)
    galleries = read_galleries(
        (folder / _GALLERY_FILE).read_bytes(), count=len(said.galleries), dimension=said.dimension
    )
    if IDENTIFIED not in said.galleries or said.mate is not Mate.PHOTO:
        raise _refused("scans", "a gallery of photos")
    return TakenOver(
        galleries=dict(zip(said.galleries, galleries, strict=True)),
        mean=np.array(said.means[IDENTIFIED], np.float32),
        people=said.seeds.get(Population.GALLERY.value, "unknown"),
        photos=said.seeds.get(Population.CALIBRATION.value, "unknown").partition(", scans")[0],
        source=said.seeds.get("source", "unknown"),
    )


def check_taken_over(folder: Path, plan: Plan) -> None:
    """Refuse a reference whose gallery is none for a plan.

    Raises
    ------
    InputError
        It is of other pictures, another recogniser, or lacks what a raw attacker compares with.
    """
    said = _calibration(folder)
    if plan.searches_scans or plan.mate is not Mate.PHOTO:
        raise _refused("a plan in which no photos are searched", "--mate photo, scans search")
    if said.recogniser != plan.recogniser:
        raise _refused(f"faces described by {said.recogniser.name}", plan.recogniser.name)
    if said.renders.grey is not plan.renders.grey:
        raise _refused(_colours(grey=said.renders.grey), _colours(grey=plan.renders.grey))
    missing = set(plan.galleries) - set(said.galleries)
    if missing:
        raise _refused("no gallery for a raw attacker", "one, or no raw attacker")
    if said.gallery_faces != plan.size:
        raise _refused(f"{said.gallery_faces} faces", f"the {plan.size} of --size")


def _calibration(folder: Path) -> Calibration:
    try:
        return read_calibration((folder / _CALIBRATION_FILE).read_bytes())
    except OSError:
        raise _refused(f"a folder without {_CALIBRATION_FILE}", "a reference") from None


def _colours(*, grey: bool) -> str:
    return "photos in grey" if grey else "photos in colour"


def _refused(got: str, expected: str) -> InputError:
    return InputError(
        "gallery that is taken over",
        got=got,
        expected=expected,
        do="name another folder with --gallery, or build a gallery anew",
    )
