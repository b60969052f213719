"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from reidscope_deid import cli, generate_key
from reidscope_deid.explanation import summary
from reidscope_deid.options import OPTIONS
from reidscope_deid.profile import load_profile, profile_names

Slice = Callable[..., Path]
ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `main` as the console script does."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["reidscope-deid", *map(str, arguments)])
        monkeypatch.setattr(cli, "_out", Console(width=160))
        monkeypatch.setattr(cli, "_err", Console(stderr=True, width=160))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return code or 0, said.out, said.err

    return run


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    generate_key(tmp_path / "site.key")
    return tmp_path / "site.key"


def test_a_folder_is_de_identified_reported_and_verified(
    command: Run, slice_file: Slice, tmp_path: Path, key_file: Path
) -> None:
    slice_file()
    report = tmp_path / "report.json"
    arguments = ("run", tmp_path / "in", tmp_path / "out", "--profile", "basic", "--key", key_file)
    code, out, err = command(*arguments, "--report", report, "--json")
    assert (code, err.strip()) == (0, "")
    assert json.loads(out) == json.loads(report.read_text())
    assert json.loads(out)["files"] == {"written": 1, "duplicates": 0, "left_out": {}}
    elements = {one["tag"]: one for one in json.loads(out)["elements"]}
    assert (elements["00080020"]["action"], elements["00080020"]["count"]) == ("shift", 1)
    code, out, _ = command("verify", tmp_path / "out", "--against", tmp_path / "in", "--json")
    assert code == 0
    assert json.loads(out)["findings"] == []
    assert json.loads(out)["compared"] == 1


def test_a_leak_makes_verify_fail_with_its_own_code(
    command: Run, slice_file: Slice, tmp_path: Path
) -> None:
    slice_file()
    code, out, err = command("verify", tmp_path / "in")
    assert code == 62
    assert "value-not-allowed" in out
    assert err.count("\n") == 1
    assert "Doe" not in out + err


def test_unsound_files_end_in_a_code_and_one_line_that_names_none(
    command: Run, slice_file: Slice, tmp_path: Path, key_file: Path
) -> None:
    slice_file()
    broken = slice_file("in/Doe-Jane.dcm")
    broken.write_bytes(broken.read_bytes()[:-100])
    code, out, err = command("run", tmp_path / "in", tmp_path / "out", "--key", key_file)
    assert code == 61
    assert "left out: truncated" in out
    assert err.count("\n") == 1
    assert "Doe" not in out + err
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--profile", "gold"), 15, "basic or basic-undated"),
        (("--option", "clean-recognizable-visual-features"), 14, "--deface NAME"),
        (("--option", "retain-everything"), 15, "retain_longitudinal_modified_dates"),
        (("--option", "retain-longitudinal-full-dates"), 14, "one of the two"),
        (("--profile", "missing.toml"), 14, "profile file"),
        (("--vault", "missing/vault"), 14, "folder"),
        (("--study", " "), 14, "name the study"),
        (("--deface", "gold"), 15, "quickshear"),
        (("--key", "missing.key"), 14, "keygen"),
        (("--report", "missing/report.json"), 14, "folder"),
    ],
)
def test_what_is_not_offered_ends_in_its_own_code_and_says_what_is(  # noqa: PLR0917 - fixtures
    command: Run,
    slice_file: Slice,
    tmp_path: Path,
    key_file: Path,
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    slice_file()
    start = ("run", tmp_path / "in", tmp_path / "out", "--key", key_file)
    ended, _, err = command(*start, *arguments)
    assert ended == code
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_dicom_and_no_folder_are_two_codes(command: Run, tmp_path: Path, key_file: Path) -> None:
    (tmp_path / "in").mkdir()
    assert command("run", tmp_path / "in", tmp_path / "out", "--key", key_file)[0] == 11
    assert command("run", tmp_path / "none", tmp_path / "out2", "--key", key_file)[0] == 10
    assert command("verify", tmp_path / "none")[0] == 10
    assert command("verify", tmp_path / "in")[0] == 11


def test_a_folder_that_cannot_be_written_is_one_line(
    command: Run, slice_file: Slice, tmp_path: Path, key_file: Path
) -> None:
    slice_file()
    (tmp_path / "file").write_text("in the way")
    code, _, err = command("run", tmp_path / "in", tmp_path / "file/out", "--key", key_file)
    assert code == 10
    assert str(tmp_path) not in err


def test_explain_is_a_table_or_json(command: Run) -> None:
    code, out, _ = command("explain", "--profile", "basic", "--json")
    rows = {row["tag"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["00100010"]["action"] == "pseudonym"
    assert rows["00080020"]["action"] == "shift"
    assert rows["PRIVATE"]["action"] == "drop"
    code, out, _ = command("explain")
    assert code == 0
    assert "Patient's Birth Date" in out
    assert "Everything else" in out


def test_explain_shows_every_profile_and_the_file_to_copy(command: Run) -> None:
    sentences = {
        "basic": "moved by whole days",
        "basic-undated": "Dates are removed",
        "limited-data-set": "Dates stay as they are",
        "safe-harbor": "090Y",
        "expert-determination": "k is 11 or more",
        "research-neuro": "whole weeks",
    }
    assert sentences.keys() == set(profile_names())
    for name, sentence in sentences.items():
        said = " ".join(summary(load_profile(name)))
        assert f"reidscope {name}, PS3.15" in said
        assert sentence in said
    assert sentences["safe-harbor"] in command("explain", "--profile", "safe-harbor")[1]
    code, out, _ = command("explain", "--profile", "safe-harbor", "--file")
    assert code == 0
    assert tomllib.loads(out)["name"] == "safe-harbor"
    assert "# What PS3.15 calls" in out


def test_a_profile_of_the_sites_own_and_options_reach_run_and_verify(
    command: Run, slice_file: Slice, tmp_path: Path, key_file: Path
) -> None:
    slice_file(PatientAge="048Y", StationName="MR-1", SeriesDescription="t1 Doe")
    own = tmp_path / "own.toml"
    text = command("explain", "--profile", "research-neuro", "--file")[1]
    own.write_text(text.replace('"research-neuro"', '"ward-7"'))
    chosen = ("--profile", own, "--option", "retain-device-identity")
    code, out, err = command(
        "run", tmp_path / "in", tmp_path / "out", "--key", key_file, "--json", *chosen
    )
    assert (code, err.strip()) == (0, "")
    assert json.loads(out)["profile"] == "ward-7"
    assert json.loads(out)["codes"] == ["113100", "113105", "113107", "113108", "113109", "113111"]
    against = ("verify", tmp_path / "out", "--against", tmp_path / "in")
    assert command(*against, *chosen)[0] == 0
    code, out, _ = command(*against, "--profile", own)
    assert code == 62
    assert "not-declared" in out


def test_a_pseudonym_that_nobody_has_and_a_wrong_vault_are_two_codes(
    command: Run, slice_file: Slice, tmp_path: Path, key_file: Path
) -> None:
    slice_file()
    vault = tmp_path / "vault"
    run = ("run", tmp_path / "in", tmp_path / "out", "--key", key_file, "--vault", vault)
    assert command(*run)[0] == 0
    name = next((tmp_path / "out").iterdir()).name
    asked = ("reidentify", name, "--vault", vault, "--key", key_file)
    code, out, err = command(*asked)
    assert (code, out.strip(), err) == (0, "MRN-0042", "")
    assert command("reidentify", "P-NOBODY", *asked[2:])[0] == 10
    vault.write_bytes(b"Doe")
    code, out, err = command(*asked)
    assert (code, out) == (14, "")
    assert "Doe" not in err


def test_the_readme_of_the_folder_names_every_option_code_and_profile() -> None:
    text = (ROOT / "deid" / "README.md").read_text()
    for option in OPTIONS.values():
        assert f"| {option.name.replace('_', '-')} | {option.code} |" in text
    assert all(f"| {name} |" in text for name in profile_names())
    named = set(re.findall(r"benchmarks/(deid_\w+\.py)", text))
    assert named == {path.name for path in (ROOT / "benchmarks").glob("deid_*.py")}


def test_keygen_makes_a_key_once(command: Run, tmp_path: Path) -> None:
    assert command("keygen", tmp_path / "k")[0] == 0
    code, out, err = command("keygen", tmp_path / "k")
    assert code == 14
    assert (tmp_path / "k").read_text().split("\n")[1] not in out + err


def test_wrong_usage_is_two_and_help_is_zero(command: Run) -> None:
    assert command("run")[0] == 2
    code, out, _ = command("--help")
    assert code == 0
    assert all(verb in out for verb in ("run", "verify", "explain", "keygen"))


def test_the_console_script_is_installed_and_works_in_two_processes(
    slice_file: Slice, tmp_path: Path, key_file: Path
) -> None:
    for number in range(3):
        slice_file(f"in/{number}.dcm", SOPInstanceUID=f"1.2.3.{number}")
    script = Path(sys.executable).parent / "reidscope-deid"
    done = subprocess.run(
        [script, "run", tmp_path / "in", tmp_path / "out", "--key", key_file, "--jobs", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3
