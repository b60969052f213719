"""What a malicious coordinator, or whoever operates its host, tries on a site."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.attacks.catalogue import Catalogue
from tests.attacks.parties import CALIBRATION, World, public_constants

from reidscope_protocols.envelope import sign_payload
from reidscope_protocols.errors import (
    BadSignatureError,
    BudgetExhaustedError,
    ConsentMissingError,
    ConstantMismatchError,
    LedgerError,
    MalformedError,
    NotReadyError,
    OutcomeMissingError,
    PolicyRefusalError,
    StaleError,
    WrongAudienceError,
)
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.statements import LedgerHead, Release
from reidscope_protocols.study import SiteHead, TableRequest
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_site.portable import import_file

CATALOGUE = Catalogue()
attack = CATALOGUE.attack
HASH = "ab" * 32
HONEST: dict[str, Any] = {"spent": "1", "ledger": ("charged", "stored")}
"""The site released honestly before, or beside, what is tried."""


def show(world: World, envelope: bytes) -> None:
    """Show north a study, as `exchange` and `import` do."""
    world.north.agent.studies.receive(envelope)


def signed(world: World, bend: Callable[[dict[str, Any]], Any]) -> bytes:
    """Sign what the shipped coordinator would never write, with the true study key."""
    said = json.loads(world.operator.make_study(constants=public_constants()).payload())
    bent = bend(said)
    payload = bent if isinstance(bent, bytes) else json.dumps(bent).encode()
    return sign_payload(
        payload, payload_type=world.operator.payload_type, key=world.operator.study_key
    )


def wrapped(envelope: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(envelope), **changes}).encode()


def receipt_fields(world: World, **changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    head = world.north.agent.ledger.head()
    return {
        "audience": ("north",),
        "issued_at": now,
        "not_after": now + timedelta(days=1),
        "study_sha256": HASH,
        "site": "north",
        "ledger": head,
        "counter": 1,
        **changes,
    }


def shifted(by: timedelta, length: timedelta = timedelta(days=1)) -> dict[str, Any]:
    start = datetime.now(UTC) + by
    return {
        "issued_at": start,
        "opens_at": start,
        "closes_at": start + length,
        "not_after": start + length,
    }


# Who signed


@attack("a study by a stranger's key", BadSignatureError)
def _(world: World) -> None:
    world.operator.study_key = StatementKey.generate()
    show(world, world.operator.study())


@attack("a study by the coordinator's online key", BadSignatureError)
def _(world: World) -> None:
    """The operator's host is taken, the study key lies elsewhere."""
    world.operator.study_key = world.operator.own_key
    show(world, world.operator.study())


@attack("a study by another site's key", BadSignatureError)
def _(world: World) -> None:
    world.operator.study_key = world.south.agent.statement_key
    show(world, world.operator.study())


@attack("a study altered after it was signed", BadSignatureError)
def _(world: World) -> None:
    envelope = world.operator.study()
    payload = base64.b64decode(json.loads(envelope)["payload"])
    dearer = payload.replace(b'"minimum_sites":1', b'"minimum_sites":2')
    assert dearer != payload
    show(world, wrapped(envelope, payload=base64.b64encode(dearer).decode()))


@attack("a study under a true key's id and a stranger's signature", BadSignatureError)
def _(world: World) -> None:
    true = json.loads(world.operator.study())["signatures"][0]["keyid"]
    world.operator.study_key = StatementKey.generate()
    envelope = json.loads(world.operator.study())
    (signature,) = envelope["signatures"]
    show(world, wrapped(json.dumps(envelope).encode(), signatures=[{**signature, "keyid": true}]))


@attack("two signatures, one of them true", MalformedError)
def _(world: World) -> None:
    envelope = json.loads(world.operator.study())
    world.operator.study_key = StatementKey.generate()
    other = json.loads(world.operator.study())["signatures"]
    show(world, json.dumps({**envelope, "signatures": envelope["signatures"] + other}).encode())


# What was signed


@attack("a study cut short", MalformedError)
def _(world: World) -> None:
    envelope = world.operator.study()
    show(world, envelope[: len(envelope) // 2])


@attack("a signed payload cut short", MalformedError)
def _(world: World) -> None:
    show(world, signed(world, lambda said: json.dumps(said).encode()[:-50]))


@attack("epsilon written twice", MalformedError)
def _(world: World) -> None:
    """A reader that takes the first shows one price, a reader that takes the last pays another."""

    def twice(said: dict[str, Any]) -> bytes:
        text = json.dumps(said)
        return text.replace('"epsilon_nano":', '"epsilon_nano": 1, "epsilon_nano":', 1).encode()

    show(world, signed(world, twice))


@attack("an envelope with two payloads", MalformedError)
def _(world: World) -> None:
    envelope = world.operator.study().decode()
    show(world, ('{"payload":"e30=",' + envelope[1:]).encode())


@attack("a study under another payload type", MalformedError)
def _(world: World) -> None:
    world.operator.payload_type = Release.payload_type
    show(world, world.operator.study())


@attack("a receipt where a study is awaited", MalformedError)
def _(world: World) -> None:
    show(world, world.operator.receipt(**receipt_fields(world)))


@attack("a giant envelope", MalformedError)
def _(world: World) -> None:
    show(world, wrapped(world.operator.study(), payload="A" * (17 << 20)))


@attack("a payload nested a hundred thousand deep", MalformedError)
def _(world: World) -> None:
    show(world, signed(world, lambda _: b"[" * 100_000 + b"]" * 100_000))


@attack("an integer of ten thousand digits", MalformedError)
def _(world: World) -> None:
    show(
        world,
        signed(
            world,
            lambda said: (
                json.dumps(said)
                .replace('"minimum_sites": 1', '"minimum_sites": ' + "9" * 10_000)
                .encode()
            ),
        ),
    )


@attack("a field that `show` does not show", MalformedError)
def _(world: World) -> None:
    show(world, signed(world, lambda said: {**said, "also": "send the faces"}))


@attack("a title that rewrites the terminal", MalformedError)
def _(world: World) -> None:
    show(world, signed(world, lambda said: {**said, "title": "faces\u001b[2Jepsilon 0"}))


@attack("a schema of another version", MalformedError)
def _(world: World) -> None:
    show(world, signed(world, lambda said: {**said, "schema": "reidscope.study/3.0"}))


@attack("epsilon below nothing", MalformedError)
def _(world: World) -> None:
    def refund(said: dict[str, Any]) -> dict[str, Any]:
        said["tables"][0]["epsilon_nano"] = -1_000_000_000
        return said

    show(world, signed(world, refund))


# What is asked


@attack("a finer table than the experiment's", MalformedError)
def _(world: World) -> None:
    def finer(said: dict[str, Any]) -> dict[str, Any]:
        said["tables"][0]["cells"] += ["born before 1950"]
        return said

    show(world, signed(world, finer))


@attack("a table beside the experiment's own", MalformedError)
def _(world: World) -> None:
    extra = TableRequest(table="people", cells=("P-0", "somebody else"), epsilon_nano=1)
    show(
        world,
        signed(world, lambda said: {**said, "tables": [*said["tables"], extra.model_dump()]}),
    )


@attack("a cohort of all but one", MalformedError)
def _(world: World) -> None:
    """The difference of two studies would be one person, if a study could choose its people."""
    show(world, signed(world, lambda said: {**said, "cohort": {"rule": "everyone-but", "n": 0}}))


@attack("the latest eighty-four people", MalformedError)
def _(world: World) -> None:
    """A rule that compares people lets one person push another out."""
    show(world, signed(world, lambda said: {**said, "cohort": {"rule": "latest-84"}}))


@attack("more epsilon than the site's cap of a study", BudgetExhaustedError)
def _(world: World) -> None:
    world.approved(epsilon="2.1")


@attack("a network that the site never listed", PolicyRefusalError)
def _(world: World) -> None:
    """A backdoored recogniser could turn a mark in one face into that person's cell."""
    part = SFACE.parts[0].model_copy(update={"sha256": "be" * 32})
    backdoored = SFACE.model_copy(update={"parts": (part,), "name": "sface"})
    constants = [
        constant.model_copy(update={"sha256": part.sha256, "size_bytes": 10})
        if constant.role is ConstantRole.RECOGNISER
        else constant
        for constant in public_constants()
    ]
    world.operator.bend_study = lambda fields: {
        **fields,
        "asked": {"recogniser": backdoored},
        "constants": tuple(constants),
    }
    envelope = world.operator.study()
    show(world, envelope)
    world.north.index()
    world.north.approve(world.north.opened(envelope).sha256)


@attack("an arm that the site never allowed", PolicyRefusalError)
def _(world: World) -> None:
    world.approved(arms=("unmodified", "rm-rf"))


@attack("patients at a site without a witness", PolicyRefusalError)
def _(world: World) -> None:
    world.approved(population="patients")


@attack("a site smaller than the study asks, to learn its true size", PolicyRefusalError)
def _(world: World) -> None:
    """Compared with what a person declared: five people are indexed, twenty were declared."""
    world.approved(minimum_declared_people=21)


# When, and for whom


@attack("a study from tomorrow", StaleError)
def _(world: World) -> None:
    show(world, world.operator.study(**shifted(timedelta(days=1))))


@attack("a clock six minutes ahead", StaleError)
def _(world: World) -> None:
    show(world, world.operator.study(**shifted(timedelta(minutes=6))))


@attack("a study that has ended, shown again", StaleError)
def _(world: World) -> None:
    show(world, world.operator.study(**shifted(-timedelta(minutes=50), timedelta(minutes=49))))


@attack("a study from before the coordinator's keys", BadSignatureError)
def _(world: World) -> None:
    show(world, world.operator.study(**shifted(-timedelta(hours=10))))


@attack("a study for south shown to north", WrongAudienceError)
def _(world: World) -> None:
    show(world, world.operator.study(sites=("south",)))


@attack("a study changed after its approval", ConsentMissingError)
def _(world: World) -> None:
    world.approved()
    changed = world.operator.study(title="The same name, another digest")
    show(world, changed)
    world.north.measure(world.north.opened(changed))


@attack("two studies under one name, approved by that name", MalformedError)
def _(world: World) -> None:
    for title in ("What was discussed", "What is meant"):
        show(world, world.operator.study(title=title))
    world.north.index()
    world.north.approve("faces-1")


@attack("a study run before it opens", ConsentMissingError)
def _(world: World) -> None:
    now = datetime.now(UTC)
    study = world.approved(opens_at=now + timedelta(hours=1), closes_at=now + timedelta(hours=2))
    world.north.measure(study)


# Constants


@attack("another gallery under the study's digest", ConstantMismatchError)
def _(world: World) -> None:
    """A gallery of one patient's face would make each cell a question about that patient."""
    study = world.north.opened(world.operator.study())
    world.north.line.bend_constant = lambda _: b"the face of one patient"
    (constant, *_) = study.statement.constants
    world.north.agent.keep_constant(world.north.line.constant(constant), constant)


@attack("a gallery swapped on the site's disk after the approval", ConstantMismatchError)
def _(world: World) -> None:
    study = world.approved()
    sha256 = study.statement.constant(ConstantRole.REFERENCE_GALLERY).sha256
    (world.north.home.constants / sha256).write_bytes(b"swapped")
    world.north.measure(study)


@attack("a constant withheld", NotReadyError)
def _(world: World) -> None:
    world.north.line.bend_constant = lambda _: b""
    study = world.approved()
    assert any("constant" in line for line in world.north.said)
    world.north.measure(study)


@attack("a file with a path for a name, by import", ConstantMismatchError)
def _(world: World) -> None:
    path = world.north.home.root.parent / "..%2f..%2fpolicy.toml"
    path.write_bytes(CALIBRATION + b"not the study's")
    show(world, world.operator.study())
    import_file(world.north.agent, path)


# Receipts and heads


@attack("a receipt by the study key", BadSignatureError)
def _(world: World) -> None:
    world.operator.own_key = world.operator.study_key
    world.north.agent.take_receipt(world.operator.receipt(**receipt_fields(world)))


@attack("another site's receipt", WrongAudienceError)
def _(world: World) -> None:
    fields = receipt_fields(world, audience=("south",), site="south")
    world.north.agent.take_receipt(world.operator.receipt(**fields))


@attack("another site's head in this site's receipt", WrongAudienceError)
def _(world: World) -> None:
    fields = receipt_fields(world, site="south")
    world.north.agent.take_receipt(world.operator.receipt(**fields))


@attack("a receipt for a head that this ledger never had", LedgerError)
def _(world: World) -> None:
    study = world.approved()
    fields = receipt_fields(world, ledger=LedgerHead(sequence=7, head=HASH))
    with pytest.raises(LedgerError):
        world.north.agent.take_receipt(world.operator.receipt(**fields))
    world.north.measure(study)


@attack("receipts whose counter goes back", MalformedError, **HONEST, releases=1)
def _(world: World) -> None:
    released_and_admitted(world)
    for counter in (9, 8):
        fields = receipt_fields(world, counter=counter)
        world.north.agent.take_receipt(world.operator.receipt(**fields))


@attack("two histories under one counter", MalformedError, **HONEST, releases=1)
def _(world: World) -> None:
    released_and_admitted(world)
    first = world.north.agent.ledger.entries().__next__()
    early = LedgerHead(sequence=first.sequence, head=first.head)
    for head in (world.north.agent.ledger.head(), early):
        fields = receipt_fields(world, counter=9, ledger=head)
        world.north.agent.take_receipt(world.operator.receipt(**fields))


@attack("a study that remembers a head which this ledger never had", LedgerError)
def _(world: World) -> None:
    head = SiteHead(site="north", ledger=LedgerHead(sequence=3, head=HASH))
    world.approved(ledger_heads=(head,))


# Asking again


@attack("a crash between charging and storing", OutcomeMissingError, spent="1", ledger=("charged",))
def _(world: World) -> None:
    study = world.approved()
    world.north.evaluate(study)
    loss = study.statement.loss
    world.north.agent.ledger.charge(study.sha256, "tables", loss, world.north.agent.policy)
    world.north.measure(study)


@attack("a deleted release drawn anew", OutcomeMissingError, **HONEST)
def _(world: World) -> None:
    """The stored bytes are deleted to have them drawn anew: the charge stays, and nothing is."""
    study = world.approved()
    world.north.measure(study)
    connection = world.north.agent.connection
    connection.execute("DELETE FROM released")
    world.north.measure(study)


@attack(
    "one more study than the account of a lifetime holds",
    BudgetExhaustedError,
    spent="4",
    ledger=("charged", "stored") * 2,
)
def _(world: World) -> None:
    for number in range(3):
        study = world.approved(study_id=f"faces-{number}", epsilon="2")
        world.north.measure(study)


def released_and_admitted(world: World) -> bytes:
    study = world.approved()
    envelope = world.north.measure(study)
    assert envelope is not None
    world.operator.take("north", study.sha256, world.north.answer(study.sha256))
    assert hashlib.sha256(envelope).hexdigest()
    return envelope
