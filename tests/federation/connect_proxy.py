"""A hospital's way out: a proxy that knows CONNECT alone, and tells whom it let through."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class ConnectProxy:
    """A running proxy; `through` counts the bytes that came back from each `host:port`.

    Attributes
    ----------
    address : str
        `http://127.0.0.1:port`.
    allows : callable
        Whether it lets a request's head through.
    """

    listening: socket.socket
    allows: Callable[[str], bool]
    through: Counter[str] = field(default_factory=Counter)
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            self.connections.append(client)
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def end(self) -> None:
        # On Linux a blocked accept ends by shutdown, not by close.
        for each in (self.listening, *self.connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _tunnel(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            read = client.recv(4096)
            if not read:
                return
            head += read
        method, target, _ = head.decode("latin-1").split(" ", 2)
        if method != "CONNECT" or not self.allows(head.decode("latin-1")):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            client.close()
            return
        host, _, port = target.rpartition(":")
        try:
            other = socket.create_connection((host, int(port)), timeout=10)
        except OSError:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            client.close()
            return
        other.settimeout(None)
        self.connections.append(other)
        self.through[target] += 0
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=self._copy, args=(client, other, ""), daemon=True).start()
        self._copy(other, client, target)

    def _copy(self, source: socket.socket, sink: socket.socket, counted: str) -> None:
        with contextlib.suppress(OSError):
            while read := source.recv(1 << 16):
                if counted:
                    self.through[counted] += len(read)
                sink.sendall(read)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def connect_proxy(allows: Callable[[str], bool] = lambda _: True) -> Iterator[ConnectProxy]:
    """Run a proxy on loopback for the block."""
    listening = socket.create_server(("127.0.0.1", 0))
    proxy = ConnectProxy(listening=listening, allows=allows)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.end()
