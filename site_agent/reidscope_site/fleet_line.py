"""The HTTPS line to the fleet port: to one host alone, replies of bounded size, kept open.

Flower's client follows redirects, so that a coordinator could send an agent to any address inside a
hospital, even in the clear; and it takes in, and inflates, replies of any size. This line does not.
"""

from __future__ import annotations

import ssl
import time
from typing import Any

import httpx

from reidscope_protocols.errors import TransportError
from reidscope_protocols.wire import RELEASE_FRAME

LARGEST_REPLY = RELEASE_FRAME + (64 << 10)  # bytes; ours have a few hundred
_QUIET_SECONDS = 30.0
_WHOLE_SECONDS = 120.0
_KEPT_SECONDS = 60.0
"""Longer than between two pulls, shorter than the coordinator keeps a line: no handshake a pull."""


class FleetLine(httpx.Client):
    """An HTTP client that Flower's calls go through.

    Parameters
    ----------
    context : ssl.SSLContext
        Trusts the pinned CA alone and shows the site's certificate.

    Privacy
    -------
    It adds nothing to what is sent: no cookie, no address of a page before, and no request to
    anywhere that the site did not pin (docs/privacy.md, "The wire").
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(
            verify=context,
            timeout=_QUIET_SECONDS,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=2, keepalive_expiry=_KEPT_SECONDS),
            headers={"accept-encoding": "identity"},
        )

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request and take in its reply, if it is one that this port gives.

        Raises
        ------
        TransportError
            A redirect, a packed reply, one larger than `LARGEST_REPLY`, or one that takes more than
            two minutes to come.
        """
        response = super().send(request, **{**options, "stream": True, "follow_redirects": False})
        try:
            self.cookies.clear()
            if response.is_redirect or response.headers.get("content-encoding", "identity") != (
                "identity"
            ):
                raise _refused("a redirect or a packed one")
            content = _bounded(response)
        finally:
            response.close()
        return httpx.Response(
            response.status_code, headers=response.headers, content=content, request=request
        )


def _bounded(response: httpx.Response) -> bytes:
    content, deadline = bytearray(), time.monotonic() + _WHOLE_SECONDS
    for part in response.iter_raw():
        content += part
        if len(content) > LARGEST_REPLY:
            raise _refused(f"more than {LARGEST_REPLY} bytes")
        if time.monotonic() > deadline:
            raise _refused(f"one that took more than {_WHOLE_SECONDS:.0f} s")
    return bytes(content)


def _refused(got: str) -> TransportError:
    return TransportError(
        "fleet port's reply",
        got=got,
        expected="a whole small reply of the pinned host",
        do="ask the coordinator what answers at its fleet port",
    )
