"""What somebody with the files of a home, or its disk, tries: at the site or at the coordinator."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

from tests.attacks.by_coordinator import HONEST, released_and_admitted
from tests.attacks.catalogue import Catalogue
from tests.attacks.parties import World

from reidscope_protocols.envelope import peek_payload, sign_payload
from reidscope_protocols.errors import (
    BadSignatureError,
    ConfigError,
    ConsentMissingError,
    InputError,
    LedgerError,
    PolicyRefusalError,
)
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_server.publish import publish

CATALOGUE = Catalogue()
attack = CATALOGUE.attack


@attack("a role that may not decide", PolicyRefusalError)
def _(world: World) -> None:
    study = world.approved()
    world.north.agent.decide(
        study.sha256, Verdict.APPROVED, role="janitor", reason=DecisionReason.REVIEWED
    )


@attack("a no after looking", PolicyRefusalError)
def _(world: World) -> None:
    """Whoever withdraws once outcomes exist chooses by the data."""
    study = world.approved()
    world.north.evaluate(study)
    world.north.agent.decide(
        study.sha256, Verdict.WITHDRAWN, role="data protection officer",
        reason=DecisionReason.REVIEWED,
    )  # fmt: skip


@attack("a cap raised after the approval", ConsentMissingError)
def _(world: World) -> None:
    study = world.approved()
    file = world.north.home.policy_file
    file.write_text(file.read_text().replace('"4"', '"400"'))
    world.north.measure(study)


@attack("one person left out after the approval", ConsentMissingError)
def _(world: World) -> None:
    study = world.approved()
    world.north.index(world.north.people(without=2))
    world.north.measure(study)


@attack("a refund written into the ledger", LedgerError)
def _(world: World) -> None:
    study = world.approved()
    insert = "INSERT INTO ledger VALUES (1, 'refund', '', '', 0, '', zeroblob(32), '', '', 0)"
    world.north.agent.connection.execute(insert)
    try:
        world.north.measure(study)
    finally:
        world.north.agent.connection.execute("DELETE FROM ledger")


@attack("a person's sealed outcome put in another's place", LedgerError)
def _(world: World) -> None:
    study = world.approved()
    world.north.evaluate(study)
    world.north.agent.connection.execute(
        "UPDATE outcome SET sealed = (SELECT sealed FROM outcome WHERE pseudonym = 'P-1')"
    )
    world.north.measure(study)


@attack("an outcome shortened to learn its length's meaning", LedgerError)
def _(world: World) -> None:
    study = world.approved()
    world.north.evaluate(study)
    world.north.agent.connection.execute("UPDATE outcome SET sealed = substr(sealed, 1, 20)")
    world.north.measure(study)


@attack("a stored release edited before it is sent", LedgerError, **HONEST)
def _(world: World) -> None:
    study = world.approved()
    world.north.measure(study)
    connection = world.north.agent.connection
    connection.execute("UPDATE released SET envelope = CAST('other' AS BLOB)")
    world.north.answer(study.sha256)


@attack("keys that others can read", ConfigError)
def _(world: World) -> None:
    study = world.approved()
    world.north.evaluate(study)
    world.north.home.key("statement.pem").chmod(0o644)
    world.north.measure(study)


@attack("yesterday's database put back", LedgerError)
def _(world: World) -> None:
    """With a witness beside it: the charge that it forgot is not made twice."""
    witnessed(world)
    agent = world.north.agent
    study = world.approved()
    connection = agent.connection
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    kept = world.north.home.database.read_bytes()
    agent.ledger.charge(study.sha256, "tables", PrivacyLoss(1), agent.policy)
    agent.close()
    for side in ("-wal", "-shm"):
        Path(f"{world.north.home.database}{side}").unlink(missing_ok=True)
    world.north.home.database.write_bytes(kept)
    world.north.agent = type(agent)(world.north.home)
    try:
        world.north.measure(study)
    finally:
        unwitnessed(world)


@attack("a copy of the whole home run beside it", LedgerError)
def _(world: World) -> None:
    witnessed(world)
    study = world.approved()
    agent = world.north.agent
    agent.ledger.charge("00" * 32, "tables", PrivacyLoss(1), agent.policy)
    agent.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    elsewhere = world.north.home.root.with_name("copy")
    shutil.copytree(world.north.home.root, elsewhere)
    copied = type(agent)(type(world.north.home)(elsewhere))
    world.north.agent, held = copied, agent
    try:
        world.north.measure(study)
    finally:
        copied.close()
        world.north.agent = held
        held.connection.execute("DELETE FROM ledger")
        unwitnessed(world)


def witnessed(world: World) -> None:
    """Give north a witness; its agent starts again."""
    home = world.north.home
    elsewhere = home.root.with_name("elsewhere")
    elsewhere.mkdir()
    text = home.site_file.read_text().replace('witness = ""', f'witness = "{elsewhere}/witness"')
    assert "elsewhere" in text
    home.site_file.write_text(text)
    world.north.agent.close()
    world.north.agent = type(world.north.agent)(home)


def unwitnessed(world: World) -> None:
    """Look at the ledger alone, as the checks after every attack do."""
    world.north.agent.ledger._witness = None


# The coordinator's host


def resaid(envelope: bytes) -> bytes:
    """Change one number inside a signed envelope, and keep its signature."""
    said = json.loads(peek_payload(envelope))
    payload = json.dumps({**said, "declared_people": 21}).encode()
    return json.dumps(
        {**json.loads(envelope), "payload": base64.b64encode(payload).decode()}
    ).encode()


@attack("a stored release altered before the report", BadSignatureError, **HONEST, releases=1)
def _(world: World) -> None:
    released_and_admitted(world)
    coordinator = world.operator.coordinator()
    connection = coordinator.studies._connection
    (envelope,) = connection.execute("SELECT envelope FROM release").fetchone()
    forged = resaid(envelope)
    assert forged != envelope
    connection.execute("UPDATE release SET envelope = ?", (forged,))
    try:
        publish(coordinator, "faces-1", world.operator.home.root / "report", notices=())
    finally:
        coordinator.close()


@attack("one site's release put in another's row", BadSignatureError, **HONEST, releases=1)
def _(world: World) -> None:
    released_and_admitted(world)
    coordinator = world.operator.coordinator()
    coordinator.studies._connection.execute("UPDATE release SET site = 'south'")
    try:
        publish(coordinator, "faces-1", world.operator.home.root / "report", notices=())
    finally:
        coordinator.close()


@attack("a release of the operator's own making", BadSignatureError)
def _(world: World) -> None:
    """He holds the coordinator's keys, and no site's."""
    study = world.approved()
    envelope = sign_payload(
        b'{"schema":"reidscope.release/1.0"}',
        payload_type="application/vnd.reidscope.release+json",
        key=world.operator.own_key,
    )
    coordinator = world.operator.coordinator()
    coordinator.studies._connection.execute(
        "INSERT INTO release VALUES (?, 'north', ?, '')", (study.sha256, envelope)
    )
    try:
        publish(coordinator, "faces-1", world.operator.home.root / "report", notices=())
    finally:
        coordinator.studies._connection.execute("DELETE FROM release")
        coordinator.close()


@attack("a study put into the coordinator's table past its checks", BadSignatureError)
def _(world: World) -> None:
    """Whoever has the host, but not the study key: no site takes it, and no round starts."""
    world.operator.study_key = world.operator.own_key
    envelope = world.operator.study()
    world.operator.put(envelope)
    world.north.exchange()
    assert world.north.agent.studies.every() == ()
    world.north.agent.studies.receive(envelope)


@attack("a second study under an open study's name", InputError)
def _(world: World) -> None:
    """A round that asks for "faces-1" must never mean two things."""
    world.operator.open()
    world.operator.open(title="Another")
