"""The site's way back: which patient ID a pseudonym stands for, in one encrypted file.

Nothing needs it but the site itself, when somebody it scanned must be found again. The file is one
AES-256-GCM message under a branch of the site key; it is replaced whole, so that it is the old one
or the new one, and a byte changed or cut off anywhere makes all of it unreadable.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reidscope_deid.keys import SiteKey

_BRANCH = b"reidscope/deid/vault/v1"
_HEADER = b"reidscope-vault v1\n"
_NONCE = 12  # bytes
_LIMIT = 1 << 30  # bytes
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, repr=False)
class Vault:
    """One vault file and the key that opens it.

    Attributes
    ----------
    path : Path
        The file; made by the first `add`.
    key : SiteKey
        The site's own, not a study's: one vault serves all studies under it.

    Privacy
    -------
    Whoever holds both can name everybody in it. Keep them apart (docs/privacy.md,
    "De-identification").
    """

    path: Path
    key: SiteKey

    def find(self, pseudonym: str) -> str:
        """Patient ID that a pseudonym stands for, or the study UID of one without.

        Raises
        ------
        ConfigError
            The file is missing, readable by others, not whole, or another key's.
        InputError
            The vault does not know the pseudonym.
        """
        known = self._read().get(pseudonym)
        if known is None:
            raise InputError(
                "the pseudonym",
                got="one that the vault does not hold",
                expected="one that a run with this vault gave",
                do="look in the vault of that run",
            )
        return known

    def check(self) -> None:
        """Refuse a vault that cannot be read or written, before work is done for it.

        Raises
        ------
        ConfigError
            As `find`, a missing file apart; or there is no folder for it.
        """
        if not self.path.parent.is_dir():
            raise _refused("no such folder", "a folder for it")
        if self.path.exists():
            self._read()

    def add(self, people: Mapping[str, str]) -> None:
        """Add what a run learned; what was there stays.

        Parameters
        ----------
        people : mapping
            Patient ID by pseudonym.

        Raises
        ------
        ConfigError
            As `check`.
        """
        with _locked(self.path):
            known = self._read() if self.path.exists() else {}
            known.update(people)
            plain = json.dumps(known, sort_keys=True).encode("utf-8", "surrogateescape")
            nonce = secrets.token_bytes(_NONCE)
            sealed = self._cipher().encrypt(nonce, plain, _HEADER)
            write_durably(self.path, _HEADER + nonce + sealed)

    def _read(self) -> dict[str, str]:
        try:
            with self.path.open("rb") as stream:
                if os.fstat(stream.fileno()).st_mode & _OTHERS:
                    raise _refused("a file that others can read", "mode 0600")
                content = stream.read(_LIMIT)
        except OSError:
            raise _refused("no file that can be read", "a vault file") from None
        if not content.startswith(_HEADER):
            raise _refused("another kind of file", "a vault file")
        body = content[len(_HEADER) :]
        try:
            plain = self._cipher().decrypt(body[:_NONCE], body[_NONCE:], _HEADER)
        except (InvalidTag, ValueError):
            raise _refused("one that this key does not open", "this key's, and whole") from None
        # Safety: authenticated just now, so these are bytes that `add` wrote.
        known: dict[str, str] = json.loads(plain)
        return known

    def _cipher(self) -> AESGCM:
        return AESGCM(self.key.branch(_BRANCH))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one run at a time add to a vault: two at once would lose one's people."""
    lock = path.with_name(f".{path.name}.lock")
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refused(got: str, expected: str) -> ConfigError:
    return ConfigError(
        "the vault", got=got, expected=expected, do="name the right vault and the right key"
    )
