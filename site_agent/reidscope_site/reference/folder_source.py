"""Public people out of a list: consenting non-patients, with photos and scans as files.

    population,photo,scan,second_scan
    gallery,faces/0001.jpg,,
    probe,faces/9001.jpg,scans/9001/first,scans/9001/second.nii.gz

`population` is gallery, calibration, probe or rehearsal; files are named from the list's own
folder; a scan is a folder of one DICOM series or a NIfTI file. What a build does not need may be
empty; what it needs and is empty is refused, and what cannot be read is told line by line.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_protocols.cohort import Modality
from reidscope_protocols.errors import DeidError, DescribedError, InputError
from reidscope_site.face.photo import looked_at, read_photo
from reidscope_site.face.volume import read_volume
from reidscope_site.reference.people import Shown
from reidscope_site.sources.dicom_folder import MALFORMED
from reidscope_site.sources.nifti_volume import read_nifti
from reidscope_site.sources.pet_sidecar import sidecars_of
from reidscope_site.synthetic.seeds import Population

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reidscope_site.face.volume import Volume

COLUMNS = ("population", "photo", "scan", "second_scan")
POPULATIONS = (
    Population.GALLERY,
    Population.CALIBRATION,
    Population.PROBE,
    Population.REHEARSAL,
)
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPerson:
    """One public person's files; None for what the list does not name."""

    line: int
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
        sha256 of the list and of every file in it: rows of another list are never gone on with, nor
        of files that somebody has changed since.
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

    @property
    def photos_name(self) -> str:
        """A list is one list."""
        return self.name

    def count(self, population: Population) -> int | None:
        """People of that population in the list."""
        return len(self.people.get(population, ()))

    def named(self, population: Population, number: int) -> str:
        """Say on which line a person stands."""
        return f"line {self.people[population][number].line}"

    def lacks(self, population: Population, number: int, what: Shown) -> bool:
        """Whether the list names no such file of a person."""
        return self._file(population, number, what) is None

    def problem(self, population: Population, number: int, what: Shown) -> str:
        """Say why a person's file cannot be read; nothing where it can."""
        if what is Shown.PHOTO:
            return "" if self.photo(population, number) is not None else "no picture"
        path = self._file(population, number, what)
        if path is None:
            return "not in the list"
        try:
            self._read(path)
        except DescribedError as error:
            return str(error.problem.got)
        except MALFORMED:
            return "malformed"
        return ""

    def photo(self, population: Population, number: int) -> NDArray[np.uint8] | None:
        """Read a photo as RGB, as a site does; None if it is none."""
        path = self.people[population][number].photo
        decoded = None if path is None else read_photo(path)
        return None if decoded is None else looked_at(decoded, None)

    def scan(self, population: Population, number: int, visit: int) -> Volume | None:
        """Read a scan; None if it is no volume of a head."""
        path = self.people[population][number].scans[visit]
        if path is None:
            return None
        try:
            return self._read(path)
        except (DeidError, InputError, *MALFORMED):
            return None  # this public person's own scan: nobody else's row depends on it

    def _read(self, path: Path) -> Volume:
        if path.is_dir():
            return read_volume(sorted(file for file in path.rglob("*") if file.is_file()))
        emission = self.scans is Modality.PT
        return read_nifti(path, emission=emission, sidecars=sidecars_of(path))

    def _file(self, population: Population, number: int, what: Shown) -> Path | None:
        person = self.people[population][number]
        return person.photo if what is Shown.PHOTO else person.scans[what is Shown.SECOND_SCAN]


def read_list(file: Path, *, scans: Modality = Modality.MR) -> FolderSource:
    """Read a list of public people.

    Raises
    ------
    InputError
        The list is no CSV with its four columns, names an unknown population or a file that is not
        there, or one file stands there twice.
    """
    rows = list(_rows(file))
    people: dict[Population, list[ListedPerson]] = {population: [] for population in POPULATIONS}
    digest = hashlib.sha256()
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        population = row["population"].strip()
        if population not in POPULATIONS:
            raise _wrong(number, "an unknown population")
        photo, first, second = files = [
            _named(file.parent, row[column], number) for column in COLUMNS[1:]
        ]
        if photo is not None and not photo.is_file():
            raise _wrong(number, "a folder in place of a photo")
        for column, path in zip(COLUMNS[1:], files, strict=True):
            if path is None:
                continue
            sha256 = _sha256(path)
            if seen.setdefault(sha256, number) != number or (column, path) == (COLUMNS[3], first):
                raise _wrong(number, f"a file of line {seen[sha256]} once more")
            digest.update(sha256.encode())
        digest.update(repr(sorted(row.items())).encode())
        people[Population(population)].append(
            ListedPerson(line=number, photo=photo, scans=(first, second))
        )
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


def _sha256(path: Path) -> str:
    """Of a file, or of all files of a folder in the order of their names."""
    parts = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _wrong(number: int, got: str) -> InputError:
    return InputError(
        f"list of public people, line {number}",
        got=got,
        expected=f"a population ({', '.join(POPULATIONS)}) and files that are there, each once",
        do="correct that line",
    )
