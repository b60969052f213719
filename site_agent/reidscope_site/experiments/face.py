"""The face experiment: from one person's DICOM series and photo to that person's cell.

    series -> de-identified series -> volume -> faces per arm -> comparison -> found -> cell

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
from reidscope_deid.profile import load_profile
from reidscope_deid.series import deidentify_files
from reidscope_protocols.cells import JointCells
from reidscope_protocols.errors import DeidError, InputError
from reidscope_site.face.detect import fit
from reidscope_site.face.evaluate import FaceConstants, classify, read_faces
from reidscope_site.face.found import coin
from reidscope_site.face.volume import read_volume
from reidscope_site.outcomes import Outcome
from reidscope_site.snapshot import Person
from reidscope_site.sources.dicom_folder import MALFORMED

_COIN_DOMAIN = b"reidscope/coin/v1"
_PROFILE = "basic"
_NO_MEMORY = -4  # OpenCV's StsNoMem


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceStudy:
    """What is the same for every person of one study at one site."""

    sha256: str
    cells: JointCells
    constants: FaceConstants
    key: SiteKey
    work: Path


def evaluate(person: Person, study: FaceStudy) -> Outcome:
    """Put one person into one cell.

    Returns
    -------
    Outcome
        The same bits for the same person, key and study, whoever else takes part.

    Privacy
    -------
    A function of one person, the site's key and public constants: adding or removing anybody else
    does not change it (docs/privacy.md, "One person, one cell"). The de-identified copy lives in
    the site's work folder until this call returns.
    """
    folder = Path(tempfile.mkdtemp(dir=study.work))
    try:
        cell = _cell(person, study, folder)
    except (DeidError, InputError, *MALFORMED):
        # The person's own data cannot be read as a head: a cell like any other, never an exit.
        cell = study.cells.not_acquired
    except cv2.error as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from None
        cell = study.cells.not_acquired
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(cell=cell)


def _cell(person: Person, study: FaceStudy, folder: Path) -> int:
    series = deidentify_files(
        person.files, folder, key=study.key, profile=load_profile(_PROFILE), durable=False
    )
    volume = read_volume(series.files)
    photo = _read_photo(person.photo)
    if photo is None:
        return study.cells.not_acquired
    own_coin = coin(
        study.key.branch(_COIN_DOMAIN), pseudonym=person.pseudonym, study_sha256=study.sha256
    )
    reading = classify(read_faces(volume, photo, study.constants), study.constants, coin=own_coin)
    if not reading.acquired:
        return study.cells.not_acquired
    return study.cells.index(reading.found_at, reading.defaced_found)


def _read_photo(path: Path) -> NDArray[np.uint8] | None:
    """Read a photo as RGB, (rows, columns, 3), reduced to what is looked at; None if it is none."""
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
        # This person's own; a disk that fails goes up instead: it is nobody's cell.
        return None
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if decoded is None:
        return None
    return np.ascontiguousarray(fit(decoded.astype(np.uint8, copy=False))[:, :, ::-1])
