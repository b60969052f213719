"""`keys seal`: a home's private keys under a secret, or under another one.

    every key sealed and opened again  ->  server.toml says so  ->  the plain files go

A process that dies in between is finished by the same command: what is sealed already opens by the
old secret or by the new one, and until server.toml says so the plain files are what counts.
"""

from __future__ import annotations

from reidscope_protocols.durable import sync_folder
from reidscope_protocols.errors import ConfigError, InvariantError
from reidscope_protocols.key_source import check_long_enough
from reidscope_protocols.keys import read_private_file
from reidscope_server.config import ServerHome, write_config
from reidscope_server.key_files import (
    NAMES,
    check_secret_apart,
    is_sealing,
    open_sealed,
    remember,
    sealed_file,
    secret_of,
    write_sealed,
)


def seal_keys(home: ServerHome, source: str, secret: str) -> int:
    """Seal a home's keys under a secret that will come from `source`; returns how many.

    Raises
    ------
    ConfigError
        A source that seals nothing, a secret that is short, or keys that do not open.
    PolicyRefusalError
        The secret lies on the volume of the home.
    """
    config = home.config()
    if not is_sealing(source):
        raise ConfigError(
            "key source",
            got="one that seals nothing",
            expected="passphrase, file:/PATH or credential:NAME",
            do="name one of these",
        )
    check_long_enough(secret)
    check_secret_apart(home, source)
    changed = config.model_validate({**config.model_dump(), "key_source": source})
    before = secret_of(home, config.key_source) if is_sealing(config.key_source) else ""
    held = {name: _held(home, name, before, secret) for name in NAMES}
    pems = {name: pem for name, pem in held.items() if pem is not None}
    for name, pem in pems.items():
        write_sealed(home, name, pem, secret)
    if any(open_sealed(home, name, secret) != pem for name, pem in pems.items()):
        # What cannot be opened again must not cost the coordinator its keys.
        raise InvariantError("keys", got="another content", expected="what was sealed", do="retry")
    write_config(home, changed)
    remember(home, source, secret)
    for name in pems:
        home.key(name).unlink(missing_ok=True)
    sync_folder(home.key(""))
    return len(pems)


def _held(home: ServerHome, name: str, before: str, secret: str) -> bytes | None:
    """Return a key as it stands now; None where there is none."""
    plain, sealed = home.key(name), sealed_file(home, name)
    if plain.exists() and not (before and sealed.exists()):
        return read_private_file(plain, what=name)
    if not sealed.exists():
        return None
    try:
        return open_sealed(home, name, secret)
    except ConfigError:
        if not before:
            raise
        return open_sealed(home, name, before)
