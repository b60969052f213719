"""The site's one secret, and the branches that pseudonyms, UIDs, dates and the coin are drawn from.

A key file is a header line and 64 hexadecimal digits, readable by its owner alone. Whoever holds it
can compute the pseudonym of anyone whose patient ID they know; whoever loses it cannot link later
scans of a person to earlier ones.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from reidscope_protocols.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32
_HEADER = "reidscope-site-key v1"
_FILE = re.compile(rf"{re.escape(_HEADER)}\n([0-9a-f]{{{2 * KEY_BYTES}}})\n")
_FILE_LIMIT = 1024  # bytes
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SiteKey:
    """32 random bytes that never leave the site.

    Parameters
    ----------
    secret : bytes
        Exactly 32.

    Privacy
    -------
    Never shown, never compared in variable time, never pickled (docs/privacy.md,
    "De-identification").
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ConfigError(
                "a site key",
                got=f"{len(self.secret)} bytes",
                expected=f"{KEY_BYTES} bytes",
                do="make one with: reidscope-deid keygen FILE",
            )

    def branch(self, name: bytes) -> bytes:
        """32 bytes for one purpose, independent of every other purpose's (HKDF-SHA256, RFC 5869).

        Parameters
        ----------
        name : bytes
            The purpose and its version, such as ``b"reidscope/deid/pseudonym/v1"``.
        """
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=name).derive(self.secret)

    def for_study(self, study: str) -> SiteKey:
        """Key of one study: its pseudonyms, UIDs and dates cannot be linked to another study's.

        Parameters
        ----------
        study : str
            Its name or digest, the same each time; not empty.

        Raises
        ------
        ConfigError
            The name is empty.
        """
        if not study.strip():
            raise ConfigError(
                "the study of a key", got="no name", expected="a name", do="name the study"
            )
        return SiteKey(self.branch(b"reidscope/deid/study-key/v1\0" + study.encode("utf-8")))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SiteKey) and hmac.compare_digest(self.secret, other.secret)

    def __hash__(self) -> int:
        return hash(self.branch(b"reidscope/key/hash/v1"))

    def __repr__(self) -> str:
        return "SiteKey(...)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        msg = "a site key is never serialised"
        raise TypeError(msg)


def generate_key(path: Path) -> SiteKey:
    """Write a new key to `path`, owner-only.

    Raises
    ------
    ConfigError
        `path` exists, or cannot be written: a key is never overwritten.
    """
    key = SiteKey(secrets.token_bytes(KEY_BYTES))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _refused("a file that exists", "a new name: a key is never overwritten") from None
    except OSError:
        raise _refused("a place that cannot be written", "a writable folder") from None
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(f"{_HEADER}\n{key.secret.hex()}\n")
        stream.flush()
        os.fsync(stream.fileno())
    return key


def load_key(path: Path) -> SiteKey:
    """Read the key that `generate_key` wrote.

    Raises
    ------
    ConfigError
        Missing, readable by others, or not a key file.
    """
    try:
        if not path.is_file():
            raise _refused("something that is not a file", "a key file")
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        raise _refused("no file that can be read", "a key file") from None
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(stream.fileno())
        if found.st_mode & _OTHERS:
            mode = stat.S_IMODE(found.st_mode)
            raise ConfigError(
                "the key file's mode", got=f"{mode:04o}", expected="0600", do="chmod 600 it"
            )
        content = stream.read(_FILE_LIMIT)
    match = _FILE.fullmatch(content.decode("ascii", "replace"))
    if match is None:
        raise _refused(
            f"{len(content)} bytes of another shape",
            f"the line {_HEADER!r} and {2 * KEY_BYTES} hexadecimal digits",
        )
    return SiteKey(bytes.fromhex(match[1]))


def _refused(got: str, expected: str) -> ConfigError:
    return ConfigError(
        "the key file", got=got, expected=expected, do="make one with: reidscope-deid keygen FILE"
    )
