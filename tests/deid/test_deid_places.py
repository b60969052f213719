"""Where else words hide: compressed frames, odd encodings, objects that are no image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID_dictionary

from reidscope_deid import (
    Profile,
    QuarantinedError,
    Reason,
    SiteKey,
    audit_output,
    deidentify_files,
)
from reidscope_deid.allowed import load_allow_list
from reidscope_deid.codestreams import check_jpeg, check_jpeg_2000, check_rle

Slice = Callable[..., Path]
NAME = b"Doe^Jane was here"


def frame_of(name: str) -> bytes:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    data_set = pydicom.dcmread(path)
    return next(generate_frames(data_set.PixelData, number_of_frames=1))


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def in_header(frame: bytes, marker: int, content: bytes) -> bytes:
    """The same frame with one segment more, in front of its first scan or tile-part."""
    at = frame.index(b"\xff\xda" if frame[1] == 0xD8 else b"\xff\x90")
    return frame[:at] + segment(marker, content) + frame[at:]


JPEGS = {
    "baseline": ("SC_rgb_dcmtk_+eb+cr.dcm", False),
    "extended": ("JPGExtended.dcm", False),
    "lossless": ("SC_rgb_jpeg_gdcm.dcm", False),
    "JPEG-LS": ("MR_small_jpeg_ls_lossless.dcm", True),
}
JPEGS_2000 = ["MR_small_jp2klossless.dcm", "693_J2KI.dcm", "JPEG2000.dcm", "SC_rgb_gdcm_KY.dcm"]


@pytest.mark.parametrize(("name", "near"), JPEGS.values(), ids=JPEGS.keys())
def test_a_jpeg_is_taken_as_it_is_and_not_with_a_comment_or_words_behind_its_end(
    name: str, *, near: bool
) -> None:
    frame = frame_of(name)
    check_jpeg(memoryview(frame), near_lossless=near)
    check_jpeg(memoryview(frame + bytes(2)), near_lossless=near)
    whole = frame.rstrip(b"\0\xff")
    for changed in (
        in_header(frame, 0xFE, NAME),
        in_header(frame, 0xE1, b"Exif\0\0" + NAME),
        in_header(frame, 0xE2, b"ICC_PROFILE\0" + NAME),
        in_header(frame, 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + NAME),
        whole + NAME,
        whole + bytes(40) + NAME,
        frame[:2] + NAME + frame[2:],
        whole[:-2],
    ):
        with pytest.raises(QuarantinedError, match=r"embedded|malformed"):
            check_jpeg(memoryview(changed), near_lossless=near)


@pytest.mark.parametrize("name", JPEGS_2000)
def test_a_jpeg_2000_is_taken_as_it_is_and_not_with_a_comment_or_words_behind_its_end(
    name: str,
) -> None:
    frame = frame_of(name)
    check_jpeg_2000(memoryview(frame))
    check_jpeg_2000(memoryview(in_header(frame, 0x64, b"\0\1Kakadu-v7.10.2")))
    whole = frame.rstrip(b"\0")
    for changed in (
        in_header(frame, 0x64, b"\0\1" + NAME),
        in_header(frame, 0x64, b"\0\0" + NAME),
        in_header(frame, 0x64, b"\0\1Kakadu-v7.10.2 " + NAME),
        in_header(frame, 0x4A, NAME),
        whole + NAME,
        whole + bytes(40) + NAME,
        b"\0\0\0\x0cjP  \r\n\x87\n" + frame,
        whole[:-2],
    ):
        with pytest.raises(QuarantinedError, match=r"embedded|malformed"):
            check_jpeg_2000(memoryview(changed))


@pytest.mark.parametrize("start", [0, 40, 60, 200])
def test_a_codestream_that_points_back_into_itself_is_left_and_not_walked_for_ever(
    start: int,
) -> None:
    frame = bytearray(frame_of("MR_small_jp2klossless.dcm"))
    at = frame.index(b"\xff\x90")
    for size in range(start, start + 40):
        frame[at + 6 : at + 10] = size.to_bytes(4, "big")
        for end in (len(frame), at + 14, at + 16):
            try:
                check_jpeg_2000(memoryview(bytes(frame[:end]) + b"\xff\x93\0\0"))
            except QuarantinedError:
                continue


def test_run_lengths_are_taken_as_they_are_and_not_with_words_behind_a_segment() -> None:
    frame = frame_of("MR_small_RLE.dcm")
    check_rle(memoryview(frame), pixels=64 * 64, segments=2)
    second = int.from_bytes(frame[8:12], "little")
    moved = (second + len(NAME)).to_bytes(4, "little")
    for changed in (
        frame + NAME,
        frame[:8] + moved + frame[12:second] + NAME + frame[second:],
        frame[:48] + NAME[:16] + frame[64:],
        frame[:-40],
        frame[:60],
        b"",
    ):
        with pytest.raises(QuarantinedError, match=r"embedded|malformed"):
            check_rle(memoryview(changed), pixels=64 * 64, segments=2)
    with pytest.raises(QuarantinedError):
        check_rle(memoryview(frame), pixels=64 * 64, segments=1)


@pytest.fixture
def refused(tmp_path: Path, key: SiteKey, profile: Profile) -> Callable[[Path], Reason]:
    def reason_of(path: Path) -> Reason:
        (tmp_path / "out").mkdir(exist_ok=True)
        with pytest.raises(QuarantinedError) as error:
            deidentify_files([path], tmp_path / "out", key=key, profile=profile)
        assert not any((tmp_path / "out").iterdir())
        return error.value.reason

    return reason_of


def test_words_between_and_in_front_of_fragments_leave_a_file_out(
    slice_file: Slice,
    refused: Callable[[Path], Reason],
    tmp_path: Path,
    key: SiteKey,
    profile: Profile,
) -> None:
    frame = frame_of("MR_small_jpeg_ls_lossless.dcm")
    syntax = "1.2.840.10008.1.2.4.80"
    table = encapsulate([NAME[:16], frame], has_bot=False)
    offsets = encapsulate([frame], has_bot=True).replace(bytes(4) + b"\xfe\xff", b"Doe^\xfe\xff", 1)
    continued = encapsulate([frame], has_bot=False)[: -0 or None] + (
        b"\xfe\xff\x00\xe0" + (18).to_bytes(4, "little") + NAME + b"\0"
    )
    for pixels in (table, offsets):
        path = slice_file(syntax=syntax, Rows=64, Columns=64, PixelData=pixels)
        assert refused(path) in (Reason.MALFORMED, Reason.EMBEDDED)
    # Behind the end of a frame they are cut off.
    path = slice_file(syntax=syntax, Rows=64, Columns=64, PixelData=continued)
    done = deidentify_files([path], tmp_path, key=key, profile=profile)
    assert NAME not in done.files[0].read_bytes()
    (new,) = generate_frames(pydicom.dcmread(done.files[0]).PixelData, number_of_frames=1)
    assert new == frame


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.113619.5.2",  # GE private
        "1.3.46.670589.33.1.4.1",  # Philips private
        "1.2.840.10008.1.2.4.100",  # MPEG-2: user data
        "1.2.840.10008.1.2.4.102",  # H.264
        "1.2.840.10008.1.2.4.94",  # pixels at a URL
        "1.2.840.10008.1.2.4.110",  # JPEG XL
        "",
    ],
)
def test_private_syntaxes_and_those_that_cannot_be_walked_are_left_out(
    syntax: str, slice_file: Slice, refused: Callable[[Path], Reason]
) -> None:
    path = slice_file()
    content = path.read_bytes()
    old = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    assert content.count(old) == 1
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    new = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    path.write_bytes(content.replace(old, new))
    assert refused(path) is Reason.TRANSFER_SYNTAX


def test_every_class_that_is_no_image_of_the_list_is_left_out(
    slice_file: Slice, refused: Callable[[Path], Reason]
) -> None:
    taken = load_allow_list().sop_classes
    others = [
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class" and "Storage" in name and uid.encode() not in taken
    ]
    named = " ".join(str(UID_dictionary[uid][0]) for uid in others)
    for kind in (
        "Encapsulated PDF", "Encapsulated CDA", "Encapsulated STL", "Waveform Annotation SR",
        "Audio Waveform", "Media Storage Directory", "Segmentation", "RT Structure Set",
        "Video Endoscopic", "Raw Data", "Volume Rendering Volumetric Presentation State",
    ):  # fmt: skip
        assert kind in named
    assert len(others) > 80
    path = slice_file()
    content = path.read_bytes()
    old = b"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.4\0"
    assert content.count(old) == 1
    for uid in others:
        value = uid.encode() + b"\0" * (len(uid) % 2)
        new = b"\x08\x00\x16\x00UI" + len(value).to_bytes(2, "little") + value
        path.write_bytes(content.replace(old, new))
        expected = load_allow_list().left_out.get(uid.encode(), Reason.SOP_CLASS)
        assert refused(path) is expected


def test_a_directory_of_media_is_left_out(refused: Callable[[Path], Reason]) -> None:
    path = get_testdata_file("DICOMDIR")
    assert isinstance(path, str)
    assert refused(Path(path)) is Reason.DIRECTORY


@pytest.mark.parametrize("cut", [128, 132])
def test_a_file_without_a_preamble_is_taken_and_gets_one(
    cut: int, slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    path = slice_file()
    content = path.read_bytes()
    plain = deidentify_files([path], tmp_path, key=key, profile=profile).files[0].read_bytes()
    path.write_bytes(content[cut:])
    done = deidentify_files([path], tmp_path, key=key, profile=profile)
    assert done.files[0].read_bytes() == plain
    assert audit_output(done.files, [path]).clean


def test_a_data_set_without_file_meta_information_is_no_dicom_file(
    slice_file: Slice, refused: Callable[[Path], Reason]
) -> None:
    path = slice_file()
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\x08\x00\x05\x00CS") :])
    assert refused(path) is Reason.NOT_DICOM


def test_an_element_whose_representation_nobody_knows_leaves_the_file_out(
    slice_file: Slice, refused: Callable[[Path], Reason]
) -> None:
    path = slice_file()
    content = path.read_bytes()
    known = b"\x08\x00\x60\x00CS\x02\x00MR"
    assert content.count(known) == 1
    path.write_bytes(content.replace(known, b"\x08\x00\x60\x00XX\x02\x00MR"))
    assert refused(path) in (Reason.MALFORMED, Reason.TRUNCATED)


def test_elements_that_an_old_archive_made_unknown_are_judged_as_what_they_are(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3"
    inner.PatientName = "Doe^Jane"
    path = slice_file(ReferencedImageSequence=[inner])
    content = path.read_bytes()

    def as_unknown(tag: bytes, vr: bytes) -> None:
        nonlocal content
        at = content.rindex(tag + vr)
        long = vr == b"SQ"
        size = content[at + 8 : at + 12] if long else content[at + 6 : at + 8] + bytes(2)
        behind = at + (12 if long else 8)
        content = content[:at] + tag + b"UN\0\0" + size + content[behind:]

    for tag, vr in (
        (b"\x28\x00\x10\x00", b"US"),
        (b"\x18\x00\x50\x00", b"DS"),
        (b"\x18\x00\x15\x00", b"CS"),
        (b"\x10\x00\x10\x00", b"PN"),
        (b"\x08\x00\x20\x00", b"DA"),
        (b"\x08\x00\x18\x00", b"UI"),
        (b"\x08\x00\x40\x11", b"SQ"),
    ):
        as_unknown(tag, vr)
    path.write_bytes(content)
    done = deidentify_files([path], tmp_path, key=key, profile=profile)
    new = pydicom.dcmread(done.files[0])
    assert (new.Rows, new.SliceThickness, new.BodyPartExamined) == (16, 1, "HEAD")
    assert str(new.PatientName) == done.pseudonym
    assert new.StudyDate == new.SeriesDate != "20200317"
    assert str(new.SOPInstanceUID).startswith("2.25.")
    assert "ReferencedImageSequence" not in new
    assert b"Doe" not in done.files[0].read_bytes()
    assert not any(one.VR == "UN" for one in new)


def test_waveforms_icons_and_documents_inside_an_image_are_dropped(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    note = Dataset()
    note.UnformattedTextValue = NAME.decode()
    path = slice_file(
        WaveformAnnotationSequence=[note],
        WaveformSequence=[note],
        IconImageSequence=[note],
        GraphicAnnotationSequence=[note],
        ContentSequence=[note],
        EncapsulatedDocument=b"%PDF " + NAME + b"\0",
        BarcodeValue=NAME.decode(),
        LabelText=NAME.decode(),
        SpectroscopyData=b"Doe^Jane",
    )
    done = deidentify_files([path], tmp_path, key=key, profile=profile)
    assert b"Doe" not in done.files[0].read_bytes()
    new = pydicom.dcmread(done.files[0])
    assert new.get("EncapsulatedDocument", b"") in (b"", bytes(2))
    assert not {"WaveformSequence", "IconImageSequence", "SpectroscopyData"} & set(new.dir())
