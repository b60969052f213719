"""`reidscope-site keys`: under a passphrase, in a mounted folder, and one key after another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from reidscope_protocols.desk import Desk
from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError, NotReadyError
from reidscope_protocols.key_source import passphrase_from
from reidscope_protocols.keys import read_private_file
from reidscope_protocols.terminal import say
from reidscope_site.agent import Agent
from reidscope_site.cli_options import DEFAULT_HOME, HomeOption
from reidscope_site.config import Home
from reidscope_site.control import control
from reidscope_site.journal import Event
from reidscope_site.key_source import IN_MEMORY, PRIVATE, use_folder
from reidscope_site.locked_keys import check_opens, lock, unlock
from reidscope_site.rotation import alone, install, is_under_way, prepare
from reidscope_site.store import file_system_of
from reidscope_site.taking_part import bound_to_key
from reidscope_site.upkeep import agree, keep_up

keys_app = typer.Typer(help="Where the site's keys lie, and what follows them.",
                       no_args_is_help=True)  # fmt: skip
SealedFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="The sealed keys.", dir_okay=False)
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="Read the passphrase's line from a file instead of asking for it."),
]
PassphraseFd = Annotated[
    int | None, typer.Option(help="Read it from an open file descriptor.", min=0)
]
Credential = Annotated[str, typer.Option(help="Read it from this systemd credential.")]


@keys_app.command("lock")
def lock_command(
    file: SealedFile,
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    credential: Credential = "",
) -> None:
    """Seal the keys into a file and take them off the disk; keep a copy of that file."""
    existing = Home.existing(home)
    _refuse_while_serving(existing)
    given = passphrase_from(passphrase_file, descriptor=passphrase_fd, credential=credential)
    lock(existing, file, given or _typed(confirm=True))
    say("locked; before the agent runs again: reidscope-site keys unlock FILE --into FOLDER")


@keys_app.command("unlock")
def unlock_command(
    file: SealedFile,
    into: Annotated[
        Path, typer.Option(help="Folder in memory, such as /run/reidscope/keys.", file_okay=False)
    ],
    home: HomeOption = DEFAULT_HOME,
    *,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    credential: Credential = "",
) -> None:
    """Unpack the keys into memory until the machine restarts."""
    given = passphrase_from(passphrase_file, descriptor=passphrase_fd, credential=credential)
    unlock(Home.existing(home), file, given or _typed(confirm=False), into)
    say("unlocked until this machine restarts")


@keys_app.command("use")
def use_command(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Holds site.key, statement.pem, transport.pem."),
    ],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Use the keys in a mounted folder; copies in the home itself are removed."""
    existing = Home.existing(home)
    _refuse_while_serving(existing)
    say(f"keys: from {use_folder(existing, folder)}")


@keys_app.command("rotate")
def rotate_command(
    home: HomeOption = DEFAULT_HOME,
    *,
    stolen: Annotated[
        bool, typer.Option("--stolen", help="End the old key now, instead of in 30 days.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Though this site drops out of sums under way.")
    ] = False,
    request: Annotated[
        Path | None, typer.Option(help="Write the change to a file instead of sending it.")
    ] = None,
    install_file: Annotated[
        Path | None, typer.Option("--install", help="Install a grant that came as a file.")
    ] = None,
    sealed: Annotated[
        Path | None,
        typer.Option(help="With unlocked keys: the sealed file, which gets the new ones too."),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="With read-only keys: a folder for the new ones.", file_okay=False),
    ] = None,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    credential: Credential = "",
) -> None:
    """Draw new keys; the old one signs them over. Studies and approvals go on."""
    existing = Home.existing(home)
    given = passphrase_from(passphrase_file, descriptor=passphrase_fd, credential=credential)
    passphrase = _check_place(existing, sealed, into, given)

    def seal() -> None:
        # Memory is emptied by a restart: what follows must be under the passphrase as well.
        if sealed is not None:
            lock(existing, sealed, passphrase)

    with alone(existing):
        if into is not None:
            _move(existing, into)
        agent = Agent(existing)
        try:
            if install_file is None and not is_under_way(existing):
                _check_sums(agent, leaves=force or stolen)
            if request is not None:
                write_durably(request, prepare(existing, agent.pinned, stolen=stolen))
                seal()
                say("change written; the coordinator answers it with `reidscope-server keys admit`")
                return
            if install_file is None:
                grant = _granted(agent, stolen=stolen, seal=seal)
            else:
                grant = install_file.read_bytes()
            install(existing, agent.pinned, grant)
            agent.journal.write(Event.KEYS_ROTATED)
            say(f"statement key: {agent.statement_key.public}")
        finally:
            agent.close()
        seal()
    lasts = "has ended" if stolen else "holds for 30 days beside it, for what it has signed"
    say(f"the old one {lasts}; a running agent goes on with the new keys by itself")


def _check_sums(agent: Agent, *, leaves: bool) -> None:
    """Raise NotReadyError where a new key ends this site's part in a sum; say so if it may."""
    bound = bound_to_key(agent)
    if bound and not leaves:
        raise NotReadyError(
            "keys",
            got=f"studies whose shared noise needs the key of now: {', '.join(bound)}",
            expected="none under way",
            do="wait for their sums or decline them; or --force, and this site drops out of them",
        )
    if bound:
        say(f"this site drops out of: {', '.join(bound)}; tell the coordinator")


def _granted(agent: Agent, *, stolen: bool, seal: Callable[[], None]) -> bytes:
    """Hand the change over, and return what the coordinator grants."""
    with control(agent.home, agent.pinned, agent.sent) as channel:
        agree(channel)
        # The certificate is to come from the last root that the coordinator has.
        keep_up(agent, channel, say, say)
    with control(agent.home, agent.pinned, agent.sent) as channel:
        change = prepare(agent.home, agent.pinned, stolen=stolen)
        seal()
        agent.sent.keep("key-change", change)
        return channel.rotate(change)


def _check_place(home: Home, sealed: Path | None, into: Path | None, passphrase: str | None) -> str:
    """Raise ConfigError where new keys would be lost or could not be written.

    Returns the passphrase of `sealed`, empty where there is none.
    """
    in_memory = home.keys.is_symlink() and file_system_of(home.keys) in IN_MEMORY
    if in_memory and sealed is None and into is None:
        raise ConfigError(
            "keys",
            got="keys in memory, which a restart empties",
            expected="the sealed file that is to hold the new ones",
            do="name it with --sealed; for a mounted secret, a folder with --into",
        )
    if sealed is None:
        return ""
    given = passphrase or _typed(confirm=False)
    check_opens(sealed, given)
    return given


def _move(home: Home, into: Path) -> None:
    """Copy the keys to a folder that can be written, and use them there."""
    if home.keys.resolve() == into.resolve():
        return
    into.mkdir(mode=0o700, exist_ok=True)
    for name in PRIVATE:
        write_durably(into / name, read_private_file(home.key(name), what=name))
    use_folder(home, into)


def _refuse_while_serving(home: Home) -> None:
    with Desk(home.root).claim() as held:
        if not held:
            raise NotReadyError(
                "keys", got="an agent that is at work with them", expected="none",
                do="stop it first: reidscope-site stop",
            )  # fmt: skip


def _typed(*, confirm: bool) -> str:
    asked: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm)
    return asked
