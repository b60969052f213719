"""What stands before Flower's fleet port: path, certificate and size, before a body is read."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvicorn
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from reidscope_protocols.wire import RELEASE_FRAME

PATHS = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)
_LARGEST_BODY = RELEASE_FRAME + (64 << 10)  # bytes


class PeerProtocol(H11Protocol):  # type: ignore[misc]  # uvicorn is not followed by mypy
    """Hands the peer certificate's sha256 to the application."""

    app: Any

    def connection_made(self, transport: Any) -> None:
        """Note whose certificate the handshake has proved."""
        super().connection_made(transport)
        held = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        inner = self.app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["reidscope_certificate"] = hashlib.sha256(held).hexdigest()
            await inner(scope, receive, send)

        self.app = app


def fleet_app(
    site_of: Callable[[str], object | None],
    answer: Callable[[Mapping[str, Any], bytes], Awaitable[Response]],
) -> Callable[..., Any]:
    """Make the application: refuse by path, certificate and size, then read the body and answer.

    Parameters
    ----------
    site_of : callable
        Given a certificate's sha256, the site it is of, or None.
    answer : callable
        Given the scope (whose `reidscope_site` is that site) and the whole body, the response.
    """

    async def door(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        # A chunked body has no size before it is read, whatever a content-length beside it says.
        length = b"" if b"transfer-encoding" in headers else headers.get(b"content-length", b"")
        site = site_of(scope["reidscope_certificate"])
        if scope["path"] not in PATHS or scope["method"] != "POST" or site is None:
            await Response(status_code=403)(scope, receive, send)
            return
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            await Response(status_code=413)(scope, receive, send)
            return
        body = await _whole(receive)
        if body is None:
            return
        # No routing, no middleware: each of their layers cost as much as Flower's own work.
        scope["reidscope_site"] = site
        response = await answer(scope, body)
        await response(scope, receive, send)

    return door


async def _whole(receive: Any) -> bytes | None:
    """Read a body of bounded size; None where the site has gone before its end."""
    parts, more = [], True
    while more:
        part = await receive()
        if part["type"] != "http.request":
            return None
        parts.append(part.get("body", b""))
        more = part.get("more_body", False)
    return b"".join(parts)


def run_quietly(server: uvicorn.Server) -> None:
    """Run a server in a thread until it should exit."""
    # A daemon's signals are the daemon's own: uvicorn must not take them in its thread.
    server.install_signal_handlers = lambda: None
    try:
        server.run()
    except SystemExit:
        # uvicorn exits where a port is taken; `door` sees that it did not start and says so.
        return
