"""`reidscope-server keys` and `ca`: one key or root after another, while studies go on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reidscope_protocols.desk import Desk
from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError, NotReadyError
from reidscope_protocols.key_source import check_long_enough, passphrase_from
from reidscope_protocols.terminal import say, show_json, show_table
from reidscope_server.config import ServerHome, check_known
from reidscope_server.key_files import (
    check_secret_apart,
    check_terminal,
    described,
    is_sealing,
    secret_from,
)
from reidscope_server.roots import WINDOW_DAYS
from reidscope_server.sealing_keys import seal_keys
from reidscope_server.verbs import ask

keys_app = typer.Typer(help="The coordinator's statement keys.", no_args_is_help=True)
ca_app = typer.Typer(help="The certificate authority.", no_args_is_help=True)
_DEFAULT_HOME = Path("reidscope-server-home")
Home = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="REIDSCOPE_SERVER_HOME",
        help="The coordinator's home folder.",
        file_okay=False,
    ),
]
SOURCE_HELP = (
    "What opens the private keys: passphrase, file:/PATH of a mounted secret, credential:NAME of a "
    "systemd unit; or plain, on purpose. Nothing leaves them open, for synthetic people alone."
)
PassphraseFile = Annotated[
    Path | None, typer.Option(help="Read the new passphrase's line from a file instead of asking.")
]
PassphraseFd = Annotated[
    int | None, typer.Option(help="Read it from an open file descriptor.", min=0)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class OwnRole(StrEnum):
    """The coordinator's two voices."""

    STUDY = "study"
    COORDINATOR = "coordinator"


@keys_app.command("rotate")
def rotate_command(
    role: Annotated[OwnRole, typer.Argument(metavar="ROLE", help="study or coordinator.")],
    home: Home = _DEFAULT_HOME,
    *,
    stolen: Annotated[
        bool, typer.Option("--stolen", help="End the old key now, instead of in 30 days.")
    ] = False,
) -> None:
    """Draw a new key; the old one signs it, and sites follow by themselves."""
    answer = ask(home, "rotate-keys", {"role": role, "at_once": stolen})
    say(f"{role} key: {answer['public']}")
    say("sites fetch the change; sites without a network: `export` it with a study")


def new_secret(
    home: ServerHome, source: str, file: Path | None, descriptor: int | None
) -> str | None:
    """Get the secret that a source will give from now on; None where it seals nothing."""
    check_known(source)
    said = file is not None or descriptor is not None
    if said and source != "passphrase":
        raise ConfigError(
            "passphrase", got="one, though another source was named",
            expected="passphrase as the source", do="drop the option, or name that source",
        )  # fmt: skip
    if not is_sealing(source):
        return None
    check_secret_apart(home, source)
    if source != "passphrase":
        secret = secret_from(source)
    elif said:
        secret = passphrase_from(file, descriptor=descriptor) or ""
    else:
        check_terminal(do="name a file of it: --passphrase-file or --passphrase-fd")
        secret = typer.prompt("New passphrase", hide_input=True, confirmation_prompt=True)
    check_long_enough(secret)
    return secret


@keys_app.command("seal")
def seal_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    home: Home = _DEFAULT_HOME,
    *,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Seal the home's private keys, or seal them under another secret; `up` must not run."""
    existing = ServerHome.existing(home)
    with Desk(existing.root).claim() as held:
        if not held:
            raise NotReadyError(
                "keys", got="a coordinator that is at work with them", expected="none",
                do="stop it first",
            )  # fmt: skip
        secret = new_secret(existing, source, passphrase_file, passphrase_fd)
        number = seal_keys(existing, source, secret or "")
    say(f"{number} keys: {described(existing)}")
    say("copies of before, in backups too, hold them open: `keys rotate` and `ca rotate` end those")


@keys_app.command("source")
def source_command(home: Home = _DEFAULT_HOME) -> None:
    """Say where the private keys come from."""
    say(f"keys: {described(ServerHome.existing(home))}")


@keys_app.command("list")
def list_command(home: Home = _DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """Show every key that this coordinator ever spoke with, and until when."""
    rows = ask(home, "keys", {})["keys"]
    if as_json:
        show_json(rows)
        return
    columns = ("role", "public", "from", "to", "ended")
    show_table("keys", columns, [[row[column] for column in columns] for row in rows])


@keys_app.command("admit")
def admit_command(
    change: Annotated[Path, typer.Argument(metavar="CHANGE", help="A site's file.")],
    out: Annotated[Path, typer.Option("--out", help="Grant file to write.")],
    home: Home = _DEFAULT_HOME,
) -> None:
    """Take a site's change of keys, or its request for a certificate, by file."""
    answer = ask(home, "admit-keys", {"change": change.read_text()})
    write_durably(out, answer["grant"].encode())
    say(f"grant for {answer['site']} written")


@ca_app.command("rotate")
def rotate_root_command(
    home: Home = _DEFAULT_HOME,
    days: Annotated[int, typer.Option(help="How long both roots hold.")] = WINDOW_DAYS,
) -> None:
    """Make another root; both hold for a while, and sites change over by themselves."""
    answer = ask(home, "rotate-root", {"days": days})
    say(f"new CA SHA-256: {answer['new']}")
    say(f"the old one ends {answer['ends']}; look at `sites` who still has its certificate")


@ca_app.command("end")
def end_root_command(
    home: Home = _DEFAULT_HOME,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Though sites have certificates of the old root.")
    ] = False,
) -> None:
    """Trust the new root alone from now on."""
    say(f"CA SHA-256: {ask(home, 'end-root', {'force': force})['new']}, alone")


@ca_app.command("status")
def root_status_command(home: Home = _DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """Show the root, and the one that follows it."""
    answer = ask(home, "ca", {})
    if as_json:
        show_json(answer)
        return
    say(f"CA SHA-256: {answer['old']}")
    if answer["new"]:
        say(f"followed by: {answer['new']}, alone from {answer['ends']}")
