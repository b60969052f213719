"""Each program says its version in one line, and does nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from reidscope_deid.cli import app as deid_app
from reidscope_deid.table import load_table
from reidscope_protocols.study import Study
from reidscope_protocols.versions import Versions
from reidscope_server.cli import app as server_app
from reidscope_site.cli import app as site_app

PROGRAMS = {
    "reidscope-deid": deid_app,
    "reidscope-site": site_app,
    "reidscope-server": server_app,
}


@pytest.mark.parametrize("program", sorted(PROGRAMS))
@pytest.mark.parametrize("after", [[], ["keygen"], ["nothing"]])
def test_a_version_is_one_line_whatever_stands_behind_it(
    program: str, after: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(PROGRAMS[program], ["--version", *after])
    assert done.exit_code == 0
    number = re.escape(metadata.version("reidscope"))
    assert re.fullmatch(rf"{program} {number} \([ -~]+\)\n", done.output)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["reidscope-site", "reidscope-server"])
def test_sites_and_the_coordinator_say_what_they_compare_in_hello(program: str) -> None:
    said = CliRunner().invoke(PROGRAMS[program], ["--version"]).output
    ours = Versions.of_this_process()
    assert f"protocol {ours.protocol[0]}.{ours.protocol[1]}," in said
    assert f"Flower {ours.flower}," in said
    assert str(Study.model_fields["schema_"].default) in said


def test_the_deidentifier_says_which_edition_its_profiles_are_of() -> None:
    said = CliRunner().invoke(deid_app, ["--version"]).output
    assert f"PS3.15 {load_table().edition}" in said


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_program_without_a_command_still_shows_its_help(program: str) -> None:
    bare = CliRunner().invoke(PROGRAMS[program], [])
    assert "Usage:" in bare.output
    assert "--version" in bare.output
    assert typer.main.get_command(PROGRAMS[program]).help


@pytest.mark.slow
@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_the_installed_command_says_it_too(program: str) -> None:
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{program} {metadata.version('reidscope')} (")
    assert done.stderr == ""
