"""Who is a site: one-time tokens, proved keys, names that the coordinator gives, revocation."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reidscope_protocols.enrolment import EnrolmentGrant, certificate_sha256
from reidscope_protocols.envelope import open_envelope, peek_payload
from reidscope_protocols.errors import (
    BadSignatureError,
    InputError,
    MalformedError,
    ReidscopeError,
    StaleError,
    TokenRefusedError,
    WrongAudienceError,
)
from reidscope_protocols.keys import KeyRing, StatementKey
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.sites import own_keys
from reidscope_server.verbs import ask

Party = Callable[..., Any]


def test_a_site_is_granted_a_certificate_by_the_coordinators_own_voice(
    coordinator: Coordinator, party: Party, server_home: ServerHome
) -> None:
    site, invitation = party("north"), coordinator.sites.invite("north")
    grant = coordinator.sites.enrol(site.request(invitation), invitation.token)
    opened = open_envelope(
        grant, EnrolmentGrant, KeyRing(own_keys(server_home)), role=KeyRole.COORDINATOR
    )
    (enrolled,) = coordinator.sites.every()
    assert certificate_sha256(opened.statement.certificate_pem) == enrolled.certificate_sha256
    assert enrolled.statement_key == site.key.public
    assert coordinator.sites.by_certificate(enrolled.certificate_sha256) == "north"


def test_a_token_has_128_bits_and_is_stored_hashed(
    coordinator: Coordinator, server_home: ServerHome
) -> None:
    tokens = {coordinator.sites.invite("north").token for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(base64.urlsafe_b64decode(token + "==")) == 16 for token in tokens)
    held = b"".join(path.read_bytes() for path in server_home.root.glob("state.sqlite*"))
    assert not any(token.encode() in held for token in tokens)


def test_a_token_is_used_once(coordinator: Coordinator, party: Party) -> None:
    invitation = coordinator.sites.invite("north")
    coordinator.sites.enrol(party("north").request(invitation), invitation.token)
    with pytest.raises(TokenRefusedError):
        coordinator.sites.enrol(party("north").request(invitation), invitation.token)
    assert not coordinator.sites.token_outstanding()


def test_five_wrong_tries_kill_a_token(coordinator: Coordinator, party: Party) -> None:
    invitation, site = coordinator.sites.invite("north"), party("north")
    for number in range(5):
        assert coordinator.sites.token_outstanding()
        with pytest.raises(TokenRefusedError):
            coordinator.sites.enrol(site.request(invitation), f"{number}" * 22)
    assert not coordinator.sites.token_outstanding()
    with pytest.raises(TokenRefusedError):
        coordinator.sites.enrol(site.request(invitation), invitation.token)
    assert coordinator.sites.every() == ()


def test_four_wrong_tries_leave_it_alive(coordinator: Coordinator, party: Party) -> None:
    invitation, site = coordinator.sites.invite("north"), party("north")
    for _ in range(4):
        with pytest.raises(TokenRefusedError):
            coordinator.sites.enrol(site.request(invitation), "x" * 22)
    assert coordinator.sites.enrol(site.request(invitation), invitation.token)


def test_another_sites_token_is_refused_and_stays_its_own(
    coordinator: Coordinator, party: Party
) -> None:
    north, south = coordinator.sites.invite("north"), coordinator.sites.invite("south")
    with pytest.raises(TokenRefusedError):
        coordinator.sites.enrol(party("south").request(south), north.token)
    with pytest.raises(TokenRefusedError):
        coordinator.sites.enrol(party("east").request(north), north.token)
    assert coordinator.sites.enrol(party("north").request(north), north.token)


def test_an_expired_token_is_refused(coordinator: Coordinator, party: Party) -> None:
    invitation = coordinator.sites.invite("north")
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    coordinator.sites._connection.execute("UPDATE token SET not_after = ?", (past,))
    assert not coordinator.sites.token_outstanding()
    with pytest.raises(TokenRefusedError):
        coordinator.sites.enrol(party("north").request(invitation), invitation.token)


def test_a_new_invitation_kills_the_earlier_one(coordinator: Coordinator, party: Party) -> None:
    first, second = coordinator.sites.invite("north"), coordinator.sites.invite("north")
    with pytest.raises(TokenRefusedError):
        coordinator.sites.enrol(party("north").request(first), first.token)
    assert coordinator.sites.enrol(party("north").request(second), second.token)


@pytest.mark.parametrize(
    "key",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: rsa.generate_private_key(65537, 2048),
    ],
)
def test_a_certificate_request_around_another_key_than_p256_is_refused(
    coordinator: Coordinator, party: Party, key: Callable[[], Any]
) -> None:
    invitation, site = coordinator.sites.invite("north"), party("north")
    other = party("north", transport=key())
    with pytest.raises(MalformedError):
        coordinator.sites.enrol(other.request(invitation), invitation.token)
    assert coordinator.sites.enrol(site.request(invitation), invitation.token)


def test_an_ed25519_or_broken_certificate_request_is_refused(
    coordinator: Coordinator, party: Party
) -> None:
    invitation, site = coordinator.sites.invite("north"), party("north")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "north")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    odd = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.PEM)
    good = peek_payload(site.request(invitation)).decode()
    broken = good.split('"csr_pem":"')[1].split('"')[0].replace("\\n", "\n")
    body = broken.splitlines()
    body[2] = body[2][:10] + ("A" if body[2][10] != "A" else "B") + body[2][11:]
    for csr in (odd.decode(), "\n".join(body), "x" * 60):
        with pytest.raises(MalformedError):
            coordinator.sites.enrol(site.request(invitation, csr=csr), invitation.token)


def test_a_certificate_says_the_enrolled_name_whatever_the_request_says(
    coordinator: Coordinator, party: Party
) -> None:
    invitation, site = coordinator.sites.invite("north"), party("north")
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "south"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "the coordinator"),
        ]
    )
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(site.transport, hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )
    grant = coordinator.sites.enrol(site.request(invitation, csr=csr), invitation.token)
    said = EnrolmentGrant.parse(peek_payload(grant))
    certificate = x509.load_pem_x509_certificate(said.certificate_pem.encode())
    assert certificate.subject.rfc4514_string() == "CN=north"
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]


def test_a_request_must_be_signed_by_the_key_that_it_names(
    coordinator: Coordinator, party: Party
) -> None:
    invitation = coordinator.sites.invite("north")
    request = party("north").request(invitation, statement_key=StatementKey.generate().public)
    with pytest.raises(BadSignatureError):
        coordinator.sites.enrol(request, invitation.token)
    assert coordinator.sites.token_outstanding()


def test_a_site_that_was_shown_another_ca_is_not_enrolled(
    coordinator: Coordinator, party: Party
) -> None:
    """Somebody stands between: the request says which CA the site saw."""
    invitation = coordinator.sites.invite("north")
    with pytest.raises(WrongAudienceError, match="another CA"):
        coordinator.sites.enrol(
            party("north").request(invitation, ca_sha256="00" * 32), invitation.token
        )


def test_an_old_request_or_one_for_others_is_refused(
    coordinator: Coordinator, party: Party
) -> None:
    invitation, site = coordinator.sites.invite("north"), party("north")
    past = datetime.now(UTC) - timedelta(days=5)
    with pytest.raises(StaleError):
        coordinator.sites.enrol(
            site.request(invitation, issued_at=past, not_after=past + timedelta(days=3)),
            invitation.token,
        )
    with pytest.raises(WrongAudienceError):
        coordinator.sites.enrol(site.request(invitation, audience=("world",)), invitation.token)


def test_a_revoked_site_is_nobody_and_has_no_voice(
    coordinator: Coordinator, north: Any, south: Any
) -> None:
    coordinator.sites.revoke("north")
    assert coordinator.sites.by_certificate(certificate_sha256(north.certificate_pem)) is None
    assert coordinator.sites.by_certificate(certificate_sha256(south.certificate_pem)) == "south"
    assert [record.site for record in coordinator.sites.ring().records] == ["south"]
    with pytest.raises(InputError):
        coordinator.sites.revoke("nobody")


def test_revoking_kills_an_outstanding_token(coordinator: Coordinator, north: Any) -> None:
    assert north.certificate_pem
    invitation = coordinator.sites.invite("north")
    coordinator.sites.revoke("north")
    with pytest.raises(TokenRefusedError):
        coordinator.sites.enrol(north.request(invitation), invitation.token)


@pytest.mark.parametrize(
    "name", ["", "North", "a b", "-a", "a" * 41, "north\n", "coordinator", "world", "../up"]
)
def test_a_name_that_no_site_can_have_is_refused_before_a_token_exists(
    coordinator: Coordinator, server_home: ServerHome, name: str
) -> None:
    with pytest.raises(InputError):
        coordinator.sites.invite(name)
    with pytest.raises(ReidscopeError):
        ask(server_home.root, "token", {"site": name})
    assert not coordinator.sites.token_outstanding()


def test_the_coordinators_keys_are_owner_only_and_three_of_a_kind_apart(
    server_home: ServerHome,
) -> None:
    keys = {name: server_home.key(name) for name in ("ca.pem", "tls.pem", "study.pem")}
    assert len({path.read_bytes() for path in keys.values()}) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys.values())
    study, coordinator = own_keys(server_home)
    assert (study.role, coordinator.role) == (KeyRole.STUDY, KeyRole.COORDINATOR)
    assert study.public != coordinator.public
