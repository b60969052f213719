"""Profiles as files: the shipped ones, and copies that a site changed and passes by path.

A profile file is TOML. It chooses among the options of the standard and may drop more; it cannot
keep what no option keeps, so a mistake in one cannot open a hole.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reidscope_deid.tables.limits import RiskLimits
from reidscope_protocols.errors import ConfigError, UnsupportedError

_SCHEMA = "reidscope.deid-profile/1"
_LIMIT = 1 << 16  # bytes
_SHIPPED = (
    "basic",
    "basic-undated",
    "limited-data-set",
    "safe-harbor",
    "expert-determination",
    "research-neuro",
)
_Tag = Annotated[str, Field(pattern=r"^[0-9A-F]{8}$")]
_Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class DateRules(_Strict):
    """How dates that an option retains are written.

    Attributes
    ----------
    whole_weeks : bool
        Move by whole weeks, so that a Monday stays a Monday.
    year_only : bool
        Write the first of January of the true year, and midnight, instead of moving.
    time_zone : bool
        Keep time zones: the element, and those in DT values.
    """

    whole_weeks: bool = False
    year_only: bool = False
    time_zone: bool = False


class AgeRules(_Strict):
    """How ages that an option retains are written.

    Attributes
    ----------
    cap_at_90 : bool
        Write every age over 89 as 090Y.
    """

    cap_at_90: bool = False


class ProfileFile(_Strict):
    """What stands in a profile file.

    Attributes
    ----------
    schema_name : str
        Names the shape of the file.
    name : str
        What outputs call it.
    about : str
        For a reader.
    options : list of str
        Options of PS3.15.
    dates : DateRules
        How dates are written.
    ages : AgeRules
        How ages are written.
    drop : list of str
        Tags (eight hexadecimal digits) that are dropped though an option or the allow-list keeps
        them.
    sop_classes : list of str
        UIDs of the only classes taken; empty for all that keep.json names.
    risk : RiskLimits or None
        How exposed the people of an output folder may be; nothing is measured where it is absent.
    """

    schema_name: Literal["reidscope.deid-profile/1"] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    about: Annotated[str, Field(max_length=4000)]
    options: list[str]
    dates: DateRules = DateRules()
    ages: AgeRules = AgeRules()
    drop: list[_Tag] = []
    sop_classes: list[_Uid] = []
    risk: RiskLimits | None = None


def profile_names() -> tuple[str, ...]:
    """Name the profiles that ship."""
    return _SHIPPED


def read_profile(name: str) -> ProfileFile:
    """Read a shipped profile by its name, or a site's own by its path.

    Parameters
    ----------
    name : str
        One of `profile_names`, or the path of a TOML file.

    Raises
    ------
    UnsupportedError
        Neither.
    ConfigError
        A file that is no profile, or that changes a shipped one without a name of its own.
    """
    if name in _SHIPPED:
        return _shipped(name)
    path = Path(name)
    if path.suffix != ".toml":
        raise UnsupportedError(
            "the profile",
            got="another name",
            expected=f"{' or '.join(_SHIPPED)}, or the path of a .toml file",
            do="choose one",
        )
    try:
        with path.open("rb") as stream:
            own = _parsed(stream.read(_LIMIT))
    except OSError:
        raise _refused("no file that can be read") from None
    if own.name in _SHIPPED and own != _shipped(own.name):
        raise _refused(f"a change of {own.name} under the same name")
    return own


def profile_text(name: str) -> str:
    """Text of a profile that `read_profile` reads, comments too."""
    if name in _SHIPPED:
        return files("reidscope_deid").joinpath(f"data/profiles/{name}.toml").read_text("utf-8")
    return Path(name).read_text("utf-8")


@cache
def _shipped(name: str) -> ProfileFile:
    return _parsed(files("reidscope_deid").joinpath(f"data/profiles/{name}.toml").read_bytes())


def _parsed(content: bytes) -> ProfileFile:
    try:
        return ProfileFile.model_validate(tomllib.loads(content.decode("utf-8")))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"][:2])
        raise _refused(f"{where}: {error.errors()[0]['type']}") from None
    except ValueError:
        raise _refused("something that is no TOML") from None


def _refused(got: str) -> ConfigError:
    return ConfigError(
        "the profile file",
        got=got,
        expected=f"a TOML file of the schema {_SCHEMA}, with a name of its own",
        do="copy a shipped one: reidscope-deid explain --profile basic --file",
    )
