"""A disk that fills, at the site and at the coordinator: nothing twice, nothing stuck."""

from __future__ import annotations

import sqlite3
from typing import Any

import grpc
import pytest
from tests.attacks.parties import World

from reidscope_protocols.errors import OutcomeMissingError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.proto import reidscope_pb2, reidscope_pb2_grpc
from reidscope_server import service, up
from reidscope_server.flower import Reply


def fill(connection: sqlite3.Connection, room: int) -> None:
    """Leave room for so many more pages."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {max(1, pages - free + room)}")


def make_room(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1000000")


@pytest.mark.parametrize("room", range(6))
def test_a_site_whose_disk_fills_while_it_releases_spends_once_and_goes_on(
    world: World, room: int
) -> None:
    study = world.approved()
    world.north.evaluate(study)
    connection = world.north.agent.connection
    fill(connection, room)
    failed = False
    try:
        world.north.measure(study)
    except sqlite3.OperationalError:
        failed = True
    make_room(connection)
    ledger = world.north.agent.ledger
    ledger.check()
    charged = ledger.charged(study.sha256)
    assert ledger.spent() in (PrivacyLoss(0), study.statement.loss)
    if failed and charged and ledger.stored(study.sha256) is None:
        with pytest.raises(OutcomeMissingError):
            world.north.measure(study)
        assert world.north.answer(study.sha256) in {b"Nworking", b"Nlost"}
    else:
        world.north.measure(study)
        assert world.north.answer(study.sha256)[:1] == b"R"
    ledger.check()
    assert ledger.spent() == study.statement.loss


class Carrier:
    """What a turn sees of Flower: one reply, again and again."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def ask(self, wanted: dict[str, str]) -> None:
        del wanted

    def replies(self) -> tuple[Reply, ...]:
        return (self.reply,)


def test_a_coordinator_that_cannot_write_says_so_once_and_takes_the_release_later(
    world: World,
) -> None:
    study = world.approved()
    world.north.measure(study)
    content = world.north.answer(study.sha256)
    carrier: Any = Carrier(Reply(site="north", study_sha256=study.sha256, content=content))
    coordinator = world.operator.coordinator()
    connection = coordinator.studies._connection
    # A failing disk is mounted read-only by the system; SQLite says both with one error class.
    connection.execute("PRAGMA query_only = ON")
    said: list[str] = []
    failing = False
    for _ in range(3):
        failing = up._turn(coordinator, carrier, said.append, failing=failing)
        assert failing
    assert said == ["rounds: the disk is full or fails; make room, and they go on"]
    assert coordinator.studies.release_of(study.sha256, "north") is None
    connection.execute("PRAGMA query_only = OFF")
    assert not up._turn(coordinator, carrier, said.append, failing=failing)
    assert coordinator.studies.release_of(study.sha256, "north") == content[1:]
    assert len(coordinator.studies.receipts_for("north")) == 1
    coordinator.close()


def test_a_decision_for_which_there_is_no_room_is_asked_for_later_without_a_text(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = world.operator.open()
    world.north.exchange()
    world.north.index()
    world.north.approve(study.sha256)
    (waiting,) = world.north.agent.outbox.waiting("decision")

    def full(*_: object) -> None:
        message = "database or disk is full: /home/somebody/state.sqlite"
        raise sqlite3.OperationalError(message)

    monkeypatch.setattr("reidscope_server.studies.Studies.take_decision", full)
    home = world.operator.home
    server = service.control_server(home)
    server.start()
    credentials = grpc.ssl_channel_credentials(
        home.key("ca.crt").read_bytes(),
        world.north.home.key("transport.pem").read_bytes(),
        world.north.home.key("transport.crt").read_bytes(),
    )
    with grpc.secure_channel(home.config().addresses.control, credentials) as channel:
        stub = reidscope_pb2_grpc.ControlStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Decide(reidscope_pb2.Envelope(dsse=waiting.envelope), timeout=10)
    server.stop(0).wait()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "try again"
