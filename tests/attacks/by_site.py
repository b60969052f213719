"""What a malicious site tries on the coordinator, and through it on the other sites."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.attacks.by_coordinator import HONEST
from tests.attacks.catalogue import Catalogue
from tests.attacks.parties import ROLE, Fields, SiteParty, World

from reidscope_protocols.enrolment import Invitation
from reidscope_protocols.envelope import Opened, peek_payload, sign, sign_payload
from reidscope_protocols.errors import (
    AdmissionError,
    BadSignatureError,
    ImplausibleError,
    MalformedError,
    ReplayedError,
    StaleError,
    TokenRefusedError,
    WrongAudienceError,
)
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.statements import Decision, Release
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_protocols.wire import RELEASE_FRAME, pad, unpad
from reidscope_site import enrol
from reidscope_site.preview import preview

CATALOGUE = Catalogue()
attack = CATALOGUE.attack


def hand_over(world: World, envelope: bytes, site: str = "north") -> None:
    """Have the coordinator take a release, as a round or an import does."""
    coordinator = world.operator.coordinator()
    try:
        coordinator.studies.take_release(envelope, site)
    finally:
        coordinator.close()


def decide(world: World, envelope: bytes, site: str = "north") -> None:
    coordinator = world.operator.coordinator()
    try:
        coordinator.studies.take_decision(envelope, site)
    finally:
        coordinator.close()


def decision(party: SiteParty, study: Opened[Study], **changes: Any) -> bytes:
    now = datetime.now(UTC)
    fields = {
        "audience": ("coordinator",),
        "issued_at": now,
        "not_after": now + timedelta(days=1),
        "study_sha256": study.sha256,
        "site": party.name,
        "verdict": Verdict.APPROVED,
        "reason": DecisionReason.REVIEWED,
        "role": ROLE,
        "package_version": "1",
        "package_sha256": "ab" * 32,
        "policy_sha256": "ab" * 32,
        "nonce": "1" * 32,
    }
    return sign(Decision(**{**fields, **changes}), party.agent_key or party.agent.statement_key)


def bent(world: World, **changes: Any) -> None:
    """Say something else of the first table, under the site's own true signature."""

    def bend(said: Fields) -> Fields:
        table = {**said["tables"][0], **changes}
        return {**said, "tables": [table, *said["tables"][1:]]}

    world.north.bend_release = bend
    hand_over(world, world.north.released(world.approved()))


# Numbers


@attack("a million people in one cell", ImplausibleError, **HONEST)
def _(world: World) -> None:
    bent(world, counts=[10**6, *[0] * 4])


@attack("a count far below nothing, to cancel another site's", ImplausibleError, **HONEST)
def _(world: World) -> None:
    bent(world, counts=[-(10**4), *[0] * 4])


@attack("noise large enough to excuse any count", ImplausibleError, **HONEST)
def _(world: World) -> None:
    bent(world, epsilon_nano=1, scale="1e9")


@attack("more epsilon than was asked for", ImplausibleError, **HONEST)
def _(world: World) -> None:
    bent(world, epsilon_nano=1_500_000_000, scale=repr(1 / 1.5))


@attack("a count that is no integer", MalformedError, **HONEST)
def _(world: World) -> None:
    bent(world, counts=[0.5, 0, 0, 0, 0])


@attack("a count of not-a-number", MalformedError, **HONEST)
def _(world: World) -> None:
    bent(world, counts=[float("nan"), 0, 0, 0, 0])


@attack("counts as text", MalformedError, **HONEST)
def _(world: World) -> None:
    bent(world, counts=["1", "2", "3", "4", "5"])


@attack("a hundred thousand counts", MalformedError, **HONEST)
def _(world: World) -> None:
    bent(world, counts=[1] * 100_000)


@attack("a cell less than was asked", MalformedError, **HONEST)
def _(world: World) -> None:
    bent(world, counts=[1, 2, 3, 4])


@attack("another mechanism", MalformedError, **HONEST)
def _(world: World) -> None:
    bent(world, mechanism="none at all")


@attack("a preview handed over as a release", BadSignatureError)
def _(world: World) -> None:
    hand_over(world, preview(world.approved(), world.north.agent.policy, "north"))


@attack("a note beside the tables", MalformedError, **HONEST)
def _(world: World) -> None:
    """A second channel: a field that no schema names."""
    world.north.bend_release = lambda said: {**said, "note": "P-3 was found"}
    hand_over(world, world.north.released(world.approved()))


# Names and keys


@attack("a release in another site's name", BadSignatureError, **HONEST)
def _(world: World) -> None:
    world.north.bend_release = lambda said: {**said, "site": "south"}
    hand_over(world, world.north.released(world.approved()), "south")


@attack("a release that names another site than its signer", WrongAudienceError, **HONEST)
def _(world: World) -> None:
    world.north.bend_release = lambda said: {**said, "site": "south"}
    hand_over(world, world.north.released(world.approved()))


@attack("another site's release as one's own", BadSignatureError, **HONEST)
def _(world: World) -> None:
    hand_over(world, world.north.released(world.approved()), "south")


@attack("a release by a key that was never enrolled", BadSignatureError, **HONEST)
def _(world: World) -> None:
    world.north.agent_key = StatementKey.generate()
    hand_over(world, world.north.released(world.approved()))


@attack("a release by a site that was revoked", BadSignatureError, **HONEST)
def _(world: World) -> None:
    envelope = world.north.released(world.approved())
    coordinator = world.operator.coordinator()
    coordinator.sites.revoke("north")
    coordinator.close()
    hand_over(world, envelope)


@attack("a release by a site that the study did not ask", WrongAudienceError)
def _(world: World) -> None:
    study = world.operator.open(sites=("south",))
    said = json.loads(peek_payload(preview(study, world.north.agent.policy, "north")))
    envelope = sign_payload(
        json.dumps(said).encode(),
        payload_type=Release.payload_type,
        key=world.north.agent.statement_key,
    )
    hand_over(world, envelope)


@attack("a release under a decision's payload type", MalformedError, **HONEST)
def _(world: World) -> None:
    payload = peek_payload(world.north.released(world.approved()))
    key = world.north.agent.statement_key
    hand_over(world, sign_payload(payload, payload_type=Decision.payload_type, key=key))


# Time and order


@attack("a release without a yes", AdmissionError, **HONEST)
def _(world: World) -> None:
    world.north.line.bend_decision = lambda _: None
    hand_over(world, world.north.released(world.approved()))


@attack("a release after a no", AdmissionError, **HONEST)
def _(world: World) -> None:
    study = world.approved()
    envelope = world.north.released(study)
    later = datetime.now(UTC) + timedelta(seconds=1)
    no = decision(world.north, study, issued_at=later, verdict=Verdict.WITHDRAWN)
    decide(world, no)
    hand_over(world, envelope)


@attack("a second release with other noise", ReplayedError, **HONEST, releases=1)
def _(world: World) -> None:
    """A site that liked its first draw less."""
    study = world.approved()
    hand_over(world, world.north.released(study))
    world.north.bend_release = lambda said: {**said, "declared_people": 21}
    hand_over(world, world.north.released(study))


@attack("a release of one study replayed for another", WrongAudienceError, **HONEST, releases=0)
def _(world: World) -> None:
    """Its digest is the other study's, under a name that both bear: the round asks for one."""
    first = world.approved()
    envelope = world.north.released(first)
    other = world.operator.open(study_id="faces-2", sites=("south",))
    said = {**json.loads(peek_payload(envelope)), "study_sha256": other.sha256}
    key = world.north.agent.statement_key
    bytes_ = json.dumps(said).encode()
    hand_over(world, sign_payload(bytes_, payload_type=Release.payload_type, key=key))


@attack("a release from before its study", StaleError, **HONEST)
def _(world: World) -> None:
    early = datetime.now(UTC) - timedelta(hours=1, minutes=6)
    world.north.bend_release = lambda said: {**said, "issued_at": early.isoformat()}
    hand_over(world, world.north.released(world.approved()))


@attack("a release from three hours ahead", StaleError, **HONEST)
def _(world: World) -> None:
    late = datetime.now(UTC) + timedelta(hours=3)
    world.north.bend_release = lambda said: {**said, "issued_at": late.isoformat()}
    hand_over(world, world.north.released(world.approved()))


@attack("an older yes after a later no", ReplayedError)
def _(world: World) -> None:
    study = world.operator.open()
    moment = datetime.now(UTC)
    decide(world, decision(world.north, study, issued_at=moment, verdict=Verdict.DECLINED))
    earlier = moment - timedelta(seconds=1)
    decide(world, decision(world.north, study, issued_at=earlier, nonce="2" * 32))


@attack("two decisions under one nonce", ReplayedError)
def _(world: World) -> None:
    study = world.operator.open()
    decide(world, decision(world.north, study))
    decide(world, decision(world.north, study, verdict=Verdict.DECLINED))


@attack("another site's yes", BadSignatureError)
def _(world: World) -> None:
    """North approves in south's name; neither connection carries it."""
    study = world.operator.open()
    envelope = decision(world.north, study, site="south")
    decide(world, envelope, "south")


@attack("a yes to a study that was never opened", MalformedError)
def _(world: World) -> None:
    study = world.operator.open()
    decide(world, decision(world.north, study, study_sha256="00" * 32))


@attack("a decision by the clock of tomorrow", StaleError)
def _(world: World) -> None:
    study = world.operator.open()
    now = datetime.now(UTC) + timedelta(hours=20)
    decide(world, decision(world.north, study, issued_at=now, not_after=now + timedelta(days=1)))


# Frames


@attack("a frame that is cut", MalformedError)
def _(world: World) -> None:
    del world
    unpad(pad(b"Nworking")[:-1])


@attack("a frame that hides something in its padding", MalformedError)
def _(world: World) -> None:
    del world
    unpad(pad(b"Nworking")[:-1] + b"\x01")


@attack("a frame whose length lies", MalformedError)
def _(world: World) -> None:
    del world
    unpad((RELEASE_FRAME + 1).to_bytes(4, "big") + bytes(RELEASE_FRAME - 4))


# Becoming a site


def invitation(world: World, site: str) -> Invitation:
    coordinator = world.operator.coordinator()
    made = coordinator.sites.invite(site)
    coordinator.close()
    return made


def enter(world: World, request: bytes, token: str) -> bytes:
    coordinator = world.operator.coordinator()
    try:
        return coordinator.sites.enrol(request, token)
    finally:
        coordinator.close()


def fresh(world: World, name: str) -> SiteParty:
    """A home of north's people that was never enrolled, under a name of their choice."""
    (world.north.home.key("transport.crt")).unlink()
    site_file = world.north.home.site_file
    site_file.write_text(site_file.read_text().replace('"north"', f'"{name}"'))
    return world.north


@attack("another site's token", TokenRefusedError)
def _(world: World) -> None:
    token = invitation(world, "west").token
    party = fresh(world, "east")
    request = enrol.request(party.home, invitation(world, "east"))
    enter(world, request, token)


@attack("a token used a second time", TokenRefusedError)
def _(world: World) -> None:
    invited = invitation(world, "west")
    request = enrol.request(fresh(world, "west").home, invited)
    enter(world, request, invited.token)
    enter(world, request, invited.token)


@attack("a certificate asked for in another site's name", BadSignatureError)
def _(world: World) -> None:
    """The request names a statement key that did not sign it."""
    invited = invitation(world, "south")
    payload = json.loads(peek_payload(enrol.request(fresh(world, "south").home, invited)))
    said = {**payload, "statement_key": world.south.agent.statement_key.public}
    envelope = sign_payload(
        json.dumps(said).encode(),
        payload_type="application/vnd.reidscope.enrolment-request+json",
        key=world.north.agent.statement_key,
    )
    enter(world, envelope, invited.token)


@attack("a grant for one site installed at another", WrongAudienceError)
def _(world: World) -> None:
    invited = invitation(world, "west")
    party = fresh(world, "west")
    grant = enter(world, enrol.request(party.home, invited), invited.token)
    site_file = party.home.site_file
    site_file.write_text(site_file.read_text().replace('"west"', '"east"'))
    enrol.install(party.home, invited, grant)


@attack("a grant whose certificate is for another key", MalformedError)
def _(world: World) -> None:
    """Whoever stands between has the certificate made for a key of theirs."""
    invited = invitation(world, "west")
    party = fresh(world, "west")
    grant = enter(world, enrol.request(party.home, invited), invited.token)
    for name in ("site.key", "statement.pem", "transport.pem"):
        party.home.key(name).unlink()
    enrol.make_keys(party.home)
    enrol.install(party.home, invited, grant)
