"""A control service in an adversary's hand, over real mutual TLS: what it serves is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from tests.attacks.parties import World, public_constants

from reidscope_protocols.errors import (
    ConstantMismatchError,
    DeclinedCallError,
    NotEnrolledError,
    ReidscopeError,
    TransportError,
    UnreachableError,
)
from reidscope_protocols.proto import reidscope_pb2, reidscope_pb2_grpc
from reidscope_site.control import Control, control

TEXT = "P-3 \x1b[2J was found; see /home/somebody"
Serve = Callable[[Any, Any], Any]


class Hostile(reidscope_pb2_grpc.ControlServicer):  # type: ignore[misc]  # generated, untyped
    """Serves whatever a test says, without end if need be."""

    def __init__(self, serve: Serve) -> None:
        self.serve, self.chunks = serve, 0

    def Studies(self, request: Any, context: Any) -> Any:  # noqa: N802  # the .proto's name
        return self.serve(request, context)

    def Decide(self, request: Any, context: Any) -> Any:  # noqa: N802  # the .proto's name
        return self.serve(request, context)

    def Constant(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802  # the .proto's name
        del request
        while context.is_active():
            self.chunks += 1
            yield reidscope_pb2.Chunk(data=bytes(1 << 20))


@contextmanager
def at_the_other_end(world: World, hostile: Hostile) -> Iterator[Control]:
    """The site's own client on a service that holds the coordinator's true TLS key."""
    home = world.operator.home
    own = (home.key("tls.pem").read_bytes(), home.key("tls.crt").read_bytes())
    credentials = grpc.ssl_server_credentials(
        [own], root_certificates=home.key("ca.crt").read_bytes(), require_client_auth=True
    )
    server = grpc.server(
        ThreadPoolExecutor(max_workers=2), options=[("grpc.max_send_message_length", -1)]
    )
    reidscope_pb2_grpc.add_ControlServicer_to_server(hostile, server)
    server.add_secure_port(home.config().addresses.control, credentials)
    server.start()
    try:
        with control(world.north.home, world.north.agent.pinned) as channel:
            yield channel
    finally:
        server.stop(0).wait()


def test_a_constant_without_end_is_let_go_at_its_size(world: World) -> None:
    hostile = Hostile(lambda *_: None)
    (constant, *_) = public_constants()
    before = set(world.north.home.constants.iterdir())
    with (
        at_the_other_end(world, hostile) as channel,
        pytest.raises(ConstantMismatchError, match="more bytes"),
    ):
        channel.constant(constant)
    assert hostile.chunks < 100
    assert set(world.north.home.constants.iterdir()) == before


def test_forty_megabytes_of_studies_are_not_taken_in(world: World) -> None:
    hostile = Hostile(lambda *_: reidscope_pb2.Envelopes(dsse=[bytes(1 << 20)] * 40))
    with at_the_other_end(world, hostile) as channel, pytest.raises(TransportError) as caught:
        channel.studies()
    assert caught.value.exit_code == 50
    assert world.north.agent.studies.every() == ()


REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT: DeclinedCallError,
    grpc.StatusCode.PERMISSION_DENIED: NotEnrolledError,
    grpc.StatusCode.UNAVAILABLE: UnreachableError,
    grpc.StatusCode.INTERNAL: TransportError,
}


@pytest.mark.parametrize("code", REFUSALS, ids=lambda code: code.name)
def test_a_text_of_the_coordinators_never_reaches_a_terminal(
    world: World, code: grpc.StatusCode
) -> None:
    hostile = Hostile(lambda _, context: context.abort(code, TEXT))
    with at_the_other_end(world, hostile) as channel, pytest.raises(ReidscopeError) as caught:
        channel.decide(b"{}")
    assert type(caught.value) is REFUSALS[code]
    assert str(caught.value).isprintable()
    assert "P-3" not in str(caught.value)
    assert "somebody" not in str(caught.value)
