"""Becoming a site: what the coordinator hands over, what the site asks, what it is granted.

The invitation goes from person to person (a file, with the CA's fingerprint read aloud); it pins
the coordinator. The request is a statement by the site's Ed25519 key around the certificate
request of its P-256 key: both keys are proved. The grant carries the certificate back.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pydantic import AwareDatetime, Field, StringConstraints, ValidationError

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.keys import KeyRecord
from reidscope_protocols.statements import (
    Nonce,
    Parsed,
    Statement,
    malformed,
    refuse_duplicate_keys,
)
from reidscope_protocols.vocabulary import Sha256, SiteName

Pem = Annotated[str, StringConstraints(min_length=50, max_length=10_000)]
Address = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\-\[\]:]{1,253}:[0-9]{1,5}$")]
Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22,64}$")]


class Addresses(Parsed):
    """Where a coordinator listens: `host:port` of its three doors."""

    enrolment: Address
    control: Address
    fleet: Address


class Invitation(Parsed):
    """What a person of the coordinator hands to a person of the site."""

    schema_: Literal["reidscope.invitation/1.0"] = Field("reidscope.invitation/1.0", alias="schema")
    site: SiteName
    token: Token
    not_after: AwareDatetime
    addresses: Addresses
    ca_pem: Pem
    ca_sha256: Sha256
    keys: tuple[KeyRecord, ...] = Field(min_length=2, max_length=20)

    @classmethod
    def parse(cls, data: bytes) -> Invitation:
        """Read an invitation file; its CA must have the fingerprint that it names."""
        refuse_duplicate_keys(data, what="invitation")
        try:
            invitation = cls.model_validate_json(data)
        except ValidationError as error:
            raise malformed("invitation", error) from None
        if certificate_sha256(invitation.ca_pem) != invitation.ca_sha256:
            raise MalformedError(
                "invitation",
                got="a CA certificate with another fingerprint",
                expected="the fingerprint that stands beside it",
                do="ask the coordinator for a new invitation",
            )
        return invitation

    def dump(self) -> bytes:
        """JSON bytes for a file."""
        return self.model_dump_json(by_alias=True, indent=1).encode()


class EnrolmentRequest(Statement):
    """A site asks for a certificate; signed by the statement key that it names."""

    payload_type = "application/vnd.reidscope.enrolment-request+json"
    schema_: Literal["reidscope.enrolment-request/1.0"] = Field(
        "reidscope.enrolment-request/1.0", alias="schema"
    )
    site: SiteName
    csr_pem: Pem
    statement_key: Sha256
    ca_sha256: Sha256
    nonce: Nonce


class EnrolmentGrant(Statement):
    """The coordinator answers with the site's certificate; signed by the coordinator's key.

    Attributes
    ----------
    study_keys : tuple of str
        The coordinator's study keys: an invitation that was altered on its way named others.
    """

    payload_type = "application/vnd.reidscope.enrolment-grant+json"
    schema_: Literal["reidscope.enrolment-grant/1.0"] = Field(
        "reidscope.enrolment-grant/1.0", alias="schema"
    )
    site: SiteName
    nonce: Nonce
    certificate_pem: Pem
    study_keys: tuple[Sha256, ...] = Field((), max_length=20)


def certificate_sha256(pem: str) -> str:
    """SHA-256 of a certificate's DER bytes, as people compare it."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise MalformedError(
            "certificate", got="bytes that are no PEM certificate", expected="one", do="ask again"
        ) from None
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
