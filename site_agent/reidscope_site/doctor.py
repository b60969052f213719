"""What can be checked about a home without reading any data."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reidscope_deid.keys import load_key
from reidscope_protocols.errors import ConfigError, ReidscopeError
from reidscope_protocols.keys import StatementKey, read_private_file
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.installed import installed_constants

_OTHERS = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `what` says what is wrong where it is not fine."""

    what: str
    fine: bool


def examine(home: Home) -> tuple[Finding, ...]:
    """Look at folders, keys, policy, ledger, enrolment and installed models."""
    return tuple(_each(home))


def _each(home: Home) -> Iterator[Finding]:
    private = not stat.S_IMODE(home.root.stat().st_mode) & _OTHERS
    yield Finding(what="home folder is its owner's alone", fine=private)
    checks: dict[str, Callable[[], object]] = {
        "site.toml": home.config,
        "policy.toml": home.policy,
        "site key": lambda: load_key(home.key("site.key")),
        "statement key": lambda: StatementKey.load(home.key("statement.pem")),
        "transport key": lambda: read_private_file(home.key("transport.pem"), what="transport key"),
        "ledger's witness on another volume": lambda: _check_witness(home),
        "ledger chain": lambda: _opened(home, lambda agent: agent.ledger.check()),
        "pinned coordinator": lambda: _opened(home, lambda agent: agent.pinned),
        "index": lambda: _opened(home, lambda agent: agent.snapshot.digest()),
        **{f"installed {role}": reader for role, reader in installed_constants().items()},
    }
    for what, check in checks.items():
        try:
            check()
        except ReidscopeError as error:
            yield Finding(what=str(error), fine=False)
        else:
            yield Finding(what=what, fine=True)


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


def _opened(home: Home, look: Callable[[Agent], object]) -> None:
    agent = Agent(home)
    try:
        look(agent)
    finally:
        agent.close()
