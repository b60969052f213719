"""Which versions may talk: compared over the control port, before the fleet port is used.

Both sides hold what the other says against the same short list. What is not on it was never run
together here: it is refused by both, in one line, and by neither silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata

from reidscope_protocols.errors import UnsupportedError

PROTOCOL = (1, 0)
"""Major and minor of what is said over the wire; a new field is a new minor."""

TESTED_PROTOCOLS = frozenset({(1, 0)})
TESTED_REIDSCOPE = frozenset({"0.1"})
TESTED_FLOWER = frozenset({"1.41"})
"""First two numbers of the versions that continuous integration runs against each other."""

_LONGEST = 40  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What one side runs.

    Attributes
    ----------
    reidscope, flower : str
        As their distributions say, such as `0.1.0`.
    protocol : tuple of 2 int
        Major and minor.
    """

    reidscope: str
    protocol: tuple[int, int]
    flower: str

    @classmethod
    def of_this_process(cls) -> Versions:
        """Return what is installed here."""
        return cls(reidscope=_installed("reidscope"), protocol=PROTOCOL, flower=_installed("flwr"))

    def __str__(self) -> str:
        major, minor = self.protocol
        return f"reidscope {self.reidscope}, protocol {major}.{minor}, Flower {self.flower}"


def check_versions(theirs: Versions, *, whose: str) -> None:
    """Raise UnsupportedError unless the other side's versions were tested with this one's.

    Parameters
    ----------
    theirs : Versions
        As the other side says.
    whose : str
        Word for the message: `coordinator` or `site`.
    """
    major, minor = theirs.protocol
    wrong = None
    if theirs.protocol not in TESTED_PROTOCOLS:
        wrong = f"protocol {major}.{minor}", f"protocol {_spoken()}"
    for name, version, tested in (
        ("reidscope", theirs.reidscope, TESTED_REIDSCOPE),
        ("Flower", theirs.flower, TESTED_FLOWER),
    ):
        if wrong is None and _series(version) not in tested:
            wrong = f"{name} {_plain(version)}", f"{name} {' or '.join(sorted(tested))}"
    if wrong is not None:
        raise UnsupportedError(
            f"{whose}'s versions",
            got=wrong[0],
            expected=wrong[1],
            do="install versions on both sides that were tested together",
        )


@cache
def _installed(name: str) -> str:
    return metadata.version(name)


def _spoken() -> str:
    return " or ".join(f"{major}.{minor}" for major, minor in sorted(TESTED_PROTOCOLS))


def _series(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _plain(version: str) -> str:
    """Return a version that came from outside in characters that cannot trick a terminal."""
    kept = "".join(each for each in version if (each.isascii() and each.isalnum()) or each in ".+-")
    return kept[:_LONGEST] or "without a number"
