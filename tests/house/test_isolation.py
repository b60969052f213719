"""The process that evaluates a person talks to nobody."""

from __future__ import annotations

import subprocess
import sys


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
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["no network while a person is evaluated"] * 4
