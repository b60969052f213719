"""Who may use the fleet door, asked at every request: read anew where the database has changed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class UpToDate(Generic[T]):
    """What `read` says of a database, as of its last commit, by whichever process.

    SQLite counts the commits of others for each open connection (`PRAGMA data_version`): asking for
    the count takes microseconds, where opening the database and reading 500 sites takes
    milliseconds. Revocation takes effect at the next call.

    Parameters
    ----------
    database : Path
        Is there already.
    read : callable
        Opens the database itself.
    """

    def __init__(self, database: Path, read: Callable[[], T]) -> None:
        self._database = database
        self._read = read
        self._of_thread = threading.local()

    def __call__(self) -> T:
        """Return what `read` returns now; safe in any thread.

        Raises
        ------
        sqlite3.Error
            The database cannot be read.
        """
        held = self._of_thread
        if not hasattr(held, "connection"):
            uri = f"{self._database.resolve().as_uri()}?mode=ro"
            held.connection, held.version = sqlite3.connect(uri, uri=True), None
        (version,) = held.connection.execute("PRAGMA data_version").fetchone()
        if version != held.version:
            # Counted before it is read: what is written in between is read again next time.
            held.said, held.version = self._read(), version
        said: T = held.said
        return said
