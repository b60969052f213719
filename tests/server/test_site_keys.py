"""A site's keys follow one another; whoever else would like a part in that is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.server.conftest import SiteParty, csr_of

from reidscope_protocols.enrolment import EnrolmentGrant, EnrolmentRequest, certificate_sha256
from reidscope_protocols.envelope import Opened, open_envelope, peek_payload, sign, sign_payload
from reidscope_protocols.errors import (
    AdmissionError,
    BadSignatureError,
    InputError,
    MalformedError,
    ReidscopeError,
    ReplayedError,
    StaleError,
    WrongAudienceError,
)
from reidscope_protocols.key_change import KeyChange, KeyClaim, sign_change
from reidscope_protocols.keys import KeyRing, StatementKey
from reidscope_protocols.statements import COORDINATOR, Decision, Release
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.coordinator import Coordinator


def change_of(
    coordinator: Coordinator,
    party: SiteParty,
    new: StatementKey,
    *,
    old: StatementKey | None = None,
    transport: Any = None,
    **changes: Any,
) -> bytes:
    """Sign a change as `keys rotate` does; `changes` replace its arguments."""
    said = {
        "role": KeyRole.SITE,
        "site": party.name,
        "audience": (COORDINATOR,),
        "now": datetime.now(UTC),
        "lasts": timedelta(days=30),
        "csr_pem": csr_of(transport or ec.generate_private_key(ec.SECP256R1()), party.name),
        "ca_sha256": certificate_sha256(coordinator.home.key("ca.crt").read_text()),
    }
    return sign_change(old or party.key, new, **{**said, **changes})


def bent(envelope: bytes, key: StatementKey, **fields: Any) -> bytes:
    """Sign a change again with fields replaced."""
    said = KeyChange.parse(peek_payload(envelope)).model_copy(update=fields)
    return sign(said, key)


def certificate_in(grant: bytes) -> str:
    return EnrolmentGrant.parse(peek_payload(grant)).certificate_pem


def rotated(
    coordinator: Coordinator, party: SiteParty, **changes: Any
) -> tuple[StatementKey, StatementKey, str]:
    """Rotate a site's keys; returns the old key, the new one, and the new certificate."""
    old, new = party.key, StatementKey.generate()
    grant = coordinator.sites.keys.change(change_of(coordinator, party, new, **changes), party.name)
    return old, new, certificate_in(grant)


def test_both_keys_speak_and_both_certificates_pass_until_the_new_one_is_seen(
    coordinator: Coordinator, approved: Opened[Study], north: SiteParty
) -> None:
    old, new, pem = rotated(coordinator, north)
    before, after = certificate_sha256(north.certificate_pem), certificate_sha256(pem)
    assert [record.public for record in coordinator.sites.every()[0].key_records()] == [
        old.public, new.public,
    ]  # fmt: skip
    doors = [sha256 for name, sha256, _ in coordinator.sites.at_the_doors() if name == "north"]
    assert doors == [before, after]
    assert coordinator.sites.by_certificate(before) == "north"
    assert coordinator.sites.by_certificate(after) == "north"
    assert coordinator.sites.by_certificate(before) is None
    # what was decided with the old key holds, and either key releases
    coordinator.studies.take_release(north.release(approved), "north")
    assert coordinator.studies.release_of(approved.sha256, "north")


def test_the_new_key_releases_what_the_old_one_approved(
    coordinator: Coordinator, approved: Opened[Study], north: SiteParty
) -> None:
    _, new, _ = rotated(coordinator, north)
    coordinator.studies.take_release(north.release(approved, key=new), "north")
    ring = KeyRing(coordinator.sites.every()[0].key_records())
    stored = coordinator.studies.release_of(approved.sha256, "north")
    assert stored is not None
    opened = open_envelope(stored, Release, ring, role=KeyRole.SITE, site="north")
    assert opened.signer.public == new.public


def test_what_the_old_key_says_after_the_overlap_is_refused(
    coordinator: Coordinator, study: Opened[Study], north: SiteParty
) -> None:
    rotated(coordinator, north)
    ends = coordinator.sites.every()[0].former_keys[0].not_after
    assert timedelta(days=29) < ends - datetime.now(UTC) <= timedelta(days=30)
    within = north.decision(study, issued_at=ends - timedelta(days=1), not_after=ends)
    ring = coordinator.sites.ring()
    open_envelope(within, Decision, ring, role=KeyRole.SITE, site="north")
    after = ends + timedelta(seconds=1)
    late = north.decision(study, issued_at=after, not_after=after + timedelta(days=1))
    with pytest.raises(BadSignatureError, match="at that time"):
        coordinator.studies.take_decision(late, "north")


def test_a_stolen_key_ends_at_once_even_for_what_is_dated_before(
    coordinator: Coordinator, study: Opened[Study], north: SiteParty
) -> None:
    decided = north.decision(study)
    coordinator.studies.take_decision(decided, "north")
    old, new, _ = rotated(coordinator, north, at_once=True)
    backdated = north.decision(study, later=timedelta(seconds=-1))
    with pytest.raises(BadSignatureError):
        coordinator.studies.take_decision(backdated, "north")
    with pytest.raises(BadSignatureError):
        coordinator.studies.take_release(north.release(study), "north")
    # the bytes that were taken before are the same bytes again; and they stay evidence
    coordinator.studies.take_decision(decided, "north")
    records = coordinator.sites.every()[0].key_records()
    assert [record.public for record in records] == [old.public, new.public]
    assert records[0].ended_at is not None
    coordinator.studies.take_release(north.release(study, key=new), "north")


def test_the_same_change_again_gets_the_same_certificate_for_a_grant_that_was_lost(
    coordinator: Coordinator, north: SiteParty
) -> None:
    change = change_of(coordinator, north, StatementKey.generate())
    first = coordinator.sites.keys.change(change, "north")
    again = coordinator.sites.keys.change(change, "north")
    assert certificate_in(first) == certificate_in(again)
    assert len(coordinator.sites.every()[0].former_keys) == 1


def test_a_change_that_is_signed_anew_for_the_same_keys_is_answered_and_can_still_end_the_old_one(
    coordinator: Coordinator, north: SiteParty
) -> None:
    new, transport = StatementKey.generate(), ec.generate_private_key(ec.SECP256R1())
    first = coordinator.sites.keys.change(
        change_of(coordinator, north, new, transport=transport), "north"
    )
    again = coordinator.sites.keys.change(
        change_of(coordinator, north, new, transport=transport, at_once=True), "north"
    )
    assert certificate_in(first) == certificate_in(again)
    assert coordinator.sites.every()[0].former_keys[0].ended_at is not None
    with pytest.raises(ReidscopeError):
        coordinator.sites.keys.change(change_of(coordinator, north, new), "north")


@dataclass
class Hands:
    """What whoever forges a change may have."""

    c: Coordinator
    north: SiteParty
    south: SiteParty
    new: StatementKey


ATTACKS: dict[str, tuple[Callable[..., bytes], type[ReidscopeError]]] = {
    "by another site's key": (
        lambda h: change_of(h.c, h.north, h.new, old=h.south.key),
        BadSignatureError,
    ),
    "by the new key alone": (
        lambda h: change_of(h.c, h.north, h.new, old=h.new),
        BadSignatureError,
    ),
    "by a key that nobody knows": (
        lambda h: change_of(h.c, h.north, h.new, old=StatementKey.generate()),
        BadSignatureError,
    ),
    "with another site's name": (
        lambda h: change_of(h.c, h.north, h.new, site="south"),
        BadSignatureError,
    ),
    "with another role": (
        lambda h: change_of(h.c, h.north, h.new, role=KeyRole.STUDY, site=None),
        BadSignatureError,
    ),
    "expired": (
        lambda h: change_of(
            h.c,
            h.north,
            h.new,
            now=datetime.now(UTC) - timedelta(hours=2),
            lasts=timedelta(hours=1),
        ),
        StaleError,
    ),
    "from the future": (
        lambda h: change_of(h.c, h.north, h.new, now=datetime.now(UTC) + timedelta(hours=2)),
        StaleError,
    ),
    "for another coordinator": (
        lambda h: change_of(h.c, h.north, h.new, audience=("world",)),
        WrongAudienceError,
    ),
    "of which the new key knows nothing": (
        lambda h: bent(
            change_of(h.c, h.north, StatementKey.generate()), h.north.key, new_key=h.new.public
        ),
        BadSignatureError,
    ),
    "around the claim of another change": (
        lambda h: bent(
            change_of(h.c, h.north, h.new),
            h.north.key,
            claim=KeyChange.parse(peek_payload(change_of(h.c, h.north, h.new))).claim,
        ),
        MalformedError,
    ),
    "around a claim that was made for another old key": (
        lambda h: bent(
            change_of(h.c, h.north, h.new, old=h.south.key), h.north.key, old_key=h.north.key.public
        ),
        MalformedError,
    ),
    "that keeps the old key for years": (
        lambda h: bent(
            change_of(h.c, h.north, h.new),
            h.north.key,
            overlap_ends=datetime.now(UTC) + timedelta(days=400),
        ),
        MalformedError,
    ),
    "to the same key": (
        lambda h: change_of(h.c, h.north, h.north.key),
        MalformedError,
    ),
    "to another site's key": (
        lambda h: change_of(h.c, h.north, h.south.key),
        ReplayedError,
    ),
    "without a certificate request": (
        lambda h: change_of(h.c, h.north, h.new, csr_pem=None),
        MalformedError,
    ),
    "for a root that nobody has": (
        lambda h: change_of(h.c, h.north, h.new, ca_sha256="ab" * 32),
        WrongAudienceError,
    ),
    "as another kind of statement": (
        lambda h: sign_payload(
            peek_payload(change_of(h.c, h.north, h.new)),
            payload_type=KeyClaim.payload_type,
            key=h.north.key,
        ),
        MalformedError,
    ),
    "with a field that nobody knows": (
        lambda h: sign_payload(
            peek_payload(change_of(h.c, h.north, h.new))[:-1] + b',"more":1}',
            payload_type=KeyChange.payload_type,
            key=h.north.key,
        ),
        MalformedError,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_change_is_refused_in_one_line_and_changes_nothing(
    name: str, coordinator: Coordinator, north: SiteParty, south: SiteParty
) -> None:
    forge, error = ATTACKS[name]
    before = coordinator.sites.every(), list(coordinator.sites.at_the_doors())
    with pytest.raises(error) as caught:
        coordinator.sites.keys.change(
            forge(Hands(coordinator, north, south, StatementKey.generate())), "north"
        )
    assert str(caught.value).isprintable()
    assert (coordinator.sites.every(), list(coordinator.sites.at_the_doors())) == before


def test_a_key_hands_over_once_and_an_old_one_never_again(
    coordinator: Coordinator, north: SiteParty
) -> None:
    rotated(coordinator, north)
    with pytest.raises(BadSignatureError):
        coordinator.sites.keys.change(
            change_of(coordinator, north, StatementKey.generate()), "north"
        )


def test_after_revocation_no_key_of_the_site_hands_over_and_no_certificate_passes(
    coordinator: Coordinator, north: SiteParty
) -> None:
    under_way = change_of(coordinator, north, StatementKey.generate())
    _, new, pem = rotated(coordinator, north)
    coordinator.sites.revoke("north")
    for change in (
        under_way,
        change_of(coordinator, north, StatementKey.generate(), old=new),
        change_of(coordinator, north, StatementKey.generate()),
    ):
        with pytest.raises(InputError, match="revoked"):
            coordinator.sites.keys.change(change, "north")
    for certificate in (north.certificate_pem, pem):
        assert coordinator.sites.by_certificate(certificate_sha256(certificate)) is None
    assert not [record for record in coordinator.sites.ring().records if record.site == "north"]


def test_a_site_that_enrols_anew_is_not_spoken_for_by_what_it_had_and_its_evidence_stays(
    coordinator: Coordinator, approved: Opened[Study], north: SiteParty
) -> None:
    release = north.release(approved)
    coordinator.studies.take_release(release, "north")
    coordinator.sites.revoke("north")
    again = SiteParty("north").enrol(coordinator)
    assert coordinator.sites.by_certificate(certificate_sha256(north.certificate_pem)) is None
    spoken = {r.public for r in coordinator.sites.ring().records if r.site == "north"}
    assert spoken == {again.key.public}
    every = coordinator.sites.every()[0].key_records()
    open_envelope(release, Release, KeyRing(every), role=KeyRole.SITE, site="north")
    with pytest.raises((BadSignatureError, AdmissionError)):
        coordinator.studies.take_decision(north.decision(approved), "north")


def renewal(coordinator: Coordinator, party: SiteParty, **changes: Any) -> bytes:
    now = datetime.now(UTC)
    fields = {
        "audience": (COORDINATOR,),
        "issued_at": now,
        "not_after": now + timedelta(hours=1),
        "site": party.name,
        "csr_pem": csr_of(party.transport, party.name),
        "statement_key": party.key.public,
        "ca_sha256": certificate_sha256(coordinator.home.key("ca.crt").read_text()),
        "nonce": secrets.token_hex(16),
    }
    return sign(EnrolmentRequest(**{**fields, **changes}), party.key)


def test_a_certificate_is_renewed_for_the_key_that_is_there(
    coordinator: Coordinator, north: SiteParty
) -> None:
    asked = renewal(coordinator, north)
    grant = coordinator.sites.keys.renew(asked, "north")
    renewed = x509.load_pem_x509_certificate(certificate_in(grant).encode())
    assert renewed.public_key() == north.transport.public_key()
    assert certificate_in(coordinator.sites.keys.renew(asked, "north")) == certificate_in(grant)
    sha256 = certificate_sha256(certificate_in(grant))
    assert coordinator.sites.by_certificate(sha256) == "north"
    assert coordinator.sites.by_certificate(certificate_sha256(north.certificate_pem)) is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"site": "south"}, WrongAudienceError),
        ({"statement_key": "ab" * 32}, WrongAudienceError),
        ({"ca_sha256": "ab" * 32}, WrongAudienceError),
        ({"audience": ("world",)}, WrongAudienceError),
    ],
)
def test_a_renewal_that_is_about_something_else_is_refused(
    coordinator: Coordinator, north: SiteParty, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        coordinator.sites.keys.renew(renewal(coordinator, north, **changes), "north")


@pytest.mark.usefixtures("south")
def test_a_renewal_by_another_site_or_with_a_nonce_twice_is_refused(
    coordinator: Coordinator, north: SiteParty
) -> None:
    with pytest.raises(BadSignatureError):
        coordinator.sites.keys.renew(renewal(coordinator, north), "south")
    nonce = secrets.token_hex(16)
    coordinator.sites.keys.renew(renewal(coordinator, north, nonce=nonce), "north")
    with pytest.raises(ReplayedError):
        coordinator.sites.keys.renew(renewal(coordinator, north, nonce=nonce), "north")
