"""Presentation states, waveforms, slides; documents, models and directories, which are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from tests.deid.conftest import BIG, DEFLATED, EXPLICIT, IMPLICIT, ROOT, as_bytes, mr_slice
from tests.deid.objects import SAMPLES, Tokens, ecg, slide, state

from reidscope_deid import (
    QuarantinedError,
    Reason,
    SiteKey,
    audit_output,
    deidentify_files,
    load_profile,
)
from reidscope_deid.identifiers import inflated_content
from reidscope_deid.series import Deidentifier

Made = Callable[[str], tuple[Dataset, Tokens]]
Out = Callable[..., tuple[Dataset, bytes]]
CLASSES = "1.2.840.10008.5.1.4.1.1."
MADE: dict[str, Made] = {
    "grayscale state": state,
    "color state": lambda syntax: state(syntax, f"{CLASSES}11.2"),
    "pseudo-color state": lambda syntax: state(syntax, f"{CLASSES}11.3"),
    "blending state": lambda syntax: state(syntax, f"{CLASSES}11.4"),
    "waveform": ecg,
    "slide": slide,
}
CHOICES = [(), ("clean-structured-content", "clean-descriptors", "clean-graphics")]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, of the tokens planted


@pytest.fixture
def out(tmp_path: Path, key: SiteKey) -> Out:
    """De-identifies a data set, audits it, and gives what came out with its bytes."""

    def run(data_set: Dataset, syntax: str, *options: str) -> tuple[Dataset, bytes]:
        source, folder = tmp_path / "in.dcm", tmp_path / "out"
        source.write_bytes(as_bytes(data_set, syntax))
        folder.mkdir(exist_ok=True)
        profile = load_profile("basic", options)
        done = deidentify_files([source], folder, key=key, profile=profile)
        assert audit_output(done.files, [source], profile=profile).document()["findings"] == []
        new = pydicom.dcmread(done.files[0])
        written = inflated_content(done.files[0], new)
        done.files[0].unlink()
        return new, written

    return run


@pytest.mark.parametrize("options", CHOICES, ids=["basic", "cleaned"])
@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        *((name, EXPLICIT) for name in MADE),
        *(
            (name, syntax)
            for name in ("grayscale state", "waveform", "slide")
            for syntax in (IMPLICIT, BIG, DEFLATED)
        ),
    ],
)
def test_no_planted_identifier_is_left_in_an_object_that_is_no_plain_image(
    name: str, syntax: str, options: tuple[str, ...], out: Out
) -> None:
    original, tokens = MADE[name](syntax)
    new, written = out(original, syntax, *options)
    assert len(tokens) > 20
    assert [place for token, place in tokens.items() if token in written] == []
    assert b"20200317" not in written
    assert ROOT.encode() not in written
    assert new.SOPClassUID == original.SOPClassUID


def test_a_state_still_says_how_its_images_are_shown(out: Out) -> None:
    new, _ = out(state(EXPLICIT)[0], EXPLICIT)
    (area,) = new.DisplayedAreaSelectionSequence
    (series,) = new.ReferencedSeriesSequence
    assert area.PresentationSizeMode == "SCALE TO FIT"
    shown = area.ReferencedImageSequence[0].ReferencedSOPInstanceUID
    assert shown == series.ReferencedImageSequence[0].ReferencedSOPInstanceUID
    assert new.SoftcopyVOILUTSequence[0].WindowCenter == 600
    assert (new.ShutterShape, new.PresentationLUTShape) == ("RECTANGULAR", "IDENTITY")
    assert (new.ContentLabel, new.ContentDescription) == ("REMOVED", "")
    assert new.PresentationCreationDate == new.StudyDate
    assert not {"GraphicAnnotationSequence", "GraphicLayerSequence"} & set(new.dir())


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG])
def test_the_samples_of_a_waveform_stay_bit_for_bit_and_public_annotations_with_them(
    syntax: str, out: Out
) -> None:
    original = ecg(syntax)[0]
    new, _ = out(original, syntax)
    (group,) = new.WaveformSequence
    assert group.WaveformData == original.WaveformSequence[0].WaveformData
    assert bytes(group.WaveformData) == SAMPLES
    first = group.ChannelDefinitionSequence[0]
    assert first.ChannelSourceSequence[0].CodeMeaning == "Lead I"
    assert first.ChannelSensitivityUnitsSequence[0].CodeValue == "uV"
    assert "ChannelLabel" not in first
    notes = new.WaveformAnnotationSequence
    assert [note.get("NumericValue") for note in notes] == [72]
    assert notes[0].ReferencedWaveformChannels == [1, 1]
    cleaned, _ = out(original, syntax, "clean-descriptors")
    texts = [note.get("UnformattedTextValue") for note in cleaned.WaveformAnnotationSequence]
    assert texts == ["SINUS RHYTHM OF", None, None]


def test_a_real_ecg_is_taken_and_its_leads_are_named_as_the_standard_names_them_now(
    tmp_path: Path, key: SiteKey
) -> None:
    path = get_testdata_file("waveform_ecg.dcm")
    assert isinstance(path, str)
    done = deidentify_files([Path(path)], tmp_path, key=key, profile=load_profile("basic"))
    new, old = pydicom.dcmread(done.files[0]), pydicom.dcmread(path)
    for ours, theirs in zip(new.WaveformSequence, old.WaveformSequence, strict=True):
        assert ours.WaveformData == theirs.WaveformData
        leads = [one.ChannelSourceSequence[0] for one in ours.ChannelDefinitionSequence]
        assert leads[1].CodeMeaning == "Lead II"
        assert {one.CodingSchemeDesignator for one in leads} == {"MDC"}


def test_words_behind_the_samples_of_a_waveform_leave_it_out(out: Out) -> None:
    for tag, value in ((0x54001010, SAMPLES + b"Doe^Jane"), (0x5400100A, b"Doe^Jane")):
        original = ecg(EXPLICIT)[0]
        original.WaveformSequence[0].add_new(tag, "OW", value)
        with pytest.raises(QuarantinedError, match="malformed"):
            out(original, EXPLICIT)


@pytest.mark.parametrize("flavor", ["VOLUME", "THUMBNAIL"])
def test_a_slide_keeps_its_tiles_and_where_they_lie(flavor: str, out: Out) -> None:
    original = slide(EXPLICIT, flavor)[0]
    new, _ = out(original, EXPLICIT)
    assert new.PixelData == original.PixelData
    assert (new.TotalPixelMatrixColumns, new.ImagedVolumeWidth) == (16, 10.0)
    assert new.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem == 20
    assert new.SpecimenLabelInImage == "NO"
    path = new.OpticalPathSequence[0]
    assert path.IlluminationTypeCodeSequence[0].CodeMeaning == "Brightfield illumination"
    assert path.OpticalPathIdentifier == "1"


@pytest.mark.parametrize(
    ("flavor", "label"),
    [("LABEL", "YES"), ("OVERVIEW", "YES"), ("LABEL", "NO"), ("OVERVIEW", "NO"),
     ("VOLUME", "YES"), ("", "NO"), ("LOCALIZER", "NO")],
)  # fmt: skip
def test_a_slide_that_may_show_its_label_is_left_out(flavor: str, label: str, out: Out) -> None:
    original = slide(EXPLICIT, flavor)[0]
    original.SpecimenLabelInImage = label
    with pytest.raises(QuarantinedError) as left_out:
        out(original, EXPLICIT)
    assert left_out.value.reason is Reason.SLIDE_LABEL


@pytest.mark.parametrize(
    ("sop_class", "reason"),
    [
        (f"{CLASSES}104.1", Reason.DOCUMENT),
        (f"{CLASSES}104.2", Reason.DOCUMENT),
        (f"{CLASSES}104.3", Reason.MODEL),
        (f"{CLASSES}104.4", Reason.MODEL),
        (f"{CLASSES}104.5", Reason.MODEL),
        (f"{CLASSES}9.4.1", Reason.SOP_CLASS),  # a voice
        (f"{CLASSES}481.3", Reason.SOP_CLASS),
        ("1.2.3.4", Reason.SOP_CLASS),
    ],
)
def test_documents_models_voices_and_what_nobody_knows_are_left_out_with_their_reason(
    sop_class: str, reason: Reason, out: Out
) -> None:
    original = state(EXPLICIT)[0]
    original.file_meta.MediaStorageSOPClassUID = original.SOPClassUID = sop_class
    original.EncapsulatedDocument = b"%PDF Doe^Jane\0"
    with pytest.raises(QuarantinedError) as left_out:
        out(original, EXPLICIT)
    assert left_out.value.reason is reason
    assert reason.by_design


def test_a_directory_of_media_is_left_out_as_one(tmp_path: Path, key: SiteKey) -> None:
    path = get_testdata_file("DICOMDIR")
    assert isinstance(path, str)
    with pytest.raises(QuarantinedError) as left_out:
        deidentify_files([Path(path)], tmp_path, key=key, profile=load_profile("basic"))
    assert left_out.value.reason is Reason.DIRECTORY


def test_a_table_of_colors_stays_if_it_is_as_long_as_it_says(tmp_path: Path, key: SiteKey) -> None:
    data_set = mr_slice(EXPLICIT, number=1)
    data_set.PhotometricInterpretation = "PALETTE COLOR"
    for color in ("Red", "Green", "Blue"):
        setattr(data_set, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(data_set, f"{color}PaletteColorLookupTableData", bytes(512))
    path = tmp_path / "in.dcm"
    path.write_bytes(as_bytes(data_set, EXPLICIT))
    done = deidentify_files([path], tmp_path, key=key, profile=load_profile("basic"))
    assert pydicom.dcmread(done.files[0]).RedPaletteColorLookupTableData == bytes(512)
    data_set.GreenPaletteColorLookupTableData = bytes(512) + b"Doe^Jane"
    path.write_bytes(as_bytes(data_set, EXPLICIT))
    with pytest.raises(QuarantinedError, match="malformed"):
        deidentify_files([path], tmp_path, key=key, profile=load_profile("basic"))


def test_a_slide_with_a_label_is_left_out_though_it_repeats_one_without(
    tmp_path: Path, key: SiteKey
) -> None:
    work = Deidentifier.of(key, load_profile("basic"))
    source = tmp_path / "in.dcm"
    for number, label in enumerate(("NO", "", "NO", "", "NO", "YES")):
        original = slide(EXPLICIT)[0]
        original.SOPInstanceUID = original.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        original.InstanceNumber = number
        original.SpecimenLabelInImage = label
        source.write_bytes(as_bytes(original, EXPLICIT))
        if label != "YES":
            work.write_new(source, tmp_path / str(number), durable=False)
            continue
        with pytest.raises(QuarantinedError, match="slide-label"):
            work.write_new(source, tmp_path / str(number), durable=False)
