"""SQLite as both sides keep it: durable settings, a schema, all-or-nothing transactions."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OWNER_ONLY = 0o600
_BUSY_SECONDS = 30
_SIGNED_POSITIVE = 0x7FFFFFFF


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open (and, the first time, make) a database that survives a power cut.

    Parameters
    ----------
    path : Path
        Readable and writable by its owner alone.
    schema : str
        Statements that may be run again, separated by semicolons.
    """
    if not path.exists():
        path.touch(mode=_OWNER_ONLY)
    connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    wanted = zlib.crc32(schema.encode()) & _SIGNED_POSITIVE
    if version != wanted:
        with transaction(connection):
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {wanted}")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and nobody else writes meanwhile (BEGIN IMMEDIATE)."""
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
