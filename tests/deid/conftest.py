"""A person's MR slices with identifiers planted wherever DICOM has room for one.

`plant(syntax)` gives the bytes of a file and the tokens in it, each with the name of its place.
Every token is unique, so a byte scan of the output says which place leaked.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import MRImageStorage

from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import Profile, load_profile

ROOT = "1.2.826.0.1.3680043.8.498.7"
PIXELS = bytes(range(256)) * 2
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"

Planted = tuple[bytes, dict[bytes, str]]
Plant = Callable[[str], Planted]
Slice = Callable[..., Path]


@pytest.fixture(scope="session")
def key() -> SiteKey:
    return SiteKey(bytes(range(32)))


@pytest.fixture(scope="session")
def profile() -> Profile:
    return load_profile("basic")


@pytest.fixture
def slice_file(tmp_path: Path) -> Slice:
    """Writes one plain MR slice."""

    def write(name: str = "in/a.dcm", syntax: str = EXPLICIT, **changes: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data_set = mr_slice(syntax, number=1)
        for keyword, value in changes.items():
            setattr(data_set, keyword, value)
        path.write_bytes(as_bytes(data_set, syntax))
        return path

    return write


@pytest.fixture
def plant() -> Plant:
    return planted


def mr_slice(syntax: str, *, number: int) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = f"{ROOT}.3.{number}"
    meta.TransferSyntaxUID = syntax
    meta.FileMetaInformationGroupLength = 0  # pydicom writes the true one
    meta.ImplementationClassUID = f"{ROOT}.9"
    ds = Dataset()
    ds.file_meta, ds.preamble = meta, bytes(128)
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, f"{ROOT}.3.{number}"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200317"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "143015.250000"
    ds.AcquisitionDateTime = "20200317143015.250000"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "MR", "SIEMENS", "Skyra"
    ds.PatientName, ds.PatientID = "Doe^Jane", "MRN-0042"
    ds.PatientBirthDate, ds.PatientSex = "19710823", "F"
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyID = "ACC-77123", "Roe^Ruth", "S-9981"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2"
    ds.FrameOfReferenceUID = f"{ROOT}.4"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 3, number, 1
    ds.BodyPartExamined, ds.PatientPosition, ds.Laterality = "HEAD", "HFS", ""
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "GR", "SK", "PFP"
    ds.MRAcquisitionType, ds.EchoTrainLength = "3D", 1
    ds.SliceThickness, ds.RepetitionTime, ds.EchoTime, ds.FlipAngle = "1", "2300", "2.98", "9"
    ds.ImagePositionPatient = [-120.5, -110.25, float(number)]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.PositionReferenceIndicator = [1, 1], ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = 16
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = "600", "1200"
    ds.add_new(0x7FE00010, "OW", PIXELS)
    return ds


def as_bytes(data_set: Dataset, syntax: str) -> bytes:
    stream = io.BytesIO()
    data_set.save_as(
        stream,
        implicit_vr=syntax == IMPLICIT,
        little_endian=syntax != BIG,
        enforce_file_format=False,
        overwrite=True,
    )
    return stream.getvalue()


def item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def planted(syntax: str) -> Planted:  # noqa: PLR0915 - one place after another: a list, not a flow
    """A slice with a token in every place that has room for one."""
    tokens: dict[bytes, str] = {}

    def token(place: str) -> str:
        text = f"ZQ{len(tokens):03d}XJTK"
        tokens[text.encode()] = place
        return text

    ds = mr_slice(syntax, number=1)
    ds.preamble = token("preamble").encode().ljust(128, b"\0")
    meta = ds.file_meta
    meta.SourceApplicationEntityTitle = token("meta: source AE")
    meta.SendingApplicationEntityTitle = token("meta: sending AE")
    meta.ReceivingApplicationEntityTitle = token("meta: receiving AE")
    meta.PrivateInformationCreatorUID = f"{ROOT}.8"
    meta.PrivateInformation = token("meta: private information").encode()
    meta.ImplementationVersionName = token("meta: implementation")
    for keyword in [
        "PatientName",
        "PatientID",
        "OtherPatientIDs",
        "OtherPatientNames",
        "PatientBirthName",
        "PatientAddress",
        "PatientMotherBirthName",
        "PatientComments",
        "AdditionalPatientHistory",
        "EthnicGroup",
        "Occupation",
        "PatientTelephoneNumbers",
        "MilitaryRank",
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyID",
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "StationName",
        "StudyDescription",
        "SeriesDescription",
        "ProtocolName",
        "ManufacturerModelName",
        "SoftwareVersions",
        "DeviceSerialNumber",
        "PerformingPhysicianName",
        "OperatorsName",
        "RequestingPhysician",
        "NameOfPhysiciansReadingStudy",
        "ImageComments",
        "StudyComments",
        "DerivationDescription",
        "PerformedProcedureStepDescription",
        "PerformedProcedureStepID",
        "RequestedProcedureID",
        "RequestedProcedureDescription",
        "ReasonForStudy",
        "CurrentPatientLocation",
        "AdmissionID",
        "RetrieveAETitle",
        "ScheduledStationAETitle",
        "DeviceDescription",
        "GantryID",
        "CommentsOnRadiationDose",
        "IdentifyingComments",
        "PlateID",
        "DetectorID",
        "Manufacturer",
        "SequenceName",
        "RescaleType",
        "DeidentificationMethod",
        "ContrastBolusAgent",
        "IssuerOfPatientID",
        "WindowCenterWidthExplanation",
    ]:
        value = token(keyword)
        setattr(ds, keyword, [value] if keyword == "OtherPatientIDs" else value)
    ds.PatientBirthDate = "19710823"
    tokens[b"19710823"] = "birth date"
    # Sequences that are kept, that are dropped, and three deep in either.
    deep = item(
        ReferencedSOPClassUID=MRImageStorage,
        ReferencedSOPInstanceUID=f"{ROOT}.3.2",
        PatientName=token("kept sequence: name"),
        ImageComments=token("kept sequence: comments"),
        PurposeOfReferenceCodeSequence=[
            item(
                CodeValue="121320",
                CodingSchemeDesignator="DCM",
                CodeMeaning=token("code meaning of a public code"),
                CodingSchemeVersion=token("coding scheme version"),
            ),
            item(
                CodeValue=token("local code value"),
                CodingSchemeDesignator="99LOCAL",
                CodeMeaning=token("local code meaning"),
            ),
        ],
    )
    deep.private_block(0x0009, "ACME HEADER", create=True).add_new(
        1, "LO", token("private in a kept sequence")
    )
    deep.add_new(0x00100012, "LO", token("newer tag in a kept sequence"))
    deep.DerivationImageSequence = [
        item(
            SourceImageSequence=[
                item(
                    ReferencedSOPClassUID=MRImageStorage,
                    ReferencedSOPInstanceUID=f"{ROOT}.3.2",
                    PatientName=token("kept, kept, kept: name"),
                    RequestAttributesSequence=[
                        item(RequestedProcedureID=token("kept x3, dropped"))
                    ],
                )
            ]
        )
    ]
    ds.ReferencedImageSequence = Sequence([deep])
    ds.SourceImageSequence = Sequence(
        [item(ReferencedSOPInstanceUID=f"{ROOT}.3.2", PatientID=token("undefined length: ID"))]
    )
    ds["SourceImageSequence"].is_undefined_length = True
    ds.SourceImageSequence[0].is_undefined_length_sequence_item = True
    ds.RequestAttributesSequence = [
        item(ScheduledProcedureStepDescription=token("dropped sequence: description"))
    ]
    ds["RequestAttributesSequence"].is_undefined_length = True
    ds.OriginalAttributesSequence = [
        item(
            ModifiedAttributesSequence=[item(PatientName=token("original attributes: name"))],
            ModifyingSystem=token("original attributes: system"),
        )
    ]
    ds.AnatomicRegionSequence = [
        item(
            CodeValue="69536005", CodingSchemeDesignator="SCT", CodeMeaning=token("anatomy meaning")
        )
    ]
    ds.IconImageSequence = [item(ImageComments=token("icon"))]
    ds.ReferencedPatientSequence = [item(PatientName=token("referenced patient"))]
    # Private, unknown and newer than pydicom's dictionary.
    block = ds.private_block(0x0029, token("private creator"), create=True)
    block.add_new(0x01, "PN", token("private PN"))
    block.add_new(0x02, "LO", token("private LO"))
    block.add_new(0x03, "UN", token("private UN").encode())
    block.add_new(0x04, "SQ", [item(PatientName=token("private SQ"))])
    block.add_new(0x05, "OB", token("private OB").encode())
    ds.add_new(0x0008FFF1, "LO", token("unknown public, group 8"))
    ds.add_new(0x00104001, "LO", token("unknown public, group 10"))
    ds.add_new(0x00100011, "SQ", [item(PatientName=token("person names to use"))])
    ds.add_new(0x00100012, "LO", token("name to use"))
    ds.add_new(0x00100045, "UT", token("gender identity comment"))
    ds.add_new(0x50000010, "LO", token("curve"))
    ds.add_new(0x60000022, "LO", token("overlay description"))
    ds.add_new(0x60003000, "OB", token("overlay data").encode())
    ds.add_new(0x60004000, "LT", token("overlay comments"))
    ds.EncapsulatedDocument = token("encapsulated document").encode()
    ds.DigitalSignaturesSequence = [item(CertificateOfSigner=token("certificate").encode())]
    # Kept elements with a value that is not what they are kept for.
    ds.add_new(0x00180015, "CS", token("body part"))
    ds.add_new(0x00180020, "LO", token("kept element in a text VR"))
    ds.add_new(0x00280010, "US", list(memoryview(token("rows, too many").encode()[:8]).cast("H")))
    tokens.popitem()  # ... whose bytes are swapped in big endian: looked for below instead
    ds.Rows = 16
    ds.TimezoneOffsetFromUTC = token("time zone")
    ds.ContentDate = "20200317"
    ds.add_new(0x00080030, "TM", token("a time that is none"))
    ds.add_new(0x0040A13A, "DT", token("a date and time that is none"))
    ds.add_new(0xFFFCFFFC, "OB", token("trailing padding").encode())
    return as_bytes(ds, syntax), tokens
