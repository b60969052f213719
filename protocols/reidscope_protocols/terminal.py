"""How every role's commands speak: tables or JSON on the one hand, one line for an error."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from reidscope_protocols.errors import ConfigError, InputError, ReidscopeError
from reidscope_protocols.statements import malformed

INTERRUPTED = 130
_OUT = Console()
_ERR = Console(stderr=True)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table for people."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row))
    _OUT.print(table)


def show_json(value: Any) -> None:
    """Print JSON for programs."""
    _OUT.file.write(json.dumps(value, default=str, indent=1) + "\n")


def say(line: str) -> None:
    """Print one plain line, at once."""
    _OUT.print(line, markup=False, highlight=False, soft_wrap=True)


def forgiving(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Return what tells a daemon's lines: a terminal that is gone or full must not end a daemon."""

    def told(line: str) -> None:
        with suppress(OSError, ValueError):
            tell(line)

    return told


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on the terminal for the block; yields what to tell it: done, of."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=_ERR, transient=True, disable=not _ERR.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@contextmanager
def counted() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar a kind of thing; yields what to tell: what, done, of."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=_ERR, transient=True, disable=not _ERR.is_terminal
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of)
            bar.update(tasks[what], completed=done, total=of)

        yield tell


def _end(error: ReidscopeError) -> NoReturn:
    _ERR.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(error.exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `what` says what is wrong where it is not fine."""

    what: str
    fine: bool


def findings(checks: Mapping[str, Callable[[], object]]) -> Iterator[Finding]:
    """Carry out checks by name: one that raises says what is wrong instead of its name."""
    for what, check in checks.items():
        try:
            check()
        except ReidscopeError as error:
            yield Finding(what=str(error), fine=False)
        else:
            yield Finding(what=what, fine=True)


def show_findings(found: Iterable[Finding], *, as_json: bool) -> bool:
    """Print what a doctor found; returns whether all is fine."""
    every = tuple(found)
    if as_json:
        show_json([{"what": one.what, "fine": one.fine} for one in every])
    else:
        for one in every:
            say(f"{'ok  ' if one.fine else 'BAD '} {one.what}")
    return all(one.fine for one in every)


def run_as_command(app: Callable[[], Any]) -> None:
    """Run a command line: an error becomes its one line and its exit code."""
    try:
        app()
    except ReidscopeError as error:
        _end(error)
    except ValidationError as error:
        got = malformed("options", error).problem.got
        _end(ConfigError("options", got=got, expected="what --help says", do="correct them"))
    except OSError as error:
        _end(
            InputError(
                "file",
                got=error.strerror or "an error of the operating system",
                expected="files and folders that can be read and written",
                do="check the paths that you typed and the space on the disk",
            )
        )
    except sqlite3.Error:
        _end(
            InputError(
                "database",
                got="an error of SQLite",
                expected="a home with room and rights to write",
                do="check the space on the disk, then give the command again",
            )
        )
    except KeyboardInterrupt:
        _ERR.print("interrupted", markup=False, highlight=False)
        sys.exit(INTERRUPTED)
