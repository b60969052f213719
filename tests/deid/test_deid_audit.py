"""The audit: each kind of leak put into an output by hand is found, and never quoted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from reidscope_deid import Profile, SiteKey, audit_output, deidentify_files

Slice = Callable[..., Path]


@pytest.fixture
def pair(slice_file: Slice, tmp_path: Path, key: SiteKey, profile: Profile) -> tuple[Path, Path]:
    path = slice_file()
    return path, deidentify_files([path], tmp_path, key=key, profile=profile).files[0]


def rewritten(path: Path, change: Callable[[pydicom.FileDataset], object]) -> None:
    data_set = pydicom.dcmread(path)
    change(data_set)
    data_set.save_as(path)


def add_private(data_set: pydicom.FileDataset) -> None:
    data_set.private_block(0x0029, "ACME", create=True).add_new(1, "LO", "x")


def nest_private(data_set: pydicom.FileDataset) -> None:
    inner = pydicom.Dataset()
    inner.private_block(0x0029, "ACME", create=True).add_new(1, "LO", "x")
    data_set.ReferencedImageSequence = [inner]


def code(meaning: str) -> pydicom.Dataset:
    one = pydicom.Dataset()
    one.CodeValue, one.CodingSchemeDesignator = "69536005", "SCT"
    one.CodeMeaning = meaning
    return one


CHANGES: dict[str, tuple[Callable[[pydicom.FileDataset], object], str]] = {
    "private element": (add_private, "private-element"),
    "private element in a sequence": (nest_private, "private-element"),
    "element outside the profile": (
        lambda one: setattr(one, "PatientAddress", "x"),
        "unlisted-element",
    ),
    "newer than the dictionary": (
        lambda one: one.add_new(0x00100012, "LO", "x"),
        "unlisted-element",
    ),
    "source AE title": (
        lambda one: setattr(one.file_meta, "SourceApplicationEntityTitle", "PACS"),
        "meta-element",
    ),
    "own words in a public code": (
        lambda one: setattr(one, "AnatomicRegionSequence", [code("Head of Jane")]),
        "value-not-allowed",
    ),
    "text in a kept element": (
        lambda one: setattr(one, "BodyPartExamined", "JANES HEAD"),
        "value-not-allowed",
    ),
    "another profile's codes": (
        lambda one: one.DeidentificationMethodCodeSequence.pop(),
        "not-declared",
    ),
    "own words in the declaration": (
        lambda one: setattr(one.DeidentificationMethodCodeSequence[0], "CodeMeaning", "Ours"),
        "value-not-allowed",
    ),
    "an element more in the declaration": (
        lambda one: setattr(one.DeidentificationMethodCodeSequence[0], "PatientName", "x"),
        "unlisted-element",
    ),
    "preamble": (lambda one: setattr(one, "preamble", b"x" * 128), "preamble"),
    "no declaration": (lambda one: delattr(one, "PatientIdentityRemoved"), "not-declared"),
    "patient name": (lambda one: setattr(one, "StationName", "was Jane"), "identifier-survives"),
    "patient ID": (lambda one: setattr(one, "PatientID", "MRN-0042"), "identifier-survives"),
    "birth date": (lambda one: setattr(one, "PatientBirthDate", "19710823"), "identifier-survives"),
    "date as it was": (lambda one: setattr(one, "SeriesDate", "20200317"), "date-unchanged"),
    "UID as it was": (
        lambda one: setattr(one, "FrameOfReferenceUID", "1.2.826.0.1.3680043.8.498.7.4"),
        "uid-unchanged",
    ),
    "two UIDs became one": (
        lambda one: setattr(one, "FrameOfReferenceUID", one.StudyInstanceUID),
        "uid-inconsistent",
    ),
    "pixels": (lambda one: setattr(one, "PixelData", b"\1" * 512), "pixels-changed"),
}


def test_an_output_that_nobody_touched_is_clean(pair: tuple[Path, Path]) -> None:
    report = audit_output([pair[1]], [pair[0]])
    assert report.clean
    assert (report.files, report.compared) == (1, 1)
    assert audit_output([pair[1]]).clean


@pytest.mark.parametrize(("change", "code"), CHANGES.values(), ids=CHANGES.keys())
def test_each_kind_of_leak_is_found_and_not_quoted(
    pair: tuple[Path, Path], change: Callable[[pydicom.FileDataset], object], code: str
) -> None:
    rewritten(pair[1], change)
    report = audit_output([pair[1]], [pair[0]])
    assert code in {finding.value for _, finding in report.findings}
    said = str(report.document()) + repr(report)
    assert not any(value in said for value in ("Doe", "MRN", "1971", "20200317", "PACS", "ACME"))


def test_an_identifier_behind_the_pixels_is_found(pair: tuple[Path, Path]) -> None:
    content = pair[1].read_bytes()
    pair[1].write_bytes(content[:-16] + b"MRN-0042 was here"[:16])
    report = audit_output([pair[1]], [pair[0]])
    assert ("00100020", "identifier-survives") in report.findings


def test_a_file_that_cannot_be_read_is_a_finding(pair: tuple[Path, Path], tmp_path: Path) -> None:
    pair[1].write_bytes(b"Doe^Jane")
    report = audit_output([pair[1]], [pair[0]])
    assert [finding.value for _, finding in report.findings] == ["unreadable"]
    assert not audit_output([tmp_path / "missing"]).clean
