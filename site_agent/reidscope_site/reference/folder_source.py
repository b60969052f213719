"""Public people out of a list: consenting non-patients, with photos and scans as files.

    population,photo,scan,second_scan
    gallery,faces/0001.jpg,,
    probe,faces/9001.jpg,scans/9001/first,scans/9001/second.nii.gz

`population` is gallery, calibration, probe or rehearsal; files are named from the list's own
folder; a scan is a folder of one DICOM series or a NIfTI file. What a build does not need may be
empty.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from reidscope_protocols.cohort import Modality
from reidscope_protocols.errors import DeidError, InputError
from reidscope_site.face.detect import fit
from reidscope_site.face.volume import read_volume
from reidscope_site.sources.dicom_folder import MALFORMED
from reidscope_site.sources.nifti_volume import read_nifti
from reidscope_site.sources.pet_sidecar import sidecars_of
from reidscope_site.synthetic.seeds import Population

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.volume import Volume

COLUMNS = ("population", "photo", "scan", "second_scan")
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPerson:
    """One public person's files; None for what the list does not name."""

    photo: Path | None
    scans: tuple[Path | None, Path | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """Public people of a list.

    Attributes
    ----------
    people : mapping
        Population to its people, in the list's order.
    digest : str
        sha256 of the list and of every photo in it: rows of another list are never gone on with.
    scans : Modality
        What its NIfTI files are; DICOM says so itself.
    """

    people: Mapping[Population, tuple[ListedPerson, ...]]
    digest: str
    scans: Modality = Modality.MR

    @property
    def name(self) -> str:
        """What tells one list from another."""
        return f"list {self.digest[:16]}"

    def count(self, population: Population) -> int | None:
        """People of that population in the list."""
        return len(self.people.get(population, ()))

    def photo(self, population: Population, number: int) -> NDArray[np.uint8] | None:
        """Read a photo as RGB; None if it is none."""
        path = self.people[population][number].photo
        encoded = None if path is None else np.frombuffer(path.read_bytes(), np.uint8)
        if encoded is None or not encoded.size:
            return None
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        if decoded is None:
            return None
        return np.ascontiguousarray(fit(decoded.astype(np.uint8, copy=False))[:, :, ::-1])

    def scan(self, population: Population, number: int, visit: int) -> Volume | None:
        """Read a scan; None if it is no volume of a head."""
        path = self.people[population][number].scans[visit]
        if path is None:
            return None
        try:
            if path.is_dir():
                return read_volume(sorted(file for file in path.rglob("*") if file.is_file()))
            emission = self.scans is Modality.PT
            return read_nifti(path, emission=emission, sidecars=sidecars_of(path))
        except (DeidError, InputError, *MALFORMED):
            return None  # this public person's own scan: nobody else's row depends on it


def read_list(file: Path, *, scans: Modality = Modality.MR) -> FolderSource:
    """Read a list of public people.

    Raises
    ------
    InputError
        The list is no CSV with its four columns, names an unknown population or a file that is not
        there, or one photo stands for two people.
    """
    rows = list(_rows(file))
    people: dict[Population, list[ListedPerson]] = {population: [] for population in Population}
    digest = hashlib.sha256()
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        try:
            population = Population(row["population"].strip())
        except ValueError:
            raise _wrong(number, "an unknown population") from None
        files = [_named(file.parent, row[column], number) for column in COLUMNS[1:]]
        photo, first, second = files
        if photo is not None:
            sha256 = hashlib.sha256(photo.read_bytes()).hexdigest()
            if sha256 in seen:
                raise _wrong(number, f"the photo of row {seen[sha256]} once more")
            seen[sha256] = number
            digest.update(sha256.encode())
        digest.update(repr(sorted(row.items())).encode())
        people[population].append(ListedPerson(photo=photo, scans=(first, second)))
    return FolderSource(
        scans=scans,
        people={population: tuple(held) for population, held in people.items()},
        digest=digest.hexdigest(),
    )


def photos_of(folder: Path) -> list[Path]:
    """Every picture below a folder, in the order of their names."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in _PICTURES
    )


def _rows(file: Path) -> Iterator[dict[str, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InputError(
            "list of public people",
            got="a file that cannot be read as UTF-8",
            expected=f"a CSV with the columns {','.join(COLUMNS)}",
            do="correct --people",
        ) from None
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(
            "list of public people",
            got="other columns",
            expected=",".join(COLUMNS),
            do="correct its first line",
        )
    for number, row in enumerate(reader, start=2):
        if None in row or None in row.values():
            raise _wrong(number, "more or fewer fields than columns")
        yield row


def _named(folder: Path, name: str, number: int) -> Path | None:
    if not name.strip():
        return None
    path = folder / name.strip()
    if not path.exists():
        raise _wrong(number, "a file that is not there")
    return path


def _wrong(number: int, got: str) -> InputError:
    return InputError(
        f"list of public people, line {number}",
        got=got,
        expected="a known population and files that are there, each photo once",
        do="correct that line",
    )
