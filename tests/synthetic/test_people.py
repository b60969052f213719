"""Synthetic hospitals on disk."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reidscope_protocols.errors import InputError
from reidscope_site.face.volume import Volume, read_volume
from reidscope_site.synthetic.dicom import PRIVATE_CREATOR, PRIVATE_GROUP, series, uid
from reidscope_site.synthetic.particulars import particulars
from reidscope_site.synthetic.people import make_person, write_people
from reidscope_site.synthetic.seeds import PersonSeed, Population


def person(number: int, label: str = "mercy") -> PersonSeed:
    return PersonSeed(population=Population.SITE, label=label, number=number)


def small() -> Volume:
    voxels = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    return Volume(voxels=voxels, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))


def small_files(number: int, label: str = "mercy") -> list[bytes]:
    seed = person(number, label)
    return list(series(small(), seed, particulars(seed, site=label)))


def test_the_same_seed_writes_the_same_bytes_and_another_person_others() -> None:
    assert small_files(3) == small_files(3)
    assert not set(small_files(3)) & set(small_files(4))
    assert not set(small_files(3)) & set(small_files(3, "north"))


def test_every_file_has_identifiers_to_find(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(small_files(3)[1])
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    known = particulars(person(3), site="mercy")
    assert dataset.PatientID == known.patient_id == "MERCY-000003"
    assert dataset.PatientName == f"{known.family}^{known.given}"
    assert known.family in dataset.StudyDescription
    assert known.family in dataset.RequestAttributesSequence[0].RequestedProcedureDescription
    assert dataset.OtherPatientIDsSequence[0].PatientID == known.other_id
    assert dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)[0x01].value.startswith(
        known.family
    )
    for keyword in (
        "AccessionNumber",
        "DeviceSerialNumber",
        "InstitutionName",
        "OperatorsName",
        "PatientAddress",
        "PatientBirthDate",
        "ReferringPhysicianName",
        "StudyDate",
    ):
        assert dataset.get(keyword), keyword


@given(st.integers(0, 10**6))
def test_every_invented_value_is_valid_dicom(number: int) -> None:
    known = particulars(person(number), site="a-long-label")
    assert 20 <= known.age <= 90
    assert known.born < known.scanned
    assert len(known.accession) <= 16
    assert len(known.station) <= 16
    assert len(known.institution) <= 64
    identifier = uid(person(number), "study")
    assert identifier.is_valid
    assert len(identifier) <= 64


@pytest.mark.parametrize("label", ["", "Mercy", "a b", "a/b", "../x", "thirteen-chars", "ä"])
def test_a_label_that_no_file_name_can_hold_is_refused(label: str) -> None:
    with pytest.raises(InputError):
        particulars(person(0), site=label)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_a_hospital_is_written_read_back_and_written_again(tmp_path: Path) -> None:
    seeds = [person(0), person(1)]
    told: list[PersonSeed] = []
    assert write_people(tmp_path / "a", seeds, written=told.append) == 2
    assert told == seeds
    with (tmp_path / "a/links.csv").open(newline="") as stream:
        links = list(csv.DictReader(stream))
    assert [set(row) for row in links] == [{"patient_id", "photo"}] * 2
    for seed, row in zip(seeds, links, strict=True):
        made = make_person(seed)
        found = read_volume(list((tmp_path / "a/dicom" / row["patient_id"]).iterdir()))
        assert np.array_equal(found.voxels, made.scan.voxels)
        assert np.allclose(found.affine, made.scan.affine)
        with Image.open(tmp_path / "a/photos" / row["photo"]) as image:
            assert np.array_equal(np.asarray(image), made.photos[0])
    assert len(list((tmp_path / "a/photos").iterdir())) == 4
    command = [sys.executable, "-m", "reidscope_site.synthetic", "--out", str(tmp_path / "b")]
    options = ["--people", "1", "--site", "mercy", "--first-seed", "1"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    first, again = digests(tmp_path / "a"), digests(tmp_path / "b")
    again.pop("links.csv")
    assert len(again) > 170
    assert again.items() <= first.items()
