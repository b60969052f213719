"""Pictures become embeddings: of a photo, of a scan, and of a scan in every arm.

    Volume -> Head -> ReleasedScan (arm by arm: defaced, checked, repaired) -> Described

One picture at a time, nothing kept. What several renders say is averaged, or kept side by side for
an attacker who lets the best one count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from reidscope_protocols.errors import DefacerFailedError
from reidscope_protocols.vocabulary import UNMODIFIED, Attacker, Fusion
from reidscope_site.face import gates
from reidscope_site.face.damage import measure
from reidscope_site.face.register import Registration, register
from reidscope_site.face.repair import repair
from reidscope_site.face.skin import face_pictures
from reidscope_site.face.unsendable import Unsendable
from reidscope_site.face.volume import Volume, isotropic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_protocols.face_experiment import Readout, Renders
    from reidscope_site.face.arms import Arm
    from reidscope_site.face.recognise import Embedding, Recogniser


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Described(Unsendable):
    """Embeddings of one face, (r, d) float32: one, or one a render.

    Privacy
    -------
    Biometric data of one person. Has no serialiser (docs/privacy.md, "What stays at the site").
    """

    values: NDArray[np.float32]

    def __repr__(self) -> str:
        return f"Described({len(self.values)} times)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head(Unsendable):
    """A scan on its 1 mm grid with the average head laid onto it; stays at the site."""

    volume: Volume
    registration: Registration


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attack:
    """What is looked at, and how.

    Attributes
    ----------
    readouts : sequence of Readout
        Arms and attackers.
    renders : Renders
        Views, lights, fusion.
    recogniser : Recogniser
        Of faces.
    damage_arms : collection of str
        Arms whose damage is measured.
    """

    readouts: Sequence[Readout]
    renders: Renders
    recogniser: Recogniser
    damage_arms: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReleasedScan(Unsendable):
    """What one arm makes of a scan, and what attackers make of that.

    Attributes
    ----------
    arm : str
        Its name.
    passed : bool
        Whether the gates let it pass; always for `unmodified`.
    brain_lost : float
        Share of the brain that went.
    faces : mapping
        Column of the joint table to the face that the attacker described, or None.

    Privacy
    -------
    About one person: stays at the site (docs/privacy.md, "What stays at the site").
    """

    arm: str
    passed: bool
    brain_lost: float
    faces: Mapping[str, Described | None]


def take_in(volume: Volume) -> Head | None:
    """Lay the average head onto a scan; None where it does not lie there as on a head.

    Parameters
    ----------
    volume : Volume
        Any spacing and orientation.
    """
    grid = isotropic(volume)
    registration = register(grid)
    if not gates.is_believed(registration):
        return None
    return Head(volume=grid, registration=registration)


def describe_photo(
    photo: NDArray[np.uint8], recogniser: Recogniser, renders: Renders, *, marked: bool = False
) -> Described | None:
    """Describe the face of a photo, (H, W, 3) RGB; None unless it shows exactly one.

    Of a photo that was `marked` by hand the best face is taken, as of a render: somebody has seen
    that there is one.
    """
    picture = grey(photo) if renders.grey else photo
    reading = recogniser.embed(picture) if marked else recogniser.embed_photo(picture)
    embedding = reading.embedding
    return None if embedding is None or not _finite(embedding) else _one(embedding.values)


def describe_scan(volume: Volume, recogniser: Recogniser, renders: Renders) -> Described | None:
    """Describe the face of a scan that is not defaced; None where there is none."""
    head = take_in(volume)
    return None if head is None else describe_head(head, recogniser, renders)


def describe_head(head: Head, recogniser: Recogniser, renders: Renders) -> Described | None:
    """Describe the face of a scan whose pose is known."""
    rows = [
        embedding.values
        for picture in face_pictures(head.volume, head.registration, renders)
        if (embedding := recogniser.embed(grey(picture) if renders.grey else picture).embedding)
        is not None
        and _finite(embedding)
    ]
    if not rows:
        return None
    if renders.fusion is Fusion.MEAN:
        return _one(np.stack(rows).mean(axis=0, dtype=np.float64).astype(np.float32))
    return Described(values=np.stack(rows))


def released_scans(
    head: Head,
    arms: Mapping[str, Arm],
    look: Attack,
) -> Iterator[ReleasedScan]:
    """Treat a scan arm by arm, check what came out, and let every attacker look at it."""
    for name, arm in arms.items():
        try:
            volume = arm.apply(head.volume, head.registration)
        except DefacerFailedError:
            # The program could not work on this person's scan: a failed gate, like any other.
            yield _not_defaced(name, look)
            continue
        treated = Head(volume=volume, registration=head.registration)
        passed, brain_lost = True, 0.0
        if name != UNMODIFIED:
            passed = gates.check(
                head.volume, treated.volume, head.registration, intent=arm.intent
            ).passed
            if name in look.damage_arms:
                brain_lost = measure(head.volume, treated.volume, head.registration).brain_lost
        yield ReleasedScan(
            arm=name, passed=passed, brain_lost=brain_lost, faces=_faces(name, treated, look)
        )


def _not_defaced(arm: str, look: Attack) -> ReleasedScan:
    return ReleasedScan(
        arm=arm,
        passed=False,
        brain_lost=0.0,
        faces={readout.column: None for readout in look.readouts if readout.arm == arm},
    )


def _faces(arm: str, treated: Head, look: Attack) -> dict[str, Described | None]:
    """Describe one treated scan once as it is and once repaired, where anybody asks for it."""
    asked = [readout for readout in look.readouts if readout.arm == arm]
    described = {
        repairing: describe_head(
            repaired(treated) if repairing else treated, look.recogniser, look.renders
        )
        for repairing in {readout.attacker is Attacker.REPAIRING for readout in asked}
    }
    return {readout.column: described[readout.attacker is Attacker.REPAIRING] for readout in asked}


def repaired(treated: Head) -> Head:
    """Return what an attacker who repairs renders: as it is where the average head does not fit."""
    volume = repair(treated.volume)
    return treated if volume is None else Head(volume=volume, registration=treated.registration)


def grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take the colours out of a picture, (H, W, 3) RGB, by luminance; three equal channels."""
    shades = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(np.repeat(shades[:, :, None], 3, axis=2)).astype(np.uint8)


def _one(values: NDArray[np.float32]) -> Described:
    return Described(values=np.ascontiguousarray(values[None], dtype=np.float32))


def _finite(embedding: Embedding) -> bool:
    return bool(np.isfinite(embedding.values).all())
