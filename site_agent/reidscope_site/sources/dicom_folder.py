"""A folder of DICOM files, grouped into one person's series: headers alone, never a pixel."""

from __future__ import annotations

import struct
import unicodedata
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from reidscope_protocols.errors import NoDicomError

_IDENTITY_TAGS = [
    "PatientID",
    "PatientBirthDate",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "StudyDate",
    "StudyTime",
    "SeriesDate",
    "SeriesTime",
]

MALFORMED = (
    BytesLengthException,
    InvalidDicomError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    RecursionError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on bytes that are not what they claim to be."""

UNREADABLE = (*MALFORMED, OSError)
"""The same, and a file that cannot be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFile:
    """One readable DICOM image file and what groups it."""

    path: Path
    patient_id: str
    born: str
    series_uid: str
    taken: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSeries:
    """One series of one person.

    Attributes
    ----------
    taken : str
        Earliest date and time of its files, sortable; only ever compared within one person.
    """

    series_uid: str
    taken: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderListing:
    """Series by the site's own PatientID, and how many files were no DICOM images.

    Attributes
    ----------
    shared : frozenset of str
        PatientIDs under which files name more than one date of birth: two people, one ID.

    Privacy
    -------
    Holds the site's own PatientIDs: stays in memory and never leaves the site.
    """

    series: Mapping[str, Sequence[ScanSeries]]
    skipped: int
    shared: frozenset[str] = frozenset()


def list_folder(
    folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> FolderListing:
    """Group every DICOM image below `folder` by person and series.

    Parameters
    ----------
    folder : Path
        Walked to any depth; links are not followed out of it.
    progress : callable, optional
        Called with files done and files in all.

    Raises
    ------
    NoDicomError
        Nothing below the folder is a DICOM image with a PatientID.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    grouped: dict[str, dict[str, list[ScanFile]]] = defaultdict(lambda: defaultdict(list))
    births: dict[str, set[str]] = defaultdict(set)
    skipped = 0
    for number, path in enumerate(paths, start=1):
        file = _identify(path)
        if file is None:
            skipped += 1
        else:
            grouped[file.patient_id][file.series_uid].append(file)
            births[file.patient_id].add(file.born)
        if progress:
            progress(number, len(paths))
    if not grouped:
        raise NoDicomError(
            "data folder",
            got=f"{len(paths)} files, none of them a DICOM image with a PatientID",
            expected="DICOM files",
            do="correct `dicom` in site.toml",
        )
    listing = {patient: tuple(_series(held)) for patient, held in sorted(grouped.items())}
    shared = frozenset(patient for patient, born in births.items() if len(born - {""}) > 1)
    return FolderListing(series=listing, skipped=skipped, shared=shared)


def patient_identity(text: str) -> str:
    """Return a PatientID as pseudonyms see it: two spellings of one ID are one person."""
    return unicodedata.normalize("NFC", text).strip().strip(" \0\t\r\n").strip()


@contextmanager
def silenced() -> Iterator[None]:
    """Keep pydicom's warnings off the terminal for the block: they quote element values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _identify(path: Path) -> ScanFile | None:
    try:
        with silenced():
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_IDENTITY_TAGS)
            patient = patient_identity(str(header.get("PatientID") or ""))
            series = str(header.get("SeriesInstanceUID") or "").strip()
            born = str(header.get("PatientBirthDate") or "").strip()
            date = str(header.get("SeriesDate") or header.get("StudyDate") or "")
            time = str(header.get("SeriesTime") or header.get("StudyTime") or "")
    except UNREADABLE:
        # Whatever cannot be read as DICOM is no scan of anybody: counted, never shown.
        return None
    if not patient or not series:
        return None
    return ScanFile(
        path=path, patient_id=patient, born=born, series_uid=series, taken=f"{date} {time}"
    )


def _series(held: Mapping[str, Sequence[ScanFile]]) -> Iterator[ScanSeries]:
    """Order one person's series by that person's own dates, then by UID."""
    found = [
        ScanSeries(
            series_uid=uid,
            taken=min(file.taken for file in files),
            files=tuple(file.path for file in files),
        )
        for uid, files in held.items()
    ]
    yield from sorted(found, key=lambda series: (series.taken, series.series_uid))
