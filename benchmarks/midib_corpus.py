"""Synthetic people with an answer key: what each place of each file must have become.

The ten actions are those of the MIDI-B challenge (arXiv 2508.01889): tag_retained, text_notnull,
text_retained, text_removed, date_shifted, uid_changed, pixels_hidden, pixels_retained,
uid_consistent, patid_consistent. Names, numbers and pictures are made from a seed; nobody is meant.
Each person has two studies: a CT series and a radiograph; two MR series and an ultrasound image
with name, number and date written into it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    UltrasoundImageStorage,
)

ROOT = "1.3.6.1.4.1.55555.20200317"
SURNAMES = [
    "Quibbleton",
    "Zarkowitz",
    "Oyelumade",
    "Sharp",
    "Vashchenko",
    "Umberlake",
    "Long",
    "Nwachukwu",
]
GIVEN = ["Hepzibah", "Leocadia", "Thaddeus", "Oswin", "Ruprecht", "Yevgenia", "Balthazar", "Isolde"]
STREETS = [
    "Larkspur",
    "Wainwright",
    "Tamworth",
    "Osterley",
    "Juniper",
    "Halcyon",
    "Merriweather",
    "Kestrel",
]
DESCRIPTIONS = {
    "CT": ["axial thin lung", "Thorax 1.0 B70f", "CHEST W/O 5mm", "Lung 1.25mm sharp kernel"],
    "MR": [
        "t1_mprage_sag_p2_iso",
        "AX T2 FLAIR FS",
        "ep2d_diff_mddw_20_p2",
        "SAG 3D SPACE",
        "3-plane localizer",
        "tof_fl3d_tra",
    ],
}
"""As scanners and radiographers write them; a surname (Sharp) is a word of theirs too."""
Place = tuple[int, ...]
"""Tags, and numbers of items between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one place must have become.

    Attributes
    ----------
    action : str
        One of the ten.
    place : tuple of int
        Tags and item numbers; empty for pixels.
    value : str
        What is to go, to stay or to change.
    """

    action: str
    place: Place = ()
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One file and its answers.

    Attributes
    ----------
    name : str
        Of the file.
    person : int
        Whose.
    answers : tuple of Answer
        What must be true of its output.
    ink : array of bool or None
        Where text is written, shape (rows, columns).
    """

    name: str
    person: int
    answers: tuple[Answer, ...]
    ink: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who does not exist."""

    number: int
    given: str
    surname: str
    mrn: str
    phone: str
    street: str
    birth: str
    sex: str
    age: str
    doctor: str


def make_person(number: int) -> Person:
    """Draw a person from their number."""
    draw = np.random.default_rng(1000 + number)
    return Person(
        number=number,
        given=GIVEN[number % len(GIVEN)],
        surname=SURNAMES[(number * 3) % len(SURNAMES)] + ("" if number < len(SURNAMES) else "son"),
        mrn=f"{draw.integers(10**7, 10**8)}",
        phone=f"0{draw.integers(100, 999)}-{draw.integers(10**6, 10**7)}",
        street=STREETS[(number * 5) % len(STREETS)],
        birth=f"{draw.integers(1930, 2000)}{draw.integers(1, 13):02d}{draw.integers(1, 29):02d}",
        sex="FM"[number % 2],
        age=f"{draw.integers(20, 88):03d}Y",
        doctor=SURNAMES[(number * 3 + 5) % len(SURNAMES)] + "mann",
    )


def write_corpus(folder: Path, people: int) -> list[Instance]:
    """Write the files and say what each must become."""
    instances = []
    for number in range(people):
        person = make_person(number)
        first = dt.date(2020, 3, 17) + dt.timedelta(days=11 * number)
        visits = (first, first + dt.timedelta(days=93))
        series = ((CTImageStorage, 3, 0), (ComputedRadiographyImageStorage, 1, 0))
        series += ((MRImageStorage, 3, 1), (MRImageStorage, 3, 1), (UltrasoundImageStorage, 1, 1))
        for index, (sop_class, count, study) in enumerate(series):
            for slice_number in range(count):
                made = _instance(person, sop_class, index, study, slice_number, visits[study])
                name = f"{number:02d}-{index}-{slice_number}.dcm"
                made[0].save_as(folder / name, enforce_file_format=True)
                instances.append(Instance(name=name, person=number, answers=made[1], ink=made[2]))
    return instances


def _instance(  # noqa: PLR0917 - one call above
    person: Person, sop_class: str, series: int, study: int, number: int, day: dt.date
) -> tuple[Dataset, tuple[Answer, ...], NDArray[np.bool_] | None]:
    uid = f"{ROOT}.{person.number}.{study}"
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.SourceApplicationEntityTitle = "WARD7"
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"{uid}.{series}.{number}.9"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid, f"{uid}.{series}"
    _describe(ds, person, sop_class, study)
    _date(ds, person, day)
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = series + 1, number + 1, 1
    if sop_class in {CTImageStorage, MRImageStorage}:
        ds.FrameOfReferenceUID = f"{uid}.{series}.7"
        other = Dataset()
        other.ReferencedSOPClassUID = sop_class
        other.ReferencedSOPInstanceUID = f"{uid}.{series}.{(number + 1) % 3}.9"
        ds.ReferencedImageSequence = [other]
    ink = _paint(ds, person, sop_class, number, day)
    return ds, tuple(_answers(ds, person, ink)), ink


def _describe(ds: Dataset, person: Person, sop_class: str, study: int) -> None:
    modality = {
        CTImageStorage: "CT",
        MRImageStorage: "MR",
        ComputedRadiographyImageStorage: "CR",
        UltrasoundImageStorage: "US",
    }[sop_class]
    part = {"CT": "CHEST", "CR": "CHEST", "MR": "BRAIN", "US": "ABDOMEN"}[modality]
    ds.Modality, ds.BodyPartExamined, ds.Manufacturer = modality, part, "SIEMENS"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
    ds.PatientName, ds.PatientID = f"{person.surname}^{person.given}", person.mrn
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = person.birth, person.sex, person.age
    ds.OtherPatientIDs = [f"S{person.mrn[::-1]}"]
    ds.PatientAddress = f"{person.number + 3} {person.street} Road"
    ds.PatientTelephoneNumbers = person.phone
    ds.PatientMotherBirthName = f"{person.surname}ovna"
    ds.AdditionalPatientHistory = (
        f"fall at home, daughter of {person.surname} called {person.phone}"
    )
    ds.PatientComments = f"call {person.given} after {person.birth}"
    ds.AccessionNumber, ds.StudyID = f"A{person.mrn[:6]}{study}", f"S{person.mrn[2:7]}{study}"
    ds.ReferringPhysicianName = f"{person.doctor}^Ruth"
    ds.PerformingPhysicianName = f"{person.doctor}^Ruth"
    ds.OperatorsName = f"{person.doctor}ova^Ida"
    ds.InstitutionName = f"{person.street} Infirmary"
    ds.InstitutionAddress = f"{person.street} Road 1"
    ds.StationName, ds.DeviceSerialNumber = f"{person.street.upper()[:8]}7", f"{person.mrn[3:]}77"
    ds.StudyDescription = f"{modality} {part} {person.surname} follow-up"
    descriptions = DESCRIPTIONS.get(modality, ["standard"])
    ds.SeriesDescription = descriptions[(person.number + study) % len(descriptions)]
    ds.ProtocolName = {"CT": "chest routine", "MR": "brain routine"}.get(modality, "routine")
    step = Dataset()
    step.ScheduledProcedureStepDescription = f"{modality} {part} for {person.given}"
    step.RequestedProcedureID = person.mrn
    ds.RequestAttributesSequence = [step]
    ds.ImageComments = f"shown to Dr {person.doctor}"
    ds.PatientPosition = "HFS"
    block = ds.private_block(0x0029, f"{person.street.upper()} NOTES", create=True)
    block.add_new(0x10, "LO", f"{person.given} {person.surname}")
    if modality == "MR":
        ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "1000")


def _date(ds: Dataset, person: Person, day: dt.date) -> None:
    written = day.strftime("%Y%m%d")
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = written
    ds.InstanceCreationDate = written
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101530"
    ds.InstanceCreationTime = "101530"
    ds.AcquisitionDateTime = f"{written}101530"
    ds.DerivationDescription = f"made {day.isoformat()} for {person.given}"


def _paint(
    ds: Dataset, person: Person, sop_class: str, number: int, day: dt.date
) -> NDArray[np.bool_] | None:
    draw = np.random.default_rng([person.number, int(ds.SeriesNumber), number])
    rows, columns = (240, 400) if sop_class == UltrasoundImageStorage else (64, 64)
    ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, 1
    ds.PhotometricInterpretation, ds.PixelRepresentation = "MONOCHROME2", 0
    if sop_class != UltrasoundImageStorage:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        y, x = np.mgrid[:rows, :columns]
        blob = 2000 * np.exp(-(((y - 32) / 18) ** 2 + ((x - 32) / 14) ** 2))
        samples = (blob + draw.integers(0, 60, (rows, columns))).astype(np.uint16)
        ds.PixelSpacing, ds.SliceThickness = [1, 1], "2.5"
        if sop_class == CTImageStorage:
            ds.KVP, ds.RescaleIntercept, ds.RescaleSlope = "120", "-1024", "1"
        if sop_class == MRImageStorage:
            ds.RepetitionTime, ds.EchoTime, ds.ScanningSequence = "2300", "2.98", "GR"
            ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SK", "PFP", "3D"
        if sop_class in {CTImageStorage, MRImageStorage}:
            ds.ImagePositionPatient = [-32, -32, 2.5 * number]
            ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelData = samples.tobytes()
        ds["PixelData"].VR = "OW"
        return None
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.BurnedInAnnotation = "YES"
    y, x = np.mgrid[:rows, :columns]
    fan = (np.hypot(y - 40, x - 200) < rows - 60) & (np.abs(x - 200) < (y - 40))
    shown = np.where(fan, draw.integers(30, 110, (rows, columns)), 0).astype(np.uint8)
    lines = (f"{person.surname.upper()} {person.given.upper()}", f"ID {person.mrn}")
    written = np.zeros_like(shown)
    for line, text in enumerate((*lines, day.strftime("%d-%m-%Y"))):
        place = (6, 16 + 18 * line)
        cv2.putText(written, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 230, 1, cv2.LINE_AA)
    ds.PixelData = np.maximum(shown, written).tobytes()
    ds["PixelData"].VR = "OB"
    return written > 100  # noqa: PLR2004 - half of the ink


RETAINED_TAGS = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "SeriesNumber",
    "InstanceNumber",
]
NOT_NULL = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "PatientID",
    "ImageType",
    "Rows",
    "Columns",
    "BitsAllocated",
    "PhotometricInterpretation",
]
RETAINED = [
    "Modality",
    "BodyPartExamined",
    "Manufacturer",
    "PatientSex",
    "PatientAge",
    "SeriesDescription",
    "ProtocolName",
    "SliceThickness",
    "KVP",
    "RescaleIntercept",
    "RepetitionTime",
    "EchoTime",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PatientPosition",
]
REMOVED = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientIDs",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientMotherBirthName",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
    "DeviceSerialNumber",
]
DATES = "StudyDate SeriesDate AcquisitionDate ContentDate InstanceCreationDate AcquisitionDateTime"
UIDS = "SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID"


def _answers(ds: Dataset, person: Person, ink: NDArray[np.bool_] | None) -> list[Answer]:
    def answer(action: str, keyword: str, value: str | None = None) -> Answer:
        element = ds[keyword]
        text = _text(element.value) if value is None else value
        return Answer(action=action, place=(int(element.tag),), value=text)

    found = [answer("tag_retained", one) for one in RETAINED_TAGS]
    found += [answer("text_notnull", one) for one in NOT_NULL]
    found += [answer("text_retained", one) for one in RETAINED if one in ds]
    found += [answer("text_removed", one) for one in REMOVED]
    found += [
        answer("text_retained", "StudyDescription", f"{ds.Modality} {ds.BodyPartExamined}"),
        answer("text_removed", "StudyDescription", person.surname),
        answer("text_removed", "AdditionalPatientHistory", f"{person.surname} {person.phone}"),
        answer("text_removed", "PatientComments", f"{person.given} {person.birth}"),
        answer("text_removed", "ImageComments", person.doctor),
        answer("text_removed", "DerivationDescription", person.given),
        Answer(
            action="text_removed",
            place=(0x00291010,),
            value=f"{person.given} {person.surname}",
        ),
    ]
    nested = ((0x00400007, person.given), (0x00401001, person.mrn))
    found += [
        Answer(action="text_removed", place=(0x00400275, 0, tag), value=value)
        for tag, value in nested
    ]
    if ds.Modality == "MR":
        found.append(Answer(action="text_retained", place=(0x0019100C,), value="1000"))
    found += [answer("date_shifted", one) for one in DATES.split()]
    uids = [((int(ds[one].tag),), str(ds[one].value)) for one in UIDS.split() if one in ds]
    if "ReferencedImageSequence" in ds:
        reference = ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID
        uids.append(((0x00081140, 0, 0x00081155), str(reference)))
    for action in ("uid_changed", "uid_consistent"):
        found += [Answer(action=action, place=place, value=uid) for place, uid in uids]
    found.append(Answer(action="patid_consistent", place=(0x00100020,), value=person.mrn))
    found.append(Answer(action="pixels_retained" if ink is None else "pixels_hidden"))
    return found


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
