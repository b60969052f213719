"""One person, one reading: what the attacker makes of a scan, and whether it would find the person.

    Volume, photo, constants -> ReadFaces -> classify(coin) -> CellReading

Sees one person and public constants, keeps nothing, and runs on one thread: a person's reading is
the same bits alone, permuted, and among others. What fails because of the person's own data (no
face, no registration, two faces on the photo) is "not acquired", a cell like any other; running out
of time or memory is not, and raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch

from reidscope_site.face.arms import ARMS, UNMODIFIED
from reidscope_site.face.compare import compare, quantise
from reidscope_site.face.constants import PHOTO, FaceConstants, load_constants
from reidscope_site.face.found import found_at
from reidscope_site.face.register import register
from reidscope_site.face.skin import face_picture
from reidscope_site.face.unsendable import Unsendable
from reidscope_site.face.volume import Volume, isotropic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.recognise import Embedding
    from reidscope_site.face.register import Registration

__all__ = [
    "CellReading",
    "FaceConstants",
    "ReadFaces",
    "classify",
    "load_constants",
    "read_faces",
]

ACCEPTED_NCC = 0.8
"""Registration below it is not believed; heads reach .95 and more, other bodies less."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadFaces(Unsendable):
    """One person's quantised embeddings.

    Attributes
    ----------
    probes : mapping
        Arm to int8 (d,), or None where no face was found; empty if the scan was no head.
    mate : ndarray of int8 or None
        (d,), of the photo; None unless it shows exactly one face.

    Privacy
    -------
    Biometric data of one person. Has no serialiser.
    """

    probes: Mapping[str, NDArray[np.int8] | None]
    mate: NDArray[np.int8] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReading(Unsendable):
    """Where one person falls.

    Attributes
    ----------
    acquired : bool
        Whether the unmodified scan and the photo each gave a face; if not, the rest says nothing.
    found_at : int
        Largest anchor at which the unmodified scan is found, 0 if at none.
    defaced_found : mapping
        Every other arm to whether it is found at the first anchor.

    Privacy
    -------
    Exact and about one person: may not leave the site but in a noisy table. Has no serialiser.
    """

    acquired: bool
    found_at: int
    defaced_found: Mapping[str, bool]


def read_faces(volume: Volume, photo: NDArray[np.uint8], constants: FaceConstants) -> ReadFaces:
    """Attack one person's scan in every arm, and describe the person's photo.

    Parameters
    ----------
    volume : Volume
        De-identified, any spacing and orientation.
    photo : ndarray of uint8
        (H, W, 3), RGB.
    constants : FaceConstants
        Public.

    Privacy
    -------
    A function of one person and public constants. Sets PyTorch to one thread, so that it is so to
    the bit.
    """
    torch.set_num_threads(1)
    reading = constants.recogniser.embed_photo(photo)
    head = isotropic(volume)
    registration = register(head)
    probes = (
        {name: _probe(name, head, registration, constants) for name in constants.arms}
        if registration.ncc >= ACCEPTED_NCC
        else {}
    )
    return ReadFaces(
        probes=MappingProxyType(probes),
        mate=_quantised(reading.embedding, PHOTO, constants),
    )


def classify(read: ReadFaces, constants: FaceConstants, coin: float) -> CellReading:
    """Say at which gallery sizes the person is found.

    Parameters
    ----------
    read : ReadFaces
        The person's own.
    constants : FaceConstants
        Public.
    coin : float
        The person's own, in (0, 1].

    Privacy
    -------
    A function of one person and public constants (docs/privacy.md, "Found at N").
    """
    probe, mate = read.probes.get(UNMODIFIED), read.mate
    defacers = [name for name in constants.arms if name != UNMODIFIED]
    if probe is None or mate is None:
        return CellReading(
            acquired=False,
            found_at=0,
            defaced_found=MappingProxyType(dict.fromkeys(defacers, False)),
        )

    def largest(face: NDArray[np.int8] | None, anchors: tuple[int, ...]) -> int:
        if face is None:
            return 0
        return found_at(compare(face, mate, constants.gallery), anchors, coin=coin)

    return CellReading(
        acquired=True,
        found_at=largest(probe, constants.anchors),
        defaced_found=MappingProxyType(
            {name: largest(read.probes[name], constants.anchors[:1]) > 0 for name in defacers}
        ),
    )


def _probe(
    arm: str, head: Volume, registration: Registration, constants: FaceConstants
) -> NDArray[np.int8] | None:
    treated = ARMS[arm].apply(head, registration)
    picture = face_picture(treated, registration)
    if picture is None:
        return None
    return _quantised(constants.recogniser.embed(picture).embedding, arm, constants)


def _quantised(
    embedding: Embedding | None, mean: str, constants: FaceConstants
) -> NDArray[np.int8] | None:
    if embedding is None or not np.isfinite(embedding.values).all():
        return None
    return quantise(embedding, constants.means[mean])
