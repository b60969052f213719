"""Private keys under a passphrase: scrypt makes the key, AES-256-GCM seals each value under a name.

scrypt's cost (2^17, 8, 1) is 128 MiB and some tenths of a second.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Base64Bytes

from reidscope_protocols.statements import Parsed

_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32


class SealedValue(Parsed):
    """One value that its key and its name open."""

    nonce: Base64Bytes
    sealed: Base64Bytes


def new_salt() -> bytes:
    """Draw a salt, 16 bytes: one a file, or one a home."""
    return secrets.token_bytes(_SALT_BYTES)


def stretched(passphrase: str, salt: bytes) -> bytes:
    """Make a key of 32 bytes out of a passphrase."""
    return Scrypt(salt=salt, length=_KEY_BYTES, n=1 << 17, r=8, p=1).derive(passphrase.encode())


def seal(key: bytes, content: bytes, *, bound_to: bytes) -> SealedValue:
    """Seal a value; `bound_to` says what it is, so that it opens as nothing else."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, content, bound_to)
    # The type decodes what it is given: it stands in files as base64.
    return SealedValue(nonce=base64.b64encode(nonce), sealed=base64.b64encode(sealed))


def unseal(key: bytes, value: SealedValue, *, bound_to: bytes) -> bytes:
    """Open a value that was sealed under the same key as the same thing.

    Raises
    ------
    cryptography.exceptions.InvalidTag
        Another key, another name, or altered bytes.
    ValueError
        A nonce of a length that AES-GCM does not take.
    """
    return AESGCM(key).decrypt(value.nonce, value.sealed, bound_to)
