"""Files in, files out: nothing mutated, nothing half-written, the same every time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from reidscope_deid import (
    Profile,
    QuarantinedError,
    SiteKey,
    deidentify_files,
    deidentify_tree,
    pseudonym,
)
from reidscope_deid.part10 import open_part10
from reidscope_protocols.errors import DeidError, InputError, NoDicomError

Slice = Callable[..., Path]
ROOT = "1.2.826.0.1.3680043.8.498.7"


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def a_person(slice_file: Slice, patient_id: str = "MRN-0042", name: str = "in") -> list[Path]:
    """Three slices over two studies that refer to each other."""
    return [
        slice_file(
            f"{name}/{number}.dcm",
            PatientID=patient_id,
            SOPInstanceUID=f"{ROOT}.3.{number}",
            StudyInstanceUID=f"{ROOT}.1.{number // 2}",
            InstanceNumber=number,
            StudyDate=f"2020031{number}",
            AcquisitionDateTime=f"2020031{number}143015",
            ReferencedImageSequence=[reference(f"{ROOT}.3.{(number + 1) % 3}")],
        )
        for number in range(3)
    ]


def reference(uid: str) -> pydicom.Dataset:
    one = pydicom.Dataset()
    one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", uid
    return one


def test_a_person_keeps_their_references_their_order_their_intervals_and_their_pixels(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    files = a_person(slice_file)
    done = deidentify_files(files, tmp_path, key=key, profile=profile)
    old, new = [[pydicom.dcmread(path) for path in paths] for paths in (files, done.files)]
    uids = {a.SOPInstanceUID: b.SOPInstanceUID for a, b in zip(old, new, strict=True)}
    assert len(set(uids.values())) == 3
    for before, after in zip(old, new, strict=True):
        link = before.ReferencedImageSequence[0].ReferencedSOPInstanceUID
        assert after.ReferencedImageSequence[0].ReferencedSOPInstanceUID == uids[link]
        assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
        assert after.SOPClassUID == before.SOPClassUID
        assert after.InstanceNumber == before.InstanceNumber
        assert after.AcquisitionDateTime[:8] == after.StudyDate
        assert int(after.StudyDate) - int(new[0].StudyDate) == int(before.InstanceNumber)
        assert after.PixelData == before.PixelData
        assert after.PatientID == str(after.PatientName) == done.pseudonym
    assert [after.StudyInstanceUID == new[0].StudyInstanceUID for after in new] == [
        True,
        True,
        False,
    ]
    assert done.pseudonym == pseudonym(key, "MRN-0042")


def test_the_input_is_only_read_and_the_output_is_the_same_every_time_in_any_number_of_processes(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    a_person(slice_file)
    a_person(slice_file, "MRN-0043", "in/other")
    before = digest(tmp_path / "in")
    outs = []
    for jobs in (1, 1, 2):
        out = tmp_path / f"out{len(outs)}"
        record = deidentify_tree(tmp_path / "in", out, key=key, profile=profile, jobs=jobs)
        outs.append((digest(out), record))
    assert outs[0] == outs[1] == outs[2]
    assert digest(tmp_path / "in") == before
    # The same instance UIDs under two patients are two files of two people.
    assert (outs[0][1].written, outs[0][1].people) == (6, 2)
    assert all((tmp_path / "out0" / path).stat().st_mode & 0o77 == 0 for path in outs[0][0])


def test_another_key_gives_unrelated_names_for_everything(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    files = a_person(slice_file)
    parts = []
    for number, one in enumerate((key, SiteKey(b"l" * 32))):
        (tmp_path / str(number)).mkdir()
        done = deidentify_files(files, tmp_path / str(number), key=one, profile=profile)
        parts.append({part for path in done.files for part in path.parts[-4:]})
    assert parts[0].isdisjoint(parts[1])


def test_what_was_de_identified_once_keeps_its_elements_when_it_is_again(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    once = deidentify_files(a_person(slice_file), tmp_path, key=key, profile=profile)
    twice = deidentify_files(once.files, tmp_path, key=key, profile=profile)
    for first, second in zip(once.files, twice.files, strict=True):
        a, b = pydicom.dcmread(first), pydicom.dcmread(second)
        assert list(a.keys()) == list(b.keys())
        assert a.PixelData == b.PixelData


def test_files_of_two_people_are_refused_as_one_and_none_is_written(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    files = [*a_person(slice_file), *a_person(slice_file, "MRN-0043", "in/other")]
    (tmp_path / "out").mkdir()
    with pytest.raises(DeidError, match="2 people"):
        deidentify_files(files, tmp_path / "out", key=key, profile=profile)
    assert digest(tmp_path / "out") == {}
    with pytest.raises(DeidError):
        deidentify_files([], tmp_path / "out", key=key, profile=profile)


def test_people_without_an_id_are_as_many_as_their_studies(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    files = a_person(slice_file, "")
    record = deidentify_tree(tmp_path / "in", tmp_path / "out", key=key, profile=profile)
    assert (record.written, record.people) == (3, 2)
    slice_file("in/nobody.dcm", PatientID="", StudyInstanceUID="")
    with pytest.raises(QuarantinedError, match="no-identity"):
        deidentify_files([tmp_path / "in/nobody.dcm"], tmp_path, key=key, profile=profile)
    assert len(files) == 3


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_several_uids_where_one_belongs_leave_the_file_out_and_name_none(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile, keyword: str
) -> None:
    path = slice_file(**{keyword: [f"1.2.{number}" for number in range(1, 12)]})
    (tmp_path / "out").mkdir()
    with pytest.raises(QuarantinedError, match="malformed"):
        deidentify_files([path], tmp_path / "out", key=key, profile=profile)
    assert digest(tmp_path / "out") == {}


def test_a_broken_file_takes_its_series_with_it_and_leaves_nothing(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    files = a_person(slice_file)
    files[2].write_bytes(files[2].read_bytes()[:-100])
    (tmp_path / "out").mkdir()
    with pytest.raises(QuarantinedError, match="truncated"):
        deidentify_files(files, tmp_path / "out", key=key, profile=profile)
    assert digest(tmp_path / "out") == {}


def test_a_tree_counts_what_it_leaves_out_and_writes_the_rest_whole(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    files = a_person(slice_file)
    content = files[0].read_bytes()
    folder = tmp_path / "in"
    (folder / "README.txt").write_text("not DICOM")
    (folder / "empty").write_bytes(b"")
    (folder / "truncated.dcm").write_bytes(content[:-100])
    (folder / "again.dcm").write_bytes(content)
    slice_file("in/other-content.dcm", SOPInstanceUID=f"{ROOT}.3.0", StudyInstanceUID=f"{ROOT}.1.0")
    slice_file("in/report.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.66")
    slice_file("in/screen.dcm", ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    slice_file("in/burned.dcm", BurnedInAnnotation="YES")
    slice_file("in/capture.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    slice_file("in/nameless.dcm", SOPInstanceUID="")
    record = deidentify_tree(folder, tmp_path / "out", key=key, profile=profile)
    assert {reason.value: count for reason, count in record.left_out.items()} == {
        "not-dicom": 2,
        "truncated": 1,
        "conflict": 1,
        "sop-class": 1,
        "burned-in-text": 3,
        "no-instance": 1,
    }
    assert (record.written, record.duplicates, record.failures) == (3, 1, 2)
    assert len(digest(tmp_path / "out")) == 3
    assert not (tmp_path / "out" / ".partial").exists()


def test_a_tree_refuses_outputs_that_it_could_overwrite_or_read_again(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    a_person(slice_file)
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").write_text("x")
    (tmp_path / "none").mkdir()
    source = tmp_path / "in"
    for wrong in (full, source, source / "out", tmp_path):
        with pytest.raises(InputError):
            deidentify_tree(source, wrong, key=key, profile=profile)
    with pytest.raises(InputError):
        deidentify_tree(tmp_path / "missing", tmp_path / "out", key=key, profile=profile)
    with pytest.raises(NoDicomError):
        deidentify_tree(tmp_path / "none", tmp_path / "out", key=key, profile=profile)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_written_clean_or_refused_with_a_reason_and_never_crashes(
    data: st.DataObject, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    path = get_testdata_file("MR_small.dcm")
    assert isinstance(path, str)
    content = bytearray(Path(path).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(132, 2000))] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(content[:end])
    out = tmp_path / "fuzzed"
    out.mkdir(exist_ok=True)
    try:
        done = deidentify_files([broken], out, key=key, profile=profile)
    except QuarantinedError:
        assert digest(out) == {}
    else:
        assert [path for path in out.rglob("*") if path.is_file()] == list(done.files)
        done.files[0].unlink()


def test_sequences_nested_without_end_are_refused() -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    head = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"
    meta = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    with pytest.raises(QuarantinedError, match="too-deep"):
        open_part10(bytes(128) + b"DICM" + meta + (head + item) * 5000)


def test_a_file_that_inflates_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import zlib  # noqa: PLC0415 - the one test that needs it

    monkeypatch.setattr("reidscope_deid.part10._INFLATED_LIMIT", 1 << 16)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(1 << 20)) + deflater.flush()
    meta = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.1.99"
    with pytest.raises(QuarantinedError, match="too-large"):
        open_part10(bytes(128) + b"DICM" + meta + bomb)


def test_pixel_data_with_room_behind_the_image_is_refused(
    slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    path = slice_file(PixelData=bytes(512) + b"Doe^Jane")
    with pytest.raises(QuarantinedError, match="malformed"):
        deidentify_files([path], tmp_path, key=key, profile=profile)
    path = slice_file(PixelData=bytes(512) + bytes(8))
    assert deidentify_files([path], tmp_path, key=key, profile=profile).record.written == 1


@pytest.mark.slow
def test_a_large_multi_frame_file_takes_no_more_memory_than_a_small_one(
    slice_file: Slice, tmp_path: Path, key: SiteKey
) -> None:
    frames = 400
    path = slice_file(
        Rows=512, Columns=512, NumberOfFrames=str(frames), PixelData=bytes(512 * 512 * 2) * frames
    )
    (tmp_path / "k").write_text(f"reidscope-site-key v1\n{key.secret.hex()}\n")
    (tmp_path / "k").chmod(0o600)
    script = (
        "import sys; from pathlib import Path; from reidscope_deid import *;"
        "deidentify_files([Path(sys.argv[1])], Path(sys.argv[2]), key=load_key(Path(sys.argv[3])),"
        "profile=load_profile('basic'));"
        # Not getrusage: its peak is inherited from the process that forked.
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path, tmp_path, tmp_path / "k"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 120_000  # kB, of a 210 MB file; 70 of them are imports
    written = next(tmp_path.rglob("2.25.*.dcm"))
    assert pydicom.dcmread(written).PixelData == pydicom.dcmread(path).PixelData


@pytest.mark.parametrize(
    ("segment", "left"),
    [
        (b"\xff\xe1\x00\x0eExif\0\0Doe^Ja", b""),
        (b"\xff\xfe\x00\x0aDoe^Jane", b""),
        (
            b"\xff\xe0\x00\x18JFIF\0\1\2\0\0\1\0\1\0\0Doe^Jane",
            b"\xff\xe0\x00\x10JFIF\0\1\2\0\0\1\0\1\0\0",
        ),
        (b"\xff\xe0\x00\x10JFIF\0\1\2\0\0\1\0\1\0\0", None),
        (b"", None),
    ],
)
def test_a_jpeg_loses_what_does_not_say_how_to_decode_it(
    slice_file: Slice,
    tmp_path: Path,
    key: SiteKey,
    profile: Profile,
    *,
    segment: bytes,
    left: bytes | None,
) -> None:
    rest = b"\xff\xda\x00\x08\1\1\0\0\x3f\0" + bytes(40) + b"\xff\xd9"
    path = slice_file(
        syntax="1.2.840.10008.1.2.4.70", PixelData=encapsulate([b"\xff\xd8" + segment + rest])
    )
    done = deidentify_files([path], tmp_path, key=key, profile=profile)
    kept = segment if left is None else left
    expected = encapsulate([b"\xff\xd8" + kept + rest])
    assert pydicom.dcmread(done.files[0]).PixelData == expected
