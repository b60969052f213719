"""A site's home folder: its configuration, its policy, and where things lie in it.

HOME/site.toml          who the site is and where its data lies
HOME/policy.toml        what the site allows, whatever anybody approves
HOME/coordinator.json   the pinned coordinator, after enrolment
HOME/keys/              site.key, statement.pem, transport.pem, transport.crt
HOME/state.sqlite       snapshot, studies, decisions, outcomes, ledger, journal, outbox
HOME/constants/         public files of studies, named by their sha256
HOME/work/              de-identified scans while a person is evaluated, then empty
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError, MalformedError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import malformed
from reidscope_protocols.vocabulary import ArmName, Line, SiteName

_Decimal = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}(\.[0-9]{1,9})?$")]
_T = TypeVar("_T", bound=BaseModel)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class SiteConfig(_File):
    """`site.toml`: who the site is and where its data lies.

    Attributes
    ----------
    dicom, photos, links : str
        Folder of DICOM files, folder of photos, and the CSV file (`patient_id,photo`) that says
        whose photo is whose.
    witness : str
        File, on another volume than the home, that remembers where the ledger stands; without one
        nothing but studies of synthetic people is released.
    """

    name: SiteName
    dicom: str
    photos: str
    links: str
    witness: str = ""


class Policy(_File):
    """`policy.toml`: binds the agent whatever anybody approves.

    Attributes
    ----------
    declared_people : int
        The size of the site's cohort as a person declared it, before any data was read: what
        minimum sizes are compared with, so that a refusal tells nothing about a true count.
    epsilon_per_study, epsilon_lifetime : str
        Caps, decimals. One account over all the site's people.
    populations, arms : tuple of str
        What a study may be about, and which defacers it may measure.
    roles : tuple of str
        Roles that may approve a study.
    """

    declared_people: int = Field(ge=1)
    epsilon_per_study: _Decimal = "2"
    epsilon_lifetime: _Decimal = "4"
    populations: tuple[Line, ...] = ("patients", "volunteers", "synthetic people")
    arms: tuple[ArmName, ...] = ("unmodified", "blur", "facemask", "quickshear")
    roles: tuple[Line, ...] = ("data protection officer",)

    @property
    def study_cap(self) -> PrivacyLoss:
        """Largest loss of one study."""
        return PrivacyLoss.from_decimal(self.epsilon_per_study)

    @property
    def lifetime_cap(self) -> PrivacyLoss:
        """Largest loss over all studies, ever."""
        return PrivacyLoss.from_decimal(self.epsilon_lifetime)

    @property
    def sha256(self) -> str:
        """Digest of the policy's meaning: comments in the file do not change it."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside a site's home folder."""

    root: Path

    @classmethod
    def existing(cls, root: Path) -> Self:
        """Return a home that `init` has made, else raise ConfigError."""
        home = cls(root)
        if not home.site_file.exists():
            raise ConfigError(
                "site home",
                got="a folder without site.toml",
                expected="a home made by `reidscope-site init`",
                do="run init, or name another folder with --home",
            )
        return home

    @property
    def site_file(self) -> Path:
        """`site.toml`."""
        return self.root / "site.toml"

    @property
    def policy_file(self) -> Path:
        """`policy.toml`."""
        return self.root / "policy.toml"

    @property
    def coordinator_file(self) -> Path:
        """`coordinator.json`, written by enrolment."""
        return self.root / "coordinator.json"

    @property
    def database(self) -> Path:
        """`state.sqlite`."""
        return self.root / "state.sqlite"

    @property
    def constants(self) -> Path:
        """Folder of public constants, each named by its sha256."""
        return self.root / "constants"

    @property
    def work(self) -> Path:
        """Folder of de-identified scans while one person is evaluated."""
        return self.root / "work"

    def key(self, name: str) -> Path:
        """Path of one key file."""
        return self.root / "keys" / name

    def config(self) -> SiteConfig:
        """Read `site.toml`."""
        return _read_toml(self.site_file, SiteConfig)

    def policy(self) -> Policy:
        """Read `policy.toml`."""
        return _read_toml(self.policy_file, Policy)


def write_new_home(home: Home, config: SiteConfig, policy: Policy) -> None:
    """Write a home's folders and two files; the keys come from `enrol`.

    Raises
    ------
    ConfigError
        The folder already holds a site: its ledger and keys must not be overwritten.
    """
    if home.site_file.exists():
        raise ConfigError(
            "site home",
            got="a folder that already is a site's home",
            expected="a new or empty folder",
            do="name another folder with --home",
        )
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (home.root / "keys", home.constants, home.work):
        folder.mkdir(mode=0o700, exist_ok=True)
    write_durably(home.policy_file, _toml(policy).encode())
    write_durably(home.site_file, _toml(config).encode())


def _toml(model: BaseModel) -> str:
    """Flat models alone: JSON strings, integers and lists of strings are TOML as they stand."""
    dumped = model.model_dump(mode="json")
    lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in dumped.items())
    return "\n".join(lines) + "\n"


def _read_toml(path: Path, model: type[_T]) -> _T:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        # Strict JSON mode turns arrays into tuples and nothing else.
        return model.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        reason = malformed(path.name, error)
        raise ConfigError(
            path.name, got=reason.problem.got, expected="its documented keys", do="correct it"
        ) from None
    except (OSError, ValueError, TypeError, MalformedError):
        raise ConfigError(
            path.name, got="a file that cannot be read as TOML", expected="TOML", do="correct it"
        ) from None
