"""Keys at rest: sealed under a passphrase in one file, unpacked into memory while the agent runs.

scrypt (2^17, 8, 1: 128 MiB) makes the key, AES-256-GCM seals. HOME/keys is a folder, or, once
unlocked, a link to a folder of a memory file system, which a restart empties. Sites with systemd
credentials or mounted secrets make the same link by hand.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Base64Bytes, Field, ValidationError

from reidscope_protocols.durable import sync_folder, write_durably
from reidscope_protocols.errors import ConfigError, InvariantError
from reidscope_protocols.statements import Parsed
from reidscope_site.config import Home
from reidscope_site.store import file_system_of

_NAMES = ("site.key", "statement.pem", "transport.pem", "transport.crt")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_SHORTEST = 12  # characters
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32
_SCHEMA: Final = "reidscope.locked-keys/1"


class _Sealed(Parsed):
    schema_: Literal["reidscope.locked-keys/1"] = Field(_SCHEMA, alias="schema")
    salt: Base64Bytes
    nonce: Base64Bytes
    sealed: Base64Bytes


def lock(home: Home, file: Path, passphrase: str) -> None:
    """Seal the home's keys into `file`; keys that lay in the home itself are then removed.

    Raises
    ------
    ConfigError
        A passphrase of fewer than 12 characters, or no keys.
    """
    if len(passphrase) < _SHORTEST:
        raise ConfigError(
            "passphrase",
            got=f"{len(passphrase)} characters",
            expected=f"at least {_SHORTEST}",
            do="take five words out of a hat",
        )
    folder = home.key("")
    held = {name: (folder / name).read_bytes() for name in _NAMES if (folder / name).exists()}
    if not {"site.key", "statement.pem", "transport.pem"} <= held.keys():
        raise ConfigError(
            "keys", got="none to be sealed", expected="a home with its keys", do="unlock it first"
        )
    content = _sealed(held, passphrase)
    write_durably(file, content)
    if _opened(file.read_bytes(), passphrase) != held:
        # What cannot be opened again must not cost the site its keys.
        raise InvariantError("keys", got="another content", expected="what was sealed", do="retry")
    if not home.keys.is_symlink():
        for name in held:
            (folder / name).unlink()
        home.keys.rmdir()
        sync_folder(home.root)


def unlock(home: Home, file: Path, passphrase: str, into: Path) -> None:
    """Unpack sealed keys into a folder in memory, and let the home use them there.

    Raises
    ------
    ConfigError
        Another passphrase, an altered file, a folder on a disk, or a home that has its keys.
    """
    into.mkdir(mode=0o700, exist_ok=True)
    if file_system_of(into) not in _IN_MEMORY or into.stat().st_mode & 0o077:
        raise ConfigError(
            "keys",
            got="a folder that is on a disk, or open to others",
            expected="one in memory (tmpfs), its owner's alone",
            do="name one below /run or /dev/shm",
        )
    if home.keys.exists() and not home.keys.is_symlink():
        raise ConfigError(
            "keys", got="a home that has its keys", expected="one whose keys were locked",
            do="lock them first",
        )  # fmt: skip
    for name, content in _opened(file.read_bytes(), passphrase).items():
        write_durably(into / name, content)
    beside = home.root / f".keys.{secrets.token_hex(4)}"
    beside.symlink_to(into.resolve())
    os.replace(beside, home.keys)  # noqa: PTH105  # Path.replace would do the same
    sync_folder(home.root)


def _sealed(held: Mapping[str, bytes], passphrase: str) -> bytes:
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    plain = json.dumps({name: base64.b64encode(each).decode() for name, each in held.items()})
    sealed = AESGCM(_stretched(passphrase, salt)).encrypt(nonce, plain.encode(), _SCHEMA.encode())
    said = {"salt": salt, "nonce": nonce, "sealed": sealed}
    text = {name: base64.b64encode(each).decode() for name, each in said.items()}
    return json.dumps({"schema": _SCHEMA, **text}).encode()


def _opened(content: bytes, passphrase: str) -> dict[str, bytes]:
    try:
        said = _Sealed.model_validate_json(content)
        key = AESGCM(_stretched(passphrase, said.salt))
        plain = json.loads(key.decrypt(said.nonce, said.sealed, _SCHEMA.encode()))
    except (ValidationError, InvalidTag, ValueError):
        raise ConfigError(
            "locked keys",
            got="a file that this passphrase does not open",
            expected="the file of `keys lock` and its passphrase",
            do="type it again, or restore the file",
        ) from None
    # Safety: sealed by `_sealed` under the passphrase: nobody else chose the names.
    return {name: base64.b64decode(plain[name]) for name in _NAMES if name in plain}


def _stretched(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=_KEY_BYTES, n=1 << 17, r=8, p=1).derive(passphrase.encode())
