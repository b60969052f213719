"""What can be checked about a home without reading any data."""

from __future__ import annotations

import grp
import pwd
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from reidscope_deid.keys import load_key
from reidscope_protocols.errors import (
    ConfigError,
    UnsupportedError,
)
from reidscope_protocols.keys import StatementKey, read_private_file
from reidscope_protocols.terminal import Finding, findings
from reidscope_protocols.vocabulary import KeyRole
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.control import control
from reidscope_site.enrol import transport_key
from reidscope_site.face.external.program import programs_of
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.installed import template_bytes
from reidscope_site.isolation import check_network_closes
from reidscope_site.key_source import check_apart
from reidscope_site.reach import check_clock, check_port
from reidscope_site.sent import Sent
from reidscope_site.upkeep import agree

_T = TypeVar("_T")
_OTHERS = 0o077
_ROOM_BYTES = 1 << 30
_LEAST_LEFT = timedelta(days=14)
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([0-9.]+)\.\*")


def examine(home: Home, *, offline: bool = False) -> tuple[Finding, ...]:
    """Look at folders, keys, policy, ledger, enrolment, versions, models, defacers and coordinator.

    Parameters
    ----------
    offline : bool
        Whether the coordinator is left alone: a site that works by files reaches nobody.
    """
    return tuple(_each(home, offline=offline))


def _each(home: Home, *, offline: bool) -> Iterator[Finding]:
    private = not stat.S_IMODE(home.root.stat().st_mode) & _OTHERS
    yield Finding(what="home folder is its owner's alone", fine=private)
    checks: dict[str, Callable[[], object]] = {
        "site.toml": home.config,
        "policy.toml": home.policy,
        "site key": lambda: load_key(home.key("site.key")),
        "statement key": lambda: StatementKey.load(home.key("statement.pem")),
        "transport key": lambda: read_private_file(home.key("transport.pem"), what="transport key"),
        "keys apart from the data": lambda: check_apart(home),
        "ledger's witness on another volume": lambda: _check_witness(home),
        "ledger chain": lambda: _opened(home, lambda agent: agent.ledger.check()),
        "pinned coordinator": lambda: _opened(home, lambda agent: agent.pinned),
        "pinned coordinator's keys": lambda: _check_coordinators_keys(home),
        **(
            {"transport certificate": lambda: _check_certificate(home)}
            if home.certificate.exists()
            else {}
        ),
        "index": lambda: _opened(home, lambda agent: agent.snapshot.digest()),
        "not stopped by hand": home.check_not_held,
        "policy's accounts and programs": lambda: _check_people(home),
        "opt-outs": lambda: _check_opt_outs(home),
        "room on the disk": lambda: _check_room(home),
        "installed versions": _check_versions,
        **({} if offline or not home.certificate.exists() else _reached(home)),
        "no network while a person is evaluated": check_network_closes,
        "installed models": installed_model_bytes,
        "installed average head": template_bytes,
        "external defacers of the policy": lambda: programs_of(home.policy().arms),
    }
    yield from findings(checks)


def _reached(home: Home) -> dict[str, Callable[[], object]]:
    def look(port: str, check: Callable[..., None]) -> None:
        pinned = _opened(home, lambda agent: agent.pinned)
        address = getattr(pinned.addresses, port)
        certificate, key = home.certificate, home.key("transport.pem")
        check(address, ca_pem=pinned.roots_pem, certificate=certificate, key=key)

    return {
        "coordinator's control port": partial(look, "control", check_port),
        "versions, agreed with the coordinator": lambda: _check_agreed(home),
        "coordinator's fleet port": partial(look, "fleet", check_port),
        "clock, against the coordinator's": partial(look, "fleet", check_clock),
    }


def _check_people(home: Home) -> None:
    """Raise ConfigError where a role can be held by nobody, or no signature be checked."""
    policy = home.policy()
    named = policy.roles.values() if isinstance(policy.roles, dict) else ()
    unknown = sum(not _is_known(account) for accounts in named for account in accounts)
    without = bool(policy.signing_keys) and shutil.which("ssh-keygen") is None
    if unknown or without:
        raise ConfigError(
            "policy.toml",
            got="signing_keys on a machine without ssh-keygen"
            if without
            else f"{unknown} users or groups that this machine does not know",
            expected="accounts of this machine, and OpenSSH where signatures are asked for",
            do="correct `roles`, or install openssh-client",
        )


def _is_known(account: str) -> bool:
    kind, _, name = account.partition(":")
    try:
        if kind == "user":
            pwd.getpwnam(name)
        elif kind == "group":
            grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _check_opt_outs(home: Home) -> None:
    # pydicom takes time to load: only sites with a list wait for it.
    from reidscope_site.exclude import read_opt_outs  # noqa: PLC0415 - said above

    named = home.config().exclude
    if named:
        read_opt_outs(Path(named))


def _check_room(home: Home) -> None:
    free = shutil.disk_usage(home.root).free
    if free < _ROOM_BYTES:
        raise ConfigError(
            "disk",
            got=f"{free >> 20} MiB free in the site's home",
            expected=f"at least {_ROOM_BYTES >> 20} MiB",
            do="make room",
        )


def _check_versions() -> None:
    """Raise UnsupportedError where a part is installed in another version than was tested."""
    for line in metadata.requires("reidscope") or ():
        pinned = _PINNED.match(line)
        if pinned is None:
            continue
        name, wanted = pinned.groups()
        try:
            got = metadata.version(name)
        except metadata.PackageNotFoundError:
            # A part of an extra that this site does not have.
            continue
        if not f"{got}.".startswith(f"{wanted}."):
            raise UnsupportedError(
                f"installed {name}",
                got=got,
                expected=f"{wanted}.*, which this version was tested with",
                do="install reidscope with its constraints file",
            )


def _check_certificate(home: Home) -> None:
    """Raise ConfigError where the certificate does not fit the key, or ends soon."""
    certificate = x509.load_pem_x509_certificate(home.certificate.read_bytes())
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    fits = certificate.public_key() == transport_key(home).public_key()
    if not fits or left < _LEAST_LEFT:
        raise ConfigError(
            "transport certificate",
            got=f"one that ends in {left.days} days" if fits else "one for another key",
            expected=f"this key's, for {_LEAST_LEFT.days} days at least",
            do="let the agent reach the coordinator, which renews it; or keys rotate",
        )


def _check_coordinators_keys(home: Home) -> None:
    """Raise ConfigError where the pin holds no key of a voice that still may speak."""
    pinned = _opened(home, lambda agent: agent.pinned)
    now = datetime.now(UTC)
    for role in (KeyRole.STUDY, KeyRole.COORDINATOR):
        ends = [
            record.not_after
            for record in pinned.keys
            if record.role is role and record.ended_at is None
        ]
        if not ends or max(ends) - now < _LEAST_LEFT:
            raise ConfigError(
                f"pinned {role} key",
                got="one that has ended, or is about to",
                expected=f"one that holds for {_LEAST_LEFT.days} days at least",
                do="ask the coordinator to rotate it: reidscope-server keys rotate",
            )


def _check_agreed(home: Home) -> None:
    pinned = _opened(home, lambda agent: agent.pinned)
    sent = Sent(home.sent, days=home.config().sent_days)
    with control(home, pinned, sent) as channel:
        agree(channel)


def _check_witness(home: Home) -> None:
    """Raise ConfigError where a failure, or a restore, of one volume takes both."""
    named = home.config().witness
    folder = Path(named).parent
    if not named:
        got = "none: only studies of synthetic people can be approved"
    elif not folder.is_dir():
        got = "a folder that is not there"
    elif folder.stat().st_dev == home.root.stat().st_dev:
        got = "the volume of the home folder"
    else:
        return
    raise ConfigError(
        "the ledger's witness",
        got=got,
        expected="a file on another volume",
        do="set witness in site.toml",
    )


def _opened(home: Home, look: Callable[[Agent], _T]) -> _T:
    agent = Agent(home)
    try:
        return look(agent)
    finally:
        agent.close()
