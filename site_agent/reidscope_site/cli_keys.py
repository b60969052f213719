"""`reidscope-site keys lock` and `keys unlock`: keys under a passphrase while nothing runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reidscope_protocols.desk import Desk
from reidscope_protocols.errors import ConfigError, NotReadyError
from reidscope_protocols.terminal import say
from reidscope_site.cli_options import DEFAULT_HOME, HomeOption
from reidscope_site.config import Home
from reidscope_site.locked_keys import lock, unlock

keys_app = typer.Typer(help="Seal the site's keys under a passphrase.", no_args_is_help=True)
SealedFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="The sealed keys.", dir_okay=False)
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="Read the passphrase's line from a file instead of asking for it."),
]


@keys_app.command("lock")
def lock_command(
    file: SealedFile, home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFile = None
) -> None:
    """Seal the keys into a file and take them off the disk; keep a copy of that file."""
    existing = Home.existing(home)
    with Desk(existing.root).claim() as held:
        if not held:
            raise NotReadyError(
                "keys", got="an agent that is at work with them", expected="none",
                do="stop it first: reidscope-site stop",
            )  # fmt: skip
        lock(existing, file, _passphrase(passphrase_file, confirm=True))
    say("locked; before the agent runs again: reidscope-site keys unlock FILE --into FOLDER")


@keys_app.command("unlock")
def unlock_command(
    file: SealedFile,
    into: Annotated[
        Path, typer.Option(help="Folder in memory, such as /run/reidscope/keys.", file_okay=False)
    ],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Unpack the keys into memory until the machine restarts."""
    unlock(Home.existing(home), file, _passphrase(passphrase_file, confirm=False), into)
    say("unlocked until this machine restarts")


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    if file is None:
        asked: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm)
        return asked
    try:
        return file.read_text(encoding="utf-8").splitlines()[0]
    except (UnicodeDecodeError, IndexError):
        raise ConfigError(
            "passphrase", got="an empty file, or no text", expected="one line", do="correct it"
        ) from None
