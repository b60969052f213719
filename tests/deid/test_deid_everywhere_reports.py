"""Structured reports: what is left of one is public, and it is still a report."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from tests.deid.conftest import BIG, DEFLATED, EXPLICIT, IMPLICIT, ROOT, as_bytes
from tests.deid.objects import COMPREHENSIVE_SR, KEY_OBJECTS, report

from reidscope_deid import SiteKey, audit_output, deidentify_files, load_profile
from reidscope_deid.allowed import load_allow_list
from reidscope_deid.identifiers import inflated_content

SYNTAXES = [EXPLICIT, IMPLICIT, BIG, DEFLATED]
CONTENT, TEXT = "clean-structured-content", "clean-descriptors"
CHOICES = [(), (CONTENT,), (CONTENT, TEXT), (TEXT,)]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, of the tokens planted


def deidentified(
    content: bytes, folder: Path, key: SiteKey, options: tuple[str, ...], name: str = "basic"
) -> tuple[Dataset, bytes]:
    source, out = folder / "in.dcm", folder / "out"
    source.write_bytes(content)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    profile = load_profile(name, options)
    done = deidentify_files([source], out, key=key, profile=profile)
    assert audit_output(done.files, [source], profile=profile).document()["findings"] == []
    new = pydicom.dcmread(done.files[0])
    return new, inflated_content(done.files[0], new)


def tree(items: object) -> Iterator[tuple[str, str]]:
    for one in items or ():  # type: ignore[attr-defined]  # a sequence
        name = one.get("ConceptNameCodeSequence")
        yield one.ValueType, name[0].CodeMeaning if name else ""
        yield from tree(one.get("ContentSequence"))


@pytest.mark.parametrize(
    ("syntax", "options", "sop_class"),
    [
        *((syntax, options, COMPREHENSIVE_SR) for syntax in SYNTAXES for options in CHOICES[::2]),
        *((EXPLICIT, options, COMPREHENSIVE_SR) for options in CHOICES[1::2]),
        *((syntax, (CONTENT, TEXT), KEY_OBJECTS) for syntax in SYNTAXES),
    ],
)
def test_no_planted_identifier_is_left_in_a_report(
    syntax: str, options: tuple[str, ...], sop_class: str, tmp_path: Path, key: SiteKey
) -> None:
    original, tokens = report(syntax, sop_class=sop_class)
    content = as_bytes(original, syntax)
    new, written = deidentified(content, tmp_path, key, options)
    assert len(tokens) > 50
    assert [place for token, place in tokens.items() if token in written] == []
    if syntax != DEFLATED:
        assert [place for token, place in tokens.items() if token not in content] == []
    assert b"20200317" not in written
    assert ROOT.encode() not in written
    assert new.SOPClassUID == sop_class


def test_what_is_left_of_a_report_is_what_is_public(tmp_path: Path, key: SiteKey) -> None:
    original, _ = report(EXPLICIT)
    new, _ = deidentified(as_bytes(original, EXPLICIT), tmp_path, key, ())
    assert list(tree(new.ContentSequence)) == [
        ("UIDREF", "Device Observer UID"),
        ("DATETIME", "DateTime Started"),
        ("CODE", "Finding"),
        ("NUM", "Length"),
        ("CONTAINER", ""),
        ("CONTAINER", "Finding"),
        ("NUM", "Length"),
        ("IMAGE", ""),
        ("SCOORD", "Finding"),
        ("IMAGE", ""),
    ]
    assert new.ConceptNameCodeSequence[0].CodeMeaning == "Document Title"
    assert new.ContentSequence[1].DateTime.startswith(new.StudyDate)
    assert new.ContentSequence[3].MeasuredValueSequence[0].NumericValue == 12.5
    # What referred to an image still does, and is listed as evidence still.
    image = new.ContentSequence[-2].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    (study,) = new.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == new.StudyInstanceUID
    assert study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0][0x00081155].value == image
    assert (new.VerificationFlag, new.CompletionFlag) == ("UNVERIFIED", "COMPLETE")
    assert "VerifyingObserverSequence" not in new


def test_text_of_a_report_is_cleaned_where_descriptors_are_and_else_goes(
    tmp_path: Path, key: SiteKey
) -> None:
    content = as_bytes(report(EXPLICIT)[0], EXPLICIT)
    for options in CHOICES:
        new, _ = deidentified(content, tmp_path, key, options)
        texts = [one.TextValue for one in new.ContentSequence if one.ValueType == "TEXT"]
        assert texts == (["LESION OF 12MM IN THE LIVER OF SEEN"] if TEXT in options else [])


def test_dates_of_a_report_go_where_no_option_keeps_them(tmp_path: Path, key: SiteKey) -> None:
    content = as_bytes(report(EXPLICIT)[0], EXPLICIT)
    new, _ = deidentified(content, tmp_path, key, (), "basic-undated")
    assert "DATETIME" not in {kind for kind, _ in tree(new.ContentSequence)}
    kept, _ = deidentified(content, tmp_path, key, (), "limited-data-set")
    assert kept.ContentSequence[1].DateTime == "20200317143015"


def test_a_report_of_which_nothing_may_stay_is_an_empty_one(tmp_path: Path, key: SiteKey) -> None:
    original, _ = report(EXPLICIT)
    original.ContentSequence = original.ContentSequence[:3]
    new, _ = deidentified(as_bytes(original, EXPLICIT), tmp_path, key, ())
    assert "ContentSequence" not in new
    assert new.ValueType == "CONTAINER"


def test_a_report_inside_an_image_goes_as_before(tmp_path: Path, key: SiteKey) -> None:
    original, tokens = report(EXPLICIT)
    from tests.deid.conftest import mr_slice  # noqa: PLC0415 - the one test that needs an image

    image = mr_slice(EXPLICIT, number=1)
    image.ContentSequence = original.ContentSequence
    new, written = deidentified(as_bytes(image, EXPLICIT), tmp_path, key, ())
    assert len(new.get("ContentSequence", ())) == 0
    assert not any(token in written for token in tokens)


def errors_of(path: Path) -> Counter[str]:
    done = subprocess.run(["/usr/bin/dciodvfy", str(path)], capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode("ascii", "replace").splitlines()
    return Counter(line.split("=")[0] for line in said if line.startswith("Error"))


@pytest.mark.skipif(not Path("/usr/bin/dciodvfy").exists(), reason="dciodvfy is not installed")
@pytest.mark.parametrize("options", CHOICES[::2], ids="+".join)
@pytest.mark.parametrize(
    "name", ["reportsi.dcm", "test-SR.dcm", "reportsi_with_empty_number_tags.dcm", "ours", "keys"]
)
def test_a_report_has_no_more_errors_than_it_had(
    name: str, options: tuple[str, ...], tmp_path: Path, key: SiteKey
) -> None:
    source = tmp_path / "in.dcm"
    if name in {"ours", "keys"}:
        sop_class = KEY_OBJECTS if name == "keys" else COMPREHENSIVE_SR
        content = as_bytes(report(EXPLICIT, sop_class=sop_class)[0], EXPLICIT)
    else:
        found = get_testdata_file(name)
        assert isinstance(found, str)
        content = Path(found).read_bytes()
    for profile in ("basic", "basic-undated"):
        deidentified(content, tmp_path, key, options, profile)
        (out,) = (tmp_path / "out").rglob("*.dcm")
        before, after = errors_of(source), errors_of(out)
        assert after.total() <= before.total(), after - before


def test_every_report_class_of_the_standard_is_taken() -> None:
    kinds = Counter(load_allow_list().kind_of.values())
    assert kinds["report"] == 18
