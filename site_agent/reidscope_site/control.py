"""The site's side of the control service: gRPC, outbound, mutual TLS with the pinned CA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.protobuf.unknown_fields import UnknownFieldSet

from reidscope_protocols.errors import ConstantMismatchError, NotEnrolledError, NotReadyError
from reidscope_protocols.keys import read_private_file
from reidscope_protocols.proto import reidscope_pb2, reidscope_pb2_grpc
from reidscope_protocols.study import Constant
from reidscope_protocols.versions import Versions
from reidscope_site.config import Home
from reidscope_site.grpc_errors import translated
from reidscope_site.pinned import PinnedCoordinator
from reidscope_site.proxy import channel_options
from reidscope_site.sent import Sent

_CALL_SECONDS = 60
_LARGEST_MESSAGE = 32 << 20  # bytes


class Control:
    """Calls of one open channel."""

    def __init__(self, channel: grpc.Channel, sent: Sent | None = None) -> None:
        self._sent = sent
        self._stub = reidscope_pb2_grpc.ControlStub(channel)

    def hello(self, own: Versions) -> tuple[Versions, bool]:
        """Say which versions run here; return the coordinator's, and whether it accepts ours."""
        call = reidscope_pb2.Versions(
            reidscope=own.reidscope,
            protocol_major=own.protocol[0],
            protocol_minor=own.protocol[1],
            flower=own.flower,
        )
        if self._sent is not None:
            self._sent.keep("versions", call.SerializeToString())
        with translated("versions"):
            reply = self._stub.Hello(call, timeout=_CALL_SECONDS)
        theirs = Versions(
            reidscope=reply.own.reidscope,
            protocol=(reply.own.protocol_major, reply.own.protocol_minor),
            flower=reply.own.flower,
        )
        known = not len(UnknownFieldSet(reply)) and not len(UnknownFieldSet(reply.own))
        return theirs, reply.accepted and known

    def changes(self) -> tuple[bytes, ...]:
        """Fetch every change of the coordinator's keys and roots, oldest first."""
        with translated("changes"):
            reply = self._stub.Changes(reidscope_pb2.Everything(), timeout=_CALL_SECONDS)
        return tuple(reply.dsse)

    def rotate(self, envelope: bytes) -> bytes:
        """Hand a change of this site's keys over; return the grant."""
        with translated("key change"):
            reply = self._stub.Rotate(reidscope_pb2.Envelope(dsse=envelope), timeout=_CALL_SECONDS)
        return bytes(reply.dsse)

    def renew(self, envelope: bytes) -> bytes:
        """Ask for another certificate; return the grant."""
        with translated("certificate"):
            reply = self._stub.Renew(reidscope_pb2.Envelope(dsse=envelope), timeout=_CALL_SECONDS)
        return bytes(reply.dsse)

    def studies(self) -> tuple[bytes, ...]:
        """Fetch the envelopes of every study that is open to this site."""
        with translated("studies"):
            reply = self._stub.Studies(reidscope_pb2.Everything(), timeout=_CALL_SECONDS)
        return tuple(reply.dsse)

    def receipts(self) -> tuple[bytes, ...]:
        """Fetch the receipts that the coordinator holds for this site."""
        with translated("receipts"):
            reply = self._stub.Receipts(reidscope_pb2.Everything(), timeout=_CALL_SECONDS)
        return tuple(reply.dsse)

    def rounds(self) -> tuple[bytes, ...]:
        """Fetch the coordinator's latest word about each secure sum of this site."""
        with translated("rounds"):
            reply = self._stub.Rounds(reidscope_pb2.Everything(), timeout=_CALL_SECONDS)
        return tuple(reply.dsse)

    def decide(self, envelope: bytes) -> None:
        """Hand a signed decision over; handing it over twice is harmless."""
        if self._sent is not None:
            self._sent.keep("decision", envelope)
        with translated("decision"):
            self._stub.Decide(reidscope_pb2.Envelope(dsse=envelope), timeout=_CALL_SECONDS)

    def constant(self, constant: Constant) -> bytes:
        """Fetch a public constant in chunks; the caller checks its sha256.

        Raises
        ------
        NotReadyError
            The file comes with the installation alone, and this one has another.
        ConstantMismatchError
            More bytes came than the study says.
        """
        if constant.size_bytes is None:
            raise NotReadyError(
                f"constant {constant.role}",
                got="an installation that does not bring the study's file along",
                expected=f"sha256 {constant.sha256[:16]}...",
                do="install the version of reidscope and its data wheels that the study names",
            )
        call = reidscope_pb2.ConstantRequest(sha256=constant.sha256)
        if self._sent is not None:
            self._sent.keep("constant-request", constant.sha256.encode())
        content = bytearray()
        with translated(f"constant {constant.role}"):
            for chunk in self._stub.Constant(call, timeout=10 * _CALL_SECONDS):
                content += chunk.data
                if len(content) > constant.size_bytes:
                    break
        if len(content) > constant.size_bytes:
            raise ConstantMismatchError(
                f"constant {constant.role}",
                got="more bytes than the study says",
                expected=f"{constant.size_bytes}",
                do="tell the coordinator",
            )
        return bytes(content)


@contextmanager
def control(home: Home, pinned: PinnedCoordinator, sent: Sent | None = None) -> Iterator[Control]:
    """Open a channel for the block; `sent` keeps what leaves through it.

    Raises
    ------
    NotEnrolledError
        The site holds no certificate.
    """
    if not home.certificate.exists():
        raise NotEnrolledError(
            "certificate",
            got="none in this home",
            expected="one by the pinned CA",
            do="run `reidscope-site enroll`",
        )
    credentials = grpc.ssl_channel_credentials(
        root_certificates=pinned.roots_pem.encode(),
        private_key=read_private_file(home.key("transport.pem"), what="transport key"),
        certificate_chain=home.certificate.read_bytes(),
    )
    address = pinned.addresses.control
    options = [
        ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        *channel_options(address),
    ]
    with grpc.secure_channel(address, credentials, options) as channel:
        yield Control(channel, sent)
