"""SQLite as both sides keep it: durable settings, a schema, all-or-nothing transactions."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reidscope_protocols.errors import ConfigError

_OWNER_ONLY = 0o600
_BUSY_SECONDS = 30
_FOLDS, _FOLD_SECONDS = 2, 0.1
_SIGNED_POSITIVE = 0x7FFFFFFF
_LARGEST_STEP = 1 << 20
"""Before steps had numbers, a schema's checksum stood there: every one was larger."""

Step = str | Callable[[sqlite3.Connection], None]
"""One change of a schema: statements separated by semicolons, or a function."""


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open (and, the first time, make) a database that survives a power cut.

    Parameters
    ----------
    path : Path
        Readable and writable by its owner alone.
    schema : str
        Statements that may be run again, separated by semicolons.
    """
    connection = _opened(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    wanted = zlib.crc32(schema.encode()) & _SIGNED_POSITIVE
    if version != wanted:
        with transaction(connection):
            _take(connection, schema, wanted)
    return connection


def open_migrated(path: Path, steps: Sequence[Step]) -> sqlite3.Connection:
    """Open (and, the first time, make) a database, and bring it to the last of `steps`.

    A step that was published is never changed: what comes later is another step. Each is taken
    whole or not at all, once, whoever opens the file first.

    Parameters
    ----------
    path : Path
        Readable and writable by its owner alone.
    steps : sequence of str or callable
        From an empty file on; the first may be run again on files from before steps had numbers.

    Raises
    ------
    ConfigError
        A newer version of reidscope wrote the file; it is left as it is.
    """
    connection = _opened(path)
    if _steps_taken(connection) != len(steps):
        with transaction(connection):
            # Another process may have taken steps while this one waited.
            for number in range(_steps_taken(connection), len(steps)):
                _take(connection, steps[number], number + 1)
    taken = _steps_taken(connection)
    if taken > len(steps):
        connection.close()
        raise ConfigError(
            "database",
            got=f"one of version {taken}",
            expected=f"version {len(steps)} or older",
            do="use the newer version of reidscope that wrote it; nothing was changed",
        )
    return connection


def _opened(path: Path) -> sqlite3.Connection:
    if not path.exists():
        path.touch(mode=_OWNER_ONLY)
    connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def _steps_taken(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return version if version < _LARGEST_STEP else 0


def _take(connection: sqlite3.Connection, step: Step, version: int) -> None:
    if callable(step):
        step(connection)
    else:
        for statement in step.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")


def fold_log(connection: sqlite3.Connection) -> bool:
    """Fold the write-ahead log into the database and cut it, so that no older page is left in it.

    Returns whether nobody who was reading kept it from that: then the next one does it.
    """
    for _ in range(_FOLDS):
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return True
        time.sleep(_FOLD_SECONDS)
    return False


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and nobody else writes meanwhile (BEGIN IMMEDIATE).

    Inside another one it is a part of it: undone by itself where it fails, kept with the whole.
    """
    if connection.in_transaction:
        with _part(connection):
            yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Broad on purpose: whatever happened (Ctrl-C, a full disk), nothing of the block stays.
        # SQLite has rolled back by itself where the disk was full.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _part(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        # Broad on purpose, as in `transaction`. A full disk has undone the whole already.
        if connection.in_transaction:
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
        raise
    connection.execute("RELEASE part")
