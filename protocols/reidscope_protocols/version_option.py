"""`--version`: one line, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import typer

from reidscope_protocols.study import Study
from reidscope_protocols.terminal import say
from reidscope_protocols.versions import Versions

VERSION_HELP = "Print the version and end."


def version_teller(program: str, more: Callable[[], str]) -> Callable[[bool], None]:
    """Return what an eager `--version` option of a program calls.

    Parameters
    ----------
    more : callable
        What a version is good for beside its number; asked for when it is told.
    """

    def tell(asked: bool) -> None:  # noqa: FBT001  # typer calls it with the option's value
        if asked:
            say(f"{program} {metadata.version('reidscope')} ({more()})")
            raise typer.Exit

    return tell


def spoken() -> str:
    """Say what sites and the coordinator compare in Hello, and the schema of studies."""
    ours = Versions.of_this_process()
    major, minor = ours.protocol
    schema = Study.model_fields["schema_"].default
    return f"protocol {major}.{minor}, Flower {ours.flower}, {schema}"
