"""Compressed frames lose their comments, and decode to what they decoded to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames, parse_basic_offsets

from reidscope_deid import (
    QuarantinedError,
    Reason,
    SiteKey,
    deidentify_files,
    load_profile,
)
from reidscope_deid.codestreams import check_jpeg, check_jpeg_2000
from reidscope_deid.samples import comparable_pixels
from reidscope_deid.stripping import stripped_jpeg, stripped_jpeg_2000

NAME = b"Doe^Jane was here"
Out = Callable[[FileDataset], FileDataset]
JPEGS = [
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "JPGExtended.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "examples_ybr_color.dcm",
]
JPEGS_2000 = ["MR_small_jp2klossless.dcm", "693_J2KI.dcm", "JPEG2000.dcm", "SC_rgb_gdcm_KY.dcm"]
WITHOUT_ANY = ["JPGExtended.dcm", "MR_small_jpeg_ls_lossless.dcm"]
SEGMENTS = {
    "comment": (0xFE, NAME),
    "EXIF": (0xE1, b"Exif\0\0" + NAME),
    "XMP": (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + NAME),
    "ICC": (0xE2, b"ICC_PROFILE\0\1\1" + NAME),
    "thumbnail": (0xE0, b"JFXX\0\x10" + NAME),
    "IPTC": (0xED, b"Photoshop 3.0\0" + NAME),
}


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def read(name: str) -> FileDataset:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    data_set = pydicom.dcmread(path)
    data_set.BurnedInAnnotation = "NO"
    return data_set


def frames_of(data_set: FileDataset) -> list[bytes]:
    number = int(data_set.get("NumberOfFrames", 1))
    return list(generate_frames(data_set.PixelData, number_of_frames=number))


@pytest.fixture
def out(tmp_path: Path, key: SiteKey) -> Out:
    def run(data_set: FileDataset) -> FileDataset:
        source, folder = tmp_path / "in.dcm", tmp_path / "out"
        data_set.save_as(source)
        folder.mkdir(exist_ok=True)
        done = deidentify_files([source], folder, key=key, profile=load_profile("basic"))
        new = pydicom.dcmread(done.files[0])
        old, syntax = pydicom.dcmread(source).PixelData, new.file_meta.TransferSyntaxUID
        assert comparable_pixels(new.PixelData, syntax) == comparable_pixels(old, syntax)
        assert NAME not in done.files[0].read_bytes()
        done.files[0].unlink()
        return new

    return run


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "EXIF") for name in JPEGS), *((JPEGS[0], kind) for kind in SEGMENTS)],
)
def test_a_jpeg_loses_every_segment_that_does_not_say_how_to_decode_it(
    name: str, kind: str, out: Out
) -> None:
    original = read(name)
    # Nothing that is installed here decodes twelve bits.
    before = None if name == "JPGExtended.dcm" else original.pixel_array
    untouched = frames_of(original)
    planted = segment(*SEGMENTS[kind])
    frames = [
        frame[:2] + planted + frame[2:] + bytes(len(frame) & 1) for frame in frames_of(original)
    ]
    original.PixelData = encapsulate(frames, has_bot=True)
    new = out(original)
    assert before is None or np.array_equal(new.pixel_array, before)
    if name in WITHOUT_ANY:
        ends = b"\0\xff"
        assert [one.rstrip(ends) for one in frames_of(new)] == [
            one.rstrip(ends) for one in untouched
        ]
    offsets = parse_basic_offsets(new.PixelData)
    assert len(offsets) == len(frames)
    # Where the table says that a frame starts, one does.
    first = 8 + 4 * len(offsets)
    assert all(new.PixelData[first + at + 8 :][:2] == b"\xff\xd8" for at in offsets)


@pytest.mark.parametrize("name", JPEGS_2000)
def test_a_jpeg_2000_loses_comments_boxes_and_what_stands_behind_its_end(
    name: str, out: Out
) -> None:
    original = read(name)
    before = original.pixel_array
    (frame,) = frames_of(original)
    frame = frame.rstrip(b"\0")
    sot = frame.index(b"\xff\x90")
    comment = segment(0x64, b"\0\1" + NAME)
    size = int.from_bytes(frame[sot + 6 : sot + 10], "big")
    longer = (size + len(comment) if size else 0).to_bytes(4, "big")
    in_part = frame[: sot + 6] + longer + frame[sot + 10 : sot + 12] + comment + frame[sot + 12 :]
    header = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
    xml = (len(NAME) + 8).to_bytes(4, "big") + b"xml " + NAME
    boxed = header + xml + b"\0\0\0\0jp2c" + frame
    variants = {
        "main header": frame[:sot] + comment + frame[sot:],
        "tile-part": in_part,
        "behind": frame + NAME,
        "boxes": boxed,
    }
    if b"\xff\x55" in frame[:sot]:
        del variants["tile-part"]
    for changed in variants.values():
        original.PixelData = encapsulate([changed], has_bot=False)
        new = out(original)
        assert np.array_equal(new.pixel_array, before)


def test_what_cannot_be_taken_out_leaves_the_file_out(out: Out) -> None:
    original = read("MR_small_jpeg_ls_lossless.dcm")
    (frame,) = frames_of(original)
    original.PixelData = encapsulate([frame[:2] + segment(0xE8, b"mrfx" + NAME) + frame[2:]])
    with pytest.raises(QuarantinedError) as left_out:
        out(original)
    assert left_out.value.reason is Reason.EMBEDDED
    original = read("MR_small_jp2klossless.dcm")
    (frame,) = frames_of(original)
    palette = b"\0\0\0\x18jp2h" + b"\0\0\0\x10pclr" + b"Doe^Jane"
    boxed = b"\0\0\0\x0cjP  \r\n\x87\n" + palette + b"\0\0\0\0jp2c" + frame
    original.PixelData = encapsulate([boxed])
    with pytest.raises(QuarantinedError) as left_out:
        out(original)
    assert left_out.value.reason is Reason.EMBEDDED


@given(st.data())
def test_a_spoiled_frame_is_refused_or_passes_the_check(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*JPEGS[:4], *JPEGS_2000]))
    frame = bytearray(frames_of(read(name))[0][:3000])
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(2, len(frame) - 1))
        frame[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        frame += b"\xff\xd9"
    try:
        if name in JPEGS_2000:
            stripped = stripped_jpeg_2000(bytes(frame))
            check_jpeg_2000(memoryview(stripped))
        else:
            near = name == JPEGS[3]
            stripped = stripped_jpeg(bytes(frame), near_lossless=near)
            check_jpeg(memoryview(stripped), near_lossless=near)
    except QuarantinedError:
        return
    assert len(stripped) <= len(frame)
