"""A run that is stopped, by an error or by a kill, is gone on with and ends in the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.deid.conftest import ROOT, as_bytes, mr_slice

from reidscope_deid import SiteKey, deidentify_tree, load_profile
from reidscope_deid.journal import NAME
from reidscope_protocols.errors import ConfigError, InputError

KEY = SiteKey(bytes(range(32)))
PROFILE = load_profile("basic")
FILES = 40


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(FILES):
        data_set = mr_slice("1.2.840.10008.1.2.1", number=number)
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = (
            f"{ROOT}.77.{number}"
        )
        content = as_bytes(data_set, "1.2.840.10008.1.2.1")
        (folder / f"{number:03}.dcm").write_bytes(content)
    (folder / "again.dcm").write_bytes((folder / "003.dcm").read_bytes())
    (folder / "note.txt").write_text("no DICOM")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_stopped_run_is_gone_on_with_and_ends_as_if_it_had_not_been_stopped(
    source: Path, tmp_path: Path
) -> None:
    whole = deidentify_tree(source, tmp_path / "whole", key=KEY, profile=PROFILE)
    seen: list[int] = []

    def stop(done: int, _total: int) -> None:
        seen.append(done)
        if done == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deidentify_tree(source, tmp_path / "out", key=KEY, profile=PROFILE, progress=stop)
    assert (tmp_path / "out" / NAME).exists()
    met: dict[str, str] = {}
    record = deidentify_tree(
        source, tmp_path / "out", key=KEY, profile=PROFILE, met=met.__setitem__
    )
    assert record == whole
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert list(met.values()) == ["MRN-0042"]  # who was met before the stop is named too


def test_what_was_done_before_the_stop_is_not_done_again(source: Path, tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        deidentify_tree(source, out, key=KEY, profile=PROFILE, progress=stop)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    assert len(before) >= 28
    deidentify_tree(source, out, key=KEY, profile=PROFILE)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_journal_names_no_file_and_nobody(source: Path, tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deidentify_tree(source, tmp_path / "out", key=KEY, profile=PROFILE, progress=stop)
    text = (tmp_path / "out" / NAME).read_text()
    for secret in ("MRN-0042", "Doe", "003.dcm", "again", ROOT, str(tmp_path)):
        assert secret not in text
    assert (tmp_path / "out" / NAME).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("torn", [b"", b'["deadbeef", "P-', b"\n\n"])
def test_a_journal_whose_last_line_was_cut_is_believed_up_to_there(
    source: Path, tmp_path: Path, torn: bytes
) -> None:
    whole = deidentify_tree(source, tmp_path / "whole", key=KEY, profile=PROFILE)

    def stop(done: int, _total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        deidentify_tree(source, out, key=KEY, profile=PROFILE, progress=stop)
    with (out / NAME).open("ab") as stream:
        stream.write(torn)
    assert deidentify_tree(source, out, key=KEY, profile=PROFILE) == whole
    assert tree(out) == tree(tmp_path / "whole")


def test_another_key_or_profile_does_not_go_on_with_a_stopped_run(
    source: Path, tmp_path: Path
) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        deidentify_tree(source, out, key=KEY, profile=PROFILE, progress=stop)
    with pytest.raises(ConfigError, match="stopped run"):
        deidentify_tree(source, out, key=SiteKey(bytes(32)), profile=PROFILE)
    with pytest.raises(ConfigError, match="stopped run"):
        deidentify_tree(source, out, key=KEY, profile=load_profile("basic-undated"))
    with pytest.raises(ConfigError, match="stopped run"):
        deidentify_tree(source, out, key=KEY, profile=PROFILE, defacer=("blur", lambda _series: {}))


def test_a_finished_run_done_again_changes_nothing_and_says_the_same(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = deidentify_tree(source, out, key=KEY, profile=PROFILE)
    before = tree(out)
    assert deidentify_tree(source, out, key=KEY, profile=PROFILE) == first
    assert tree(out) == before


def test_a_folder_with_anything_else_in_it_is_not_written_to(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    deidentify_tree(source, out, key=KEY, profile=PROFILE)
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="no output folder of ours"):
        deidentify_tree(source, out, key=KEY, profile=PROFILE)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(
    source: Path, tmp_path: Path
) -> None:
    key_file, out, report = tmp_path / "key", tmp_path / "out", tmp_path / "report.json"
    start = [sys.executable, "-c", "from reidscope_deid.cli import main; main()"]
    subprocess.run([*start, "keygen", key_file], check=True, capture_output=True)
    run = [*start, "run", source, out, "--key", key_file, "--report", report]
    whole = [*start, "run", source, tmp_path / "whole", "--key", key_file]
    subprocess.run([*whole, "--report", tmp_path / "whole.json"], check=False, capture_output=True)
    for kill in range(40):
        child = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.35 + 0.02 * kill)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        if child.returncode != -signal.SIGKILL:
            break
    else:
        subprocess.run(run, check=False, capture_output=True)
    assert tree(out) == tree(tmp_path / "whole")
    assert json.loads(report.read_text()) == json.loads((tmp_path / "whole.json").read_text())
