"""What the process that evaluates a person may not do: talk to anybody, or outlive its agent."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Any

_NEW_NETWORK_NAMESPACE = 0x40000000  # CLONE_NEWNET, <sched.h>
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, <sys/prctl.h>
_TALK = frozenset(
    {
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.sendmsg",
        "socket.sendto",
    }
)


def close_network() -> None:
    """Refuse every socket of this process from now on; it cannot be undone.

    The interpreter refuses by an audit hook. Where the kernel allows it (root, or CAP_SYS_ADMIN),
    the thread also moves to a network namespace without any interface, which binds native code too.
    """

    def refuse(event: str, _: tuple[Any, ...]) -> None:
        if event in _TALK:
            message = "no network while a person is evaluated"
            raise PermissionError(message)

    ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK_NAMESPACE)
    sys.addaudithook(refuse)


def end_with_parent() -> None:
    """Have the kernel end this process when the thread that started it ends (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
