"""Where a passphrase comes from, and that it does not lie beside what it opens.

It is typed, or comes through a file descriptor, a mounted secret, or a systemd credential. Sites
seal their keys under one, and so does the coordinator.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from reidscope_protocols.errors import ConfigError

_LONGEST = 4096  # bytes
_SHORTEST = 12  # characters


def passphrase_from(
    file: Path | None = None, *, descriptor: int | None = None, credential: str = ""
) -> str | None:
    """Read the passphrase's one line from where it was said to be; None where it was not said.

    Parameters
    ----------
    file : Path, optional
        A mounted secret.
    descriptor : int, optional
        An open file descriptor, as `3` with `3<<<"..."`.
    credential : str
        Name of a systemd credential of this unit.

    Raises
    ------
    ConfigError
        Two places at once, no such place, or no line of text there.
    """
    said = sum((file is not None, descriptor is not None, bool(credential)))
    if not said:
        return None
    try:
        if said > 1:
            raise ValueError  # noqa: TRY301  # told below, like every other way to get it wrong
        if descriptor is not None:
            with os.fdopen(descriptor, "rb") as stream:
                content = stream.read(_LONGEST)
        else:
            folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
            if credential and (not folder or Path(credential).name != credential):
                raise ValueError  # noqa: TRY301  # told below, as above
            content = (file or Path(folder, credential)).read_bytes()[:_LONGEST]
        return content.decode("utf-8").splitlines()[0]
    except (OSError, ValueError, IndexError):
        raise ConfigError(
            "passphrase",
            got="nothing that can be read there, or two places at once",
            expected="one line in a file, a file descriptor or a systemd credential",
            do="correct it",
        ) from None


def check_long_enough(passphrase: str) -> None:
    """Raise ConfigError for a passphrase of fewer than 12 characters."""
    if len(passphrase) < _SHORTEST:
        raise ConfigError(
            "passphrase",
            got=f"{len(passphrase)} characters",
            expected=f"at least {_SHORTEST}",
            do="take five words out of a hat",
        )


def share_a_volume(kept: Iterable[Path], data: Iterable[Path]) -> bool:
    """Tell whether whoever copies a volume of the data gets what is kept, too."""
    devices = {path.stat().st_dev for path in data if path.exists()}
    return any(path.stat().st_dev in devices for path in kept if path.exists())
