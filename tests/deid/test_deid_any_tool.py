"""The audit of a set, whoever wrote it: graph of UIDs, dates, people, references, conformance."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from reidscope_deid import AuditReport, SiteKey, audit_output, deidentify_tree, load_profile
from reidscope_deid.cli import app
from reidscope_deid.scan import Needles
from reidscope_deid.uids import UidMap
from reidscope_protocols.errors import ConfigError, ResidualIdentifierError

Slice = Callable[..., Path]
ROOT = "1.2.826.0.1.3680043.8.498.7"
Change = Callable[[pydicom.FileDataset], object]


@pytest.fixture
def pair(tmp_path: Path, slice_file: Slice, key: SiteKey) -> tuple[Path, Path]:
    """Originals of two people, three files each that refer to one another, and our outputs."""
    for person in (1, 2):
        for number in (1, 2, 3):
            reference = pydicom.Dataset()
            reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
            reference.ReferencedSOPInstanceUID = f"{ROOT}.3.{person}.{number % 3 + 1}"
            slice_file(
                f"in/{person}{number}.dcm",
                SOPInstanceUID=f"{ROOT}.3.{person}.{number}",
                StudyInstanceUID=f"{ROOT}.1.{person}",
                SeriesInstanceUID=f"{ROOT}.2.{person}",
                FrameOfReferenceUID=f"{ROOT}.4.{person}",
                PatientID=f"MRN-004{person}",
                PatientName=f"Doe{person}^Jane",
                InstanceNumber=number,
                ContentDate=f"2020032{number}",
                ReferencedImageSequence=[reference],
                PixelData=bytes([person, number]) * 256,
            )
    profile = load_profile("basic")
    deidentify_tree(tmp_path / "in", tmp_path / "out", key=key, profile=profile, durable=False)
    return tmp_path / "in", tmp_path / "out"


def audited(pair: tuple[Path, Path], **how: bool) -> AuditReport:
    return audit_output(below(pair[1]), below(pair[0]), any_tool=how.pop("any_tool", True), **how)


def below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def found(report: AuditReport) -> dict[str, set[str]]:
    codes: dict[str, set[str]] = {}
    for tag, finding in report.findings:
        codes.setdefault(finding.value, set()).add(tag)
    return codes


def change_one(pair: tuple[Path, Path], change: Change, index: int = 0) -> None:
    path = below(pair[1])[index]
    data_set = pydicom.dcmread(path)
    change(data_set)
    data_set.save_as(path)


def test_our_outputs_are_clean_by_either_audit(pair: tuple[Path, Path]) -> None:
    for any_tool in (True, False):
        report = audited(pair, any_tool=any_tool)
        assert not report.findings
        assert (report.files, report.compared) == (6, 6)


def shifted(one: pydicom.FileDataset) -> None:
    one.ContentDate = "20010101"


def another_reference(one: pydicom.FileDataset) -> None:
    one.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "2.25.123"


CHANGES: dict[str, tuple[Change, str, str]] = {
    "a date moved by another number of days": (shifted, "interval-changed", "00080023"),
    "a date that is none": (
        lambda one: one.add_new(0x00080020, "DA", "19"),
        "interval-changed",
        "00080020",
    ),
    "another time of day": (
        lambda one: setattr(one, "StudyTime", "010000"),
        "time-changed",
        "00080030",
    ),
    "another time of day in a DT": (
        lambda one: setattr(one, "AcquisitionDateTime", one.AcquisitionDateTime[:8] + "010000"),
        "time-changed",
        "0008002A",
    ),
    "a second name for a person": (
        lambda one: setattr(one, "PatientID", "P-OTHER"),
        "person-inconsistent",
        "00100020",
    ),
    "a reference to another UID": (another_reference, "uid-inconsistent", "00081155"),
    "an instance under another UID": (
        lambda one: setattr(one, "SOPInstanceUID", "2.25.123"),
        "uid-inconsistent",
        "00080018",
    ),
    "file meta information of another instance": (
        lambda one: setattr(one, "SOPInstanceUID", "2.25.123"),
        "meta-mismatch",
        "00020003",
    ),
    "a name in a private element": (
        lambda one: one.private_block(0x29, "ACME", create=True).add_new(1, "LO", "of Doe1"),
        "identifier-survives",
        "00100010",
    ),
    "samples": (lambda one: setattr(one, "PixelData", bytes(512)), "pixels-changed", "7FE00010"),
}


@pytest.mark.parametrize(("change", "code", "tag"), CHANGES.values(), ids=CHANGES.keys())
def test_each_thing_that_must_hold_is_found_where_it_does_not(
    pair: tuple[Path, Path], change: Change, code: str, tag: str
) -> None:
    for index, path in enumerate(below(pair[1])):
        number = pydicom.dcmread(path).InstanceNumber
        if number == 1:
            change_one(pair, change, index)
            if code != "identifier-survives":
                break
    report = audited(pair)
    # Which of two UIDs is the odd one cannot be said: either place is.
    either = {tag, "00080018", "00081155"} if code == "uid-inconsistent" else {tag}
    assert either & found(report)[code]
    said = str(report.document())
    assert "Doe" not in said
    assert "2.25" not in said


def test_a_file_that_is_not_among_the_outputs_leaves_references_dangling(
    pair: tuple[Path, Path],
) -> None:
    below(pair[1])[0].unlink()
    assert found(audited(pair)) == {"dangling-reference": {"00081155"}}


def test_two_people_under_one_name_are_found(pair: tuple[Path, Path]) -> None:
    for index in range(6):
        change_one(pair, lambda one: setattr(one, "PatientID", "ANON"), index)
    assert found(audited(pair)) == {"person-inconsistent": {"00100020"}}


def test_a_tool_that_removes_is_not_asked_for_our_declaration(pair: tuple[Path, Path]) -> None:
    for index in range(6):
        change_one(pair, lambda one: delattr(one, "DeidentificationMethodCodeSequence"), index)
    assert audited(pair).clean
    assert "not-declared" in found(audited(pair, any_tool=False))


def test_a_plain_copy_is_found_out_in_every_respect(pair: tuple[Path, Path]) -> None:
    shutil.rmtree(pair[1])
    shutil.copytree(pair[0], pair[1])
    said = found(audited(pair))
    assert said.pop("meta-mismatch") == {"00020003"}  # as the originals have it
    assert said.keys() == {"identifier-survives", "date-unchanged", "uid-unchanged"}
    assert {"00100010", "00100020"} <= said["identifier-survives"]


def test_full_dates_and_true_uids_are_asked_for_where_a_profile_keeps_them(
    pair: tuple[Path, Path], key: SiteKey, tmp_path: Path
) -> None:
    profile = load_profile("limited-data-set", ("retain_uids",))
    out = tmp_path / "true"
    deidentify_tree(pair[0], out, key=key, profile=profile, durable=False)
    uids = UidMap(key, retain=True)
    assert audit_output(below(out), below(pair[0]), profile=profile, uids=uids).clean
    change_one((pair[0], out), shifted)
    below(out)[1].unlink()
    said = found(audit_output(below(out), below(pair[0]), profile=profile, uids=uids))
    assert said == {"interval-changed": {"00080023"}, "dangling-reference": {"00081155"}}


def without_geometry(one: pydicom.FileDataset) -> None:
    for keyword in ("Rows", "Columns", "BitsAllocated", "PixelSpacing", "ImagePositionPatient"):
        delattr(one, keyword)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_an_output_with_more_errors_than_its_original_is_found(pair: tuple[Path, Path]) -> None:
    report = audited(pair, conformance=True)
    assert report.clean
    assert report.errors is not None
    assert report.errors[1] <= report.errors[0]
    change_one(pair, without_geometry)
    assert "less-conformant" in found(audited(pair, conformance=True))


def test_verify_compares_any_tools_outputs(pair: tuple[Path, Path]) -> None:
    def verify(*words: str) -> str:
        asked = ["verify", str(pair[1]), *words, "--json"]
        return CliRunner().invoke(app, asked, catch_exceptions=False).output

    against = ("--against", str(pair[0]), "--any-tool")
    assert json.loads(verify(*against))["findings"] == []
    change_one(pair, lambda one: delattr(one, "PatientIdentityRemoved"))
    assert json.loads(verify(*against))["compared"] == 6
    change_one(pair, shifted)
    with pytest.raises(ResidualIdentifierError):
        verify(*against)
    for wrong in (("--any-tool",), ("--conformance",), (*against, "--key", "none")):
        with pytest.raises(ConfigError):
            verify(*wrong)


@given(
    st.lists(st.binary(min_size=8, max_size=40), min_size=1, max_size=30, unique=True),
    st.binary(max_size=300),
    st.randoms(use_true_random=False),
)
def test_needles_finds_what_a_search_for_each_finds(
    values: list[bytes], noise: bytes, draw: random.Random
) -> None:
    planted = draw.sample(values, draw.randrange(len(values) + 1))
    content = noise.join([b"", *planted, b""]) + noise
    assert Needles(values).found_in(content) == {one for one in values if one in content}


def test_needles_are_found_across_the_pieces_that_are_searched() -> None:
    content = bytearray((2 << 20) + 100)
    for at in ((1 << 20) - 20, (1 << 20) - 7, (2 << 20) - 4, len(content) - 12):
        content[at : at + 12] = f"Doe^Jane{at % 9973:04d}".encode()[:12]
        assert len(Needles([bytes(content[at : at + 12])]).found_in(bytes(content))) == 1
