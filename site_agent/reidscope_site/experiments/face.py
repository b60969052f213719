"""The face experiment: from one person's scans and mate to that person's cell of every table.

    scan -> de-identified scan -> volume -> faces per arm -> comparison -> found -> cells

`evaluate` sees one person and public constants. What fails for reasons in the person's own data is
the cell `not acquired`; what fails for want of memory or time is nobody's cell and goes up.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import DefacerStoppedError, DeidError, InputError
from reidscope_protocols.side_tables import DamageCells
from reidscope_protocols.vocabulary import Mate
from reidscope_site.cohort import in_group
from reidscope_site.face.constants import FaceConstants
from reidscope_site.face.evaluate import CellReading, ReadFaces, classify, read_faces
from reidscope_site.face.found import coin
from reidscope_site.face.photo import looked_at, read_photo
from reidscope_site.face.tails import tail_cells
from reidscope_site.face.volume import Volume
from reidscope_site.outcomes import Outcome
from reidscope_site.snapshot import Person, PhotoBox, Scan
from reidscope_site.sources.dicom_folder import MALFORMED
from reidscope_site.sources.reading import read_scan

_COIN_DOMAIN = b"reidscope/coin/v1"
_NO_MEMORY = -4  # OpenCV's StsNoMem


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceStudy:
    """What is the same for every person of one study at one site."""

    sha256: str
    constants: FaceConstants
    key: SiteKey
    work: Path


def evaluate(person: Person, study: FaceStudy) -> Outcome:
    """Put one person into one cell of each table.

    Returns
    -------
    Outcome
        The same bits for the same person, key and study, whoever else takes part.

    Privacy
    -------
    A function of one person, the site's key and public constants: adding or removing anybody else
    does not change it (docs/privacy.md, "One person, one cell"). De-identified copies live in the
    site's work folder until this call returns.
    """
    scans = _read(person, study)
    own_coin = coin(
        study.key.branch(_COIN_DOMAIN), pseudonym=person.pseudonym, study_sha256=study.sha256
    )
    reading = classify(scans, study.constants, coin=own_coin)
    placed = in_group(cells(reading, study.constants), person, study.constants.experiment)
    return Outcome(cells=placed + tail_cells(scans, study.constants, coin=own_coin))


def cells(reading: CellReading, constants: FaceConstants) -> tuple[int, ...]:
    """Place of one person in each table, in the order of `FaceExperiment.tables`; no group yet.

    Without the opt-in tables, which come last: `tails.tail_cells`.
    """
    asked = constants.experiment
    joint, gates = asked.cells(), asked.gate_cells()
    return (
        joint.index(reading.found_at, reading.defaced_found)
        if reading.acquired
        else joint.not_acquired,
        *(() if gates is None else (gates.index(reading.passed),)),
        *(
            DamageCells().index(None if reading.brain_lost is None else reading.brain_lost[arm])
            for arm in asked.damage_arms
        ),
    )


def _read(person: Person, study: FaceStudy) -> tuple[ReadFaces, ...]:
    """Every released scan against the mate; without those that cannot be read as this person's."""
    asked = study.constants.experiment
    mate: NDArray[np.uint8] | Volume | None
    if asked.mate is Mate.PHOTO:
        mate = None if person.photo is None else _read_photo(person.photo, person.photo_box)
    else:
        mate = _read_scan(person.scans[1], study) if len(person.scans) > 1 else None
    if mate is None:
        return ()
    read = []
    for scan in person.scans[: asked.scan_cap]:
        volume = _read_scan(scan, study)
        if volume is not None:
            faces = _attacked(volume, mate, study, marked=person.photo_box is not None)
            read += [] if faces is None else [faces]
    return tuple(read)


def _attacked(
    volume: Volume, mate: NDArray[np.uint8] | Volume, study: FaceStudy, *, marked: bool
) -> ReadFaces | None:
    try:
        return read_faces(volume, mate, study.constants, marked=marked)
    except DefacerStoppedError:
        raise  # a program's time-out is no property of the person
    except (DeidError, InputError, *MALFORMED):
        return None  # the person's own scan is no head that can be worked on: not acquired
    except cv2.error as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from None
        return None


def _read_scan(scan: Scan, study: FaceStudy) -> Volume | None:
    """One scan, de-identified first; None if it cannot be read as a head."""
    folder = Path(tempfile.mkdtemp(dir=study.work))
    try:
        return read_scan(scan, key=study.key, work=folder)
    except (DeidError, InputError, *MALFORMED):
        # The person's own data: a cell like any other, never an exit.
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_photo(path: Path, box: PhotoBox | None) -> NDArray[np.uint8] | None:
    """Read a photo as RGB, (rows, columns, 3), as it is looked at; None if it is none."""
    photo = read_photo(path)
    return None if photo is None else looked_at(photo, box)
