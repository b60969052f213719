"""A program run in a folder of its own, in a process group of its own, and killed whole.

It does not outlive whoever started it, and what it started does not outlive it (`leftovers`).

Nothing of what it says is kept or shown, and its exit code is not looked at.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_protocols.errors import DefacerStoppedError
from reidscope_site.face.external.leftovers import MARK, end_marked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LIBC = ctypes.CDLL(None)
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_VERSION = re.compile(rb"\d+(?:\.\d+)+[0-9A-Za-z.+-]{0,20}")
_VERSION_TIMEOUT_S = 60
_LOOK_EVERY_S = 0.02
_VERSION_BYTES = 1 << 16
_LONGEST_VERSION = 60


def run_alone(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], timeout_s: float
) -> None:
    """Run a program to its end; whatever it leaves running is killed, in other sessions too.

    Parameters
    ----------
    command : sequence of str
        Words; no shell.
    folder : Path
        Where it runs; its home and temporary folder too, unless `environment` says otherwise.
    environment : mapping
        All that it sees.
    timeout_s : float
        After it the whole process group is killed.

    Raises
    ------
    DefacerStoppedError
        It did not end in time, or could not be started.

    Privacy
    -------
    It reads a scan. Output and errors go nowhere: they may hold what the scan's header held
    (docs/privacy.md, "Isolation").
    """
    known = {"HOME": str(folder), "TMPDIR": str(folder), **environment, MARK: str(folder)}
    try:
        ended = _run(command, folder, known, subprocess.DEVNULL, timeout_s)
    finally:
        end_marked(folder)
    if not ended:
        raise DefacerStoppedError(
            "an external defacer",
            got=f"no end within {timeout_s:g} s",
            expected="a defaced scan",
            do="give it longer (timeout_s), or leave the scan out",
        )


def version_said(command: Sequence[str], *, environment: Mapping[str, str]) -> str:
    """First thing that looks like a version in what a program says of itself; empty if nothing."""
    with tempfile.TemporaryFile() as output:
        if not _run(command, Path("/"), environment, output.fileno(), _VERSION_TIMEOUT_S):
            return ""
        output.seek(0)
        match = _VERSION.search(output.read(_VERSION_BYTES))
    return "" if match is None else match[0][:_LONGEST_VERSION].decode("ascii")


def _run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: int,
    timeout_s: float,
) -> bool:
    """Run to the end and say whether there was one in time; then nothing of the group is left."""
    process = _started(command, folder, environment, output)
    deadline = time.monotonic() + timeout_s
    try:
        while not (ended := _ended(process.pid)) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
    finally:
        # The leader is not reaped yet, so that its number can be nobody else's group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return ended


def _ended(number: int) -> bool:
    """Whether a child has ended; it stays to be reaped."""
    return os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_with_parent() -> None:
    _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _started(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], output: int
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  # words of a description that the site chose; no shell
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  # one call of the kernel, bound before
        )
    except OSError:
        raise DefacerStoppedError(
            "an external defacer",
            got="a program that does not start",
            expected="an executable",
            do="start it by hand and see",
        ) from None
