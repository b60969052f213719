"""DSSE envelopes, wrapped strictly: bytes are signed, then parsed, never serialised again.

securesystemslib makes and checks the signatures. Around it this module demands what DSSE leaves
open: exactly one signature, the payload type of the statement that the reader expects (before a
payload byte is parsed), a key that the reader pinned for that voice, each JSON key once, and a
bounded size.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import Field, StringConstraints, ValidationError
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Signature

from reidscope_protocols.errors import BadSignatureError, MalformedError
from reidscope_protocols.keys import KeyRecord, KeyRing, StatementKey
from reidscope_protocols.statements import Parsed, Statement, malformed, refuse_duplicate_keys
from reidscope_protocols.vocabulary import KeyRole, Sha256

LARGEST_ENVELOPE = 16 << 20  # bytes
_Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]

S = TypeVar("S", bound=Statement)


class _Signature(Parsed):
    keyid: Sha256
    sig: _Base64


class _Envelope(Parsed):
    payload: _Base64
    payload_type: str = Field(alias="payloadType", max_length=100)
    signatures: tuple[_Signature, ...] = Field(min_length=1, max_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Generic[S]):
    """A statement whose signature, type and shape were checked.

    Attributes
    ----------
    payload : bytes
        Exactly what was signed.
    sha256 : str
        Of `payload`: for a study, the digest that everything else binds to.
    envelope : bytes
        As received, to be stored and passed on byte for byte.
    """

    statement: S
    payload: bytes
    sha256: str
    envelope: bytes
    signer: KeyRecord


def sign(statement: Statement, key: StatementKey) -> bytes:
    """Sign a statement that was just made, once, and return the envelope's JSON bytes."""
    return sign_payload(statement.payload(), payload_type=statement.payload_type, key=key)


def sign_payload(payload: bytes, *, payload_type: str, key: StatementKey) -> bytes:
    """Sign payload bytes as they are."""
    envelope = Envelope(payload, payload_type, {})
    signature = key.signature(envelope.pae())
    envelope.signatures[signature.keyid] = signature
    return json.dumps(envelope.to_dict(), sort_keys=True, separators=(",", ":")).encode()


def open_envelope(
    data: bytes,
    expected: type[S],
    ring: KeyRing,
    *,
    role: KeyRole,
    site: str | None = None,
) -> Opened[S]:
    """Check who signed `data`, then parse it as an `expected` statement.

    Parameters
    ----------
    data : bytes
        The envelope's JSON.
    expected : type of Statement
        What the reader is waiting for; its payload type must match exactly.
    ring : KeyRing
        The reader's pinned keys.
    role : KeyRole
        Whose voice it must be.
    site : str, optional
        Which site's, when `role` is `site`.

    Raises
    ------
    MalformedError
        No envelope of the expected statement.
    BadSignatureError
        Not signed by a key that is pinned for that voice at the statement's issue time.
    """
    parsed = _parse(data)
    if parsed.payload_type != expected.payload_type:
        raise MalformedError(
            "envelope",
            got="another payload type",
            expected=expected.payload_type,
            do="check which statement was sent",
        )
    payload = _decode(parsed.payload)
    (signature,) = parsed.signatures
    candidates = [
        record
        for record in ring.records
        if record.public == signature.keyid and record.role is role and record.site == site
    ]
    for record in candidates:
        _verify(payload, parsed.payload_type, signature, record)
        statement = expected.parse(payload)
        if record.speaks_at(statement.issued_at):
            return Opened(
                statement=statement,
                payload=payload,
                sha256=hashlib.sha256(payload).hexdigest(),
                envelope=data,
                signer=record,
            )
    raise BadSignatureError(
        f"{expected.name()} statement",
        got="a signature by no key that is pinned for this voice",
        expected=f"a key of role {role}" + (f" of site {site}" if site else "") + " at that time",
        do="compare key fingerprints with its owner",
    )


def peek_payload(data: bytes) -> bytes:
    """Payload bytes of an envelope WITHOUT checking its signature: for showing and routing only."""
    return _decode(_parse(data).payload)


def peek_type(data: bytes) -> str:
    """Payload type of an envelope without checking its signature: for routing only."""
    return _parse(data).payload_type


def _parse(data: bytes) -> _Envelope:
    if len(data) > LARGEST_ENVELOPE:
        raise MalformedError(
            "envelope",
            got=f"{len(data)} bytes",
            expected=f"at most {LARGEST_ENVELOPE}",
            do="check which file was sent",
        )
    refuse_duplicate_keys(data, what="envelope")
    try:
        return _Envelope.model_validate_json(data)
    except ValidationError as error:
        raise malformed("envelope", error) from None


def _decode(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error:
        content = b""
    # One text for each content: otherwise the same signed bytes could come as other bytes.
    if base64.b64encode(content).decode() != text:
        raise MalformedError(
            "envelope",
            got="broken base64",
            expected="canonical RFC 4648 base64",
            do="send it again",
        )
    return content


def _verify(payload: bytes, payload_type: str, signature: _Signature, record: KeyRecord) -> None:
    raw = Signature(signature.keyid, _decode(signature.sig).hex())
    envelope = Envelope(payload, payload_type, {signature.keyid: raw})
    try:
        envelope.verify([record.sslib()], 1)
    except (VerificationError, UnverifiedSignatureError, ValueError):
        # All three mean "this key did not sign these bytes"; their texts add nothing for a reader.
        raise BadSignatureError(
            "signature",
            got="one that does not fit the bytes",
            expected="the named key's own signature",
            do="ask its author to send it again",
        ) from None


def issued_within(statement: Statement, *, now: datetime, reader: str) -> None:
    """Check a statement's time and audience: what a signature alone does not say."""
    statement.check_time(now)
    statement.check_audience(reader)
