"""One worker a home folder: the daemon if it runs, else the command itself.

A daemon owns its stores. A command that needs them takes the folder's lock and works itself, or,
where the daemon holds the lock, leaves a request in the folder and waits for the answer. Requests
and answers are small JSON files, written whole, readable by their owner alone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import (
    InputError,
    InvariantError,
    NotReadyError,
    ReidscopeError,
    UnsupportedError,
)

Answer = dict[str, Any]
S = TypeVar("S")
Handler = Callable[[str, Mapping[str, Any]], Answer]
_POLL_SECONDS = 0.1
_FORGOTTEN_SECONDS = 900
_DEFECT = InvariantError(
    "request",
    got="an error that reidscope does not foresee",
    expected="none",
    do="stop the daemon, give the command again, and report what it says",
)
_OF_DISKS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG))
_DISK = InputError(
    "request",
    got="a disk that is full or fails",
    expected="room and rights to write in the daemon's home",
    do="make room, look at what was done, then give the command again",
)


class CarriedOutError(ReidscopeError):
    """An error that the daemon met while it carried a request out, with its exit code."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # an instance's own, of whatever class it was


class Desk:
    """The request folder and the lock of one home folder."""

    def __init__(self, home: Path) -> None:
        self._lock = home / "lock"
        self._requests = home / "requests"
        self._requests.mkdir(mode=0o700, exist_ok=True)
        self._unwritten: dict[Path, tuple[bytes, float]] = {}

    @contextmanager
    def claim(self) -> Iterator[bool]:
        """Hold the lock for the block, if nobody else does; yields whether it is held."""
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            except BlockingIOError:
                held = False
            yield held
        finally:
            os.close(handle)

    def ask(
        self, verb: str, arguments: Mapping[str, Any], handler: Handler, *, timeout_s: float
    ) -> Answer:
        """Carry a request out here if the home is free, else have its daemon do it.

        Raises
        ------
        CarriedOutError
            The daemon met an error; its message and exit code are repeated.
        NotReadyError
            No answer within `timeout_s`, or the daemon ended in the middle.
        """
        deadline = time.monotonic() + timeout_s
        with self.claim() as held:
            if held:
                return handler(verb, arguments)
        name = secrets.token_hex(16)
        request, answer = self._requests / f"{name}.request", self._requests / f"{name}.answer"
        body = json.dumps({"verb": verb, "arguments": dict(arguments)}).encode()
        write_durably(request, body)
        try:
            while time.monotonic() < deadline:
                if answer.exists():
                    return unwrapped(json.loads(answer.read_bytes()))
                with self.claim() as held:
                    # The daemon ended meanwhile: the request is taken back and done here.
                    if held and request.exists():
                        request.unlink()
                        return handler(verb, arguments)
                    if held and not answer.exists():
                        raise NotReadyError(
                            f"{verb}",
                            got="a daemon that ended while it was at work on this",
                            expected="an answer",
                            do="start it again and look at what it did before asking again",
                        )
                time.sleep(_POLL_SECONDS)
        finally:
            request.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)
        raise NotReadyError(
            f"{verb}",
            got=f"no answer from the running daemon in {timeout_s:.0f} s",
            expected="an answer",
            do="look at the daemon's own terminal, then ask again",
        )

    def serve_waiting(self, handler: Handler) -> int:
        """Carry out every request that waits now, and return how many there were.

        A disk that is full ends neither the daemon nor the request: its answer is kept and written
        when there is room. A request that cannot be taken off the desk is not carried out, for it
        would be again and again.
        """
        self._write_answers()
        for answer in self._requests.glob("*.answer"):
            # Whoever asked gave up: answers can hold exact numbers and must not lie about.
            with suppress(FileNotFoundError):
                if time.time() - answer.stat().st_mtime > _FORGOTTEN_SECONDS:
                    answer.unlink()
        waiting = sorted(self._requests.glob("*.request"))
        for request in waiting:
            try:
                body = request.read_bytes()
                request.unlink(missing_ok=True)
            except OSError:
                continue  # its author gave up between the listing and now, or the disk fails
            forgotten_at = time.monotonic() + _FORGOTTEN_SECONDS
            answer = request.with_suffix(".answer")
            self._unwritten[answer] = replied(body, handler), forgotten_at
            self._write_answers()
        return len(waiting)

    def _write_answers(self) -> None:
        for answer, (reply, forgotten_at) in tuple(self._unwritten.items()):
            try:
                write_durably(answer, reply)
            except OSError:
                if time.monotonic() < forgotten_at:
                    continue
            del self._unwritten[answer]


def replied(body: bytes, handler: Handler) -> bytes:
    """Carry a request out and return the reply: an answer, or an error's line and exit code."""
    try:
        asked = json.loads(body)
        reply: Answer = {"answer": handler(asked["verb"], asked["arguments"])}
    except ReidscopeError as error:
        reply = {"error": str(error), "exit_code": error.exit_code}
    except sqlite3.OperationalError:
        reply = {"error": str(_DISK), "exit_code": _DISK.exit_code}
    except OSError as error:
        known = _DISK if error.errno in _OF_DISKS else _DEFECT
        reply = {"error": str(known), "exit_code": known.exit_code}
    except Exception:  # noqa: BLE001  # one request's defect must not end the daemon, and its text may hold data
        reply = {"error": str(_DEFECT), "exit_code": _DEFECT.exit_code}
    return json.dumps(reply).encode()


def dispatch(
    verbs: Mapping[str, Callable[[S, Mapping[str, Any]], Answer]],
    subject: S,
    verb: str,
    arguments: Mapping[str, Any],
) -> Answer:
    """Carry one request out on `subject` with the function that stands for its verb.

    Raises
    ------
    UnsupportedError
        No such verb: the command and the daemon are of two versions.
    ReidscopeError
        Whatever the verb refuses.
    """
    if verb not in verbs:
        raise UnsupportedError(
            "request",
            got="a verb that this version does not know",
            expected="one of: " + ", ".join(sorted(verbs)),
            do="restart the daemon after an update",
        )
    return verbs[verb](subject, arguments)


def unwrapped(reply: Mapping[str, Any]) -> Answer:
    """Return the answer of a reply, or raise CarriedOutError with what the daemon met."""
    if "error" in reply:
        raise CarriedOutError(reply["error"], exit_code=reply["exit_code"])
    answer: Answer = reply["answer"]
    return answer
