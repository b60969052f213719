"""The coordinator's private keys at rest, and the one place that reads and writes them.

    key_source          HOME/keys/          who opens them
    -                   NAME.pem            whoever reads the home: for synthetic people alone
    plain               NAME.pem            the same; somebody answers for the volume
    passphrase          NAME.pem.sealed     whoever types it, once a command
    file:PATH           NAME.pem.sealed     a mounted secret, on another volume
    credential:NAME     NAME.pem.sealed     systemd, for this unit

Each file is sealed by AES-256-GCM under its own name, so that none can stand in another's place. A
plain file beside a sealed one is refused: it is what `keys seal` had no time to remove.
"""

from __future__ import annotations

import base64
import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from pydantic import Base64Bytes, Field, ValidationError

from reidscope_protocols.durable import sync_folder, write_durably
from reidscope_protocols.errors import ConfigError, PolicyRefusalError
from reidscope_protocols.key_source import check_long_enough, passphrase_from, share_a_volume
from reidscope_protocols.keys import StatementKey, read_private_file
from reidscope_protocols.sealing import SealedValue, new_salt, seal, stretched, unseal
from reidscope_protocols.vocabulary import Sha256
from reidscope_server.config import SEALED_SOURCES, ServerHome

NAMES = ("ca.pem", "ca.next.pem", "tls.pem", "study.pem", "study.next.pem", "coordinator.pem",
         "coordinator.next.pem")  # fmt: skip
_VOICES = frozenset({"study", "coordinator"})
DESCRIPTOR = "REIDSCOPE_SERVER_PASSPHRASE_FD"
_SECRETS: dict[tuple[Path, str], str] = {}
"""By home and source, for the life of the process."""
_SCHEMA: Final = "reidscope.sealed-key/1"
DO = "reidscope-server keys seal SOURCE"


class _Sealed(SealedValue):
    """A key at rest; `public` stands open, bound to the rest: verifying needs no secret."""

    schema_: Literal["reidscope.sealed-key/1"] = Field(_SCHEMA, alias="schema")
    salt: Base64Bytes
    public: Sha256 | Literal[""]


def read_key(home: ServerHome, name: str) -> bytes:
    """Return a private key as PEM.

    Raises
    ------
    ConfigError
        No such key, one that others may read, a secret that does not open it, or a plain file where
        the home's keys are sealed.
    """
    source = home.config().key_source
    if not is_sealing(source):
        return read_private_file(home.key(name), what=_what(name))
    if home.key(name).exists():
        raise ConfigError(
            _what(name),
            got="a plain key file, though this home's keys are sealed",
            expected="sealed ones alone",
            do="finish it: reidscope-server keys seal SOURCE, or remove what you did not put there",
        )
    return open_sealed(home, name, secret_of(home, source))


def write_key(home: ServerHome, name: str, pem: bytes) -> None:
    """Keep a private key as this home keeps them."""
    source = home.config().key_source
    if is_sealing(source):
        write_sealed(home, name, pem, secret_of(home, source))
    else:
        write_durably(home.key(name), pem)


def has_key(home: ServerHome, name: str) -> bool:
    """Tell whether the home holds a key of that name."""
    sealed = is_sealing(home.config().key_source) and sealed_file(home, name).exists()
    return sealed or home.key(name).exists()


def remove_key(home: ServerHome, name: str) -> None:
    """Remove a key; one that is not there is nothing to do."""
    for path in (home.key(name), sealed_file(home, name)):
        path.unlink(missing_ok=True)
    sync_folder(home.key(""))


def signing_key(home: ServerHome, voice: str) -> StatementKey:
    """Return the statement key that signs in a voice: `study` or `coordinator`, or its `.next`."""
    return StatementKey.from_pem(read_key(home, f"{voice}.pem"))


def public_key(home: ServerHome, voice: str) -> str:
    """Return a statement key's public half; no secret is asked for.

    It is believed as the home's database is; `unlock` compares it with the private half.
    """
    file = sealed_file(home, f"{voice}.pem")
    if not is_sealing(home.config().key_source) or not file.exists():
        return signing_key(home, voice).public
    try:
        return _Sealed.model_validate_json(file.read_bytes()).public
    except ValidationError:
        raise _unopened(f"{voice}.pem") from None


def keep_signing_key(home: ServerHome, voice: str, key: StatementKey) -> None:
    """Keep a statement key for a voice."""
    key.hand(lambda pem: write_key(home, f"{voice}.pem", pem))


@contextmanager
def key_path(home: ServerHome, name: str) -> Iterator[str]:
    """Give a path for the block to what wants a file; a sealed key's is of memory, not of a disk.

    Privacy
    -------
    No person's data: a key. Its file has no name in any file system, and ends with the process, or
    with the block (docs/privacy.md, "The wire").
    """
    pem = read_key(home, name)
    if home.key(name).exists():
        yield str(home.key(name))
        return
    handle = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.fchmod(handle, 0o400)
        written = 0
        while written < len(pem):
            written += os.write(handle, pem[written:])
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def unlock(home: ServerHome) -> None:
    """Open every key once: what is wrong is said before a port is opened or a study is touched."""
    for name in NAMES:
        if has_key(home, name):
            read_key(home, name)


def described(home: ServerHome) -> str:
    """Say where the private keys come from, in words that name no path."""
    source = home.config().key_source
    kind = source.partition(":")[0]
    return {
        "": "plain files in the home: for studies of synthetic people alone",
        "plain": "plain files in the home, as server.toml says on purpose",
        "passphrase": "sealed, under a passphrase that is typed",
        "file": "sealed, under a mounted secret",
        "credential": "sealed, under a systemd credential",
    }[kind]


def check_apart(home: ServerHome) -> None:
    """Raise PolicyRefusalError where whoever copies the home has the keys, and nobody chose that.

    For studies of people; as at the sites, a demonstration may keep them in the home.
    """
    source = home.config().key_source
    if not source:
        raise PolicyRefusalError(
            "keys",
            got="key files, not encrypted, in the coordinator's home",
            expected="sealed keys, for every study of people",
            do=f'{DO}; or, if you answer for the volume, key_source = "plain" in server.toml',
        )
    if is_sealing(source):
        check_secret_apart(home, source)


def check_secret_apart(home: ServerHome, source: str) -> None:
    """Raise PolicyRefusalError where a mounted secret lies on the volume of the home."""
    place = _place(source)
    root = next(folder for folder in (home.root, *home.root.absolute().parents) if folder.exists())
    if place is not None and share_a_volume([place], [root]):
        raise PolicyRefusalError(
            "keys",
            got="a secret on the volume of what it opens",
            expected="a mounted secret: in memory, or on a volume of its own",
            do="name another file, or: passphrase, credential:NAME",
        )


def is_sealing(source: str) -> bool:
    """Tell whether keys of this source lie sealed."""
    return source.partition(":")[0] in SEALED_SOURCES


def secret_of(home: ServerHome, source: str) -> str:
    """Get the passphrase of a source, once a process: a mounted secret may go away afterwards.

    Raises
    ------
    ConfigError
        Nothing can be read there, nobody can be asked, or it is short.
    PolicyRefusalError
        It lies on the volume of the home.
    """
    known = _SECRETS.get((home.root.resolve(), source))
    if known is None:
        check_secret_apart(home, source)
        known = secret_from(source)
        remember(home, source, known)
    return known


def remember(home: ServerHome, source: str, secret: str) -> None:
    """Know a source's secret for the rest of this process."""
    check_long_enough(secret)
    _SECRETS[home.root.resolve(), source] = secret


def check_terminal(*, do: str) -> None:
    """Raise ConfigError where nobody can be asked for a passphrase."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "passphrase",
            got="no terminal to ask at",
            expected="somebody who types it, or an open file descriptor",
            do=do,
        )


def sealed_file(home: ServerHome, name: str) -> Path:
    """Path of a key's sealed file."""
    return home.key(f"{name}.sealed")


def write_sealed(home: ServerHome, name: str, pem: bytes, secret: str) -> None:
    """Seal one key under a secret."""
    salt, public = _salt(home), _public_half(name, pem)
    value = seal(_stretched(secret, salt), pem, bound_to=_bound_to(name, public))
    said = {"schema": _SCHEMA, "public": public, "salt": base64.b64encode(salt).decode()}
    content = json.dumps({**said, **value.model_dump(mode="json")})
    write_durably(sealed_file(home, name), content.encode() + b"\n")


def open_sealed(home: ServerHome, name: str, secret: str) -> bytes:
    """Open one sealed key.

    Raises
    ------
    ConfigError
        No such file, another secret, another key's file, or altered bytes.
    """
    content = read_private_file(sealed_file(home, name), what=_what(name))
    try:
        said = _Sealed.model_validate_json(content)
        return unseal(_stretched(secret, said.salt), said, bound_to=_bound_to(name, said.public))
    except (ValidationError, InvalidTag, ValueError):
        raise _unopened(name) from None


def secret_from(source: str) -> str:
    """Read a source's secret from where it is now.

    Raises
    ------
    ConfigError
        Nothing can be read there, or nobody can be asked.
    """
    kind, _, name = source.partition(":")
    given = {
        "file": lambda: passphrase_from(Path(name)),
        "credential": lambda: passphrase_from(credential=name),
        "passphrase": _typed,
    }[kind]()
    # Safety: each of the three raises where it has nothing.
    assert given is not None
    return given


def _typed() -> str:
    named = os.environ.get(DESCRIPTOR, "")
    if named.isascii() and named.isdigit():
        given = passphrase_from(descriptor=int(named))
        # Safety: a descriptor was named, so it raises where it has nothing.
        assert given is not None
        return given
    check_terminal(do=f"{DESCRIPTOR}=3 reidscope-server ... 3<FILE")
    return getpass.getpass("Passphrase of the coordinator's keys: ")


@lru_cache(maxsize=8)
def _stretched(secret: str, salt: bytes) -> bytes:
    return stretched(secret, salt)


def _salt(home: ServerHome) -> bytes:
    """Return the salt of the home's sealed keys: one, so that scrypt runs once a process."""
    for path in sorted(home.key("").glob("*.sealed")):
        try:
            return _Sealed.model_validate_json(path.read_bytes()).salt
        except (OSError, ValidationError):
            continue
    return new_salt()


def _place(source: str) -> Path | None:
    kind, _, name = source.partition(":")
    if kind == "file":
        return Path(name)
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return Path(folder, name) if kind == "credential" and folder else None


def _unopened(name: str) -> ConfigError:
    return ConfigError(
        _what(name),
        got="a sealed file that this secret does not open",
        expected="the file and the secret of `keys seal`",
        do="give the right secret, or restore the file",
    )


def _public_half(name: str, pem: bytes) -> str:
    statement = name.partition(".")[0] in _VOICES
    return StatementKey.from_pem(pem).public if statement else ""


def _bound_to(name: str, public: str) -> bytes:
    return f"{_SCHEMA}|coordinator|{name}|{public}".encode()


def _what(name: str) -> str:
    words = {"ca": "CA key", "tls": "TLS key"}
    return words.get(name.partition(".")[0], "statement key")
