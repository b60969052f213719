"""Which program of others this is: asked for, compared with its description, written down."""

from __future__ import annotations

import importlib.util
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.errors import DefacerFailedError, UnsupportedError
from reidscope_protocols.programs import ProgramSaid, external
from reidscope_site.face import gates
from reidscope_site.face.arms import Arm, resolve
from reidscope_site.face.external.program import OWN_DESCRIPTIONS, find_program, programs_of
from reidscope_site.face.register import register
from reidscope_site.face.volume import Volume

EXAMPLES = Path(__file__).parents[2] / "examples" / "defacers"
HEX = st.text("0123456789abcdef", min_size=16, max_size=16)


def describe(folder: Path, expects: str = "", says: str = "knife 1.4.2 by Mrs. Jones") -> None:
    """A program and its description in a folder of the site's own."""
    knife = folder / "knife"
    knife.write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
    knife.chmod(stat.S_IRWXU)
    (folder / "knife.toml").write_text(
        f'name = "knife"\nintent = "removed"\nexpects = "{expects}"\noutputs = ["o.nii.gz"]\n'
        f'command = ["{knife}", "{{input}}"]\nversion = ["{knife}"]\n',
        encoding="utf-8",
    )


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "defacers"
    folder.mkdir()
    monkeypatch.setenv(OWN_DESCRIPTIONS, str(folder))
    return folder


def test_a_program_says_its_version_and_nothing_else_of_what_it_prints(own: Path) -> None:
    describe(own, expects="1.4.2")
    said = programs_of(("unmodified", "quickshear", "external-knife"))
    assert list(said) == ["external-knife"]
    read = ProgramSaid.read(said["external-knife"])
    assert read is not None
    assert read.version == "1.4.2"
    assert "Jones" not in str(said)
    assert str(own) not in str(said)


@pytest.mark.parametrize("expects", ["1.4.1", "1.4", "1.4.2-rc1", "sha256:" + "0" * 16])
def test_another_version_than_the_description_names_is_refused(own: Path, expects: str) -> None:
    describe(own, expects=expects)
    for ask in (lambda: programs_of(("external-knife",)), lambda: resolve("external-knife")):
        with pytest.raises(UnsupportedError, match=r"got version 1\.4\.2, expected version") as no:
            ask()
        assert "\n" not in str(no.value)


def test_a_program_without_a_version_is_known_by_its_file(own: Path) -> None:
    describe(own, says="no number")
    version = find_program("knife").version()
    assert version.startswith("sha256:")
    describe(own, says="no number", expects=version)
    # the file is the same: so is what stands for its version
    assert resolve("external-knife").version == version


def test_a_script_that_is_edited_and_a_call_that_is_changed_are_seen(own: Path) -> None:
    describe(own)
    before = ProgramSaid.read(programs_of(("external-knife",))["external-knife"])
    with (own / "knife").open("a", encoding="utf-8") as script:
        script.write("# sharpened\n")
    edited = ProgramSaid.read(programs_of(("external-knife",))["external-knife"])
    text = (own / "knife.toml").read_text(encoding="utf-8")
    (own / "knife.toml").write_text(text.replace('"{input}"', '"{input}", "-x"'), encoding="utf-8")
    called = ProgramSaid.read(programs_of(("external-knife",))["external-knife"])
    assert before is not None
    assert edited is not None
    assert called is not None
    assert before.version == edited.version == called.version
    assert before.program != edited.program == called.program
    assert before.description == edited.description != called.description


def test_a_version_of_any_length_is_cut(own: Path) -> None:
    describe(own, says="1" + ".2" * 500)
    assert len(find_program("knife").version()) == 60
    assert len(programs_of(("external-knife",))["external-knife"]) <= 120


@given(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){1,3}[a-z+-]{0,8}", fullmatch=True), HEX, HEX)
def test_what_is_said_of_a_program_is_read_again(version: str, one: str, other: str) -> None:
    said = ProgramSaid(version=version, program=one, description=other)
    assert ProgramSaid.read(str(said)) == said


@given(st.text(max_size=200))
def test_anything_else_a_site_writes_there_is_not_repeated(text: str) -> None:
    assert ProgramSaid.read(text) is None
    assert ProgramSaid.read(f"1.2, program {'0' * 16}, description {'0' * 16}{text}x") is None


def test_external_arms_are_told_by_their_prefix() -> None:
    assert external(("unmodified", "quickshear", "external-a", "externally")) == ("external-a",)


@pytest.fixture
def plastimatch(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("plastimatch") is None:
        pytest.skip("plastimatch is not installed: apt-get install plastimatch")
    wheel = importlib.util.find_spec("pydeface")
    if wheel is None or wheel.origin is None:
        pytest.skip("pydeface is not installed: requirements-test-data.txt")
    monkeypatch.setenv("FACE_TEMPLATE", str(Path(wheel.origin).parent / "data"))
    monkeypatch.setenv(OWN_DESCRIPTIONS, str(EXAMPLES))
    monkeypatch.setenv("PATH", str(EXAMPLES), prepend=":")


def cut_by(arm: Arm, scan: Volume) -> gates.Gates:
    registration = register(scan)
    after = arm.apply(scan, registration)
    assert 0.02 < (after.voxels != scan.voxels).mean() < 0.4
    return gates.check(scan, after, registration, intent=arm.intent)


@pytest.mark.slow
@pytest.mark.usefixtures("plastimatch")
@pytest.mark.parametrize("name", ["external-plastimatch", "external-plastimatch-dicom"])
def test_pydefaces_recipe_by_plastimatch_defaces_a_head_in_nifti_and_in_dicom(
    name: str, head_scan: Volume
) -> None:
    arm = resolve(name)
    assert arm.version == "1.9.4"
    found = cut_by(arm, head_scan)
    assert found.face_gone
    assert found.passed


@pytest.mark.slow
@pytest.mark.usefixtures("plastimatch")
def test_plastimatch_without_its_template_leaves_nothing_and_is_not_believed(
    head_scan: Volume, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACE_TEMPLATE", str(tmp_path))
    with pytest.raises(DefacerFailedError, match="no output"):
        resolve("external-plastimatch").apply(head_scan, register(head_scan))
