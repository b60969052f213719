"""The coordinator's certificate authority: server certificates for servers, sites' for clients."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import MalformedError
from reidscope_protocols.keys import StatementKey
from reidscope_server.config import ServerHome
from reidscope_server.key_files import keep_signing_key, read_key, write_key

_CA_DAYS = 3650
_LEAF_DAYS = 730
_SKEW = timedelta(hours=1)


def make_keys(home: ServerHome, host: str) -> None:
    """Draw the CA, the TLS key and the two statement keys of a new coordinator.

    Parameters
    ----------
    home : ServerHome
        A home without keys.
    host : str
        Name or address that sites connect to: the TLS certificate's subject alternative name.
    """
    pem, private = new_authority()
    write_key(home, "ca.pem", private)
    write_durably(home.key("ca.crt"), pem)
    tls_key = ec.generate_private_key(ec.SECP256R1())
    write_key(home, "tls.pem", _private_pem(tls_key))
    certify_doors(home, x509.load_pem_x509_certificate(pem), private, host=host)
    keep_signing_key(home, "study", StatementKey.generate())
    keep_signing_key(home, "coordinator", StatementKey.generate())


def new_authority() -> tuple[bytes, bytes]:
    """Draw a certificate authority: its certificate and its private key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reidscope coordinator CA")])
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    authority = (
        _builder(name, name, key.public_key(), days=_CA_DAYS)
        .add_extension(constraints, critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pem(authority), _private_pem(key)


def certify_doors(
    home: ServerHome, authority: x509.Certificate, private: bytes, *, host: str = ""
) -> None:
    """Sign the certificate of the coordinator's own doors around the key that lies there."""
    host = host or home.config().host
    tls = _leaf(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]),
        _private(read_key(home, "tls.pem")).public_key(),
        authority,
        _private(private),
        purpose=ExtendedKeyUsageOID.SERVER_AUTH,
        alternative=_alternative(host),
    )
    write_durably(home.key("tls.crt"), _pem(tls))


def certify_site(
    home: ServerHome, csr_pem: str, site: str, *, root: str = "ca"
) -> x509.Certificate:
    """Sign a site's certificate: its name is the enrolled one, whatever the request says.

    Parameters
    ----------
    root : {"ca", "ca.next"}
        Which of the home's roots signs.

    Raises
    ------
    MalformedError
        No self-consistent request around a P-256 key.
    """
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        proved = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        proved, key = False, None
    on_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    if not proved or not on_curve:
        raise MalformedError(
            "certificate request",
            got="none that is signed by its own P-256 key",
            expected="a PEM request around a P-256 key",
            do="let `reidscope-site enroll` make it",
        )
    # Safety: `on_curve` held, which says as much.
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return _leaf(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)]),
        key,
        x509.load_pem_x509_certificate(home.key(f"{root}.crt").read_bytes()),
        _private(read_key(home, f"{root}.pem")),
        purpose=ExtendedKeyUsageOID.CLIENT_AUTH,
        alternative=x509.DNSName(site),
    )


def _leaf(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    *,
    purpose: x509.ObjectIdentifier,
    alternative: x509.GeneralName,
) -> x509.Certificate:
    issuer = authority_key.public_key()
    return (
        _builder(subject, authority.subject, key, days=_LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    # Safety: this module wrote a P-256 key; signing with anything else would raise.
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
