"""The agent's Unix socket: the kernel says whose process asks, and `roles` what that may do.

One request a connection: a line of JSON, answered by a line of JSON. Beside the desk (ADR 0012):
people who hold a role have accounts of their own, and none of them can read the home folder.
"""

from __future__ import annotations

import json
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reidscope_protocols.desk import Answer, Handler, replied, unwrapped
from reidscope_protocols.errors import ConfigError, NotReadyError
from reidscope_site.roles import Caller

_LARGEST_REQUEST = 64 << 10  # bytes
_LARGEST_ANSWER = 16 << 20  # bytes
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_READ_SECONDS = 3.0
_TICK_SECONDS = 0.5
_EVERYBODY = 0o666
"""Whoever can reach the folder may knock: who may do what is decided by uid."""

HandlerOf = Callable[[Caller], Handler]


@contextmanager
def door(path: Path) -> Iterator[socket.socket]:
    """Listen at `path` for the block.

    Raises
    ------
    ConfigError
        No socket can be made there, or another agent listens there.
    """
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            if path.exists() and (not stat.S_ISSOCK(path.stat().st_mode) or _answered(path)):
                raise _unusable("a file, or the socket of another agent")
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            path.chmod(_EVERYBODY)
            listening.listen()
        except OSError:
            raise _unusable("a path where no socket can be made") from None
        try:
            yield listening
        finally:
            with suppress(OSError):
                path.unlink()


def serve_people(listening: socket.socket, handler_of: HandlerOf, stop: threading.Event) -> None:
    """Answer until `stop` is set, one connection after the other.

    Parameters
    ----------
    listening : socket
        From `door`.
    handler_of : callable
        Given the account at the other end, what carries its requests out.
    """
    listening.settimeout(_TICK_SECONDS)
    while not stop.is_set():
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            continue
        with connection, suppress(OSError):
            # Whoever hangs up or dawdles gets no answer, and holds the others up for seconds alone.
            caller = peer(connection)
            request = _line(connection, _LARGEST_REQUEST, time.monotonic() + _READ_SECONDS)
            connection.settimeout(_READ_SECONDS)
            connection.sendall(replied(request, handler_of(caller)) + b"\n")


def peer(connection: socket.socket) -> Caller:
    """Return the account at the other end, as the kernel noted it when it connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(raw)
    return Caller(uid=uid, gid=gid)


def ask_agent(path: Path, verb: str, arguments: Mapping[str, Any], *, timeout_s: float) -> Answer:
    """Have the agent that listens at `path` carry a verb out.

    Raises
    ------
    CarriedOutError
        The agent met an error; its message and exit code are repeated.
    NotReadyError
        Nobody listens there, or there was no answer in time.
    """
    request = json.dumps({"verb": verb, "arguments": dict(arguments)}).encode()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(request + b"\n")
            answer = _line(connection, _LARGEST_ANSWER, time.monotonic() + timeout_s)
        return unwrapped(json.loads(answer))
    except (OSError, ValueError):
        raise NotReadyError(
            "agent",
            got="no answer at that socket",
            expected="a running agent that listens there",
            do="look whether `reidscope-site serve` runs, and at `socket` in its site.toml",
        ) from None


def _line(connection: socket.socket, largest: int, deadline: float) -> bytes:
    """Read up to the end of a line; what is longer or later is cut off."""
    held = bytearray()
    while b"\n" not in held and len(held) <= largest:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        read = connection.recv(1 << 16)
        if not read:
            break
        held += read
    return bytes(held).partition(b"\n")[0] if len(held) <= largest else b""


def _answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(path)) == 0


def _unusable(got: str) -> ConfigError:
    return ConfigError(
        "socket",
        got=got,
        expected="a path in a folder of the agent's own, at most 100 characters long",
        do="correct `socket` in site.toml, such as /run/reidscope/site.sock",
    )
