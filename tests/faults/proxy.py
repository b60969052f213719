"""A bad link: a TCP proxy that is slow, cuts connections, or is down, as a test says."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

_CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one connection.

    Attributes
    ----------
    delay : float
        Seconds before each chunk of 4096 bytes is passed on.
    cut_after : int or None
        Bytes of both directions after which the connection is reset; None for never.
    """

    delay: float = 0.0
    cut_after: int | None = None


GOOD = Fate()


@dataclass
class Proxy:
    """Listens on a port of its own and passes bytes on to `target`.

    Attributes
    ----------
    fate : callable
        Given the number of a connection, from 0, what becomes of it.
    down : bool
        While set, every connection is reset at once, and those that stand are cut.
    """

    target: int
    fate: Callable[[int], Fate] = lambda _: GOOD
    down: bool = False
    connections: int = 0
    cut: int = 0
    passed: int = 0
    _pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Reset every connection that stands."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self.cut += 1
            _reset(pair)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            fate = self.fate(self.connections)
            self.connections += 1
            if self.down:
                _reset((near,))
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                _reset((near,))
                continue
            far.settimeout(None)
            self._pairs.append((near, far))
            left = [fate.cut_after]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(
                    target=self._pump, args=(source, sink, fate.delay, left), daemon=True
                ).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, delay: float, left: list[int | None]
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if delay:
                    time.sleep(delay)
                if left[0] is not None:
                    chunk, rest = chunk[: left[0]], len(chunk) - left[0]
                    left[0] = max(0, left[0] - len(chunk))
                    if rest >= 0:
                        sink.sendall(chunk)
                        break
                sink.sendall(chunk)
                self.passed += len(chunk)
            else:
                sink.shutdown(socket.SHUT_WR)
                return
        self.cut += 1
        _reset((source, sink))


def _reset(sockets: tuple[socket.socket, ...]) -> None:
    """Close with a reset, as a link that breaks does, not with a polite end."""
    for each in sockets:
        with contextlib.suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            each.shutdown(socket.SHUT_RDWR)
        each.close()
