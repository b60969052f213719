"""Signing keys for statements (Ed25519), and who may sign what, when.

Keys for transport (P-256 certificates) are another matter: see the two sides' `ca` and `transport`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError
from reidscope_protocols.statements import Parsed
from reidscope_protocols.vocabulary import KeyRole, Sha256, SiteName

_OTHERS = 0o077


class KeyRecord(Parsed):
    """A public key, whose voice it is, and when it may speak.

    Attributes
    ----------
    public : str
        Raw Ed25519 public key, 64 hexadecimal digits; also the key's id.
    site : str or None
        Set exactly when `role` is `site`.
    ended_at : datetime or None
        Set where the key may be in somebody else's hands: from then on nothing that a reader has
        not seen before is believed, whatever date stands on it.
    """

    role: KeyRole
    site: SiteName | None
    public: Sha256
    not_before: AwareDatetime
    not_after: AwareDatetime
    ended_at: AwareDatetime | None = None

    def sslib(self) -> SSlibKey:
        """Return the key as securesystemslib verifies with."""
        raw = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public))
        return SSlibKey.from_crypto(raw, keyid=self.public)

    def speaks_at(self, moment: datetime) -> bool:
        """Whether a statement issued at `moment` may carry this key's signature."""
        return self.not_before <= moment <= self.not_after


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The public keys that a reader has pinned."""

    records: tuple[KeyRecord, ...]

    @classmethod
    def of(cls, records: Iterable[KeyRecord]) -> KeyRing:
        """Build a ring from any iterable of records."""
        return cls(tuple(records))


class StatementKey:
    """A private signing key, which signs and shows its public half, and nothing else."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw().hex()

    @classmethod
    def generate(cls) -> StatementKey:
        """Draw a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> StatementKey:
        """Read a PEM key file that only its owner may read."""
        return cls.from_pem(read_private_file(path, what="statement key"))

    @classmethod
    def from_pem(cls, pem: bytes) -> StatementKey:
        """Take a key as PEM.

        Raises
        ------
        ConfigError
            It is no Ed25519 key that lies open.
        """
        try:
            private = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError(
                "statement key",
                got="a file that is no Ed25519 private key",
                expected="an unencrypted PEM key",
                do="restore the file",
            )
        return cls(private)

    def save(self, path: Path) -> None:
        """Write the key as PEM, readable by its owner alone."""
        self.hand(lambda pem: write_durably(path, pem))

    def hand(self, keep: Callable[[bytes], None]) -> None:
        """Hand the key's PEM to whatever keeps it at rest."""
        pem = self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        keep(pem)

    def signature(self, message: bytes) -> Signature:
        """Sign `message` through securesystemslib, under the public key as key id."""
        raw = self._private.public_key()
        signer = CryptoSigner(self._private, SSlibKey.from_crypto(raw, keyid=self.public))
        return signer.sign(message)

    def __reduce__(self) -> NoReturn:
        message = "a private key is never pickled: save() it to a file of its own"
        raise TypeError(message)


def read_private_file(path: Path, *, what: str) -> bytes:
    """Read a key file, refusing one that others could read."""
    try:
        if path.stat().st_mode & _OTHERS:
            raise ConfigError(
                what,
                got="a file that group or others may read",
                expected="mode 0600",
                do="chmod 600 it, and replace the key if anyone may have read it",
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            what, got="no file", expected="a key file", do="run init, or restore it"
        ) from None
    except OSError:
        raise ConfigError(
            what, got="a file that cannot be read", expected="a readable key file", do="check it"
        ) from None
