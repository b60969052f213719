"""A file is there whole or not at all, whatever interrupts its writing."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError
from reidscope_protocols.keys import StatementKey

CRASH = """
import os, sys
from pathlib import Path
from reidscope_protocols import durable

path, point = Path(sys.argv[1]), sys.argv[2]
real = {"fsync": os.fsync, "fchmod": os.fchmod}

def die(*_):
    os._exit(9)

if point == "replace":
    Path.replace = die
else:
    setattr(os, point, die)
durable.write_durably(path, b"new" * 10_000)
"""


@pytest.mark.parametrize("point", ["fchmod", "fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_file_whole(tmp_path: Path, point: str) -> None:
    path = tmp_path / "state"
    write_durably(path, b"old")
    ended = subprocess.run([sys.executable, "-c", CRASH, path, point], check=False)
    assert ended.returncode == 9
    assert path.read_bytes() == b"old"


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    write_durably(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_has_the_asked_mode_whatever_the_umask_and_the_old_one_were(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    path.chmod(0o777)
    before = os.umask(0)
    try:
        write_durably(path, b"new", mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_is_its_owners_alone_unless_it_is_said_to_be_public(tmp_path: Path) -> None:
    write_durably(tmp_path / "key", b"secret")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_key_that_others_could_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "statement.pem"
    StatementKey.generate().save(path)
    assert StatementKey.load(path).public
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="others"):
        StatementKey.load(path)


def test_what_is_no_key_file_is_refused_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"noise")
    (tmp_path / "noise").chmod(0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("noise", "folder", "absent"):
        with pytest.raises(ConfigError) as caught:
            StatementKey.load(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


def test_a_private_key_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(StatementKey.generate())
