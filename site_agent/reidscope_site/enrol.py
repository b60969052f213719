"""Becoming a site: make keys, ask for a certificate, keep what was granted and pinned.

Over the wire (one call, a one-time token) or by file: the same request, the same grant.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reidscope_deid.keys import generate_key
from reidscope_protocols.durable import write_durably
from reidscope_protocols.enrolment import (
    EnrolmentGrant,
    EnrolmentRequest,
    Invitation,
    certificate_sha256,
)
from reidscope_protocols.envelope import open_envelope, sign
from reidscope_protocols.errors import (
    ConfigError,
    MalformedError,
    TokenRefusedError,
    UnreachableError,
    WrongAudienceError,
)
from reidscope_protocols.keys import KeyRing, StatementKey, read_private_file
from reidscope_protocols.proto import reidscope_pb2, reidscope_pb2_grpc
from reidscope_protocols.statements import COORDINATOR
from reidscope_protocols.vocabulary import KeyRole
from reidscope_site.config import Home
from reidscope_site.grpc_errors import translated
from reidscope_site.pinned import PinnedCoordinator
from reidscope_site.proxy import channel_options

_REQUEST_HOURS = 72
_CALL_SECONDS = 30


def make_keys(home: Home) -> None:
    """Draw the site's three keys: site.key (HMAC), statement.pem (Ed25519), transport.pem (P-256).

    Raises
    ------
    ConfigError
        A key is there already: it is never overwritten.
    """
    for name in ("site.key", "statement.pem", "transport.pem"):
        if home.key(name).exists():
            raise ConfigError(
                "keys",
                got="a key that is there already",
                expected="a home without keys",
                do="use another home: keys are rotated, never overwritten",
            )
    generate_key(home.key("site.key"))
    StatementKey.generate().save(home.key("statement.pem"))
    transport = ec.generate_private_key(ec.SECP256R1())
    write_durably(home.key("transport.pem"), _pem(transport))


def request(home: Home, invitation: Invitation) -> bytes:
    """Sign an EnrolmentRequest around a certificate request: both keys are proved."""
    site = home.config().name
    if home.certificate.exists():
        raise TokenRefusedError(
            "enrolment",
            got="a home that is enrolled: its token was used",
            expected="a home that is not; a token is used once",
            do="go on with `reidscope-site index`, or make a new home for a new enrolment",
        )
    if invitation.site != site:
        raise WrongAudienceError(
            "invitation",
            got="one for another site",
            expected=f"one for {site}",
            do="ask the coordinator for this site's own invitation",
        )
    return signed_request(home, transport_key(home), root_pem=invitation.ca_pem)[0]


def signed_request(
    home: Home, transport: ec.EllipticCurvePrivateKey, *, root_pem: str
) -> tuple[bytes, str]:
    """Sign a request for a certificate around a transport key; returns it and its nonce.

    Parameters
    ----------
    root_pem : str
        The last of the coordinator's roots that this site knows: the certificate is to be its.
    """
    site = home.config().name
    key = StatementKey.load(home.key("statement.pem"))
    now = datetime.now(UTC)
    statement = EnrolmentRequest(
        audience=(COORDINATOR,),
        issued_at=now,
        not_after=now + timedelta(hours=_REQUEST_HOURS),
        site=site,
        csr_pem=certificate_request(transport, site),
        statement_key=key.public,
        ca_sha256=certificate_sha256(root_pem),
        nonce=secrets.token_hex(16),
    )
    return sign(statement, key), statement.nonce


def certificate_request(transport: ec.EllipticCurvePrivateKey, site: str) -> str:
    """Return a PEM request around a transport key, signed by it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return csr.sign(transport, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def transport_key(home: Home, name: str = "transport.pem") -> ec.EllipticCurvePrivateKey:
    """Read the site's P-256 key.

    Raises
    ------
    ConfigError
        No such key, or another file.
    """
    pem = read_private_file(home.key(name), what="transport key")
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(
            "transport key",
            got="a file that is no P-256 private key",
            expected="an unencrypted PEM key",
            do="restore the file",
        )
    return key


def ask(invitation: Invitation, request_envelope: bytes) -> bytes:
    """Send a request through the enrolment port, whose certificate the invitation's CA signed.

    Raises
    ------
    TokenRefusedError
        Unknown, used, expired or another site's token.
    UnreachableError
        Nobody answers with that certificate at that address.
    """
    credentials = grpc.ssl_channel_credentials(root_certificates=invitation.ca_pem.encode())
    address = invitation.addresses.enrolment
    with grpc.secure_channel(address, credentials, channel_options(address)) as channel:
        stub = reidscope_pb2_grpc.EnrolmentStub(channel)
        call = reidscope_pb2.EnrolRequest(dsse=request_envelope, token=invitation.token)
        try:
            with translated("enrolment"):
                answer: bytes = stub.Enrol(call, timeout=_CALL_SECONDS).dsse
        except UnreachableError:
            raise UnreachableError(
                "enrolment",
                got="no answer with the pinned certificate",
                expected="an open enrolment port, which is open only while a token is unused",
                do="check that the coordinator is up; if the token was used, ask for a new one",
            ) from None
    return answer


def install(home: Home, invitation: Invitation, grant_envelope: bytes) -> None:
    """Check a grant against the invitation and this site's own key; keep both.

    Raises
    ------
    BadSignatureError
        Not signed by the coordinator of the invitation.
    MalformedError
        The certificate is not for this site's transport key.
    """
    pinned = PinnedCoordinator.from_invitation(invitation)
    pem = granted_certificate(
        grant_envelope,
        ring=pinned.ring,
        site=home.config().name,
        own=transport_key(home).public_key(),
        roots=(invitation.ca_pem,),
        study_keys=frozenset(
            record.public for record in pinned.keys if record.role is KeyRole.STUDY
        ),
    )
    write_durably(home.key("transport.crt"), pem.encode())
    pinned.save(home.coordinator_file)


def granted_certificate(
    grant_envelope: bytes,
    *,
    ring: KeyRing,
    site: str,
    own: ec.EllipticCurvePublicKey,
    roots: tuple[str, ...],
    nonce: str = "",
    study_keys: frozenset[str] = frozenset(),
) -> str:
    """Check a grant; return its certificate as PEM.

    Parameters
    ----------
    own : EllipticCurvePublicKey
        The key that the certificate must be for.
    roots : tuple of str
        PEM of the roots that may have signed it.
    nonce : str
        Of the request that it answers; empty for any.
    study_keys : frozenset of str
        Those that an invitation pinned: the coordinator must know each, where it names its own.

    Raises
    ------
    BadSignatureError
        Not signed by the pinned coordinator.
    MalformedError
        Another key's, name's, root's or request's.
    WrongAudienceError
        The invitation pinned a study key that is not the coordinator's.
    """
    grant = open_envelope(grant_envelope, EnrolmentGrant, ring, role=KeyRole.COORDINATOR).statement
    grant.check_time(datetime.now(UTC))
    grant.check_audience(site)
    certificate_sha256(grant.certificate_pem)  # refuses what is no certificate
    certificate = x509.load_pem_x509_certificate(grant.certificate_pem.encode())
    issued = any(
        _issued_by(certificate, x509.load_pem_x509_certificate(root.encode())) for root in roots
    )
    fits = certificate.public_key() == own and issued
    if not fits or grant.site != site or (nonce and grant.nonce != nonce):
        raise MalformedError(
            "grant",
            got="a certificate for another key, name, CA or request",
            expected="one for this site's transport key by the pinned CA",
            do="ask for it again; for a new site, with a new invitation",
        )
    if grant.study_keys and not study_keys <= set(grant.study_keys):
        raise WrongAudienceError(
            "invitation",
            got="a study key that the coordinator does not have",
            expected="the coordinator's own",
            do="do not enrol: ask the coordinator, for somebody altered the invitation",
        )
    return grant.certificate_pem


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
