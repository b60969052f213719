"""A desk on a disk that is full, or read-only: the daemon lives, and nothing is done twice."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.desk import Answer, CarriedOutError, Desk, replied, unwrapped

FILLER = "filler"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB; making one takes the rights to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "reidscope-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave not a byte."""
    with (folder / FILLER).open("ab", buffering=0) as stream, suppress(OSError):
        while stream.write(bytes(4096)):
            pass
    assert os.statvfs(folder).f_bavail == 0


def left(folder: Path, name: str = "a") -> Path:
    """Leave a request, as a command does; returns where its answer will lie."""
    request = folder / "requests" / f"{name}.request"
    request.write_bytes(json.dumps({"verb": "count", "arguments": {}}).encode())
    return request.with_suffix(".answer")


class Handler:
    """Counts how often it was asked; meanwhile somebody else may take the room that is left."""

    def __init__(self, disk: Path | None = None) -> None:
        self.asked, self.disk = 0, disk

    def __call__(self, verb: str, arguments: Mapping[str, Any]) -> Answer:
        assert (verb, arguments) == ("count", {})
        self.asked += 1
        if self.disk is not None:
            fill(self.disk)
        return {"asked": self.asked}


def test_a_full_disk_ends_no_daemon_and_its_answer_comes_when_there_is_room(
    small_disk: Path,
) -> None:
    desk, handler = Desk(small_disk), Handler(small_disk)
    answer = left(small_disk)
    for _ in range(3):
        desk.serve_waiting(handler)
    assert handler.asked == 1
    assert not answer.exists()
    (small_disk / FILLER).unlink()
    assert desk.serve_waiting(handler) == 0
    assert unwrapped(json.loads(answer.read_bytes())) == {"asked": 1}
    assert handler.asked == 1
    assert [path.name for path in (small_disk / "requests").iterdir()] == ["a.answer"]


def test_an_answer_that_nobody_can_want_any_more_is_dropped(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reidscope_protocols.desk._FORGOTTEN_SECONDS", 0)
    desk, handler = Desk(small_disk), Handler(small_disk)
    answer = left(small_disk)
    desk.serve_waiting(handler)
    (small_disk / FILLER).unlink()
    desk.serve_waiting(handler)
    assert handler.asked == 1
    assert not answer.exists()


def test_a_request_that_cannot_be_taken_off_the_desk_is_not_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, handler = Desk(tmp_path), Handler()
    left(tmp_path)

    def read_only(self: Path, *, missing_ok: bool = False) -> None:
        del self, missing_ok
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", read_only)
    for _ in range(3):
        desk.serve_waiting(handler)
    assert handler.asked == 0
    monkeypatch.undo()
    desk.serve_waiting(handler)
    assert handler.asked == 1


@pytest.mark.parametrize(
    "met",
    [
        OSError(errno.ENOSPC, "SECRET"),
        OSError(errno.EROFS, "SECRET"),
        sqlite3.OperationalError("SECRET is full"),
    ],
)
def test_whoever_asks_is_told_that_the_disk_is_full(met: Exception) -> None:
    def full(_: str, __: Mapping[str, Any]) -> Answer:
        raise met

    reply = json.loads(replied(b'{"verb": "count", "arguments": {}}', full))
    with pytest.raises(CarriedOutError, match="a disk that is full or fails") as caught:
        unwrapped(reply)
    assert "SECRET" not in str(caught.value)
    assert caught.value.exit_code == 10


def test_an_error_that_is_not_the_disks_is_still_a_defect() -> None:
    def broken(_: str, __: Mapping[str, Any]) -> Answer:
        raise OSError(errno.ENOTCONN, "SECRET")

    reply = json.loads(replied(b'{"verb": "count", "arguments": {}}', broken))
    with pytest.raises(CarriedOutError, match="does not foresee") as caught:
        unwrapped(reply)
    assert "SECRET" not in str(caught.value)
