"""The process that evaluates a person talks to nobody."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from reidscope_protocols.errors import UnsupportedError
from reidscope_site import isolation


def test_a_process_whose_network_is_closed_can_neither_connect_nor_resolve_nor_listen() -> None:
    code = """
import socket
from reidscope_site.isolation import close_network
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
address = listener.getsockname()
close_network()
for attempt in (
    lambda: socket.create_connection(address, timeout=2),
    lambda: socket.getaddrinfo("localhost", 80),
    lambda: socket.socket().bind(("127.0.0.1", 0)),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", address),
):
    try:
        attempt()
    except PermissionError as error:
        print("no network while a person is evaluated" in str(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The last two are refused by the kernel before the interpreter is asked.
    assert done.stdout.splitlines() == ["True", "True", "False", "False"]


NATIVE = """
import ctypes, errno, json, os, socket, subprocess, threading
from reidscope_site.isolation import filter_system_calls
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)  # no right is left to move anywhere
libc = ctypes.CDLL(None, use_errno=True)
old = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
local = libc.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0)

def tried(call, *arguments):
    ctypes.set_errno(0)
    return errno.errorcode.get(ctypes.get_errno()) if call(*arguments) < 0 else "allowed"

early, late = threading.Event(), []
thread = threading.Thread(target=lambda: (early.wait(), late.append(
    tried(libc.socket, socket.AF_INET, socket.SOCK_STREAM, 0))))
thread.start()
assert filter_system_calls()
early.set(); thread.join()
ours, theirs = socket.socketpair()
ours.send(b"x")
print(json.dumps({
    "a thread that was there before": late[0],
    **{f"family {family}": tried(libc.socket, family, kind, 0)
       for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, 40)
       for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW)},
    "connect an older socket": tried(libc.connect, old, b"\\2" + bytes(15), 16),
    "connect a local one": tried(libc.connect, local, b"\\1\\0/run/x\\0", 9),
    "io_uring": tried(libc.syscall, 425, 1, bytes(256)),
    "a pair of local sockets": theirs.recv(1).decode(),
    "a file": "read" if open("/proc/self/status").read() else "",
    "a child": os.popen("echo child").read().strip(),
}))
"""


def test_native_code_without_any_right_can_open_no_socket_and_work_goes_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NATIVE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    allowed = {key: said.pop(key) for key in ("a pair of local sockets", "a file", "a child")}
    assert allowed == {"a pair of local sockets": "x", "a file": "read", "a child": "child"}
    assert len(said) >= 9
    assert set(said.values()) == {"EACCES"}


def test_what_a_process_with_a_filter_starts_has_it_too() -> None:
    code = """
import subprocess, sys
from reidscope_site.isolation import filter_system_calls
assert filter_system_calls()
child = "import socket; socket.socket()"
sys.exit(subprocess.run([sys.executable, "-c", child], capture_output=True).returncode)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1


def test_doctor_is_told_where_the_kernel_takes_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    isolation.check_network_closes()
    monkeypatch.setattr(isolation.platform, "machine", lambda: "sparc")
    assert not isolation.filter_system_calls()
    monkeypatch.setattr(isolation.sys, "executable", "/bin/false")
    with pytest.raises(UnsupportedError, match="takes no filter of system calls"):
        isolation.check_network_closes()
