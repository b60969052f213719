"""A privacy officer's signature: this record, and these very files.

    record's bytes ┐
    outputs' bytes ┴─> statement -> DSSE envelope (Ed25519) beside the record

The statement names a role, never a person. It binds what the outputs hold, whatever they are
called: a file changed, added or taken away since is another set.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from securesystemslib.dsse import Envelope

from reidscope_deid.review.record_file import read_record
from reidscope_protocols.durable import write_durably
from reidscope_protocols.envelope import peek_payload, peek_type, sign_payload
from reidscope_protocols.errors import BadSignatureError, ConfigError, MalformedError
from reidscope_protocols.keys import StatementKey, read_private_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCHEMA = "reidscope.deid-signoff/1"
PAYLOAD_TYPE = "application/vnd.reidscope.deid-signoff+json"
SUFFIX = ".signoff"
_CHUNK = 1 << 20  # bytes
_PUBLIC_MODE = 0o644
_LARGEST = 1 << 20  # bytes
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Parsed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Outputs(_Parsed):
    """The files that were signed.

    Attributes
    ----------
    files : int
        How many.
    sha256 : str
        Of their own SHA-256 digests in hexadecimal, sorted, each on a line.
    """

    files: Annotated[int, Field(ge=1)]
    sha256: _Digest


class SignOff(_Parsed):
    """What was signed."""

    schema_name: Literal["reidscope.deid-signoff/1"] = Field(alias="schema")
    role: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    record_sha256: _Digest
    outputs: Outputs
    signed_at: AwareDatetime


def generate_officer_key(path: Path) -> Path:
    """Write a new private key to `path` (PEM, 0600) and its public half beside it (.pub).

    Raises
    ------
    ConfigError
        Either exists: a key is never overwritten.
    """
    public = path.with_name(path.name + ".pub")
    if path.exists() or public.exists():
        raise ConfigError(
            "the officer's key",
            got="a file that exists",
            expected="a new name: a key is never overwritten",
            do="name another",
        )
    private = Ed25519PrivateKey.generate()
    StatementKey(private).save(path)
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_durably(public, pem, mode=_PUBLIC_MODE)
    return public


def load_officer_key(path: Path) -> StatementKey:
    """Read an Ed25519 private key: PEM, or as OpenSSH writes it without a passphrase.

    Raises
    ------
    ConfigError
        Missing, readable by others, or no such key.
    """
    content = read_private_file(path, what="the officer's key")
    for load in (serialization.load_pem_private_key, serialization.load_ssh_private_key):
        try:
            private = load(content, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        if isinstance(private, Ed25519PrivateKey):
            return StatementKey(private)
    raise _no_key("the officer's key", "an Ed25519 private key without a passphrase")


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key: PEM, or a line as OpenSSH writes it.

    Raises
    ------
    ConfigError
        No such key.
    """
    try:
        content = path.read_bytes()[:_LARGEST]
    except OSError:
        content = b""
    for load in (serialization.load_pem_public_key, serialization.load_ssh_public_key):
        try:
            public = load(content)
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(public, Ed25519PublicKey):
            return public
    raise _no_key("the officer's public key", "an Ed25519 public key")


def sign_off(record: Path, outputs: Iterable[Path], key: StatementKey, *, role: str) -> Path:
    """Sign a record and the files that it speaks of.

    Parameters
    ----------
    record : Path
        From `run --report`; signed as the bytes it is.
    outputs : iterable of Path
        Every file of the output folder.
    key : StatementKey
        The officer's.
    role : str
        Lower-case letters, digits and hyphens, such as ``privacy-officer``.

    Returns
    -------
    Path
        The envelope, beside the record.

    Raises
    ------
    MalformedError
        No record.
    ConfigError
        Fewer files than the record says were written, a role of another form, or an envelope that
        stands there already.

    Privacy
    -------
    Holds digests, a role and a time. Digests of outputs tell their holders that these are theirs
    (docs/privacy.md, "De-identification").
    """
    content, parsed = read_record(record)
    target = envelope_of(record)
    if target.exists():
        raise ConfigError(
            "the signature",
            got="one that is there already",
            expected="none: a signature is never overwritten",
            do="check it, or move it away",
        )
    bound = digest_of(outputs)
    if bound.files < parsed.files.written:
        raise ConfigError(
            "the output folder",
            got=f"{bound.files} files",
            expected=f"{parsed.files.written} or more, as the record says",
            do="name the folder of that run",
        )
    try:
        statement = SignOff(
            schema=SCHEMA,
            role=role,
            record_sha256=hashlib.sha256(content).hexdigest(),
            outputs=bound,
            signed_at=datetime.now(UTC).replace(microsecond=0),
        )
    except ValidationError:
        raise ConfigError(
            "the role",
            got="another form",
            expected="lower-case letters, digits and hyphens, and no name",
            do="say privacy-officer, for example",
        ) from None
    document = statement.model_dump(mode="json", by_alias=True)
    payload = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    envelope = sign_payload(payload, payload_type=PAYLOAD_TYPE, key=key)
    write_durably(target, envelope, mode=_PUBLIC_MODE)
    return target


def check_sign_off(record: Path, outputs: Iterable[Path], public: Ed25519PublicKey) -> SignOff:
    """Check that a record and its outputs are still what was signed.

    Parameters
    ----------
    record : Path
        With its envelope beside it.
    outputs : iterable of Path
        Every file of the output folder.
    public : Ed25519PublicKey
        The officer's, from a source that you trust.

    Raises
    ------
    MalformedError
        No envelope, or one of something else.
    BadSignatureError
        Signed by another key, or what was signed is another record or other files.
    """
    try:
        data = envelope_of(record).read_bytes()
    except OSError:
        raise _no_envelope("no file that can be read") from None
    if peek_type(data) != PAYLOAD_TYPE:
        raise _no_envelope("another payload type")
    payload = peek_payload(data)
    try:
        _verify(data, public)
    except InvalidSignature:
        raise BadSignatureError(
            "the signature",
            got="one by another key, or over other bytes",
            expected="that key's own",
            do="ask the officer which key it was; do not pass the files on",
        ) from None
    try:
        statement = SignOff.model_validate_json(payload)
    except ValidationError:
        raise _no_envelope("a statement of another shape") from None
    content, _ = read_record(record)
    if hashlib.sha256(content).hexdigest() != statement.record_sha256:
        raise _changed("a record that was changed since")
    now = digest_of(outputs)
    if now != statement.outputs:
        signed = statement.outputs.files
        raise _changed(f"{now.files} files that are not the {signed} that were signed")
    return statement


def envelope_of(record: Path) -> Path:
    """Where the signature of a record stands."""
    return record.with_name(record.name + SUFFIX)


def digest_of(outputs: Iterable[Path]) -> Outputs:
    """Say what a signature binds of the outputs.

    Raises
    ------
    ConfigError
        There is none.
    """
    digests = sorted(_sha256(path) for path in outputs)
    if not digests:
        raise ConfigError(
            "the output folder", got="no file", expected="what run wrote", do="name that folder"
        )
    listed = "".join(f"{one}\n" for one in digests)
    return Outputs(files=len(digests), sha256=hashlib.sha256(listed.encode()).hexdigest())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _verify(data: bytes, public: Ed25519PublicKey) -> None:
    # peek_type parsed these bytes strictly: one signature, canonical base64, each JSON key once.
    envelope = Envelope.from_dict(json.loads(data))
    (signature,) = envelope.signatures.values()
    public.verify(bytes.fromhex(signature.signature), envelope.pae())


def _no_key(what: str, expected: str) -> ConfigError:
    return ConfigError(
        what,
        got="a file that holds none",
        expected=expected,
        do="make one with: reidscope-deid officer-keygen FILE",
    )


def _no_envelope(got: str) -> MalformedError:
    return MalformedError(
        "the signature",
        got=got,
        expected="the envelope that signoff wrote beside the record",
        do="sign first, or bring both files",
    )


def _changed(got: str) -> BadSignatureError:
    return BadSignatureError(
        "what was signed",
        got=got,
        expected="the record and the files as they were signed",
        do="do not pass them on; ask the officer to look again",
    )
