"""The two gRPC doors: enrolment (TLS and a token) and control (mutual TLS, a site of the table).

Every call's peer certificate is looked up in the site table, so that revocation takes effect at
once, on open connections too. A field that the schema does not name is refused. The doors' own
certificate and the roots that they trust are read anew for every handshake. Errors go out as a
status code with a constant word.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from reidscope_protocols.errors import ReidscopeError, TokenRefusedError
from reidscope_protocols.proto import reidscope_pb2, reidscope_pb2_grpc
from reidscope_protocols.versions import Versions
from reidscope_protocols.wire import CONSTANT_CHUNK
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.key_files import read_key
from reidscope_server.own_keys import changes
from reidscope_server.roots import trusted_pem

_THREADS = 4
_LARGEST_REQUEST = 1 << 20  # bytes


class EnrolmentService(reidscope_pb2_grpc.EnrolmentServicer):
    """One call: a request and a token for a certificate."""

    def __init__(self, home: ServerHome) -> None:
        self._home = home

    def Enrol(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.EnrolRequest, context: grpc.ServicerContext
    ) -> reidscope_pb2.Envelope:
        """Answer with a grant, or refuse with a constant word."""
        _refuse_unknown_fields(request, context)
        with Coordinator.opened(self._home) as coordinator:
            with refused(context):
                try:
                    grant = coordinator.sites.enrol(request.dsse, request.token)
                except TokenRefusedError:
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "token refused")
            return reidscope_pb2.Envelope(dsse=grant)


class ControlService(reidscope_pb2_grpc.ControlServicer):
    """Studies, constants, receipts and changes of keys out; decisions and changes in."""

    def __init__(self, home: ServerHome) -> None:
        self._home = home

    def Hello(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.Versions, context: grpc.ServicerContext
    ) -> reidscope_pb2.Greeting:
        """Compare versions: what was not tested together is kept off the fleet port."""
        with Coordinator.opened(self._home) as coordinator:
            site = _peer_site(coordinator, request, context)
            theirs = Versions(
                reidscope=request.reidscope,
                protocol=(request.protocol_major, request.protocol_minor),
                flower=request.flower,
            )
            with refused(context):
                accepted = coordinator.greetings.hear(site, theirs)
        own = Versions.of_this_process()
        said = reidscope_pb2.Versions(
            reidscope=own.reidscope,
            protocol_major=own.protocol[0],
            protocol_minor=own.protocol[1],
            flower=own.flower,
        )
        return reidscope_pb2.Greeting(own=said, accepted=accepted)

    def Changes(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.Everything, context: grpc.ServicerContext
    ) -> reidscope_pb2.Envelopes:
        """Return every change of the coordinator's keys and roots."""
        with Coordinator.opened(self._home) as coordinator:
            _peer_site(coordinator, request, context)
            with refused(context):
                return reidscope_pb2.Envelopes(dsse=changes(self._home))

    def Rotate(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.Envelope, context: grpc.ServicerContext
    ) -> reidscope_pb2.Envelope:
        """Take the calling site's change of its keys."""
        with Coordinator.opened(self._home) as coordinator:
            site = _peer_site(coordinator, request, context)
            with refused(context):
                grant = coordinator.sites.keys.change(request.dsse, site)
            return reidscope_pb2.Envelope(dsse=grant)

    def Renew(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.Envelope, context: grpc.ServicerContext
    ) -> reidscope_pb2.Envelope:
        """Sign another certificate for the calling site."""
        with Coordinator.opened(self._home) as coordinator:
            site = _peer_site(coordinator, request, context)
            with refused(context):
                grant = coordinator.sites.keys.renew(request.dsse, site)
            return reidscope_pb2.Envelope(dsse=grant)

    def Studies(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.Everything, context: grpc.ServicerContext
    ) -> reidscope_pb2.Envelopes:
        """Return every open study that asks the calling site."""
        with Coordinator.opened(self._home) as coordinator:
            site = _peer_site(coordinator, request, context)
            with refused(context):
                return reidscope_pb2.Envelopes(dsse=coordinator.studies.envelopes_for(site))

    def Receipts(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.Everything, context: grpc.ServicerContext
    ) -> reidscope_pb2.Envelopes:
        """Return the calling site's receipts."""
        with Coordinator.opened(self._home) as coordinator:
            site = _peer_site(coordinator, request, context)
            with refused(context):
                return reidscope_pb2.Envelopes(dsse=coordinator.studies.receipts_for(site))

    def Rounds(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.Everything, context: grpc.ServicerContext
    ) -> reidscope_pb2.Envelopes:
        """Return the last word about each secure sum that asks the calling site."""
        with Coordinator.opened(self._home) as coordinator:
            site = _peer_site(coordinator, request, context)
            with refused(context):
                return reidscope_pb2.Envelopes(dsse=coordinator.rounds_for(site))

    def Decide(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.Envelope, context: grpc.ServicerContext
    ) -> reidscope_pb2.Accepted:
        """Take a decision of the calling site."""
        with Coordinator.opened(self._home) as coordinator:
            site = _peer_site(coordinator, request, context)
            with refused(context):
                coordinator.studies.take_decision(request.dsse, site)
            return reidscope_pb2.Accepted()

    def Constant(  # noqa: N802  # the name stands in the .proto
        self, request: reidscope_pb2.ConstantRequest, context: grpc.ServicerContext
    ) -> Iterator[reidscope_pb2.Chunk]:
        """Stream a public file that some study names."""
        with Coordinator.opened(self._home) as coordinator:
            _peer_site(coordinator, request, context)
            with refused(context):
                content = coordinator.constant(request.sha256)
        if content is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such constant")
            return
        for start in range(0, len(content), CONSTANT_CHUNK):
            yield reidscope_pb2.Chunk(data=content[start : start + CONSTANT_CHUNK])


@contextmanager
def refused(context: grpc.ServicerContext) -> Iterator[None]:
    """End the call with a number where something is refused: no text of ours goes out.

    A disk that is full or fails is no refusal: the site asks again later.
    """
    try:
        yield
    except ReidscopeError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"refused-{error.exit_code}")
    except (OSError, sqlite3.Error):
        context.abort(grpc.StatusCode.UNAVAILABLE, "try again")


def enrolment_server(home: ServerHome) -> grpc.Server:
    """Build the enrolment door: our certificate, none of the client's yet."""
    server = _server()
    reidscope_pb2_grpc.add_EnrolmentServicer_to_server(EnrolmentService(home), server)
    credentials = _credentials(home, sites_only=False)
    server.add_secure_port(home.config().addresses.enrolment, credentials)
    return server


def control_server(home: ServerHome) -> grpc.Server:
    """Build the control door: a client certificate by our CA is required."""
    server = _server()
    reidscope_pb2_grpc.add_ControlServicer_to_server(ControlService(home), server)
    credentials = _credentials(home, sites_only=True)
    server.add_secure_port(home.config().addresses.control, credentials)
    return server


def _server() -> grpc.Server:
    options = [
        ("grpc.max_receive_message_length", _LARGEST_REQUEST),
        ("grpc.so_reuseport", 0),
    ]
    return grpc.server(ThreadPoolExecutor(max_workers=_THREADS), options=options)


def _credentials(home: ServerHome, *, sites_only: bool) -> grpc.ServerCredentials:
    """Read certificate and roots anew for every handshake: they follow one another while we run."""

    def now() -> grpc.ServerCertificateConfiguration:
        own = (
            read_key(home, "tls.pem"),
            home.key("tls.crt").read_bytes(),
        )
        roots = trusted_pem(home) if sites_only else None
        return grpc.ssl_server_certificate_configuration([own], root_certificates=roots)

    def later() -> grpc.ServerCertificateConfiguration | None:
        try:
            return now()
        except (OSError, ReidscopeError):
            # A disk that fails for a moment: the handshake goes on with what was read before.
            return None

    return grpc.dynamic_ssl_server_credentials(
        now(), later, require_client_authentication=sites_only
    )


def _refuse_unknown_fields(request: Message, context: grpc.ServicerContext) -> None:
    if len(UnknownFieldSet(request)):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unknown field")


def _peer_site(coordinator: Coordinator, request: Message, context: grpc.ServicerContext) -> str:
    """Name the site whose certificate the peer holds, or end the call."""
    _refuse_unknown_fields(request, context)
    pem = context.auth_context().get("x509_pem_cert", [b""])[0]
    certificate = x509.load_pem_x509_certificate(pem)
    der = certificate.public_bytes(serialization.Encoding.DER)
    site = coordinator.sites.by_certificate(hashlib.sha256(der).hexdigest())
    if site is None:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not a site")
        message = "abort raises"  # for the type checker: the line above never returns
        raise AssertionError(message)
    return site
