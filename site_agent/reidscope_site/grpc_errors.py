"""What a failed call means to a person at the site: never the text that came over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from reidscope_protocols.errors import (
    DeclinedCallError,
    NotEnrolledError,
    TokenRefusedError,
    TransportError,
    UnreachableError,
    UnsupportedError,
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn gRPC's errors into reidscope's, by their status code alone."""
    try:
        yield
    except grpc.RpcError as error:
        # Safety: every RpcError of a finished call is also a grpc.Call, which has code().
        code = error.code()
    else:
        return
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        raise UnreachableError(
            what,
            got="no answer with the pinned certificate",
            expected="the coordinator at its pinned address",
            do="check that it is up and that its port is reachable, then try again",
        )
    if code is grpc.StatusCode.UNAUTHENTICATED:
        raise TokenRefusedError(
            what,
            got="a token that the coordinator does not take",
            expected="an unused token of this site, at most 72 hours old",
            do="ask the coordinator for a new invitation",
        )
    if code is grpc.StatusCode.PERMISSION_DENIED:
        raise NotEnrolledError(
            what,
            got="a certificate that the coordinator does not know or has revoked",
            expected="an enrolled site",
            do="ask the coordinator for a new invitation",
        )
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        raise DeclinedCallError(
            what,
            got="a refusal by the coordinator",
            expected="a statement that it admits",
            do="ask the coordinator what it holds against it",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        raise UnsupportedError(
            what,
            got="a coordinator that does not know this call",
            expected="one of a version that was tested with this site's",
            do="install versions on both sides that were tested together",
        )
    raise TransportError(
        what, got=f"gRPC status {code.name}", expected="OK", do="tell the coordinator"
    )
