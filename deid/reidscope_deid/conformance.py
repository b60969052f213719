"""How many errors `dciodvfy` (dicom3tools) counts in a file: outputs must have no more than before.

Only the lines are counted: their text can hold values.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidscope_protocols.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = "dciodvfy"
_SECONDS = 60
_ERROR = b"Error"
_NO_OBJECT = b"Error - Information Object Not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the program says of one file.

    Attributes
    ----------
    errors : int
        Lines that report an error; 1 where the program did not end by itself.
    recognised : bool
        Whether it could say what kind of object the file is: of another it checks next to nothing.
    """

    errors: int
    recognised: bool

    def worse_than(self, other: Judgement) -> bool:
        """Whether the other file was better."""
        lost = other.recognised and not self.recognised
        return lost or self.errors > other.errors


def find_validator() -> str:
    """Path of the program.

    Raises
    ------
    UnsupportedError
        Not installed.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        raise UnsupportedError(
            "the conformance of files",
            got=f"no program {_PROGRAM}",
            expected=f"{_PROGRAM}, of dicom3tools",
            do="install dicom3tools, or leave --conformance out",
        )
    return program


def judge(path: Path, program: str) -> Judgement:
    """Count the errors of one file.

    Parameters
    ----------
    path : Path
        Only read.
    program : str
        From `find_validator`.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the validator, on a file of the user's own
            [program, str(path.absolute())], capture_output=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Judgement(errors=1, recognised=False)
    lines = done.stderr.splitlines()
    return Judgement(
        errors=sum(line.startswith(_ERROR) for line in lines), recognised=_NO_OBJECT not in lines
    )
