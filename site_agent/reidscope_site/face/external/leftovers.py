"""The private folder of a program's run, and what a run that was killed leaves of it.

A folder is locked for as long as whoever made it lives: the lock of a dead process is gone, so a
folder that can be locked is nobody's. Processes are known by a variable that all of a run inherit,
however often they fork and whichever session they flee to.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

MARK: Final = "REIDSCOPE_PRIVATE_FOLDER"
"""Variable that names the private folder to the program; its processes are found by it."""

_PREFIX = "reidscope-defacer-"
_PROCESSES = Path("/proc")
_NEW_S = 2.0
"""A younger folder may be about to be locked."""
_ROUNDS = 100
"""A process may fork while others are looked for."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """Hold a folder that only this user may enter; it is removed whatever happens.

    Privacy
    -------
    A scan lies in it. What a killed process leaves of it, `forget_left` removes (docs/privacy.md,
    "Isolation").
    """
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        lock = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(name)
        finally:
            os.close(lock)


def end_marked(folder: Path) -> None:
    """Kill every process of the run in `folder`; processes of other users are not seen."""
    for _ in range(_ROUNDS):
        found = [number for number in _processes() if _marked(number, folder)]
        if not found:
            return
        for number in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)


def forget_left() -> None:
    """Remove folders of runs that were killed with their agent, and end what still runs in them."""
    for folder in _left():
        with suppress(OSError):
            state = folder.lstat()
            if folder.is_symlink() or state.st_uid != os.getuid():
                continue
            if time.time() - state.st_ctime < _NEW_S:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                end_marked(folder)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _left() -> Iterator[Path]:
    """Look where temporary folders may lie: `tempfile.gettempdir` would write a file to know."""
    named = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    for place in dict.fromkeys([*named, "/tmp", "/var/tmp"]):  # noqa: S108  # looked at, not used
        with suppress(OSError):
            yield from list(Path(place).glob(f"{_PREFIX}*"))


def _processes() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(one.name) for one in _PROCESSES.iterdir() if one.name.isdecimal())


def _marked(number: int, folder: Path) -> bool:
    """Whether a living process has the folder's mark; a dead one that nobody reaped has none."""
    try:
        said = (_PROCESSES / str(number) / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={folder}".encode() in said.split(b"\0")
