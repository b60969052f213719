"""What one DICOM file's header tells an index: whose it is, when, and the place of its slices."""

from __future__ import annotations

import json
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from reidscope_deid.part10 import start_of_meta
from reidscope_site.attributes import age_of, sex_of
from reidscope_site.face.frames import slice_headers
from reidscope_site.face.geometry import SliceHeader
from reidscope_site.face.pet import PetTraits
from reidscope_site.sources.finder import FINDER_TAGS, Traits, traits_of

HEADER_TAGS = (
    *FINDER_TAGS,
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "SOPInstanceUID",
    "StudyDate",
    "StudyTime",
    "SeriesDate",
    "SeriesTime",
    "Modality",
    "BodyPartExamined",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""Elements that an index looks at."""

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


_HEAD = 132  # bytes: preamble and prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """One DICOM image file of a person.

    Attributes
    ----------
    patient_id, born, series_uid, study_uid : str
        As the site knows them.
    date : str
        Of its study, else of its series; YYYYMMDD, or empty.
    taken : str
        Date and time of its series, else of its study; sortable.
    sex : str
        F, M, O or empty.
    age_years : int or None
        At the scan; 90 stands for 90 or older.
    issuer : str
        Who gave the PatientID, where the file says so.
    details : str
        JSON of slices and traits: most runs of an index never look at them.

    Privacy
    -------
    Holds the site's own PatientID: kept sealed (`header_index`), never leaves the site
    (docs/privacy.md, "What stays at the site").
    """

    patient_id: str
    born: str
    series_uid: str
    study_uid: str
    date: str
    taken: str
    details: str
    sex: str = ""
    age_years: int | None = None
    issuer: str = ""

    @property
    def slices(self) -> tuple[SliceHeader, ...]:
        """One, or one a frame."""
        return tuple(SliceHeader(**_slice(each)) for each in json.loads(self.details)[1])

    @property
    def traits(self) -> Traits:
        """What kind of image."""
        image_type, capture, acquisition, echoes, *times = json.loads(self.details)[0]
        repetition, inversion, b_value, pet, air = times
        return Traits(
            image_type=tuple(image_type),
            capture=capture,
            acquisition=acquisition,
            echoes_ms=tuple(echoes),
            repetition_ms=repetition,
            inversion_ms=inversion,
            b_value=b_value,
            pet=None if pet is None else _pet(*pet),
            air=air,
        )

    def encode(self) -> str:
        """Return it as JSON, for the sealed index alone."""
        return json.dumps([getattr(self, name) for name in _WORDS])

    @classmethod
    def decode(cls, text: str) -> FileFacts:
        """Read what `encode` wrote."""
        return cls(**dict(zip(_WORDS, json.loads(text), strict=True)))


def details_of(slices: Sequence[SliceHeader], traits: Traits) -> str:
    """Encode slices and traits, for `FileFacts.details`."""
    return json.dumps(
        [astuple(traits), [[getattr(each, name) for name in _SLICE] for each in slices]]
    )


_WORDS = (
    *("patient_id", "born", "series_uid", "study_uid", "date", "taken", "details"),
    *("sex", "age_years", "issuer"),
)
_SLICE = tuple(SliceHeader.__slots__)


def _pet(units: str, attenuation: bool, kind: list[str], scaled: bool, timed: bool) -> PetTraits:  # noqa: FBT001 - as `astuple` has them
    return PetTraits(
        units=units, attenuation=attenuation, kind=tuple(kind), scaled=scaled, timed=timed
    )


def _slice(values: list[Any]) -> dict[str, Any]:
    named = dict(zip(_SLICE, values, strict=True))
    return {name: tuple(at) if isinstance(at, list) else at for name, at in named.items()}


def read_facts(path: Path) -> FileFacts | None:
    """Read one file's header; None where it is no DICOM image with a PatientID.

    Files that some programs wrote without a preamble are read too, as the de-identifier does.

    Raises
    ------
    OSError
        The file cannot be opened or read: says nothing about what it holds.

    Privacy
    -------
    Pixels are not read; pydicom's warnings, which quote values, are kept off the terminal
    (docs/privacy.md, "What stays at the site").
    """
    try:
        with path.open("rb") as stream, silenced():
            start = start_of_meta(stream.read(_HEAD))
            if start is None:
                return None
            stream.seek(0)
            return facts_of(
                pydicom.dcmread(
                    stream, stop_before_pixels=True, specific_tags=list(HEADER_TAGS), force=True
                )
            )
    except MALFORMED:
        # Whatever cannot be read as DICOM is no scan of anybody: counted, never shown.
        return None


def facts_of(header: Dataset) -> FileFacts | None:
    """Facts of a header; None without a PatientID or a series.

    Raises
    ------
    One of `MALFORMED`, where a value cannot be read.
    """
    patient = patient_identity(_text(header, "PatientID"))
    series = _text(header, "SeriesInstanceUID")
    if not patient or not series:
        return None
    study_date, series_date = _text(header, "StudyDate"), _text(header, "SeriesDate")
    time = _text(header, "SeriesTime") or _text(header, "StudyTime")
    return FileFacts(
        patient_id=patient,
        born=_text(header, "PatientBirthDate"),
        series_uid=series,
        study_uid=_text(header, "StudyInstanceUID"),
        date=series_date or study_date,
        taken=f"{series_date or study_date} {time}",
        details=details_of(slice_headers(header), traits_of(header)),
        sex=sex_of(_text(header, "PatientSex")),
        age_years=age_of(header, series_date or study_date),
        issuer=patient_identity(_text(header, "IssuerOfPatientID")),
    )


def patient_identity(text: str) -> str:
    """Return a PatientID as pseudonyms see it: two spellings of one ID are one person."""
    return unicodedata.normalize("NFC", text).strip().strip(" \0\t\r\n").strip()


@contextmanager
def silenced() -> Iterator[None]:
    """Keep pydicom's warnings off the terminal for the block: they quote element values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()
