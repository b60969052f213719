"""A whole round while every socket but those of the project's own doors is refused and recorded."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.federation import consortium as federation
from tests.federation.consortium import SITES, Consortium, command, ok, open_study, wait_until

SOURCE = Path(__file__).with_name("deny_network.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        COMPILER is None or sys.platform != "linux",
        reason="needs a C compiler and Linux: native code is watched by a preloaded library",
    ),
]


class Watch:
    """What every process of the test asked of the network."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        library = folder / "deny_network.so"
        assert COMPILER is not None
        words = [COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library)]
        subprocess.run([*words, str(SOURCE), "-ldl"], check=True)
        self.log = folder / "asked.log"
        self.ports = ports
        self.environment = {
            "LD_PRELOAD": str(library),
            "DENY_LOG": str(self.log),
            "DENY_PORTS": ",".join(map(str, ports)),
        }

    def asked(self) -> set[tuple[str, str, str, int]]:
        """Return each (verdict, call, address, port), once."""
        lines = self.log.read_text().split("\n") if self.log.exists() else []
        return {
            (verdict, call, address, int(port))
            for verdict, call, address, port in (line.split() for line in lines if line)
        }


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Choose the ports beforehand, and preload the refusal into every command and daemon."""
    ports = federation.free_ports(3)
    (tmp_path / "watch").mkdir()
    made = Watch(tmp_path / "watch", ports)
    monkeypatch.setattr(federation, "free_ports", lambda count: ports[:count])
    monkeypatch.setattr(federation, "ENVIRONMENT", {**federation.ENVIRONMENT, **made.environment})
    return made


def test_the_refusal_holds_for_python_and_for_native_code_and_is_recorded(watch: Watch) -> None:
    code = """
import socket, sys, grpc
port, allowed = int(sys.argv[1]), int(sys.argv[2])
def tried(attempt):
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"
print(tried(lambda: socket.create_connection(("127.0.0.1", port), 5)))
print(tried(lambda: socket.getaddrinfo("example.org", 443)))
print(tried(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))))
print(tried(lambda: socket.socket().bind(("0.0.0.0", 0))))
print(tried(lambda: socket.create_connection(("127.0.0.1", allowed), 5)))
try:
    grpc.channel_ready_future(grpc.insecure_channel(f"127.0.0.1:{port}")).result(timeout=5)
except grpc.FutureTimeoutError:
    print("grpc: refused")
"""
    # both doors are opened by this process, which nobody watches
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_server(("127.0.0.1", watch.ports[0])),
    ):
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", code, str(port), str(watch.ports[0])],
            env={**os.environ, **watch.environment},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.split("\n")[:6] == [
        "PermissionError",
        "gaierror",
        "PermissionError",
        "PermissionError",
        "done",
        "grpc: refused",
    ]
    assert watch.asked() >= {
        ("denied", "connect", "127.0.0.1", port),
        ("denied", "getaddrinfo", "example.org", 0),
        ("denied", "sendto", "192.0.2.1", 53),
        ("denied", "bind", "0.0.0.0", 0),  # noqa: S104  # what was refused, not what is bound
        ("allowed", "connect", "127.0.0.1", watch.ports[0]),
    }
    assert [line for line in watch.log.read_text().split("\n") if line.endswith(f" {port}")][1:]


def test_a_round_asks_the_network_for_the_projects_own_doors_and_nothing_else(
    watch: Watch, consortium: Consortium
) -> None:
    enrolment, control, fleet = watch.ports
    assert consortium.ports == watch.ports
    open_study(consortium)
    for name in SITES:
        consortium.serve(name)
    for name in SITES:
        wait_until("study", lambda name=name: "calibration kept" in consortium.log(name))
        ok(consortium.site(name, "approve", "faces"))
    home = consortium.home("coordinator")
    wait_until(
        "releases",
        lambda: (
            command("reidscope-server", "collect", "faces", "--timeout", "5", "--home", home).code
            == 0
        ),
        seconds=400,
    )
    report = consortium.root / "report"
    ok(consortium.server("report", "faces", "--out", report))
    ok(command("reidscope-server", "verify", report))
    for name in SITES:
        assert "byte for byte" in ok(consortium.site(name, "verify", report))
    counted = json.loads((report / "report.json").read_text())["tables"][0]["counts"]
    assert set(counted) == set(SITES)

    asked = watch.asked()
    # gRPC tries whether the kernel speaks IPv6, on a socket that it never listens on
    assert {entry for entry in asked if entry[0] == "denied"} <= {("denied", "bind", "::1", 0)}
    for door in (enrolment, control, fleet):
        assert {(call, port) for _, call, _, port in asked} >= {("bind", door), ("connect", door)}
