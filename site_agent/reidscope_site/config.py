"""A site's home folder: its configuration, its policy, and where things lie in it.

HOME/site.toml          who the site is and where its data lies
HOME/policy.toml        what the site allows, whatever anybody approves
HOME/coordinator.json   the pinned coordinator, after enrolment
HOME/keys/              site.key, statement.pem, transport.pem, transport.crt
HOME/state.sqlite       snapshot, studies, decisions, outcomes, ledger, journal, outbox
HOME/constants/         public files of studies, named by their sha256
HOME/fetched/           series that `index` fetched from the site's archive (DICOMweb)
HOME/review/            contact sheets for the site's own people, until `review --wipe`
HOME/work/              de-identified scans while a person is evaluated, then empty
HOME/sent/              every byte that left, by time and kind
HOME/log/               the agent's log: event names and numbers
HOME/stopped            there while `stop --hold` refuses everything
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError, MalformedError, PolicyRefusalError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import DLIB_RESNET, SFACE
from reidscope_protocols.statements import (
    LARGEST_POPULATION,
    Catchment,
    RegionName,
    malformed,
)
from reidscope_protocols.vocabulary import ArmName, Line, Sha256, SiteName

_Decimal = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}(\.[0-9]{1,9})?$")]
_Account = Annotated[
    str, StringConstraints(pattern=r"^(uid:[0-9]{1,10}|gid:[0-9]{1,10}|(user|group):[^\s:]{1,64})$")
]
_Role = Annotated[Line, StringConstraints(max_length=150)]
_KEY_TYPE = r"(sk-)?(ssh|ecdsa)-[a-z0-9@.-]{1,60}"
_SigningKey = Annotated[
    str, StringConstraints(pattern=rf"^{_KEY_TYPE} [A-Za-z0-9+/]{{40,4000}}={{0,2}}$")
]
_SigningKeys = Annotated[tuple[_SigningKey, ...], Field(min_length=1)]
_HOUR = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_Hours = Annotated[str, StringConstraints(pattern=rf"^{_HOUR}-{_HOUR}$")]
_T = TypeVar("_T", bound=BaseModel)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class SiteConfig(_File):
    """`site.toml`: who the site is and where its data lies.

    Attributes
    ----------
    dicom, bids : str
        Folder of DICOM files, BIDS dataset; empty where the site has none.
    dicomweb : str
        Address of the archive's DICOMweb service, such as `https://pacs.example/dicom-web`; plain
        http on this machine alone. Empty where the site has none.
    dicomweb_token : str
        File with a bearer token for the archive, readable by its owner alone; empty for none.
    dicomweb_query : tuple of str
        What series of the archive are asked for beside their modality, such as
        `StudyDate=20200101-20241231`.
    photos, links : str
        Folder of photos, and the CSV file (`patient_id,photo`) that says whose photo is whose; both
        empty where the site has no photos.
    witness : str
        File, on another volume than the home, that remembers where the ledger stands; without one
        nothing but studies of synthetic people is released.
    exclude : str
        Text file of opt-outs, one PatientID or BIDS label a line: these people are left out at
        `index`, before anything is counted. Empty where nobody opted out.
    socket : str
        Where the running agent listens for the people whom `roles` names by account, such as
        `/run/reidscope/site.sock`; empty for nobody but the agent's own account.
    sent_days : int
        How long `sent/` keeps what left, days.
    """

    name: SiteName
    dicom: str = ""
    bids: str = ""
    dicomweb: str = ""
    dicomweb_token: str = ""
    dicomweb_query: tuple[str, ...] = ()
    photos: str = ""
    links: str = ""
    witness: str = ""
    exclude: str = ""
    socket: str = ""
    sent_days: int = Field(3650, ge=1, le=36500)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not (self.dicom or self.bids or self.dicomweb):
            message = "one of dicom, bids and dicomweb says where the scans are"
            raise ValueError(message)
        if bool(self.photos) != bool(self.links):
            message = "photos and links belong together"
            raise ValueError(message)
        return self


class Policy(_File):
    """`policy.toml`: binds the agent whatever anybody approves.

    Attributes
    ----------
    declared_people : int
        The size of the site's cohort as a person declared it, before any data was read: what
        minimum sizes are compared with, so that a refusal tells nothing about a true count.
    population_reached : int
        People whom the site serves, as a person declared it: of whom a scan that is known to be the
        site's could be. 0 where nobody says; it leaves with the release otherwise.
    region : str
        Name of the region that the site lies in; empty for none.
    epsilon_per_study, epsilon_lifetime : str
        Caps, decimals. One account over all the site's people.
    populations, arms : tuple of str
        What a study may be about, and which defacers it may measure.
    recognisers : tuple of str
        sha256 of the networks that a study may attack with; the shipped ones to begin with.
    roles : tuple of str, or mapping of str to tuple of str
        Roles that may decide about a study. A list: whoever holds the home speaks for each. A
        mapping: a role is held by accounts (`uid:1001`, `gid:200`, `user:alice`, `group:dpo`) that
        the kernel vouches for, and never by the agent's own.
    approvals_needed : int
        People who must approve, 1 or 2: two accounts, or two signing keys.
    approval_days : int
        How long an approval holds, days.
    signing_keys : mapping of str to tuple of str
        OpenSSH public keys of a role, `ssh-ed25519 AAAA...` or a FIDO2 key's `sk-ssh-ed25519@...`:
        that role decides with a signature by one of them alone.
    coordinators : tuple of str
        SHA-256 of CAs, or study keys, whose studies may be approved; empty for the pinned one's.
    experiments : tuple of str
        Kinds of experiment that may be approved; empty for any that this version knows.
    constants : tuple of str
        SHA-256 of constants that a study may bring; empty for any.
    hours : tuple of str
        When the agent may compute and answer, by this machine's clock and time zone, such as
        `20:00-06:00`; empty for always.
    distributed : bool
        Whether studies whose noise is shared out among the sites may be approved at all.
    distributed_colluders, distributed_sites : int
        Such a study must tolerate at least so many colluding sites, and add up at least so many.
    epsilon_alone_per_study, epsilon_alone_lifetime : str
        Caps on what is lost if everybody else colludes, decimals; local noise counts in full.
    peers : mapping of str to str
        Statement keys of the other sites, as their own people said them: where any is named, a
        study's roster must hold these and no others.
    """

    declared_people: int = Field(ge=1)
    population_reached: int = Field(0, ge=0, le=LARGEST_POPULATION)
    region: RegionName | Literal[""] = ""
    epsilon_per_study: _Decimal = "2"
    epsilon_lifetime: _Decimal = "4"
    populations: tuple[Line, ...] = ("patients", "volunteers", "synthetic people")
    arms: tuple[ArmName, ...] = (
        "unmodified",
        "blur",
        "coarsen-3mm",
        "coarsen-5mm-slices",
        "facemask",
        "quickshear",
        "reface",
        "skullstrip",
    )
    recognisers: tuple[Sha256, ...] = tuple(
        dict.fromkeys(part.sha256 for known in (SFACE, DLIB_RESNET) for part in known.parts)
    )
    roles: tuple[_Role, ...] | dict[_Role, tuple[_Account, ...]] = ("data protection officer",)
    approvals_needed: int = Field(1, ge=1, le=2)
    approval_days: int = Field(90, ge=1, le=3650)
    signing_keys: dict[_Role, _SigningKeys] = Field(default_factory=dict)
    coordinators: tuple[Sha256, ...] = ()
    experiments: tuple[Line, ...] = ()
    constants: tuple[Sha256, ...] = ()
    hours: tuple[_Hours, ...] = ()
    distributed: bool = False
    distributed_colluders: int = Field(0, ge=0, le=1000)
    distributed_sites: int = Field(3, ge=2, le=1000)
    epsilon_alone_per_study: _Decimal = "10"
    epsilon_alone_lifetime: _Decimal = "20"
    peers: dict[SiteName, Sha256] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _people_can_be_told_apart(self) -> Self:
        if not set(self.signing_keys) <= set(self.roles):
            message = "signing_keys names a role that roles does not name"
            raise ValueError(message)
        by_key = set(self.signing_keys) == set(self.roles)
        if self.approvals_needed > 1 and not (isinstance(self.roles, dict) or by_key):
            message = "two people can be told apart by accounts in roles, or by signing_keys alone"
            raise ValueError(message)
        if self.region and not self.population_reached:
            message = "region without population_reached says nothing"
            raise ValueError(message)
        return self

    @property
    def catchment(self) -> Catchment | None:
        """What a release says of the people whom the site serves; None where nobody declared it."""
        if not self.population_reached:
            return None
        return Catchment(population_reached=self.population_reached, region=self.region or None)

    @property
    def study_cap(self) -> PrivacyLoss:
        """Largest loss of one study."""
        return PrivacyLoss.from_decimal(self.epsilon_per_study)

    @property
    def lifetime_cap(self) -> PrivacyLoss:
        """Largest loss over all studies, ever."""
        return PrivacyLoss.from_decimal(self.epsilon_lifetime)

    @property
    def alone_study_cap(self) -> PrivacyLoss:
        """Largest loss of one study if everybody else colludes."""
        return PrivacyLoss.from_decimal(self.epsilon_alone_per_study)

    @property
    def alone_lifetime_cap(self) -> PrivacyLoss:
        """Largest loss over all studies, ever, if everybody else colludes in each."""
        return PrivacyLoss.from_decimal(self.epsilon_alone_lifetime)

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

    @property
    def fetched(self) -> Path:
        """Folder of series that were fetched from the site's archive; `index` fills it."""
        return self.root / "fetched"

    @property
    def sent(self) -> Path:
        """Folder of every byte that left."""
        return self.root / "sent"

    @property
    def log(self) -> Path:
        """Folder of the agent's log."""
        return self.root / "log"

    @property
    def hold_file(self) -> Path:
        """`stopped`: while it is there, nothing is approved, computed, answered or exported."""
        return self.root / "stopped"

    def check_not_held(self) -> None:
        """Raise PolicyRefusalError while `stop --hold` holds, across restarts."""
        if self.hold_file.exists():
            raise PolicyRefusalError(
                "agent",
                got="a site that was stopped by hand",
                expected="one that is not",
                do="end it: reidscope-site resume --role ROLE",
            )

    @property
    def keys(self) -> Path:
        """Folder of keys, or a link to one elsewhere; systemd's credentials where it has none."""
        own = self.root / "keys"
        credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if credentials and not own.is_symlink() and not own.exists():
            given = Path(credentials)
            if (given / "site.key").exists():
                return given
        return own

    @property
    def renewed_certificate(self) -> Path:
        """`transport.crt` of the home itself: public, and written where keys may be read-only."""
        return self.root / "transport.crt"

    @property
    def certificate(self) -> Path:
        """The certificate that this site shows: the renewed one, else the one of enrolment."""
        renewed = self.renewed_certificate
        return renewed if renewed.exists() else self.key("transport.crt")

    def key(self, name: str) -> Path:
        """Path of one key file."""
        return self.keys / name

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
    dumped = model.model_dump(mode="json")
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in dumped.items())


def _toml_value(value: object) -> str:
    """JSON strings, integers and lists of strings are TOML as they stand; mappings are not."""
    if isinstance(value, dict):
        pairs = (f"{_toml_value(name)} = {_toml_value(held)}" for name, held in value.items())
        return "{" + ", ".join(pairs) + "}"
    return json.dumps(value, ensure_ascii=False)


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
