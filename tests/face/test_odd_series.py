"""Series and photos as hospitals keep them, not as we write them: settled at index, or a cell."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import HTJ2K, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import load_profile
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.rehearsal import Rehearsal
from reidscope_deid.series import deidentify_files
from reidscope_site import isolation
from reidscope_site.experiments.face import _read_photo
from reidscope_site.face.detect import LONGEST_PX
from reidscope_site.face.volume import (
    SeriesProblem,
    Volume,
    read_slice_header,
    read_volume,
    series_problem,
)
from reidscope_site.indexing import Resolution, resolve
from reidscope_site.sources.dicom_folder import list_folder
from reidscope_site.sources.photo_formats import is_read_here
from reidscope_site.synthetic.dicom import series
from reidscope_site.synthetic.particulars import particulars
from reidscope_site.synthetic.seeds import PersonSeed, Population

KEY = SiteKey(bytes(range(32)))
KNOWN = particulars(PersonSeed(population=Population.SITE, label="odd", number=0), site="odd")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def block() -> Volume:
    affine = np.diag([12.0, 10.0, 11.0, 1.0])
    voxels = np.arange(11 * 13 * 12, dtype=np.float32).reshape(11, 13, 12)
    return Volume(voxels=voxels, spacing_mm=(12.0, 10.0, 11.0), affine=affine)


def write(folder: Path, *, number: int = 1, **changes: Any) -> list[Path]:
    """One person's series; `number` gives it UIDs of its own."""
    seed = PersonSeed(population=Population.SITE, label="odd", number=number)
    folder.mkdir(parents=True)
    paths = []
    for slice_number, content in enumerate(series(block(), seed, KNOWN)):
        paths.append(folder / f"{slice_number:03d}")
        paths[-1].write_bytes(content)
        if changes:
            edited(paths[-1], **changes)
    return paths


def edited(path: Path, **changes: Any) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    stream = io.BytesIO()
    dataset.save_as(stream)
    path.write_bytes(stream.getvalue())


def problem(paths: list[Path]) -> SeriesProblem | None:
    return series_problem([read_slice_header(path) for path in paths])


def indexed(folder: Path) -> Resolution:
    listing = list_folder(folder)
    return resolve(listing, dict.fromkeys(listing.series, Path("photo")), KEY)


def compressed(path: Path, syntax: int) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize(
    ("syntax", "uid"),
    [
        (gdcm.TransferSyntax.JPEGLosslessProcess14_1, JPEGLosslessSV1),
        (gdcm.TransferSyntax.JPEGLSLossless, JPEGLSLossless),
        (gdcm.TransferSyntax.JPEG2000Lossless, JPEG2000Lossless),
    ],
)
def test_a_series_that_an_archive_compressed_is_read_to_the_same_voxels(
    tmp_path: Path, syntax: int, uid: str
) -> None:
    paths = write(tmp_path / "in")
    for path in paths:
        compressed(path, syntax)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID == uid
    assert problem(paths) is None
    Rehearsal.of(KEY, load_profile("basic")).check(paths)
    (tmp_path / "out").mkdir()
    out = deidentify_files(paths, tmp_path / "out", key=KEY, profile=load_profile("basic"))
    assert np.array_equal(read_volume(out.files).voxels, block().voxels)


def test_a_series_that_nothing_here_decodes_is_settled_by_its_headers(tmp_path: Path) -> None:
    paths = write(tmp_path / "in")
    dataset = pydicom.dcmread(paths[3])
    dataset.file_meta.TransferSyntaxUID = HTJ2K
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.save_as(paths[3])
    assert problem(paths) is SeriesProblem.NO_DECODER


def test_inverted_grey_is_not_taken_for_a_head_without_a_face(tmp_path: Path) -> None:
    assert problem(write(tmp_path / "in", PhotometricInterpretation="MONOCHROME1")) is (
        SeriesProblem.UNSUPPORTED
    )


@pytest.mark.parametrize("name", ["HEAD NECK", "HEAD_NECK", "HEAD-NECK", "WHOLE HEAD"])
def test_a_body_part_is_known_however_its_words_are_parted(tmp_path: Path, name: str) -> None:
    assert problem(write(tmp_path / "in", BodyPartExamined=name)) is None


def test_a_series_with_a_file_cut_short_gives_way_to_the_persons_next_one(tmp_path: Path) -> None:
    early = write(tmp_path / "data/early", SeriesDate="20100101")
    late = write(tmp_path / "data/late", number=2, SeriesDate="20200101")
    early[5].write_bytes(early[5].read_bytes()[:-40])
    (person,) = indexed(tmp_path / "data").people
    assert set(person.first.files) == set(late)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, Reason.BURNED_IN),
        ({"SOPClassUID": SECONDARY_CAPTURE, "BurnedInAnnotation": None}, "secondary-capture"),
        ({"SOPInstanceUID": "1.2.3"}, Reason.CONFLICT),
    ],
)
def test_what_the_deidentifier_leaves_out_is_settled_at_index_with_its_reason(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    write(tmp_path / "data/a", **changes)
    write(tmp_path / "data/b", number=2, PatientID="ANOTHER")
    assert indexed(tmp_path / "data").excluded == {reason: 1}


def test_a_rehearsal_writes_nothing_and_says_why_not_who(tmp_path: Path) -> None:
    paths = write(tmp_path / "in", PatientName="SECRET^NAME")
    paths[0].write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(QuarantinedError) as caught:
        Rehearsal.of(KEY, load_profile("basic")).check(paths)
    assert "SECRET" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_two_people_under_one_patient_id_are_both_left_out(tmp_path: Path) -> None:
    write(tmp_path / "data/a", PatientBirthDate="19500101")
    write(tmp_path / "data/b", number=2, PatientBirthDate="19800202")
    write(tmp_path / "data/c", number=3, PatientID="ANOTHER", PatientBirthDate="19500101")
    found = indexed(tmp_path / "data")
    assert found.excluded == {"shared-patient-id": 1}
    assert len(found.people) == 1


def stripes(tall: int = 60, wide: int = 40) -> Image.Image:
    """Red above, blue below."""
    picture = np.zeros((tall, wide, 3), np.uint8)
    picture[: tall // 2, :, 0] = picture[tall // 2 :, :, 2] = 255
    return Image.fromarray(picture)


def test_a_photo_that_was_taken_sideways_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show
    stripes().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=exif, quality=95)
    photo = _read_photo(tmp_path / "a.jpg", None)
    assert photo is not None
    assert photo.shape == (60, 40, 3)
    assert photo[5, 20, 0] > 200
    assert photo[5, 20, 2] < 50


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "RGBA", "1", "LA"])
def test_a_photo_in_any_colours_is_read_as_eight_bit_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    stripes().convert(mode).save(path)
    photo = _read_photo(path, None)
    assert photo is not None
    assert (photo.dtype, photo.shape) == (np.uint8, (60, 40, 3))


def test_a_sixteen_bit_photo_is_read_as_eight(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8, 3), 0x80FF, np.uint16))
    photo = _read_photo(tmp_path / "a.png", None)
    assert photo is not None
    assert int(photo[0, 0, 0]) == 0x80


def test_a_large_photo_is_reduced_before_anything_looks_at_it(tmp_path: Path) -> None:
    stripes(3000, 2000).save(tmp_path / "a.jpg")
    photo = _read_photo(tmp_path / "a.jpg", None)
    assert photo is not None
    assert photo.shape == (LONGEST_PX, 427, 3)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_no_photo(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert _read_photo(tmp_path / "a.jpg", None) is None
    assert _read_photo(tmp_path, None) is None


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["1000", None])
def test_a_picture_beyond_the_limit_of_pixels_is_refused_before_it_takes_memory(
    tmp_path: Path, limit: str | None
) -> None:
    """OpenCV refuses it, and it is no photo."""
    stripes().save(tmp_path / "a.png")
    code = (
        "import sys; from pathlib import Path; from reidscope_site.experiments import face;"
        "photo = face._read_photo(Path(sys.argv[1]), None);"
        "print(None if photo is None else photo.shape)"
    )
    name = "OPENCV_IO_MAX_IMAGE_PIXELS"
    environment = {key: value for key, value in os.environ.items() if key != name}
    if limit:
        environment[name] = limit
    said = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.png"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if limit:
        assert said.stdout.strip() == "None"
    else:
        assert said.stdout.strip() == "(60, 40, 3)"
    assert os.environ[name] == str(1 << 28)


@pytest.mark.parametrize(("most", "read"), [(1 << 18, False), (isolation.MOST_PIXELS, True)])
def test_a_photo_of_more_pixels_than_any_camera_takes_is_none(
    tmp_path: Path, most: int, *, read: bool
) -> None:
    """A small file may unpack to all the memory there is."""
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((1000, 1000, 3), np.uint8))
    code = (
        "import sys; from pathlib import Path; from reidscope_site import isolation;"
        "isolation.MOST_PIXELS = int(sys.argv[2]); isolation.bound_pictures();"
        "from reidscope_site.face.photo import read_photo;"
        "sys.exit(read_photo(Path(sys.argv[1])) is None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "photo.png"), str(most)],
        check=False,
        capture_output=True,
    )
    assert done.returncode == (0 if read else 1)


@pytest.mark.parametrize(
    ("head", "read"),
    [
        (b"\xff\xd8\xff\xe1", True),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", True),
        (b"\0\0\0\x18ftypheic\0\0\0\0", False),
        (b"%PDF-1.7", False),
        (b"", False),
    ],
)
def test_a_photo_in_a_format_that_is_not_read_is_told_before_a_study_runs(
    tmp_path: Path, head: bytes, *, read: bool
) -> None:
    (tmp_path / "photo").write_bytes(head)
    assert is_read_here(tmp_path / "photo") is read
    assert not is_read_here(tmp_path / "gone")


def test_every_format_that_is_decoded_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    picture = np.full((64, 64, 3), 90, np.uint8)
    for suffix in ("jpg", "png", "webp", "tiff", "bmp", "jp2", "ppm"):
        photo = tmp_path / f"photo.{suffix}"
        assert cv2.imwrite(str(photo), picture)
        assert is_read_here(photo), suffix
        assert _read_photo(photo, None) is not None, suffix
