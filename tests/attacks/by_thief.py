"""What somebody tries who holds a key that was stolen, given up, or never theirs."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from tests.attacks.catalogue import Catalogue
from tests.attacks.parties import ROLE, World

from reidscope_protocols.enrolment import certificate_sha256
from reidscope_protocols.envelope import sign
from reidscope_protocols.errors import (
    BadSignatureError,
    ConfigError,
    InputError,
    PolicyRefusalError,
    ReplayedError,
    StaleError,
    WrongAudienceError,
)
from reidscope_protocols.key_change import RootChange, sign_change
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.statements import COORDINATOR, WORLD
from reidscope_protocols.vocabulary import DecisionReason, KeyRole, Verdict
from reidscope_server.ca import new_authority
from reidscope_server.config import ServerHome, write_config
from reidscope_server.key_files import remember, signing_key
from reidscope_server.own_keys import rotate_own
from reidscope_server.sealing_keys import seal_keys
from reidscope_site.config import Home, Policy, SiteConfig, write_new_home
from reidscope_site.enrol import certificate_request, install, make_keys, request

CATALOGUE = Catalogue()
attack = CATALOGUE.attack
_PASSPHRASE = "five words out of hats"


def change(world: World, old: StatementKey, new: StatementKey, **changes: Any) -> bytes:
    """A change of north's keys, as `keys rotate` signs it."""
    fields = {
        "role": KeyRole.SITE,
        "site": "north",
        "audience": (COORDINATOR,),
        "now": datetime.now(UTC),
        "lasts": timedelta(days=30),
        "csr_pem": certificate_request(ec.generate_private_key(ec.SECP256R1()), "north"),
        "ca_sha256": certificate_sha256(world.operator.home.key("ca.crt").read_text()),
    }
    return sign_change(old, new, **{**fields, **changes})


def rotate(world: World, envelope: bytes) -> None:
    coordinator = world.operator.coordinator()
    try:
        coordinator.sites.keys.change(envelope, "north")
    finally:
        coordinator.close()


@attack("a change of keys by another site's key", BadSignatureError)
def _(world: World) -> None:
    """South names a key of its own as north's successor."""
    rotate(world, change(world, world.south.agent.statement_key, StatementKey.generate()))


@attack("a change of keys by the new key alone", BadSignatureError)
def _(world: World) -> None:
    """Whoever has no old key signs with the new one twice."""
    new = StatementKey.generate()
    rotate(world, change(world, new, new))


@attack("a change of keys in another site's name", BadSignatureError)
def _(world: World) -> None:
    """North's true key hands over south's voice."""
    key = world.north.agent.statement_key
    rotate(world, change(world, key, StatementKey.generate(), site="south"))


@attack("a key that hands over twice", BadSignatureError)
def _(world: World) -> None:
    """The old key is stolen after it was followed by another."""
    old = world.north.agent.statement_key
    rotate(world, change(world, old, StatementKey.generate()))
    rotate(world, change(world, old, StatementKey.generate()))


@attack("a change of keys that was kept for a year", StaleError)
def _(world: World) -> None:
    """An old change is found and played back."""
    key, then = world.north.agent.statement_key, datetime.now(UTC) - timedelta(hours=12)
    late = change(world, key, StatementKey.generate(), now=then, lasts=timedelta(hours=6))
    rotate(world, late)


@attack("a change of keys after revocation", InputError)
def _(world: World) -> None:
    """A revoked site's key names a successor."""
    coordinator = world.operator.coordinator()
    coordinator.sites.revoke("north")
    coordinator.close()
    rotate(world, change(world, world.north.agent.statement_key, StatementKey.generate()))


@attack("a study by a stolen key, dated before it was given up", BadSignatureError)
def _(world: World) -> None:
    """The thief writes yesterday's date."""
    backdated = world.operator.study(study_id="backdated")
    stolen = rotate_own(world.operator.home, KeyRole.STUDY, at_once=True)
    world.north.agent.follow(stolen)
    world.north.agent.studies.receive(backdated)


@attack("a study key that names a second successor", ReplayedError)
def _(world: World) -> None:
    """The old study key still speaks for thirty days, but hands over no more."""
    old = world.operator.study_key
    world.north.agent.follow(rotate_own(world.operator.home, KeyRole.STUDY))
    second = sign_change(
        old, StatementKey.generate(), role=KeyRole.STUDY, site=None, audience=(WORLD,),
        now=datetime.now(UTC), lasts=timedelta(days=1),
    )  # fmt: skip
    world.north.agent.follow(second)


@attack("a root that the study key vouches for", BadSignatureError)
def _(world: World) -> None:
    """Roots are the coordinator key's to change."""
    now, pinned = datetime.now(UTC), world.north.agent.pinned
    said = RootChange(
        audience=(WORLD,), issued_at=now, not_after=now + timedelta(days=1),
        old_ca_sha256=pinned.ca_sha256, new_ca_pem=new_authority()[0].decode(),
        overlap_ends=now + timedelta(days=1),
    )  # fmt: skip
    world.north.agent.follow(sign(said, world.operator.study_key))


@attack("a study approved again after its key was destroyed", PolicyRefusalError)
def _(world: World) -> None:
    """Evaluate, wipe, and try again until the outcome pleases."""
    study = world.approved()
    world.north.evaluate(study)
    world.north.agent.wipe(study.sha256, ROLE)
    world.north.agent.decide(
        study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED
    )


@attack("an invitation whose study key was exchanged on its way", WrongAudienceError)
def _(world: World) -> None:
    """Only the CA's fingerprint is read aloud: the thief leaves the CA and puts his key beside."""
    coordinator = world.operator.coordinator()
    invitation = coordinator.sites.invite("west")
    thief = StatementKey.generate().public
    altered = invitation.model_copy(
        update={
            "keys": tuple(
                record.model_copy(update={"public": thief})
                if record.role is KeyRole.STUDY
                else record
                for record in invitation.keys
            )
        }
    )
    home = Home(world.north.home.root.parent / "west")
    write_new_home(home, SiteConfig(name="west", dicom="data"), Policy(declared_people=20))
    make_keys(home)
    grant = coordinator.sites.enrol(request(home, altered), altered.token)
    coordinator.close()
    install(home, altered, grant)


@attack("a study signed with a copy of the coordinator's disk", ConfigError)
def _(world: World) -> None:
    """The backup of a coordinator whose keys are sealed; the thief guesses the passphrase."""
    copy = stolen_backup(world)
    remember(copy, "passphrase", "the name of the hospital")
    signing_key(copy, "study")


@attack("a key of one's own beside the sealed ones", ConfigError)
def _(world: World) -> None:
    """Whoever can write to the coordinator's disk leaves an open study key there."""
    copy = stolen_backup(world)
    remember(copy, "passphrase", _PASSPHRASE)
    StatementKey.generate().save(copy.key("study.pem"))
    signing_key(copy, "study")


@attack("a study of patients by a coordinator whose keys lie open", PolicyRefusalError)
def _(world: World) -> None:
    """Nobody said that this coordinator's volume is looked after otherwise."""
    home = world.operator.home
    write_config(home, home.config().model_copy(update={"key_source": ""}))
    world.operator.open(population="patients")


def stolen_backup(world: World) -> ServerHome:
    """Seal a coordinator's home, and return a copy of it as a thief has one."""
    folder = world.operator.home.root.parent
    sealed, copy = ServerHome(folder / "sealed"), ServerHome(folder / "stolen")
    shutil.copytree(world.operator.home.root, sealed.root)
    seal_keys(sealed, "passphrase", _PASSPHRASE)
    shutil.copytree(sealed.root, copy.root)
    return copy
