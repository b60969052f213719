"""What can be checked about a coordinator's home while it runs or not."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from reidscope_protocols.errors import ConfigError
from reidscope_protocols.terminal import Finding, findings
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.key_files import (
    NAMES,
    check_apart,
    described,
    has_key,
    is_sealing,
    read_key,
    sealed_file,
)
from reidscope_server.own_keys import believed_keys

_OTHERS = 0o077
_ROOM_BYTES = 1 << 30
_LEAST_LEFT = timedelta(days=14)


def examine(home: ServerHome) -> tuple[Finding, ...]:
    """Look at folder, keys and their source, certificates, database and disk."""
    return tuple(_each(home))


def _each(home: ServerHome) -> Iterator[Finding]:
    private = not stat.S_IMODE(home.root.stat().st_mode) & _OTHERS
    yield Finding(what="home folder is its owner's alone", fine=private)
    checks: dict[str, Callable[[], object]] = {
        "server.toml": home.config,
        "keys apart from the home": lambda: check_apart(home),
        "every key opens": lambda: _check_open(home),
        "nothing left of an earlier sealing": lambda: _check_left(home),
        "certificate of the doors": lambda: _check_certificate(home, "tls"),
        "certificate authority": lambda: _check_certificate(home, "ca"),
        "statement keys": lambda: _check_speak(home),
        "database": lambda: _check_database(home),
        "room on the disk": lambda: _check_room(home),
    }
    for found in findings(checks):
        yield found
        if found.what == "server.toml":
            # What it says about the keys stands first: a sealed home's officer asks for it.
            yield Finding(what=f"keys: {described(home)}", fine=True)
        elif not found.fine and found.what.startswith("server.toml"):
            # Every other check reads it.
            return


def _check_open(home: ServerHome) -> None:
    """Raise ConfigError where a key that is needed is not there, or does not open."""
    for name in NAMES:
        if has_key(home, name) or ".next" not in name:
            read_key(home, name)


def _check_left(home: ServerHome) -> None:
    """Raise ConfigError where sealed files lie beside plain ones that count."""
    sealing = is_sealing(home.config().key_source)
    if not sealing and any(sealed_file(home, name).exists() for name in NAMES):
        raise ConfigError(
            "keys",
            got="sealed files beside the plain ones that this home uses",
            expected="one kind",
            do="finish it: reidscope-server keys seal SOURCE",
        )


def _check_certificate(home: ServerHome, name: str) -> None:
    certificate = x509.load_pem_x509_certificate(home.key(f"{name}.crt").read_bytes())
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    key = load_pem_private_key(read_key(home, f"{name}.pem"), None)
    fits = certificate.public_key() == key.public_key()
    if not fits or left < _LEAST_LEFT:
        raise ConfigError(
            f"{name.upper()} certificate",
            got=f"one that ends in {left.days} days" if fits else "one for another key",
            expected=f"this key's, for {_LEAST_LEFT.days} days at least",
            do="reidscope-server ca rotate, which makes both anew",
        )


def _check_speak(home: ServerHome) -> None:
    """Raise ConfigError where a voice of the coordinator has no key that holds for some time."""
    now = datetime.now(UTC)
    for role in {record.role for record in believed_keys(home)}:
        ends = max(record.not_after for record in believed_keys(home) if record.role is role)
        if ends - now < _LEAST_LEFT:
            raise ConfigError(
                f"{role} key",
                got=f"one that ends in {(ends - now).days} days",
                expected=f"one that holds for {_LEAST_LEFT.days} days at least",
                do="reidscope-server keys rotate",
            )


def _check_database(home: ServerHome) -> None:
    with Coordinator.opened(home) as coordinator:
        coordinator.studies.every()


def _check_room(home: ServerHome) -> None:
    free = shutil.disk_usage(home.root).free
    if free < _ROOM_BYTES:
        raise ConfigError(
            "disk",
            got=f"{free >> 20} MiB free in the coordinator's home",
            expected=f"at least {_ROOM_BYTES >> 20} MiB",
            do="make room",
        )
