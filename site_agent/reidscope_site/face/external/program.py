"""The program behind a description: where it lies, and which version of it this is.

Imports no image library: an approval and `doctor` ask the same questions as a run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reidscope_protocols.errors import UnsupportedError
from reidscope_protocols.programs import DIGEST_LETTERS, EXTERNAL, ProgramSaid, external
from reidscope_site.face.external.description import (
    Description,
    described,
    descriptions,
    filled,
)
from reidscope_site.face.external.process import version_said

OWN_DESCRIPTIONS: Final = "REIDSCOPE_DEFACERS"
"""Environment variable: a TOML file or a folder of such, where nothing else names one."""

_ALWAYS_PASSED = ("PATH", "LANG", "LC_ALL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A described program that is installed.

    Attributes
    ----------
    description : Description
        How it is called.
    path : Path
        Where it lies.
    """

    description: Description
    path: Path

    def version(self) -> str:
        """Ask the program what it is; its sha256 stands for it where it does not say.

        Returns
        -------
        str
            At most 60 letters: a version number and nothing else that it prints.
        """
        asked, environment = self.description.version, self.environment()
        teller = _which(asked[0]) if asked else None
        if teller is not None:
            words = filled(asked[1:], as_values(environment))
            said = version_said([teller, *words], environment=environment)
            if said:
                return said
        return f"sha256:{self.sha256[:DIGEST_LETTERS]}"

    @property
    def sha256(self) -> str:
        """Digest of the file that is started: a script keeps its version when it is edited."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def environment(self) -> dict[str, str]:
        """Return the variables that the program sees."""
        passed = (*_ALWAYS_PASSED, *self.description.environment)
        return {name: os.environ[name] for name in passed if name in os.environ}


def as_values(environment: dict[str, str]) -> dict[str, str]:
    """Name variables as the placeholders of a description do."""
    return {f"env.{name}": value for name, value in environment.items()}


def find_program(name: str, *, own: Path | None = None) -> Program:
    """Find an installed program by the name of its description.

    Raises
    ------
    UnsupportedError
        Not described, or not installed.
    """
    description = described(name, own=own or own_descriptions())
    for needed in description.needs:
        _found(needed, name)
    return Program(description=description, path=Path(_found(description.command[0], name)))


def expected_version(program: Program) -> str:
    """Return the version of a program.

    Raises
    ------
    UnsupportedError
        It is another one than its description expects.
    """
    version, expected = program.version(), program.description.expects
    if expected and version != expected:
        raise UnsupportedError(
            f"{EXTERNAL}{program.description.name}",
            got=f"version {version}",
            expected=f"version {expected}, which its description names",
            do="install that version, or look at this one and correct `expects`",
        )
    return version


def programs_of(arms: Iterable[str]) -> dict[str, str]:
    """Say which programs of others a study's arms are made with, as a Release names them.

    Returns
    -------
    dict
        Arm to what `protocols.programs.ProgramSaid` writes: two sites that agree called the same
        program in the same way. Empty without external arms.

    Raises
    ------
    UnsupportedError
        One is not described, not installed, or of another version than its description expects.
    ConfigError
        A description that is none.

    Privacy
    -------
    About this machine; nothing about its people (docs/privacy.md, "What stays at the site").
    """
    named = {}
    for arm in external(arms):
        program = find_program(arm.removeprefix(EXTERNAL))
        named[arm] = str(
            ProgramSaid(
                version=expected_version(program),
                program=program.sha256[:DIGEST_LETTERS],
                description=program.description.sha256[:DIGEST_LETTERS],
            )
        )
    return named


def longest_s(arms: Iterable[str]) -> int:
    """Seconds that the programs of others among a study's arms may take for one scan."""
    known = descriptions(own=own_descriptions())
    names = [arm.removeprefix(EXTERNAL) for arm in external(arms)]
    return sum(known[name].timeout_s for name in names if name in known)


def own_descriptions() -> Path | None:
    """Where the site keeps descriptions of its own, by the environment."""
    place = os.environ.get(OWN_DESCRIPTIONS)
    return Path(place) if place else None


def installed(description: Description) -> bool:
    """Whether the program of a description and all that it needs can be found; nothing is run."""
    programs = (description.command[0], *description.needs)
    return all(_which(program) is not None for program in programs)


def _which(program: str) -> str | None:
    """On the path, or beside the running Python, where packages put their scripts."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(program) or shutil.which(program, path=beside)


def _found(program: str, name: str) -> str:
    place = _which(program)
    if place is None:
        raise UnsupportedError(
            f"{EXTERNAL}{name}",
            got="a program that is not installed",
            expected="it, and what it needs, on the path",
            do="install it, or choose another defacer",
        )
    return place
