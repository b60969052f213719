"""Looking at one person, in a child process that talks to nobody: files -> Sheet.

The same readers, registration, defacers, gates and detector as in a study. No recogniser, no
gallery and no coin is loaded: nothing here could tell whether a person would be found.
"""

from __future__ import annotations

import base64
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_deid.keys import SiteKey, load_key
from reidscope_protocols.durable import write_durably
from reidscope_protocols.recogniser import DetectorDeclaration
from reidscope_site.isolation import bound_pictures, close_network, end_with_parent
from reidscope_site.snapshot import Person

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reidscope_site.face.arms import Arm
    from reidscope_site.face.detect import Detector

_JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a child loads once.

    Attributes
    ----------
    arms : tuple of str
        `unmodified` first.
    attacked : int
        Scans of a person that are defaced, by date.
    second_is_mate : bool
        Whether the second scan is what the attacker has a name for.
    grey : bool
        Whether photos lose their colours before they are looked at.
    detector : bytes
        ONNX.
    declared : DetectorDeclaration
        From which score on a face counts.
    key_file, work : Path
        As a run has them.
    """

    arms: tuple[str, ...]
    attacked: int
    second_is_mate: bool
    grey: bool
    detector: bytes
    declared: DetectorDeclaration
    key_file: Path
    work: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One person, and where the sheet goes."""

    person: Person
    name: str
    asked: str
    target: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looker:
    """A loaded room."""

    room: Room
    detector: Detector
    arms: tuple[Arm, ...]
    key: SiteKey


_LOADED: list[Looker] = []


def close_doors(_: object = None) -> None:
    """Run first in a child: no network from now on, no life after its parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    close_network()
    bound_pictures()


def load_room(room: Room) -> None:
    """Run in the child: close the doors, then load detector, defacers and key, once."""
    close_doors()
    # Image libraries are for the child alone.
    import torch  # noqa: PLC0415 - said above

    from reidscope_site.face.arms import resolve  # noqa: PLC0415 - said above
    from reidscope_site.face.detect import Detector  # noqa: PLC0415 - said above

    torch.set_num_threads(1)
    _LOADED[:] = [
        Looker(
            room=room,
            detector=Detector(room.detector, suppression=room.declared.suppression),
            arms=tuple(resolve(name) for name in room.arms),
            key=load_key(room.key_file),
        )
    ]


def look(job: Job) -> bool:
    """Run in the child: write one person's sheet; back to the parent goes that it is written."""
    from reidscope_site.review.views import sheet_of  # noqa: PLC0415 - as in load_room

    looker = _LOADED[0]
    folder = Path(tempfile.mkdtemp(dir=looker.room.work))
    try:
        sheet = sheet_of(job, looker, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write_durably(job.target, sheet.model_dump_json().encode())
    return True


def known_arms(names: tuple[str, ...]) -> tuple[str, ...]:
    """Run in a child: those of `names` that this installation has."""
    from reidscope_protocols.errors import InputError  # noqa: PLC0415 - as in load_room
    from reidscope_site.face.arms import resolve  # noqa: PLC0415 - as in load_room

    def known(name: str) -> bool:
        try:
            resolve(name)
        except InputError:
            return False
        return True

    return tuple(name for name in names if known(name))


def photo_size(path: Path) -> tuple[int, int]:
    """Run in a child: width and height of an upright photo, (0, 0) if it cannot be read."""
    from reidscope_site.face.photo import read_photo  # noqa: PLC0415 - as in load_room

    photo = read_photo(path)
    return (0, 0) if photo is None else (photo.shape[1], photo.shape[0])


def jpeg(picture: NDArray[np.uint8]) -> str:
    """Encode a picture, (H, W, 3) RGB, as JPEG in base64: samples alone, no metadata."""
    import cv2  # noqa: PLC0415 - as in load_room

    flipped = picture[..., ::-1].copy()
    _, content = cv2.imencode(".jpg", flipped, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return base64.b64encode(content.tobytes()).decode("ascii")
