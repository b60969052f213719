"""Defacers of others, as a Release names them: which version of which program, called how.

"2.1.0, program 0123456789abcdef, description 0123456789abcdef"
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final, Self

from pydantic import StringConstraints

from reidscope_protocols.statements import Parsed

EXTERNAL: Final = "external-"
"""Prefix of the arms of programs of others."""

DIGEST_LETTERS: Final = 16

_DIGEST = rf"[0-9a-f]{{{DIGEST_LETTERS}}}"
VERSION: Final = rf"(?:sha256:{_DIGEST}|[0-9]+(?:\.[0-9]+)+[0-9A-Za-z.+-]{{0,60}})"
"""What may be called a version: a number, or a digest where a program says none."""

_SAID = re.compile(rf"({VERSION}), program ({_DIGEST}), description ({_DIGEST})", re.ASCII)
_LONGEST = 120

Digest = Annotated[str, StringConstraints(pattern=f"^{_DIGEST}$")]


class ProgramSaid(Parsed):
    """What a site says of the program behind one of its arms.

    Attributes
    ----------
    version : str
        The program's own word.
    program, description : str
        First digits of the sha256 of the file that was started, and of how it was called.
    """

    version: Annotated[str, StringConstraints(pattern=f"^{VERSION}$", max_length=80)]
    program: Digest
    description: Digest

    def __str__(self) -> str:
        return f"{self.version}, program {self.program}, description {self.description}"

    @classmethod
    def read(cls, said: str) -> Self | None:
        """Read what a Release says; None where it is not of this form."""
        found = _SAID.fullmatch(said[: _LONGEST + 1])
        if found is None or len(said) > _LONGEST:
            return None
        return cls(version=found[1], program=found[2], description=found[3])


def external(arms: Iterable[str]) -> tuple[str, ...]:
    """Those of a study's arms that a program of others makes."""
    return tuple(arm for arm in arms if arm.startswith(EXTERNAL))
