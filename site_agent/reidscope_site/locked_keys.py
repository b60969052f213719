"""Keys at rest: sealed under a passphrase in one file, unpacked into memory while the agent runs.

Each value is sealed under its own name (reidscope_protocols.sealing), so that none can stand in
another's place. HOME/keys is a folder, or, once
unlocked, a link to a folder of a memory file system, which a restart empties. Sites with systemd
credentials or mounted secrets make the same link by hand.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Base64Bytes, Field, ValidationError

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError, InvariantError
from reidscope_protocols.key_source import check_long_enough
from reidscope_protocols.sealing import SealedValue, new_salt, seal, stretched, unseal
from reidscope_protocols.statements import Parsed
from reidscope_site.config import Home
from reidscope_site.key_source import IN_MEMORY, PRIVATE, link, remove_own
from reidscope_site.rotation import NEXT
from reidscope_site.store import file_system_of

_NAMES = (*PRIVATE, "transport.crt", *NEXT)
_SCHEMA: Final = "reidscope.locked-keys/2"
_FIRST_SCHEMA: Final = "reidscope.locked-keys/1"


class _Sealed(Parsed):
    schema_: Literal["reidscope.locked-keys/2"] = Field(_SCHEMA, alias="schema")
    salt: Base64Bytes
    values: dict[str, SealedValue] = Field(max_length=len(_NAMES))


class _FirstSealed(Parsed):
    """All values as one, as the first version wrote it."""

    schema_: Literal["reidscope.locked-keys/1"] = Field(_FIRST_SCHEMA, alias="schema")
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
    check_long_enough(passphrase)
    folder = home.key("")
    held = {name: (folder / name).read_bytes() for name in _NAMES if (folder / name).exists()}
    if not set(PRIVATE) <= held.keys():
        raise ConfigError(
            "keys", got="none to be sealed", expected="a home with its keys", do="unlock it first"
        )
    content = _sealed(held, passphrase)
    write_durably(file, content)
    if _opened(file.read_bytes(), passphrase) != held:
        # What cannot be opened again must not cost the site its keys.
        raise InvariantError("keys", got="another content", expected="what was sealed", do="retry")
    remove_own(home)


def check_opens(file: Path, passphrase: str) -> None:
    """Raise ConfigError unless the passphrase opens the sealed file."""
    _opened(file.read_bytes(), passphrase)


def unlock(home: Home, file: Path, passphrase: str, into: Path) -> None:
    """Unpack sealed keys into a folder in memory, and let the home use them there.

    Raises
    ------
    ConfigError
        Another passphrase, an altered file, a folder on a disk, or a home that has its keys.
    """
    into.mkdir(mode=0o700, exist_ok=True)
    if file_system_of(into) not in IN_MEMORY or into.stat().st_mode & 0o077:
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
    link(home, into)


def _sealed(held: Mapping[str, bytes], passphrase: str) -> bytes:
    salt = new_salt()
    key = stretched(passphrase, salt)
    values = {
        name: seal(key, content, bound_to=_bound_to(name)).model_dump(mode="json")
        for name, content in held.items()
    }
    said = {"schema": _SCHEMA, "salt": base64.b64encode(salt).decode(), "values": values}
    return json.dumps(said).encode()


def _opened(content: bytes, passphrase: str) -> dict[str, bytes]:
    try:
        if json.loads(content).get("schema") == _FIRST_SCHEMA:
            return _opened_first(content, passphrase)
        said = _Sealed.model_validate_json(content)
        key = stretched(passphrase, said.salt)
        held = {
            name: unseal(key, each, bound_to=_bound_to(name)) for name, each in said.values.items()
        }
        if not set(PRIVATE) <= held.keys() <= set(_NAMES):
            raise ValueError  # noqa: TRY301  # a file that was cut: told below, as the others
    except (ValidationError, InvalidTag, ValueError, AttributeError):
        raise ConfigError(
            "locked keys",
            got="a file that this passphrase does not open",
            expected="the file of `keys lock` and its passphrase",
            do="type it again, or restore the file",
        ) from None
    return held


def _opened_first(content: bytes, passphrase: str) -> dict[str, bytes]:
    said = _FirstSealed.model_validate_json(content)
    key = AESGCM(stretched(passphrase, said.salt))
    plain = json.loads(key.decrypt(said.nonce, said.sealed, _FIRST_SCHEMA.encode()))
    # Safety: sealed by us under the passphrase: nobody else chose the names.
    return {name: base64.b64decode(plain[name]) for name in _NAMES if name in plain}


def _bound_to(name: str) -> bytes:
    return f"{_SCHEMA}|keys|{name}".encode()
