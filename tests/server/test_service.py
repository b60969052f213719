"""The two gRPC doors on 127.0.0.1, with real TLS and real certificates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reidscope_protocols.enrolment import EnrolmentGrant
from reidscope_protocols.envelope import Opened, peek_payload, sign
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.proto import reidscope_pb2, reidscope_pb2_grpc
from reidscope_protocols.study import Study
from reidscope_protocols.wire import CONSTANT_CHUNK
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.service import control_server, enrolment_server
from reidscope_server.up import EnrolmentDoor

WAIT = 5
EVERYTHING = reidscope_pb2.Everything()


@contextmanager
def serving(build: Callable[[ServerHome], grpc.Server], home: ServerHome) -> Iterator[None]:
    server = build(home)
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()


@contextmanager
def control(home: ServerHome, key: bytes | None, certificate: str | None) -> Iterator[Any]:
    credentials = grpc.ssl_channel_credentials(
        home.key("ca.crt").read_bytes(), key, certificate.encode() if certificate else None
    )
    address = home.config().addresses.control
    with grpc.secure_channel(address, credentials) as channel:
        yield reidscope_pb2_grpc.ControlStub(channel)


def status(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def self_signed(name: str) -> tuple[bytes, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem, certificate.public_bytes(serialization.Encoding.PEM).decode()


def test_a_site_gets_its_studies_and_hands_its_decision_over(
    server_home: ServerHome, coordinator: Coordinator, study: Opened[Study], north: Any
) -> None:
    with (
        serving(control_server, server_home),
        control(server_home, north.transport_pem, north.certificate_pem) as stub,
    ):
        assert list(stub.Studies(EVERYTHING, timeout=WAIT).dsse) == [study.envelope]
        assert list(stub.Receipts(EVERYTHING, timeout=WAIT).dsse) == []
        decision = north.decision(study)
        for _ in range(2):
            stub.Decide(reidscope_pb2.Envelope(dsse=decision), timeout=WAIT)
        assert coordinator.studies.last_decision(study.sha256, "north") == decision
        coordinator.studies.take_release(north.release(study), "north")
        assert len(stub.Receipts(EVERYTHING, timeout=WAIT).dsse) == 1


def test_without_a_certificate_or_with_one_by_another_ca_nobody_is_heard(
    server_home: ServerHome,
) -> None:
    with serving(control_server, server_home):
        for key, certificate in ((None, None), self_signed("north")):
            with control(server_home, key, certificate) as stub:
                code, _ = status(lambda: stub.Studies(EVERYTHING, timeout=WAIT))  # called at once
                assert code is grpc.StatusCode.UNAVAILABLE


def test_the_coordinators_own_certificate_is_no_sites(server_home: ServerHome) -> None:
    key = server_home.key("tls.pem").read_bytes()
    certificate = server_home.key("tls.crt").read_text()
    with serving(control_server, server_home), control(server_home, key, certificate) as stub:
        code, _ = status(lambda: stub.Studies(EVERYTHING, timeout=WAIT))
        assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED)


def test_a_site_that_is_revoked_is_refused_on_its_open_connection(
    server_home: ServerHome, coordinator: Coordinator, study: Opened[Study], north: Any
) -> None:
    with (
        serving(control_server, server_home),
        control(server_home, north.transport_pem, north.certificate_pem) as stub,
    ):
        assert stub.Studies(EVERYTHING, timeout=WAIT)
        coordinator.sites.revoke("north")
        envelope = reidscope_pb2.Envelope(dsse=north.decision(study))
        constant = reidscope_pb2.ConstantRequest(sha256="00" * 32)
        for call in (
            lambda: stub.Studies(EVERYTHING, timeout=WAIT),
            lambda: stub.Receipts(EVERYTHING, timeout=WAIT),
            lambda: stub.Decide(envelope, timeout=WAIT),
            lambda: list(stub.Constant(constant, timeout=WAIT)),
        ):
            assert status(call) == (grpc.StatusCode.PERMISSION_DENIED, "not a site")


def test_a_refusal_goes_out_as_a_number_and_never_as_a_text(
    server_home: ServerHome, coordinator: Coordinator, study: Opened[Study], north: Any, south: Any
) -> None:
    assert coordinator
    refused = {
        b"": 21,
        b"{}": 21,
        south.decision(study): 22,
        north.decision(study, study_sha256="00" * 32): 21,
        north.release(study): 21,
    }
    with (
        serving(control_server, server_home),
        control(server_home, north.transport_pem, north.certificate_pem) as stub,
    ):
        for envelope, code in refused.items():
            request = reidscope_pb2.Envelope(dsse=envelope)
            assert status(lambda: stub.Decide(request, timeout=WAIT)) == (  # noqa: B023  # called at once
                grpc.StatusCode.INVALID_ARGUMENT,
                f"refused-{code}",
            )


def test_a_message_over_a_mebibyte_is_not_taken_in(server_home: ServerHome, north: Any) -> None:
    with (
        serving(control_server, server_home),
        control(server_home, north.transport_pem, north.certificate_pem) as stub,
    ):
        request = reidscope_pb2.Envelope(dsse=bytes(2 << 20))
        code, _ = status(lambda: stub.Decide(request, timeout=WAIT))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_constant_comes_in_chunks_and_a_path_is_none(
    server_home: ServerHome, coordinator: Coordinator, north: Any, make_study: Callable[..., Study]
) -> None:
    content = bytes(range(256)) * 5000
    sha256 = hashlib.sha256(content).hexdigest()
    base = make_study()
    constants = (base.constants[0].model_copy(update={"sha256": sha256}), *base.constants[1:])
    key = StatementKey.load(server_home.key("study.pem"))
    coordinator.studies.open(sign(make_study(constants=constants), key), {sha256: content})
    with (
        serving(control_server, server_home),
        control(server_home, north.transport_pem, north.certificate_pem) as stub,
    ):
        request = reidscope_pb2.ConstantRequest(sha256=sha256)
        chunks = [chunk.data for chunk in stub.Constant(request, timeout=WAIT)]
        assert b"".join(chunks) == content
        assert max(map(len, chunks)) <= CONSTANT_CHUNK
        for name in ("../keys/ca.pem", "", "00" * 32):
            request = reidscope_pb2.ConstantRequest(sha256=name)
            code, _ = status(lambda: list(stub.Constant(request, timeout=WAIT)))  # noqa: B023  # called at once
            assert code is grpc.StatusCode.NOT_FOUND


def test_a_site_enrols_over_the_wire_and_may_then_speak(
    server_home: ServerHome, coordinator: Coordinator, party: Callable[..., Any]
) -> None:
    site, invitation = party("west"), coordinator.sites.invite("west")
    credentials = grpc.ssl_channel_credentials(invitation.ca_pem.encode())
    with (
        serving(enrolment_server, server_home),
        grpc.secure_channel(invitation.addresses.enrolment, credentials) as channel,
    ):
        stub = reidscope_pb2_grpc.EnrolmentStub(channel)
        request = site.request(invitation)

        def enrol(token: str, dsse: bytes = request) -> bytes:
            asked = reidscope_pb2.EnrolRequest(dsse=dsse, token=token)
            return bytes(stub.Enrol(asked, timeout=WAIT).dsse)

        assert status(lambda: enrol("x" * 22)) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "token refused",
        )
        assert status(lambda: enrol(invitation.token, b"{}")) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "refused-21",
        )
        grant = EnrolmentGrant.parse(peek_payload(enrol(invitation.token)))
        assert status(lambda: enrol(invitation.token))[0] is grpc.StatusCode.UNAUTHENTICATED
    with (
        serving(control_server, server_home),
        control(server_home, site.transport_pem, grant.certificate_pem) as stub,
    ):
        assert list(stub.Studies(EVERYTHING, timeout=WAIT).dsse) == []


def test_the_enrolment_port_is_open_while_a_token_is_outstanding_and_closed_otherwise(
    server_home: ServerHome, coordinator: Coordinator
) -> None:
    said: list[str] = []
    door = EnrolmentDoor(server_home, said.append)
    address = server_home.config().addresses.enrolment
    for wanted in (False, True, True, False):
        if wanted:
            coordinator.sites.invite("west")
        else:
            coordinator.sites._connection.execute("DELETE FROM token")
        door.match(wanted=coordinator.sites.token_outstanding())
        ca = grpc.ssl_channel_credentials(server_home.key("ca.crt").read_bytes())
        with grpc.secure_channel(address, ca) as channel:
            ready = grpc.channel_ready_future(channel)
            if wanted:
                ready.result(timeout=WAIT)
            else:
                with pytest.raises(grpc.FutureTimeoutError):
                    ready.result(timeout=0.2)
            ready.cancel()
    assert [("open" in line, "closed" in line) for line in said] == [(True, False), (False, True)]
