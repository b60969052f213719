"""Where a site's private keys lie, and that whoever copies the data has not got them with it.

    in memory          unlocked from a sealed file under a passphrase, or systemd's credentials
    another volume     a mounted secret, a stick
    beside the data    the folder that `init` makes: for demonstrations

Where the passphrase comes from: reidscope_protocols.key_source.
"""

from __future__ import annotations

import os
import secrets
from enum import StrEnum
from pathlib import Path

from reidscope_protocols.durable import sync_folder, write_durably
from reidscope_protocols.errors import ConfigError, PolicyRefusalError
from reidscope_protocols.key_source import share_a_volume
from reidscope_protocols.keys import StatementKey, read_private_file
from reidscope_site.config import Home
from reidscope_site.store import file_system_of

PRIVATE = ("site.key", "statement.pem", "transport.pem")
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_PUBLIC = 0o644
DO = "reidscope-site keys lock and unlock, or keys use FOLDER, or systemd's LoadCredentialEncrypted"


class KeySource(StrEnum):
    """Where the keys come from."""

    NONE = "none: locked, or not mounted"
    MEMORY = "memory"
    VOLUME = "another volume"
    BESIDE = "beside the data"


def source_of(home: Home) -> KeySource:
    """Say where the keys that would be used now lie."""
    if not all(home.key(name).exists() for name in PRIVATE):
        return KeySource.NONE
    kept = [home.key(name).resolve() for name in PRIVATE]
    if share_a_volume(kept, _data(home)):
        return KeySource.BESIDE
    in_memory = file_system_of(home.keys) in IN_MEMORY
    return KeySource.MEMORY if in_memory else KeySource.VOLUME


def check_apart(home: Home) -> None:
    """Raise PolicyRefusalError where whoever copies the home's or the data's volume has the keys.

    For studies of people; a demonstration of synthetic people may keep them in the home.
    """
    if source_of(home) is KeySource.BESIDE:
        raise PolicyRefusalError(
            "keys",
            got="key files, not encrypted, on the volume of the home or of the data",
            expected="keys in memory or on a volume of their own, for every study of people",
            do=DO,
        )


def use_folder(home: Home, folder: Path) -> KeySource:
    """Let the home use the keys in a folder; keys that lay in the home itself are then removed.

    Raises
    ------
    ConfigError
        The folder lacks a key, holds another one than the home, is open to others, or lies on a
        volume of the data.
    """
    for name in PRIVATE:
        content = read_private_file(folder / name, what=f"{name} in that folder")
        own = home.key(name)
        if own.exists() and own.read_bytes() != content:
            raise ConfigError(
                "keys",
                got="a folder with other keys than the home's",
                expected="copies of the home's keys",
                do="copy them first: another site key would lose every pseudonym",
            )
    StatementKey.load(folder / "statement.pem")
    if share_a_volume([(folder / PRIVATE[0]).resolve()], _data(home)):
        raise ConfigError(
            "keys",
            got="a folder on the volume of the home or of the data",
            expected="a mounted secret, or a folder in memory",
            do="name another folder",
        )
    _keep_certificate(home)
    remove_own(home)
    link(home, folder)
    return source_of(home)


def link(home: Home, folder: Path) -> None:
    """Make HOME/keys a link to a folder; one that is a link already is replaced whole."""
    beside = home.root / f".keys.{secrets.token_hex(4)}"
    beside.symlink_to(folder.resolve())
    os.replace(beside, home.root / "keys")  # noqa: PTH105  # Path.replace would do the same
    sync_folder(home.root)


def remove_own(home: Home) -> None:
    """Remove the keys that lie in the home itself, once they are elsewhere."""
    own = home.root / "keys"
    if own.is_dir() and not own.is_symlink():
        for path in own.iterdir():
            path.unlink()
        own.rmdir()
        sync_folder(home.root)


def _keep_certificate(home: Home) -> None:
    """Keep the certificate, which is public, in the home itself."""
    held = home.key("transport.crt")
    if held.exists() and not home.renewed_certificate.exists():
        write_durably(home.renewed_certificate, held.read_bytes(), mode=_PUBLIC)


def _data(home: Home) -> tuple[Path, ...]:
    config = home.config()
    return (home.root, *map(Path, filter(None, (config.dicom, config.bids, config.photos))))
