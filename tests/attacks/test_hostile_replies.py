"""A fleet port in an adversary's hand, over real mutual TLS: what it answers leads nowhere."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse
from flwr.proto.message_pb2 import Message, ObjectTree
from flwr.proto.node_pb2 import Node
from tests.attacks.parties import World

from reidscope_protocols.errors import TransportError
from reidscope_site import flower
from reidscope_site.fleet_line import LARGEST_REPLY

Serve = Callable[[BaseHTTPRequestHandler], None]


def answered(request: BaseHTTPRequestHandler, status: int, body: bytes = b"", **head: str) -> None:
    """One whole answer; header names with underscores for hyphens."""
    request.rfile.read(int(request.headers["content-length"]))
    request.send_response(status)
    for name, value in {"content_length": str(len(body)), **head}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    with suppress(ConnectionError, ssl.SSLError):  # whom it is for may have hung up by now
        request.wfile.write(body)


class Port:
    """The fleet port as `serve` answers it, and what came in."""

    def __init__(self, world: World, serve: Serve) -> None:
        self.asked: list[dict[str, str]] = []
        home, port = world.operator.home, self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # http.server's name
                port.asked.append({k.lower(): v for k, v in self.headers.items()})
                serve(self)

            def log_message(self, *_said: Any) -> None:
                """Say nothing."""

        host, _, number = home.config().addresses.fleet.rpartition(":")
        self.server = ThreadingHTTPServer((host, int(number)), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(home.key("tls.crt"), home.key("tls.pem"))
        context.load_verify_locations(home.key("ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)


@contextmanager
def at_the_other_end(world: World, serve: Serve) -> Iterator[tuple[Any, Port]]:
    """The site's own client on a port that holds the coordinator's true TLS key."""
    port = Port(world, serve)
    thread = threading.Thread(target=port.server.serve_forever, daemon=True)
    thread.start()
    agent = world.north.agent
    door = flower.FleetDoor(
        address=agent.pinned.addresses.fleet,
        ca_pem=agent.pinned.roots_pem,
        certificate_file=str(agent.home.certificate),
        key_file=str(agent.home.key("transport.pem")),
    )
    try:
        with flower._client(door) as client:
            yield client, port
    finally:
        port.server.shutdown()
        port.server.server_close()


PULL = PullMessagesRequest(node=Node(node_id=1))


@pytest.fixture
def decoy() -> Iterator[tuple[int, list[bytes]]]:
    """A listener that nobody pinned, and whatever somebody said to it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                with suppress(TimeoutError, OSError):
                    line, _ = listener.accept()
                    line.settimeout(1)
                    heard.append(b"somebody")
                    with line:
                        heard.append(line.recv(1000))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        ended.set()
        thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_redirect_leads_an_agent_to_no_other_address(
    world: World, decoy: tuple[int, list[bytes]], status: int, scheme: str
) -> None:
    """Or a coordinator could knock at any door inside a hospital, in the agent's name."""
    number, heard = decoy
    where = f"{scheme}://127.0.0.1:{number}/v1/fleet/pull-messages"
    with at_the_other_end(world, lambda asked: answered(asked, status, location=where)) as (
        client,
        port,
    ):
        with pytest.raises(TransportError, match="redirect"):
            client.PullMessages(PULL)
        time.sleep(0.3)
    assert heard == []
    assert len(port.asked) == 1


def test_a_reply_of_64_megabytes_is_let_go_at_its_bound(world: World) -> None:
    sent = []

    def without_end(asked: BaseHTTPRequestHandler) -> None:
        asked.rfile.read(int(asked.headers["content-length"]))
        asked.send_response(200)
        asked.send_header("content-length", str(64 << 20))
        asked.end_headers()
        with suppress(ConnectionError, ssl.SSLError):
            for _ in range(1024):
                asked.wfile.write(bytes(64 << 10))
                sent.append(64 << 10)

    with (
        at_the_other_end(world, without_end) as (client, _port),
        pytest.raises(TransportError, match=f"more than {LARGEST_REPLY} bytes"),
    ):
        client.PullMessages(PULL)
    assert sum(sent) < 32 << 20  # what the sockets' buffers took, and no more


def test_a_packed_reply_is_not_unpacked(world: World) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    with (
        at_the_other_end(
            world, lambda asked: answered(asked, 200, bomb, content_encoding="gzip")
        ) as (client, port),
        pytest.raises(TransportError, match="packed"),
    ):
        client.PullMessages(PULL)
    assert port.asked[0]["accept-encoding"] == "identity"


def test_a_cookie_is_never_said_back(world: World) -> None:
    with at_the_other_end(
        world, lambda asked: answered(asked, 200, set_cookie="who=north; Path=/")
    ) as (client, port):
        for _ in range(3):
            assert client.PullMessages(PULL) == PullMessagesResponse()
    assert len(port.asked) == 3
    assert all("cookie" not in headers for headers in port.asked)


def test_an_error_page_is_no_answer(world: World) -> None:
    with (
        at_the_other_end(world, lambda asked: answered(asked, 500, b"P-3 was found")) as (
            client,
            _,
        ),
        pytest.raises(httpx.HTTPStatusError),
    ):
        client.PullMessages(PULL)


def test_a_query_of_a_thousand_objects_is_not_fetched(world: World) -> None:
    """They would be asked for one by one, and held."""
    children = [ObjectTree(object_id=f"{number:064x}") for number in range(1000)]
    pulled = PullMessagesResponse(
        messages_list=[Message()],
        message_object_trees=[ObjectTree(object_id="a" * 64, children=children)],
    )
    with (
        at_the_other_end(world, lambda asked: answered(asked, 200, pulled.SerializeToString())) as (
            client,
            port,
        ),
        pytest.raises(TransportError, match="more than 16 objects"),
    ):
        flower._reply(client, Node(node_id=1), client.PullMessages(PULL), lambda _: b"")
    assert len(port.asked) == 1
