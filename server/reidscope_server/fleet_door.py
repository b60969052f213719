"""What stands before Flower's fleet port: path, certificate and size, before a body is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from reidscope_protocols.wire import RELEASE_FRAME

_PATHS = frozenset(
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
PULL = "/v1/fleet/pull-messages"
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


def outer_door(app: Any, site_of: Callable[[str], object | None]) -> Callable[..., Any]:
    """Refuse by path, certificate and size before a byte of the body is read."""

    async def door(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        # A chunked body has no size before it is read, whatever a content-length beside it says.
        length = b"" if b"transfer-encoding" in headers else headers.get(b"content-length", b"")
        site = site_of(scope["reidscope_certificate"])
        if scope["path"] not in _PATHS or site is None:
            await Response(status_code=403)(scope, receive, send)
        elif not length.isdigit() or int(length) > _LARGEST_BODY:
            await Response(status_code=413)(scope, receive, send)
        else:
            scope["reidscope_site"] = site
            await app(scope, receive, send)

    return door


def answered_at_once(
    app: Any, path: str, answer: Callable[[Mapping[str, Any], bytes], Response | None]
) -> Callable[..., Any]:
    """Answer requests to `path` where `answer` can; the others go on to `app`, body and all.

    Behind it stand several layers, each of which costs as much as this whole door; hundreds of
    sites ask again and again whether there is something for them, and mostly there is not.
    """

    async def door(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != path:
            await app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            part = await receive()
            if part["type"] != "http.request":
                return  # the site has gone
            body, more = body + part.get("body", b""), part.get("more_body", False)
        answered = answer(scope, body)
        if answered is not None:
            await answered(scope, receive, send)
            return
        held = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Any:
            return held.pop() if held else await receive()

        await app(scope, again, send)

    return door


class AskedBefore:
    """Asks `allowed` about each request that goes on to `app`; refuses what it does not allow."""

    def __init__(self, app: Any, allowed: Callable[[Mapping[str, Any]], bool]) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse with a constant answer, or pass the request on."""
        if self._allowed(scope):
            await self._app(scope, receive, send)
        else:
            await JSONResponse({"detail": "not this site"}, 403)(scope, receive, send)


def run_quietly(server: uvicorn.Server) -> None:
    """Run a server in a thread until it should exit."""
    # A daemon's signals are the daemon's own: uvicorn must not take them in its thread.
    server.install_signal_handlers = lambda: None
    try:
        server.run()
    except SystemExit:
        # uvicorn exits where a port is taken; `door` sees that it did not start and says so.
        return
