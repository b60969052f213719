"""Objects that are no plain image, with a token planted wherever they have room for one."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from tests.deid.conftest import ROOT, item, mr_slice

Token = Callable[[str], str]

COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
GRAYSCALE_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
ECG = "1.2.840.10008.5.1.4.1.1.9.1.2"
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
MR = "1.2.840.10008.5.1.4.1.1.4"


class Tokens(dict[bytes, str]):
    """Tokens and the names of their places."""

    def __call__(self, place: str) -> str:
        text = f"ZQ{len(self):03d}XJTK"
        self[text.encode()] = place
        return text


def code(value: str, scheme: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def base(syntax: str, sop_class: str, modality: str, token: Token) -> Dataset:
    """Patient, study and series as a slice has them, without its image; each with a token."""
    image = mr_slice(syntax, number=1)
    ds = Dataset()
    ds.file_meta, ds.preamble = image.file_meta, image.preamble
    for keyword in (
        "SpecificCharacterSet", "SOPInstanceUID", "StudyDate", "SeriesDate", "ContentDate",
        "StudyTime", "SeriesTime", "ContentTime", "Manufacturer", "PatientName", "PatientID",
        "PatientBirthDate", "PatientSex", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
        "InstanceNumber",
    ):  # fmt: skip
        setattr(ds, keyword, image[keyword].value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.Modality = modality
    for keyword in (
        "PatientName", "PatientID", "AccessionNumber", "ReferringPhysicianName", "StudyID",
        "StudyDescription", "SeriesDescription", "InstitutionName", "StationName",
        "DeviceSerialNumber", "OperatorsName", "ManufacturerModelName", "SoftwareVersions",
    ):  # fmt: skip
        setattr(ds, keyword, token(keyword))
    ds.private_block(0x0029, token("private creator"), create=True).add_new(
        1, "LO", token("private element")
    )
    ds.add_new(0x00100011, "SQ", [item(PatientName=token("person names to use"))])
    return ds


def reference(number: int = 1) -> Dataset:
    return item(ReferencedSOPClassUID=MR, ReferencedSOPInstanceUID=f"{ROOT}.3.{number}")


def evidence(token: Token) -> Dataset:
    series = item(
        ReferencedSOPSequence=[reference()],
        SeriesInstanceUID=f"{ROOT}.2",
        RetrieveAETitle=token("evidence: AE title")[:16],
        StorageMediaFileSetID=token("evidence: media"),
    )
    return item(StudyInstanceUID=f"{ROOT}.1", ReferencedSeriesSequence=[series])


def content(value_type: str, name: Dataset | None, relation: str, **values: object) -> Dataset:
    one = item(RelationshipType=relation, ValueType=value_type)
    if name is not None:
        one.ConceptNameCodeSequence = [name]
    for keyword, value in values.items():
        setattr(one, keyword, value)
    return one


def report(syntax: str, *, sop_class: str = COMPREHENSIVE_SR) -> tuple[Dataset, Tokens]:
    """A report with one item of every kind, tokens in all their values and meanings."""
    token = Tokens()
    ds = base(syntax, sop_class, "KO" if sop_class == KEY_OBJECTS else "SR", token)
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "VERIFIED"
    ds.CompletionFlagDescription = token("completion flag description")
    person = item(
        PersonIdentificationCodeSequence=[code(token("a person's code"), "99L", token("person"))],
        PersonName=token("author"),
        ObserverType="PSN",
        InstitutionName=token("author's institution"),
    )
    ds.AuthorObserverSequence = [person]
    ds.ParticipantSequence = [
        item(ParticipationType="ENT", ParticipationDateTime="20200319", PersonName=token("typist"))
    ]
    ds.VerifyingObserverSequence = [
        item(
            VerifyingObserverName=token("verifier"),
            VerifyingOrganization=token("verifier's organization"),
            VerificationDateTime="20200318",
            VerifyingObserverIdentificationCodeSequence=[],
        )
    ]
    ds.CustodialOrganizationSequence = [
        item(InstitutionName=token("custodian"), InstitutionCodeSequence=[])
    ]
    ds.ReferencedRequestSequence = [
        item(
            StudyInstanceUID=f"{ROOT}.1",
            AccessionNumber=token("request: accession"),
            RequestedProcedureID=token("request: procedure")[:16],
            RequestedProcedureDescription=token("request: description"),
        )
    ]
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.PerformedProcedureCodeSequence = [code(token("local procedure"), "99L", token("procedure"))]
    ds.CurrentRequestedProcedureEvidenceSequence = [evidence(token)]
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    title = (
        code("113000", "DCM", token("title"))
        if sop_class == KEY_OBJECTS
        else (code(token("local title"), "99L", token("meaning of the title")))
    )
    ds.ConceptNameCodeSequence = [title]
    ds.ContentTemplateSequence = [
        item(MappingResource="DCMR", TemplateIdentifier="1500", TemplateVersion="20200317")
    ]
    finding = code("121071", "DCM", token("meaning of finding"))
    local = code("L1", "99L", token("local concept"))
    unit = code("mm", "UCUM", token("meaning of mm"))
    measured = item(NumericValue="12.5", MeasurementUnitsCodeSequence=[unit])
    odd_unit = code("{Doe}", "UCUM", token("meaning of a local unit"))
    length = code("410668003", "SCT", token("meaning of length"))
    image = content("IMAGE", None, "CONTAINS", ReferencedSOPSequence=[reference()])
    image.ReferencedSOPSequence[0].add_new(0x00100010, "PN", token("name in a reference"))
    ds.ContentSequence = [
        content("PNAME", code("121008", "DCM", "Person Observer Name"), "HAS OBS CONTEXT",
                PersonName=token("observer's name")),
        content("TEXT", code("121009", "DCM", "Organization"), "HAS OBS CONTEXT",
                TextValue=token("observer's organization")),
        content("TEXT", code("121029", "DCM", "Subject Name"), "HAS OBS CONTEXT",
                TextValue=token("subject's name")),
        content("UIDREF", code("121012", "DCM", "Device Observer UID"), "HAS OBS CONTEXT",
                UID=f"{ROOT}.77"),
        content("CODE", code("121049", "DCM", "Language of Content Item"), "HAS CONCEPT MOD",
                ConceptCodeSequence=[code("eng", "RFC5646", token("language"))]),
        content("DATETIME", code("111526", "DCM", "DateTime Started"), "CONTAINS",
                DateTime="20200317143015"),
        content("TEXT", finding, "CONTAINS",
                TextValue=f"Lesion of 12 mm in the liver of {token('text')}, seen 17.03.2020"),
        content("TEXT", local, "CONTAINS", TextValue=token("text of a local concept")),
        content("CODE", finding, "CONTAINS",
                ConceptCodeSequence=[code("69536005", "SCT", token("meaning of head"))]),
        content("CODE", finding, "CONTAINS",
                ConceptCodeSequence=[code(token("local value"), "99L", token("local meaning"))]),
        content("NUM", length, "CONTAINS", MeasuredValueSequence=[measured]),
        content("NUM", length, "CONTAINS", MeasuredValueSequence=[
            item(NumericValue="12.5", MeasurementUnitsCodeSequence=[odd_unit])]),
        content("CONTAINER", local, "CONTAINS", ContinuityOfContent="SEPARATE", ContentSequence=[
            content("CONTAINER", finding, "CONTAINS", ContinuityOfContent="SEPARATE",
                    ContentSequence=[
                        content("NUM", length, "CONTAINS", MeasuredValueSequence=[measured],
                                ContentSequence=[
                                    content("PNAME", finding, "HAS PROPERTIES",
                                            PersonName=token("a name four levels down"))]),
                        content("TEXT", finding, "CONTAINS", TextValue=token("nested text"))])]),
        content("CONTAINER", finding, "CONTAINS", ContinuityOfContent="SEPARATE", ContentSequence=[
            content("TEXT", finding, "CONTAINS", TextValue=token("all of a container"))]),
        image,
        content("SCOORD", finding, "CONTAINS", GraphicType="POINT", GraphicData=[1.0, 2.0],
                ContentSequence=[content("IMAGE", None, "SELECTED FROM",
                                         ReferencedSOPSequence=[reference()])]),
        content("TABLE", finding, "CONTAINS", TextValue=token("a type that is not taken")),
        item(RelationshipType="INFERRED FROM", ReferencedContentItemIdentifier=[1, 2]),
    ]  # fmt: skip
    for one in ds.ContentSequence:
        one.ObservationUID = generate_uid(entropy_srcs=["observation"])
    return ds, token


def state(syntax: str, sop_class: str = GRAYSCALE_STATE) -> tuple[Dataset, Tokens]:
    """A presentation state with graphics, text and groups."""
    token = Tokens()
    ds = base(syntax, sop_class, "PR", token)
    ds.ContentLabel, ds.ContentDescription = token("label")[:16], token("description")
    ds.ContentCreatorName = token("creator")
    ds.PresentationCreationDate, ds.PresentationCreationTime = "20200317", "143015"
    ds.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=f"{ROOT}.2", ReferencedImageSequence=[reference()])
    ]
    ds.ReferencedSeriesSequence[0].ReferencedImageSequence[0].PatientID = token("in a reference")
    text = item(
        BoundingBoxAnnotationUnits="PIXEL",
        UnformattedTextValue=token("text on the image"),
        BoundingBoxTopLeftHandCorner=[1.0, 1.0],
        BoundingBoxBottomRightHandCorner=[9.0, 9.0],
    )
    ds.GraphicAnnotationSequence = [
        item(GraphicLayer=token("layer of it")[:16], TextObjectSequence=[text])
    ]
    ds.GraphicLayerSequence = [
        item(
            GraphicLayer=token("layer")[:16],
            GraphicLayerOrder=1,
            GraphicLayerDescription=token("layer description"),
        )
    ]
    ds.GraphicGroupSequence = [
        item(GraphicGroupID=1, GraphicGroupLabel=token("group"), GraphicGroupDescription="x")
    ]
    ds.DisplayedAreaSelectionSequence = [
        item(
            ReferencedImageSequence=[reference()],
            DisplayedAreaTopLeftHandCorner=[1, 1],
            DisplayedAreaBottomRightHandCorner=[16, 16],
            PresentationSizeMode="SCALE TO FIT",
            PresentationPixelAspectRatio=[1, 1],
        )
    ]
    ds.SoftcopyVOILUTSequence = [
        item(
            WindowCenter="600",
            WindowWidth="1200",
            WindowCenterWidthExplanation=token("window explanation"),
        )
    ]
    ds.ShutterShape, ds.ShutterPresentationValue = "RECTANGULAR", 0
    ds.ShutterLeftVerticalEdge, ds.ShutterRightVerticalEdge = "1", "16"
    ds.ShutterUpperHorizontalEdge, ds.ShutterLowerHorizontalEdge = "1", "16"
    ds.PresentationLUTShape = "IDENTITY"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.add_new(0x60003000, "OB", token("overlay").encode())
    ds.add_new(0x60001500, "LO", token("overlay label"))
    return ds, token


SAMPLES = bytes(range(250)) * 4
"""Two channels of 250 samples of two bytes."""


def ecg(syntax: str) -> tuple[Dataset, Tokens]:
    """An ECG of two channels, annotated."""
    token = Tokens()
    ds = base(syntax, ECG, "ECG", token)
    ds.AcquisitionDateTime = "20200317143015"
    ds.AcquisitionContextSequence = []

    def channel(value: str, meaning: str) -> Dataset:
        return item(
            ChannelLabel=token(f"{meaning}: label"),
            ChannelSourceSequence=[code(value, "MDC", token(meaning))],
            ChannelSensitivity="1",
            ChannelSensitivityUnitsSequence=[code("uV", "UCUM", token("meaning of uV"))],
            ChannelSensitivityCorrectionFactor="1",
            ChannelBaseline="0",
            ChannelSampleSkew="0",
            WaveformBitsStored=16,
            ChannelDerivationDescription=token(f"{meaning}: derivation"),
        )

    group = item(
        MultiplexGroupLabel=token("group label"),
        WaveformOriginality="ORIGINAL",
        NumberOfWaveformChannels=2,
        NumberOfWaveformSamples=250,
        SamplingFrequency="500",
        WaveformBitsAllocated=16,
        WaveformSampleInterpretation="SS",
        ChannelDefinitionSequence=[channel("2:1", "Lead I"), channel("2:2", "Lead II")],
    )
    group.add_new(0x54001010, "OW", SAMPLES)
    ds.WaveformSequence = [group]
    wave = code("109031", "DCM", token("meaning of a wave"))
    ds.WaveformAnnotationSequence = [
        item(UnformattedTextValue=f"sinus rhythm of {token('annotation')}",
             ReferencedWaveformChannels=[1, 0]),
        item(UnformattedTextValue=token("annotation, nothing else"),
             ReferencedWaveformChannels=[1, 0]),
        item(ConceptNameCodeSequence=[code("121071", "DCM", token("finding"))],
             ConceptCodeSequence=[code(token("local"), "99L", token("local meaning"))],
             UnformattedTextValue=token("annotation beside a code"),
             ReferencedWaveformChannels=[1, 1]),
        item(ConceptNameCodeSequence=[wave], NumericValue="72",
             ReferencedWaveformChannels=[1, 1]),
        item(ConceptNameCodeSequence=[code(token("own"), "99L", token("own concept"))],
             NumericValue="4711", ReferencedWaveformChannels=[1, 1]),
    ]  # fmt: skip
    return ds, token


def slide(syntax: str, flavor: str = "VOLUME") -> tuple[Dataset, Tokens]:
    """Two tiles of a stained slide."""
    token = Tokens()
    ds = base(syntax, WHOLE_SLIDE, "SM", token)
    ds.ImageType = ["ORIGINAL", "PRIMARY", flavor, "NONE"]
    ds.AcquisitionDateTime = "20200317143015"
    ds.FrameOfReferenceUID = f"{ROOT}.4"
    ds.PositionReferenceIndicator = "SLIDE_CORNER"
    ds.SpecimenLabelInImage, ds.BurnedInAnnotation = "NO", "NO"
    ds.FocusMethod, ds.ExtendedDepthOfField = "AUTO", "NO"
    ds.ImagedVolumeWidth = ds.ImagedVolumeHeight = 10.0
    ds.ImagedVolumeDepth = 0.01
    ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = 16, 8
    ds.VolumetricProperties = "VOLUME"
    ds.ContainerIdentifier = token("container")
    ds.IssuerOfTheContainerIdentifierSequence = [item(LocalNamespaceEntityID=token("issuer"))]
    ds.BarcodeValue, ds.LabelText = token("barcode"), token("label text")
    specimen = item(
        SpecimenIdentifier=token("specimen"),
        SpecimenUID=f"{ROOT}.55",
        IssuerOfTheSpecimenIdentifierSequence=[],
        SpecimenShortDescription=token("short description"),
        SpecimenDetailedDescription=token("detailed description"),
        SpecimenPreparationSequence=[
            item(SpecimenPreparationStepContentItemSequence=[
                content("TEXT", code("121041", "DCM", "x"), "CONTAINS",
                        TextValue=token("preparation"))])
        ],
    )  # fmt: skip
    ds.SpecimenDescriptionSequence = [specimen]
    ds.TotalPixelMatrixOriginSequence = [
        item(XOffsetInSlideCoordinateSystem="20", YOffsetInSlideCoordinateSystem="40")
    ]
    path = item(
        OpticalPathIdentifier=token("optical path")[:16],
        OpticalPathDescription=token("optical path description"),
        IlluminationTypeCodeSequence=[code("111744", "DCM", token("illumination"))],
        IlluminationColorCodeSequence=[code("414298005", "SCT", token("color"))],
    )
    path.add_new(0x00282000, "OB", token("ICC profile").encode() + b"\0")
    ds.OpticalPathSequence = [path]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.NumberOfFrames, ds.Rows, ds.Columns = "2", 8, 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.LossyImageCompression = "00"
    ds.add_new(0x7FE00010, "OB", bytes(range(192)) * 2)
    return ds, token
