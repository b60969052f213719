"""Defacers of others: real programs, the good and the bad, run on small scans."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.errors import (
    ConfigError,
    DefacerFailedError,
    DefacerStoppedError,
    UnsupportedError,
)
from reidscope_site.face.arms import resolve
from reidscope_site.face.external.defacer import ExternalDefacer, external_defacer
from reidscope_site.face.external.description import Description, descriptions, filled
from reidscope_site.face.external.leftovers import forget_left
from reidscope_site.face.external.program import OWN_DESCRIPTIONS, installed
from reidscope_site.face.intent import Intent
from reidscope_site.face.register import Registration, register
from reidscope_site.face.volume import Volume

THERE = Registration(to_template=np.eye(4), ncc=1.0)
CUT = "voxels[:, 20:] = 0"
PYTHON = """
import sys, nibabel, numpy as np
image = nibabel.load(sys.argv[1])
voxels, affine = np.array(image.dataobj), image.affine
{change}
nibabel.save(nibabel.Nifti1Image(voxels, affine), sys.argv[2])
{end}
"""


def small(shape: tuple[int, int, int] = (30, 32, 34)) -> Volume:
    affine = np.eye(4)
    affine[:3, 3] = (-20.5, 3.25, 7)
    voxels = np.random.default_rng(0).integers(1, 900, shape).astype(np.float32)
    return Volume(voxels=voxels, spacing_mm=(1.0, 1.0, 1.0), affine=affine)


def program(folder: Path, change: str, end: str = "", **fields: object) -> ExternalDefacer:
    """A defacer in Python that changes `voxels`."""
    script = folder / "deface.py"
    script.write_text(PYTHON.format(change=change, end=end), encoding="utf-8")
    return called([sys.executable, str(script), "{input}", "{output}"], **fields)


def shell(folder: Path, text: str, **fields: object) -> ExternalDefacer:
    script = folder / "deface.sh"
    script.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    script.chmod(0o700)
    return called([str(script), "{input}", "{output}"], **fields)


def called(command: list[str], **fields: object) -> ExternalDefacer:
    described = {"name": "mine", "intent": "removed", "command": command, "outputs": ["out.nii.gz"]}
    description = Description.model_validate(described | {"timeout_s": 60} | fields)
    return ExternalDefacer(description=description, program=Path(command[0]))


def test_a_program_that_cuts_is_believed_and_what_it_left_is_the_same(tmp_path: Path) -> None:
    before = small()
    after = program(tmp_path, CUT).apply(before, THERE)
    assert not after.voxels[:, 20:].any()
    assert np.array_equal(after.voxels[:, :20], before.voxels[:, :20])
    assert np.array_equal(after.affine, before.affine)


def test_rounding_is_not_a_change(tmp_path: Path) -> None:
    before = small()
    after = program(tmp_path, f"{CUT}; voxels = voxels + 0.2").apply(before, THERE)
    assert np.array_equal(after.voxels[:, :20], before.voxels[:, :20])


def test_a_program_that_fails_and_says_so_is_judged_by_its_output(tmp_path: Path) -> None:
    after = program(tmp_path, CUT, end="sys.exit(1)").apply(small(), THERE)
    assert not after.voxels[:, 20:].any()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("sys.exit(0)", "no output"),
        ("pass", "the scan as it was"),
        ("voxels = voxels[:, :-2]", "another geometry"),
        ("affine = affine.copy(); affine[0, 3] += 2", "another geometry"),
        ("voxels = voxels.transpose(2, 0, 1)", "another geometry"),
        ("voxels[0] = np.nan", "no numbers"),
        ("open(sys.argv[2], 'w').write('done'); sys.exit(0)", "cannot be read"),
        ("open(sys.argv[2], 'w').close(); sys.exit(0)", "cannot be read"),
        ("import os; os.symlink('/etc/passwd', sys.argv[2]); sys.exit(0)", "no output"),
        ("import os; os.mkdir(sys.argv[2]); sys.exit(0)", "cannot be read"),
        ("open(sys.argv[2], 'wb').write(bytes(9_000_000)); sys.exit(0)", "far larger"),
        ("raise RuntimeError('Mrs. Jones, 7 May')", "no output"),
    ],
)
def test_what_is_no_defaced_scan_is_refused_in_one_line(
    tmp_path: Path, change: str, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DefacerFailedError, match=problem) as refused:
        program(tmp_path, change).apply(small(), THERE)
    said = str(refused.value)
    assert "\n" not in said
    assert "Jones" not in said
    assert str(tmp_path) not in said
    assert "reidscope-" not in said
    assert capfd.readouterr() == ("", "")


def test_empty_voxels_that_are_no_numbers_are_air_where_the_description_says_so(
    tmp_path: Path,
) -> None:
    spm = program(tmp_path, "voxels[:, 20:] = np.nan", not_a_number_is_air=True)
    assert not spm.apply(small(), THERE).voxels[:, 20:].any()


def test_an_output_that_is_stored_the_other_way_round_is_read_upright(tmp_path: Path) -> None:
    flip = "voxels = voxels[::-1]; affine = affine @ np.diag([-1, 1, 1, 1.]); affine[0, 3] += 29"
    before = small()
    after = program(tmp_path, f"{CUT}; {flip}").apply(before, THERE)
    assert np.array_equal(after.voxels[:, :20], before.voxels[:, :20])


def test_a_program_that_hangs_is_killed_with_its_children_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    text = f"sleep 300 &\necho $! $$ $PWD > {tmp_path}/told\nsleep 300\n"
    start = time.monotonic()
    with pytest.raises(DefacerStoppedError, match="no end within 1 s"):
        shell(tmp_path, text, timeout_s=1).apply(small(), THERE)
    assert time.monotonic() - start < 30
    child, parent, folder = (tmp_path / "told").read_text().split()
    assert not Path(folder).exists()
    assert all(gone(int(number)) for number in (child, parent))


def test_what_a_program_leaves_running_is_killed_too(tmp_path: Path) -> None:
    text = f"(trap '' HUP; sleep 300) &\necho $! > {tmp_path}/told\n"
    with pytest.raises(DefacerFailedError):
        shell(tmp_path, text).apply(small(), THERE)
    assert gone(int((tmp_path / "told").read_text()))


def test_what_flees_to_a_session_of_its_own_is_killed_too(tmp_path: Path) -> None:
    text = f"setsid sh -c 'echo $$ > {tmp_path}/told; exec sleep 300' & sleep 1\n"
    with pytest.raises(DefacerFailedError):
        shell(tmp_path, text).apply(small(), THERE)
    assert gone(int((tmp_path / "told").read_text()))


def test_a_run_that_is_killed_with_its_agent_leaves_neither_program_nor_scan(
    tmp_path: Path,
) -> None:
    script = tmp_path / "deface.sh"
    script.write_text(f"#!/bin/sh\nsleep 300 &\necho $! $PWD > {tmp_path}/told\nsleep 300\n")
    script.chmod(0o700)
    run = (
        "import sys; from pathlib import Path;"
        " from reidscope_site.face.external.leftovers import private_folder;"
        " from reidscope_site.face.external.process import run_alone\n"
        "with private_folder() as folder:\n"
        " run_alone([sys.argv[1]], folder=folder, environment={'PATH': '/usr/bin:/bin'},"
        " timeout_s=300)"
    )
    agent = subprocess.Popen([sys.executable, "-c", run, str(script)])
    for _ in range(600):
        if (tmp_path / "told").exists() and (tmp_path / "told").read_text().endswith("\n"):
            break
        time.sleep(0.05)
    number, folder = (tmp_path / "told").read_text().split()
    forget_left()  # it is held: nobody's yet
    assert Path(folder).is_dir()
    agent.kill()
    agent.wait()
    time.sleep(2.5)  # younger folders may be about to be locked
    forget_left()
    assert gone(int(number))
    assert not Path(folder).exists()


def gone(number: int) -> bool:
    """Whether a process has ended; a killed child of init's may linger a moment."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_a_program_sees_no_name_and_only_the_variables_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATIENT", "Jones")
    monkeypatch.setenv("FSLDIR", "/opt/fsl")
    text = f'cd {tmp_path}; env > env; echo "$@" > argv; ls $HOME > ls; stat -c %a $HOME > mode'
    with pytest.raises(DefacerFailedError):
        shell(tmp_path, text, environment=["FSLDIR"]).apply(small(), THERE)
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {
        "PATH",
        "LANG",
        "LC_ALL",
        "HOME",
        "TMPDIR",
        "FSLDIR",
        "REIDSCOPE_PRIVATE_FOLDER",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    }
    assert "FSLDIR" in names
    read, written = (Path(word) for word in (tmp_path / "argv").read_text().split())
    assert (read.name, written.name) == ("scan.nii.gz", "out.nii.gz")
    assert read.parent.name.startswith("reidscope-")
    assert (tmp_path / "ls").read_text().split() == ["scan.nii.gz"]
    assert (tmp_path / "mode").read_text().strip() == "700"


def test_dicom_goes_in_and_comes_out(tmp_path: Path) -> None:
    script = tmp_path / "deface.py"
    script.write_text(
        "import sys, pathlib, pydicom\n"
        "out = pathlib.Path(sys.argv[2]); out.mkdir()\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    one = pydicom.dcmread(path); assert not one.PatientID and not one.PatientName\n"
        "    samples = one.pixel_array.copy(); samples[60:] = 0\n"
        "    one.PixelData = samples.tobytes(); one.save_as(out / path.name)\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(script), "{input}", "{output}"]
    defacer = called(command, format="dicom", input_name="scan", outputs=["out"])
    before = small((101, 104, 102))
    after = defacer.apply(before, THERE)
    assert not after.voxels[:, 60:].any()
    assert np.array_equal(after.voxels[:, :60], before.voxels[:, :60])
    text = script.read_text(encoding="utf-8")
    script.write_text(text.replace("one.Pixel", "one.Modality = 'CT'; one.Pixel"), encoding="utf-8")
    assert np.array_equal(defacer.apply(before, THERE).voxels, after.voxels)
    script.write_text("import sys, pathlib; pathlib.Path(sys.argv[2]).mkdir()", encoding="utf-8")
    with pytest.raises(DefacerFailedError, match="another number of slices"):
        defacer.apply(before, THERE)


def test_a_version_is_taken_and_nothing_else_that_a_program_says(tmp_path: Path) -> None:
    talks = shell(tmp_path, "echo Licensed to Mrs. Jones, tool version 1.22.3-rc1 of 2021\n")
    asked = talks.description.model_copy(update={"version": talks.description.command[:1]})
    assert ExternalDefacer(description=asked, program=talks.program).version == "1.22.3-rc1"
    assert talks.version.startswith("sha256:")
    silent = talks.description.model_copy(update={"version": ["no-such-program"]})
    assert ExternalDefacer(description=silent, program=talks.program).version == talks.version


def test_every_shipped_description_is_whole_and_named_after_its_file() -> None:
    shipped = descriptions()
    assert set(shipped) == {
        "afni-refacer", "fsl-deface", "mideface", "mri-deface", "mri-reface", "mridefacer",
        "pydeface", "pydeface-container", "quickshear", "spm-deface",
    }  # fmt: skip
    assert {name for name, one in shipped.items() if one.intent == "replaced"} == {
        "afni-refacer", "mri-reface",
    }  # fmt: skip
    assert all(one.about for one in shipped.values())


def test_a_program_that_is_not_installed_is_refused_by_name_of_the_arm() -> None:
    with pytest.raises(UnsupportedError, match="not installed"):
        resolve("external-mideface")
    assert not installed(descriptions()["pydeface"].model_copy(update={"needs": ["no-flirt"]}))
    with pytest.raises(UnsupportedError, match="afni-refacer or fsl-deface"):
        resolve("external-gold")


def test_the_site_may_describe_a_program_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        'name = "gold"\nintent = "replaced"\noutputs = ["o.nii.gz"]\n'
        f'command = ["{sys.executable}", "{{input}}"]\n'
    )
    (tmp_path / "gold.toml").write_text(text, encoding="utf-8")
    assert external_defacer("gold", own=tmp_path / "gold.toml").intent is Intent.REPLACED
    arm = resolve("external-gold", descriptions=tmp_path)
    assert (arm.name, arm.intent) == ("external-gold", Intent.REPLACED)
    monkeypatch.setenv(OWN_DESCRIPTIONS, str(tmp_path))
    assert resolve("external-gold").version.startswith("sha256:")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"command": '["x", "{patient}"]'}, "value_error"),
        ({"command": '["x", "{input}", "{env.HOME}"]'}, "value_error"),
        ({"command": '["x"]'}, "value_error"),
        ({"command": "[]"}, "too_short at command"),
        ({"outputs": '["../out.nii"]'}, "value_error at outputs"),
        ({"outputs": '["/etc/out.nii"]'}, "value_error at outputs"),
        ({"intent": '"kept"'}, "literal_error at intent"),
        ({"timeout_s": "0"}, "greater_than_equal at timeout_s"),
        ({"secret": '"Jones"'}, "extra_forbidden at secret"),
        ({"name": '"Jones, Mary"'}, "string_pattern_mismatch at name"),
        ({"intent": "removed"}, "no TOML"),
    ],
)
def test_a_description_that_is_none_is_refused(
    tmp_path: Path, change: dict[str, str], problem: str
) -> None:
    good = {"name": '"x"', "intent": '"removed"', "command": '["x", "{input}"]', "outputs": '["o"]'}
    text = "\n".join(f"{name} = {value}" for name, value in (good | change).items())
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=problem) as refused:
        descriptions(own=tmp_path)
    assert "Jones" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_a_description_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    for place in (tmp_path, tmp_path / "nowhere.toml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            descriptions(own=place)


@given(st.text(), st.text())
def test_a_value_that_looks_like_a_placeholder_is_not_replaced_again(one: str, other: str) -> None:
    values = {"input": one + "{output}", "output": other}
    assert filled(["{input}", "a{output}b", "{nothing}"], values) == [
        one + "{output}",
        f"a{other}b",
        "",
    ]


def test_a_program_that_does_not_start_is_told_apart_from_a_bad_scan(tmp_path: Path) -> None:
    script = tmp_path / "deface"
    script.write_bytes(b"no program")
    script.chmod(0o700)
    with pytest.raises(DefacerStoppedError, match="does not start"):
        called([str(script), "{input}"]).apply(small(), THERE)
    assert [path.name for path in tmp_path.iterdir()] == ["deface"]


@pytest.mark.slow
def test_quickshears_own_command_defaces_a_head(head_scan: Volume) -> None:
    arm = resolve("external-quickshear")
    registration = register(head_scan)
    after = arm.apply(head_scan, registration)
    ours = resolve("quickshear").apply(head_scan, registration)
    assert (after.voxels != ours.voxels).mean() < 0.001
    assert 0.02 < (after.voxels != head_scan.voxels).mean() < 0.4
