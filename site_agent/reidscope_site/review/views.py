"""Photo and scans of one person become the views of a sheet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from reidscope_protocols.cohort import Modality
from reidscope_protocols.errors import DeidError, InputError
from reidscope_protocols.vocabulary import UNMODIFIED
from reidscope_site.face import gates
from reidscope_site.face.describe import grey
from reidscope_site.face.detect import fit
from reidscope_site.face.intent import Intent
from reidscope_site.face.photo import looked_at, read_photo
from reidscope_site.face.register import register
from reidscope_site.face.skin import face_picture
from reidscope_site.face.volume import isotropic
from reidscope_site.review.looking import jpeg
from reidscope_site.review.sheet import ArmView, Flag, PhotoView, ScanView, Sheet
from reidscope_site.sources.facts import MALFORMED
from reidscope_site.sources.reading import read_scan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reidscope_site.face.arms import Arm
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume
    from reidscope_site.review.looking import Job, Looker
    from reidscope_site.snapshot import Person, PhotoBox, Scan

_NO_MEMORY = -4  # OpenCV's StsNoMem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Look:
    """A scan before any defacer.

    Attributes
    ----------
    before : float
        How sure the detector is of its face.
    """

    grid: Volume
    registration: Registration
    before: float


def sheet_of(job: Job, looker: Looker, work: Path) -> Sheet:
    """Look at one person.

    Parameters
    ----------
    job : Job
        The person.
    looker : Looker
        What is looked with.
    work : Path
        An empty folder for de-identified copies; the caller removes it.

    Privacy
    -------
    A function of one person and public constants. Holds pictures of the person's face
    (docs/privacy.md, "One person, one cell").
    """
    flags: list[Flag] = []
    photo = _photo(job.person, looker, flags)
    return Sheet(
        person=job.name,
        asked=job.asked,
        photo=photo,
        scans=tuple(_scans(job.person, looker, work, flags)),
        flags=tuple(dict.fromkeys(flags)),
    )


def _photo(person: Person, looker: Looker, flags: list[Flag]) -> PhotoView | None:
    if person.photo is None:
        if not looker.room.second_is_mate:
            flags.append(Flag.NO_PHOTO)
        return None
    photo, box = read_photo(person.photo), person.photo_box
    if photo is None:
        flags.append(Flag.UNREADABLE_PHOTO)
        return None
    seen = looked_at(photo, box)
    picture = grey(seen) if looker.room.grey else seen
    declared = looker.room.declared
    score = declared.photo_min_score if box is None else declared.scan_min_score
    faces = looker.detector.faces(picture, min_score=score)
    height, width = photo.shape[:2]
    if box is not None:
        flags += [Flag.MARKED] if faces else [Flag.MARKED, Flag.NO_FACE_IN_MARK]
    elif len(faces) != 1:
        flags.append(Flag.SEVERAL_FACES if faces else Flag.NO_FACE)
    scale = width / seen.shape[1]
    return PhotoView(
        width=width,
        height=height,
        picture=jpeg(fit(photo)),
        faces=tuple(_scaled(face.box, scale) for face in faces) if box is None else (),
        marked=box,
    )


def _scaled(box: tuple[float, float, float, float], scale: float) -> PhotoBox:
    left, top, right, bottom = (round(scale * corner) for corner in box)
    return left, top, right, bottom


def _scans(person: Person, looker: Looker, work: Path, flags: list[Flag]) -> Iterator[ScanView]:
    room, count = looker.room, len(person.scans)
    for number, scan in enumerate(person.scans):
        mate = number == 1 and room.second_is_mate
        if number >= room.attacked and not mate:
            break
        why = (
            "the one with a name on it, by the person's own dates"
            if mate
            else "the first by the person's own dates"
            if room.attacked == 1
            else f"one of the first {room.attacked} by the person's own dates"
        )
        chosen = f"scan {number + 1} of {count}: {why}; {len(scan.files)} files, {_kind(scan)}"
        folder = work / str(number)
        folder.mkdir()
        try:
            volume = read_scan(scan, key=looker.key, work=folder)
            yield _scan(volume, looker.arms[:1] if mate else looker.arms, looker, chosen, flags)
        except (DeidError, InputError) as error:
            flags.append(Flag.UNREADABLE_SCAN)
            # Safety: these errors name a reason out of a public list, never a value.
            yield ScanView(chosen=chosen, measured=error.problem.got, arms=())
        except MALFORMED:
            flags.append(Flag.UNREADABLE_SCAN)
            yield ScanView(chosen=chosen, measured="not of the shape that DICOM gives", arms=())
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _kind(scan: Scan) -> str:
    is_pet = scan.attributes.modality == Modality.PT
    return f"PET ({scan.kind}), for studies that ask for PET" if is_pet else scan.kind


def _scan(
    volume: Volume, arms: tuple[Arm, ...], looker: Looker, chosen: str, flags: list[Flag]
) -> ScanView:
    sides = " x ".join(f"{side}" for side in volume.voxels.shape)
    steps = " x ".join(f"{step:.2f}" for step in volume.spacing_mm)
    grid = isotropic(volume)
    registration = register(grid)
    believed = gates.is_believed(registration)
    if not believed:
        flags.append(Flag.NOT_REGISTERED)
    plain = face_picture(grid, registration)
    before = _score(plain, looker)
    if before < looker.room.declared.scan_min_score:
        flags.append(Flag.NO_FACE_IN_SCAN)
    look = _Look(grid=grid, registration=registration, before=before)
    return ScanView(
        chosen=f"{chosen}, {sides} voxels of {steps} mm",
        measured=f"similarity to the average head {registration.ncc:.2f}"
        f" ({'believed' if believed else 'not believed'}: at least {gates.LEAST_NCC}, in the size"
        f" and shape of a head); the detector finds a face with {before:.2f}",
        arms=(
            ArmView(arm=UNMODIFIED, picture="" if plain is None else jpeg(plain), failed=()),
            *(_arm(look, arm, looker, flags) for arm in (arms[1:] if believed else ())),
        ),
    )


def _score(picture: NDArray[np.uint8] | None, looker: Looker) -> float:
    """How sure the detector is of its best face, 0 to 1; 0 without one."""
    found = [] if picture is None else looker.detector.faces(picture, min_score=0.0)
    return max((face.score for face in found), default=0.0)


def _arm(look: _Look, arm: Arm, looker: Looker, flags: list[Flag]) -> ArmView:
    try:
        after = arm.apply(look.grid, look.registration)
        found = gates.check(look.grid, after, look.registration, intent=arm.intent)
        picture = face_picture(after, look.registration)
    except (DeidError, InputError) as error:
        flags.append(Flag.NO_DEFACED_SCAN)
        # Safety: as of a scan, the reason is one of a public list.
        said = f"left no defaced scan ({error.problem.got})"
        return ArmView(arm=arm.name, picture="", failed=(said,))
    except MALFORMED:
        flags.append(Flag.NO_DEFACED_SCAN)
        return ArmView(arm=arm.name, picture="", failed=("left no defaced scan",))
    except cv2.error as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from None
        flags.append(Flag.NO_DEFACED_SCAN)
        return ArmView(arm=arm.name, picture="", failed=("left no defaced scan",))
    failed = tuple(_failed(found))
    comparison = arm.intent is Intent.KEPT
    if failed and not comparison:
        flags.append(Flag.GATE_FAILED)
    return ArmView(
        arm=arm.name,
        picture="" if picture is None else jpeg(picture),
        failed=failed,
        comparison=comparison,
        measured=_measured(found),
        detected=(look.before, _score(picture, looker)),
    )


def _measured(found: gates.Gates) -> str:
    """Say what the gates saw, whether they held or not."""
    if found.intent in {Intent.REMOVED, Intent.KEPT}:
        skin = f"{found.skin_left:.0%} of the skin left"
    else:
        skin = f"{found.rewritten:.0%} of the skin written anew"
    return f"{skin}, brain changed {found.brain_changed:.2%}"


def _failed(found: gates.Gates) -> Iterator[str]:
    if not found.registered:
        yield f"registration (similarity {found.ncc:.2f}, size {found.size:.2f})"
    if not found.face_there:
        yield f"no face was there (on {found.seen:.0%} of the rays)"
    if not found.face_gone:
        yield f"face not gone ({found.skin_left:.0%} of the skin left)"
    if not found.brain_whole:
        yield f"brain changed ({found.brain_changed:.2%})"
