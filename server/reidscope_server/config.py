"""A coordinator's home folder: where it listens, and where things lie in it.

HOME/server.toml       name, host and the three ports
HOME/keys/             ca.pem ca.crt tls.pem tls.crt study.pem coordinator.pem: see key_files
HOME/state.sqlite      sites, tokens, studies, decisions, releases, receipts: the truth
HOME/constants/        public files of studies, named by their sha256
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from reidscope_protocols.durable import write_durably
from reidscope_protocols.enrolment import Addresses
from reidscope_protocols.errors import ConfigError
from reidscope_protocols.statements import malformed

SEALED_SOURCES = ("passphrase", "file", "credential")
_SOURCE = r"^(plain|passphrase|file:/[^\x00-\x1f]{1,4000}|credential:[A-Za-z0-9_.\-]{1,200})?$"
KeySource = Annotated[str, StringConstraints(pattern=_SOURCE)]
Port = Annotated[int, Field(ge=1, le=65535)]


class ServerConfig(BaseModel):
    """`server.toml`: where the coordinator listens.

    Attributes
    ----------
    host : str
        Name or address that sites connect to; also what is listened on.
    enrolment_port, control_port, fleet_port : int
        TLS ports; nothing else is opened.
    key_source : str
        What opens the private keys: `passphrase`, `file:/PATH` of a mounted secret, or
        `credential:NAME` of a systemd unit. `plain` leaves them open in the home on purpose; empty
        does so for studies of synthetic people alone.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\-]{1,253}$")]
    enrolment_port: Port
    control_port: Port
    fleet_port: Port
    key_source: KeySource = ""

    @property
    def addresses(self) -> Addresses:
        """Return the three doors as sites are told."""
        return Addresses(
            enrolment=f"{self.host}:{self.enrolment_port}",
            control=f"{self.host}:{self.control_port}",
            fleet=f"{self.host}:{self.fleet_port}",
        )


def check_known(source: str) -> None:
    """Raise ConfigError for a key source that is none."""
    if not re.fullmatch(_SOURCE, source):
        raise ConfigError(
            "key source",
            got="another word",
            expected="plain, passphrase, file:/PATH or credential:NAME",
            do="name one of these",
        )


@dataclass(frozen=True, slots=True)
class ServerHome:
    """Paths inside a coordinator's home folder."""

    root: Path

    @classmethod
    def existing(cls, root: Path) -> Self:
        """Return a home that `init` has made, else raise ConfigError."""
        home = cls(root)
        if not home.config_file.exists():
            raise ConfigError(
                "coordinator home",
                got="a folder without server.toml",
                expected="a home made by `reidscope-server init`",
                do="run init, or name another folder with --home",
            )
        return home

    @property
    def config_file(self) -> Path:
        """`server.toml`."""
        return self.root / "server.toml"

    @property
    def database(self) -> Path:
        """`state.sqlite`."""
        return self.root / "state.sqlite"

    @property
    def constants(self) -> Path:
        """Folder of public constants, each named by its sha256."""
        return self.root / "constants"

    def key(self, name: str) -> Path:
        """Path of one key file."""
        return self.root / "keys" / name

    def config(self) -> ServerConfig:
        """Read `server.toml`."""
        try:
            raw = tomllib.loads(self.config_file.read_text(encoding="utf-8"))
            return ServerConfig.model_validate_json(json.dumps(raw))
        except ValidationError as error:
            got = malformed("server.toml", error).problem.got
        except (OSError, ValueError, TypeError):
            got = "a file that cannot be read as TOML"
        raise ConfigError("server.toml", got=got, expected="its documented keys", do="correct it")


def write_new_home(home: ServerHome, config: ServerConfig) -> None:
    """Write a home's folders and its configuration; the keys come from `ca`.

    Raises
    ------
    ConfigError
        The folder already holds a coordinator.
    """
    if home.config_file.exists():
        raise ConfigError(
            "coordinator home",
            got="a folder that already is a coordinator's home",
            expected="a new or empty folder",
            do="name another folder with --home",
        )
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (home.root / "keys", home.constants):
        folder.mkdir(mode=0o700, exist_ok=True)
    write_config(home, config)


def write_config(home: ServerHome, config: ServerConfig) -> None:
    """Write `server.toml`."""
    lines = (f"{name} = {json.dumps(value)}" for name, value in config.model_dump().items())
    write_durably(home.config_file, ("\n".join(lines) + "\n").encode())
