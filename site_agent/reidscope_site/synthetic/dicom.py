"""A synthetic scan as a DICOM MR series, with the identifiers that a hospital's files carry.

The same seed and site give the same bytes: unique identifiers are derived from the seed (2.25 + 128
bits).
"""

from __future__ import annotations

import io
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from reidscope_site.synthetic.emission_header import as_pet, scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reidscope_site.face.volume import Volume
    from reidscope_site.synthetic.particulars import Particulars
    from reidscope_site.synthetic.seeds import PersonSeed

PRIVATE_GROUP = 0x0029
PRIVATE_CREATOR = "SYNTHETIC MR HEADER"

_IMPLEMENTATION = UID("2.25.139571836412095786153918305718273645910")
_SR_STORAGE = UID("1.2.840.10008.5.1.4.1.1.88.22")
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Plane(Enum):
    """How slices lie: the signed RAS axes along which slice, column and row indices run.

    `-3` as the row axis means that rows run downward, from the top of the head.
    """

    SAGITTAL = (1, -2, -3)
    CORONAL = (2, -1, -3)
    AXIAL = (3, -1, -2)


def series(
    volume: Volume, seed: PersonSeed, known: Particulars, *, plane: Plane = Plane.SAGITTAL
) -> Iterator[bytes]:
    """Write a scan as DICOM files, one a slice.

    Parameters
    ----------
    volume : Volume
        Whole numbers in [0, 4095], RAS+; of a PET any activity, not below 0.
    seed : PersonSeed
        Whose identifiers.
    known : Particulars
        What the hospital knows.
    plane : Plane
        How the slices lie.
    """
    voxels, affine = _sliced(volume, plane)
    shared = _shared(seed, known, affine)
    if volume.emission:
        as_pet(shared, known)
    for number, pixels in enumerate(voxels):
        yield _file(_slice(shared, seed, affine, pixels, number))


def uid(seed: PersonSeed, what: str) -> UID:
    """Derive a unique identifier from the seed."""
    return UID(f"2.25.{int.from_bytes(seed.digest(f'uid {what}')[:16], 'big')}")


def _sliced(volume: Volume, plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Voxels as (slice, row, column) and the affine of (slice, column, row) indices to LPS mm."""
    voxels, affine = volume.voxels, volume.affine.copy()
    order = [abs(axis) - 1 for axis in plane.value]
    for axis in plane.value:
        if axis < 0:
            voxels = np.flip(voxels, -axis - 1)
            column = affine[:, -axis - 1].copy()
            affine[:, 3] += column * (volume.voxels.shape[-axis - 1] - 1)
            affine[:, -axis - 1] = -column
    reordered = affine[:, [*order, 3]]
    return voxels.transpose(order[0], order[2], order[1]), _RAS_TO_LPS @ reordered


def _shared(seed: PersonSeed, known: Particulars, affine: np.ndarray) -> Dataset:
    """Everything that all slices have in common."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    header.SOPClassUID = MRImageStorage
    _add_patient(header, known)
    _add_study(header, seed, known)
    _add_equipment(header, seed, known)
    _add_acquisition(header, seed, affine)
    _add_private(header, known)
    return header


def _add_patient(header: Dataset, known: Particulars) -> None:
    header.PatientName = f"{known.family}^{known.given}"
    header.PatientID = known.patient_id
    header.IssuerOfPatientID = known.institution
    header.PatientBirthDate = f"{known.born:%Y%m%d}"
    header.PatientSex = known.sex
    header.PatientAge = f"{known.age:03d}Y"
    header.PatientWeight = str(known.weight_kg)
    header.PatientAddress = known.address
    header.PatientTelephoneNumbers = known.telephone
    header.PatientComments = f"{known.given} {known.family} asked for a copy"
    other = Dataset()
    other.PatientID = known.other_id
    other.TypeOfPatientID = "TEXT"
    header.OtherPatientIDsSequence = Items([other])


def _add_study(header: Dataset, seed: PersonSeed, known: Particulars) -> None:
    day, clock = f"{known.scanned:%Y%m%d}", f"{known.scanned_at:%H%M%S}"
    for event in ("Study", "Series", "Acquisition", "Content"):
        setattr(header, f"{event}Date", day)
        setattr(header, f"{event}Time", clock)
    header.StudyInstanceUID = uid(seed, "study")
    header.SeriesInstanceUID = uid(seed, "series")
    header.FrameOfReferenceUID = uid(seed, "frame of reference")
    header.PositionReferenceIndicator = ""
    header.StudyID = "1"
    header.SeriesNumber = "2"
    header.AcquisitionNumber = "1"
    header.AccessionNumber = known.accession
    header.StudyDescription = f"MR BRAIN {known.family}"
    header.SeriesDescription = "T1 MPRAGE"
    header.ProtocolName = "t1_mprage_1mm"
    header.ReferringPhysicianName = known.referring
    header.PerformingPhysicianName = known.radiologist
    header.NameOfPhysiciansReadingStudy = known.radiologist
    header.OperatorsName = known.operator
    request = Dataset()
    request.RequestedProcedureID = known.accession
    request.RequestedProcedureDescription = f"MR head of {known.given} {known.family}"
    request.ScheduledProcedureStepID = "1"
    request.StudyInstanceUID = uid(seed, "study")
    header.RequestAttributesSequence = Items([request])
    report = Dataset()
    report.ReferencedSOPClassUID = _SR_STORAGE
    report.ReferencedSOPInstanceUID = uid(seed, "earlier report")
    header.ReferencedStudySequence = Items([report])


def _add_equipment(header: Dataset, seed: PersonSeed, known: Particulars) -> None:
    header.Modality = "MR"
    header.Manufacturer = "SYNTHETIC"
    header.ManufacturerModelName = "Average 3T"
    header.InstitutionName = known.institution
    header.InstitutionAddress = known.institution_address
    header.InstitutionalDepartmentName = "Neuroradiology"
    header.StationName = known.station
    header.DeviceSerialNumber = known.device_serial
    header.DeviceUID = uid(seed, f"device {known.device_serial}")
    header.SoftwareVersions = "syn 1"
    header.MagneticFieldStrength = "3"


def _add_acquisition(header: Dataset, seed: PersonSeed, affine: np.ndarray) -> None:
    across, along_row, along_column = np.linalg.norm(affine[:3, :3], axis=0)
    header.BodyPartExamined = "HEAD"
    header.PatientPosition = "HFS"
    header.ScanningSequence = ["GR", "IR"]
    header.SequenceVariant = ["SP", "MP"]
    header.ScanOptions = ""
    header.MRAcquisitionType = "3D"
    header.RepetitionTime = "2300"
    header.EchoTime = "2.98"
    header.InversionTime = "900"
    header.FlipAngle = "9"
    header.EchoTrainLength = "1"
    header.BurnedInAnnotation = "NO"
    header.ImageOrientationPatient = _decimals(
        *(affine[:3, 1] / along_row), *(affine[:3, 2] / along_column)
    )
    header.PixelSpacing = _decimals(along_column, along_row)
    header.SliceThickness = header.SpacingBetweenSlices = _decimals(across)[0]
    localiser = Dataset()
    localiser.ReferencedSOPClassUID = MRImageStorage
    localiser.ReferencedSOPInstanceUID = uid(seed, "localiser")
    header.ReferencedImageSequence = Items([localiser])


def _add_private(header: Dataset, known: Particulars) -> None:
    block = header.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(0x01, "LO", f"{known.family}, {known.given}")
    block.add_new(0x02, "OB", f"ID={known.patient_id};SERIAL={known.device_serial};".encode())
    block.add_new(0x10, "DS", "2300")


def _slice(
    shared: Dataset, seed: PersonSeed, affine: np.ndarray, pixels: np.ndarray, number: int
) -> Dataset:
    dataset = Dataset()
    dataset.update(shared)
    dataset.SOPInstanceUID = uid(seed, f"slice {number}")
    dataset.InstanceNumber = str(number + 1)
    position = affine[:3, 3] + number * affine[:3, 0]
    dataset.ImagePositionPatient = _decimals(*position)
    dataset.SliceLocation = _decimals(position @ np.cross(*_orientation(affine)))[0]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    if dataset.Modality == "PT":
        pixels = scaled(dataset, pixels)
        dataset.ImageIndex = number + 1
    dataset.WindowCenter, dataset.WindowWidth = "250", "500"
    stored = np.ascontiguousarray(pixels, dtype="<i2" if dataset.PixelRepresentation else "<u2")
    dataset.add_new("PixelData", "OW", stored.tobytes())
    return dataset


def _file(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "REIDSCOPE SYN 1"
    dataset.file_meta = meta
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _orientation(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row, column = affine[:3, 1], affine[:3, 2]
    return row / np.linalg.norm(row), column / np.linalg.norm(column)


def _decimals(*values: float) -> list[str]:
    """Decimal strings of at most 16 characters; -0 is written 0."""
    return [f"{value + 0.0:.8g}" for value in values]
