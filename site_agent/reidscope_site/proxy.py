"""The hospital's CONNECT proxy, as HTTPS_PROXY and NO_PROXY name it, for every way out.

gRPC is told of it here; Flower's client reads the same variables by itself.
"""

from __future__ import annotations

import base64
import socket
from http.client import HTTPConnection, HTTPException
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from reidscope_protocols.errors import UnreachableError


def proxy_for(address: str) -> str:
    """Return the proxy for `host:port`, such as `http://proxy.example:3128`; empty for none."""
    proxies = getproxies()
    host, _, _ = address.rpartition(":")
    if proxy_bypass(host):
        return ""
    return proxies.get("https", "") or proxies.get("all", "")


def channel_options(address: str) -> list[tuple[str, str | int]]:
    """Return what tells a gRPC channel to `address` of the proxy, or of none."""
    proxy = proxy_for(address)
    return [("grpc.http_proxy", proxy)] if proxy else [("grpc.enable_http_proxy", 0)]


def connect_to(address: str, *, timeout_s: float) -> socket.socket:
    """Open a connection to `host:port`, through the proxy where there is one.

    Raises
    ------
    UnreachableError
        Nobody answers there, or the proxy lets nobody through.
    """
    host, _, port = address.rpartition(":")
    proxy = proxy_for(address)
    try:
        if not proxy:
            return socket.create_connection((host, int(port)), timeout=timeout_s)
        way = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        tunnel = HTTPConnection(way.hostname or "", way.port, timeout=timeout_s)
        tunnel.set_tunnel(host, int(port), _credentials(way.username, way.password))
        tunnel.connect()
    except (OSError, HTTPException, ValueError):
        raise UnreachableError(
            "coordinator",
            got="a proxy that lets nobody through" if proxy else "no connection",
            expected="a connection to its pinned address",
            do="check HTTPS_PROXY and NO_PROXY, and ask the network's people for this address"
            if proxy
            else "check that it is up; where a proxy stands between, set HTTPS_PROXY",
        ) from None
    # Safety: `connect` returned, so there is a socket.
    assert tunnel.sock is not None
    return tunnel.sock


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}
