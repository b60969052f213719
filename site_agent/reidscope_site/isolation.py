"""What the process that evaluates a person may not do: talk, outlive its agent, fill the memory."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from reidscope_protocols.errors import UnsupportedError

MOST_PIXELS = 1 << 28
"""Of a photo, 0.8 GB as it is decoded: more than any camera's."""

_NEW_NETWORK_NAMESPACE = 0x40000000  # CLONE_NEWNET, <sched.h>
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, <sys/prctl.h>
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS
_SET_FILTER = 1  # SECCOMP_SET_MODE_FILTER, <linux/seccomp.h>
_ALL_THREADS = 1  # SECCOMP_FILTER_FLAG_TSYNC
_ALLOWED = 0x7FFF0000  # SECCOMP_RET_ALLOW
_REFUSED = 0x00050000 | errno.EACCES  # SECCOMP_RET_ERRNO
_LOAD, _EQUAL, _AT_LEAST, _ANSWER = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, JEQ|K, JGE|K, RET|K
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_AF_UNIX = 1
_X32 = 0x40000000
_IO_URING_SETUP = 425
_PROBE_SECONDS = 30
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """Numbers of one architecture: <linux/audit.h> and <asm/unistd.h>."""

    audit: int
    seccomp: int
    socket: int
    connect: int


_MACHINES = {
    "x86_64": _Machine(audit=0xC000003E, seccomp=317, socket=41, connect=42),
    "aarch64": _Machine(audit=0xC00000B7, seccomp=277, socket=198, connect=203),
}


class _Program(ctypes.Structure):
    """`struct sock_fprog` of <linux/filter.h>."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def close_network() -> None:
    """Refuse every socket of this process from now on; it cannot be undone.

    The interpreter refuses by an audit hook, and the kernel by a filter of system calls, which
    binds native code too and which no process needs a right for: as any user, in containers, under
    systemd. Where the kernel allows it (root, or CAP_SYS_ADMIN), the thread also moves to a network
    namespace without any interface. `check_network_closes` says whether the kernel does its part.

    Privacy
    -------
    What evaluates a person can tell nobody (docs/privacy.md, "Isolation"; docs/threat-model.md,
    "What binds the process that reads faces").
    """

    def refuse(event: str, _: tuple[Any, ...]) -> None:
        if event in _TALK:
            message = "no network while a person is evaluated"
            raise PermissionError(message)

    ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK_NAMESPACE)
    filter_system_calls()
    sys.addaudithook(refuse)


def filter_system_calls() -> bool:
    """Have the kernel refuse sockets but local ones, connections and io_uring, in all threads.

    Returns
    -------
    bool
        Whether the kernel took the filter; never on other systems than Linux on x86-64 or ARM64.
    """
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    steps = _filter(machine)
    program = _Program(len(steps) // 8, steps)
    promised = libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    return promised and not libc.syscall(
        machine.seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(program)
    )


def _filter(machine: _Machine) -> bytes:
    """Write the filter as classic BPF: each step is (code, jump if so, jump if not, operand).

    Another architecture's numbers mean other calls, so all of theirs are refused; io_uring could
    open sockets past the filter.
    """
    steps = (
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, 8, machine.audit),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 6, 0, _X32),
        (_EQUAL, 5, 0, machine.connect),
        (_EQUAL, 4, 0, _IO_URING_SETUP),
        (_EQUAL, 0, 2, machine.socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, _AF_UNIX),
        (_ANSWER, 0, 0, _ALLOWED),
        (_ANSWER, 0, 0, _REFUSED),
    )
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def check_network_closes() -> None:
    """Raise UnsupportedError where the kernel would not close the evaluator's network.

    Tried in a process of its own: what is closed cannot be opened again.
    """
    code = (
        "import sys; from reidscope_site.isolation import filter_system_calls as closed;"
        "sys.exit(not closed())"
    )
    tried = subprocess.run(  # noqa: S603  # this interpreter, on a constant line
        [sys.executable, "-c", code], capture_output=True, timeout=_PROBE_SECONDS, check=False
    )
    if tried.returncode:
        raise UnsupportedError(
            "network of the process that evaluates people",
            got="a kernel that takes no filter of system calls",
            expected="Linux with seccomp, on x86-64 or ARM64",
            do="allow seccomp(2); until then the interpreter alone refuses, not native code",
        )


def bound_pictures() -> None:
    """Have OpenCV refuse pictures beyond `MOST_PIXELS`; to be called before it is imported.

    A small file may unpack to more memory than a machine has, and a want of memory is nobody's
    cell: one such photo would keep a study from ever ending. Beyond the bound it is no photo.
    """
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MOST_PIXELS)


def end_with_parent() -> None:
    """Have the kernel end this process when the thread that started it ends (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
