"""Flower's fleet port on 127.0.0.1: who is let in is settled before a byte is read."""

from __future__ import annotations

import base64
import http.client
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import Message, Metadata, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.translation import PROTOBUF_MEDIA_TYPE

from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.flower import IN_MEMORY, Fleet, TlsFiles
from reidscope_server.up import fleet_sites
from reidscope_server.up_to_date import UpToDate

FLEET = "/v1/fleet/"
HONEST = {"content-type": PROTOBUF_MEDIA_TYPE}


def transport_of(site: Any, folder: Path) -> ssl.SSLContext:
    """A client context with the site's certificate."""
    context = ssl.create_default_context()
    if site is not None:
        files = folder / f"{site.name}.crt", folder / f"{site.name}.pem"
        files[0].write_text(site.certificate_pem)
        files[1].write_bytes(site.transport_pem)
        context.load_cert_chain(*files)
    return context


class Caller:
    """One TLS connection, opened as `site`, which can then claim to be anybody."""

    def __init__(self, home: ServerHome, site: Any, folder: Path) -> None:
        context = transport_of(site, folder)
        context.load_verify_locations(home.key("ca.crt"))
        port = home.config().fleet_port
        self.line = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)

    def call(
        self, name: str, message: Any, speaker: Any, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send one request whose Flower signature is by `speaker`."""
        path = name if name.startswith("/") else FLEET + name
        signed = {**HONEST, **identity(speaker), **(headers or {})}
        self.line.request("POST", path, message.SerializeToString(), signed)
        answer = self.line.getresponse()
        return answer.status, answer.read()

    def status(self, *arguments: Any) -> int:
        return self.call(*arguments)[0]


def public(site: Any) -> bytes:
    return bytes(public_key_to_bytes(site.transport.public_key()))


def identity(site: Any) -> dict[str, str]:
    """Flower's own proof of identity: a signed time."""
    moment = now().isoformat()
    signature = site.transport.sign(moment.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        FLEET_HTTP_PUBLIC_KEY_HEADER: base64.b64encode(public(site)).decode(),
        TIMESTAMP_HEADER: moment,
        FLEET_HTTP_SIGNATURE_HEADER: base64.b64encode(signature).decode(),
    }


@pytest.fixture(scope="module")
def port(
    peopled: tuple[ServerHome, Any, Any],
) -> Iterator[ServerHome]:
    home = peopled[0]
    tls = TlsFiles(
        certificate=str(home.key("tls.crt")),
        key=str(home.key("tls.pem")),
        authority=str(home.key("ca.crt")),
    )
    fleet = Fleet(IN_MEMORY, UpToDate(home.database, lambda: fleet_sites(home)))
    with fleet.door("127.0.0.1", home.config().fleet_port, tls):
        yield home


@pytest.fixture
def as_site(port: ServerHome, tmp_path: Path) -> Iterator[Callable[[Any], Caller]]:
    opened: list[Caller] = []

    def connect(site: Any) -> Caller:
        opened.append(Caller(port, site, tmp_path))
        return opened[-1]

    yield connect
    for caller in opened:
        caller.line.close()


NODES: dict[bytes, int] = {}
"""Node ids of this module's door: a node that is online is not activated again."""


def node_of(caller: Caller, site: Any) -> int:
    if public(site) in NODES:
        return NODES[public(site)]
    request = ActivateNodeRequest(public_key=public(site), heartbeat_interval=30)
    status, body = caller.call("activate-node", request, site)
    assert status == 200
    NODES[public(site)] = int(ActivateNodeResponse.FromString(body).node_id)
    return NODES[public(site)]


def test_a_site_activates_its_own_node_and_pulls_its_own_messages(
    as_site: Callable[[Any], Caller], north: Any
) -> None:
    caller = as_site(north)
    node = Node(node_id=node_of(caller, north))
    assert caller.status("pull-messages", PullMessagesRequest(node=node), north) == 200
    beat = SendNodeHeartbeatRequest(node=node, heartbeat_interval=30)
    assert caller.status("send-node-heartbeat", beat, north) == 200


def test_without_a_client_certificate_the_handshake_ends(
    as_site: Callable[[Any], Caller], north: Any
) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        as_site(None).call("pull-messages", PullMessagesRequest(), north)


def test_a_certificate_by_another_ca_ends_the_handshake(
    as_site: Callable[[Any], Caller], north: Any, party: Callable[..., Any]
) -> None:
    stranger = party("stranger")
    issued = x509.load_pem_x509_certificate(north.certificate_pem.encode())
    forged = (
        x509.CertificateBuilder()
        .subject_name(issued.subject)
        .issuer_name(issued.issuer)
        .public_key(stranger.transport.public_key())
        .serial_number(3)
        .not_valid_before(issued.not_valid_before_utc)
        .not_valid_after(issued.not_valid_after_utc)
        .sign(stranger.transport, hashes.SHA256())
    )
    stranger.certificate_pem = forged.public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        as_site(stranger).call("pull-messages", PullMessagesRequest(), stranger)


def test_a_site_is_not_let_in_as_another_site(
    as_site: Callable[[Any], Caller], north: Any, south: Any
) -> None:
    """Even where it holds the other's Flower key: the certificate decides."""
    own, other = node_of(as_site(north), north), node_of(as_site(south), south)
    assert own != other
    caller = as_site(north)
    theirs = Node(node_id=other)
    for speaker in (north, south):
        refused = (
            ("activate-node", ActivateNodeRequest(public_key=public(south))),
            ("deactivate-node", DeactivateNodeRequest(node_id=other)),
            ("pull-messages", PullMessagesRequest(node=theirs)),
            ("send-node-heartbeat", SendNodeHeartbeatRequest(node=theirs)),
            ("push-messages", PushMessagesRequest(node=theirs)),
        )
        for name, message in refused:
            assert caller.status(name, message, speaker) in (401, 403)
    assert as_site(south).status("pull-messages", PullMessagesRequest(node=theirs), south) == 200


def test_a_message_in_another_senders_name_is_refused(
    as_site: Callable[[Any], Caller], north: Any, south: Any
) -> None:
    caller = as_site(north)
    own, other = node_of(caller, north), node_of(as_site(south), south)
    for sender in (other, 0, 1):
        pushed = PushMessagesRequest(
            node=Node(node_id=own),
            messages_list=[Message(metadata=Metadata(src_node_id=sender, reply_to_message_id="a"))],
            message_object_trees=[ObjectTree(object_id="b")],
        )
        assert caller.status("push-messages", pushed, north) == 403


def test_a_reply_of_more_objects_than_ours_is_refused(
    as_site: Callable[[Any], Caller], north: Any
) -> None:
    """They would lie in the coordinator's memory until the reply is taken or given up."""
    caller = as_site(north)
    own = node_of(caller, north)

    def pushed(objects: int) -> int:
        children = [ObjectTree(object_id=f"{number:064x}") for number in range(objects - 1)]
        said = PushMessagesRequest(
            node=Node(node_id=own),
            messages_list=[Message(metadata=Metadata(src_node_id=own, reply_to_message_id="a"))],
            message_object_trees=[ObjectTree(object_id="b" * 64, children=children)],
        )
        return caller.status("push-messages", said, north)

    assert pushed(17) == pushed(1000) == 403
    assert pushed(16) not in {401, 403, 413}


@pytest.mark.parametrize(
    "path",
    [
        FLEET + "get-fab",
        FLEET + "get-run",
        FLEET + "register-node",
        FLEET + "unregister-node",
        "/v1/runtime/push-messages",
        "/v1/control/start-run",
        "/docs",
        "/openapi.json",
        "/",
        FLEET + "pull-messages/",
        FLEET + "../fleet/pull-messages",
        "/v1//fleet/pull-messages",
    ],
)
def test_any_other_path_is_forbidden(
    as_site: Callable[[Any], Caller], north: Any, path: str
) -> None:
    for message in (GetFabRequest(), RegisterNodeFleetRequest(public_key=public(north))):
        assert as_site(north).status(path, message, north) == 403


def raw(caller: Caller, head: str) -> bytes:
    """Send a request's head alone: what is answered was settled without a body."""
    caller.line.connect()
    caller.line.sock.sendall(head.encode())
    return caller.line.sock.recv(100)


def test_a_body_of_64_megabytes_is_refused_before_it_is_read(
    as_site: Callable[[Any], Caller], north: Any
) -> None:
    head = f"POST {FLEET}push-object HTTP/1.1\r\nhost: a\r\ncontent-length: {64 << 20}\r\n\r\n"
    started = time.monotonic()
    assert b" 413 " in raw(as_site(north), head)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "length",
    [
        "transfer-encoding: chunked\r\n",
        "content-length: 10\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 10\r\n",
        "",
    ],
)
def test_a_body_without_a_size_of_its_own_is_refused_before_it_is_read(
    as_site: Callable[[Any], Caller], north: Any, length: str
) -> None:
    """HTTP lets a chunked body beat the content-length beside it: it has no bound."""
    head = f"POST {FLEET}push-object HTTP/1.1\r\nhost: a\r\n{length}\r\n"
    assert b" 413 " in raw(as_site(north), head)


@pytest.mark.parametrize("length", ["-1", "1e9", "+5", "0x10", "9" * 30, "9" * 4400])
def test_an_odd_content_length_is_refused(
    as_site: Callable[[Any], Caller], north: Any, length: str
) -> None:
    head = f"POST {FLEET}push-object HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"
    answer = raw(as_site(north), head)
    assert b" 200 " not in answer
    assert b" 500 " not in answer


def test_a_wrong_or_missing_flower_signature_is_refused(
    as_site: Callable[[Any], Caller], north: Any
) -> None:
    caller = as_site(north)
    pull = PullMessagesRequest(node=Node(node_id=node_of(caller, north)))
    for bent in (
        {FLEET_HTTP_SIGNATURE_HEADER: base64.b64encode(bytes(70)).decode()},
        {TIMESTAMP_HEADER: "2020-01-01T00:00:00+00:00"},
        {FLEET_HTTP_PUBLIC_KEY_HEADER: "!"},
    ):
        assert caller.status("pull-messages", pull, north, bent) == 401


def test_what_is_no_call_of_flowers_is_refused_in_flowers_own_codes(
    as_site: Callable[[Any], Caller], north: Any
) -> None:
    caller = as_site(north)
    pull = PullMessagesRequest(node=Node(node_id=node_of(caller, north)))
    assert caller.status("pull-messages", pull, north, {"content-type": "text/plain"}) == 415
    for body, status in ((b"\xff" * 40, 400), (b"", 401)):
        headers = {**HONEST, **identity(north)}
        caller.line.request("POST", FLEET + "pull-messages", body, headers)
        answer = caller.line.getresponse()
        answer.read()
        assert answer.status == status
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        caller.line.request(method, FLEET + "pull-messages", b"", {**HONEST, **identity(north)})
        answer = caller.line.getresponse()
        answer.read()
        assert answer.status == 403
    # Nothing of it hurt the line, or the next call.
    assert caller.status("pull-messages", pull, north) == 200


def test_a_site_that_is_revoked_is_refused_on_its_open_connection(
    port: ServerHome, as_site: Callable[[Any], Caller], party: Callable[..., Any]
) -> None:
    with Coordinator.opened(port) as coordinator:
        west = party("west").enrol(coordinator)
        caller = as_site(west)
        pull = PullMessagesRequest(node=Node(node_id=node_of(caller, west)))
        assert caller.status("pull-messages", pull, west) == 200
        coordinator.sites.revoke("west")
        assert caller.status("pull-messages", pull, west) == 403


def test_tls_before_1_3_is_refused(port: ServerHome, north: Any, tmp_path: Path) -> None:
    context = transport_of(north, tmp_path)
    context.load_verify_locations(port.key("ca.crt"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    line = http.client.HTTPSConnection(
        "127.0.0.1", port.config().fleet_port, context=context, timeout=10
    )
    with pytest.raises((ssl.SSLError, ConnectionError)):
        line.connect()
