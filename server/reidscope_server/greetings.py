"""Who said which versions at the control port: without an accepted greeting, no fleet port."""

from __future__ import annotations

import sqlite3

from reidscope_protocols.errors import UnsupportedError
from reidscope_protocols.versions import Versions, check_versions
from reidscope_server.store import timestamp, transaction


class Greetings:
    """The last greeting of each site inside one open database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def hear(self, site: str, theirs: Versions) -> bool:
        """Note what a site runs; returns whether that was tested with what runs here."""
        try:
            check_versions(theirs, whose="site")
        except UnsupportedError:
            accepted = False
        else:
            accepted = True
        said = (str(theirs), str(Versions.of_this_process()), int(accepted))
        row = self._connection.execute(
            "SELECT said, own, accepted FROM greeting WHERE site = ?", (site,)
        ).fetchone()
        if row != said:
            with transaction(self._connection):
                self._connection.execute(
                    "INSERT OR REPLACE INTO greeting VALUES (?, ?, ?, ?, ?)",
                    (site, *said, timestamp()),
                )
        return accepted

    def accepted(self) -> frozenset[str]:
        """Return the sites whose last greeting was accepted by the very versions that run here."""
        rows = self._connection.execute(
            "SELECT site FROM greeting WHERE accepted = 1 AND own = ?",
            (str(Versions.of_this_process()),),
        )
        return frozenset(site for (site,) in rows.fetchall())

    def said(self, site: str) -> str:
        """Return what a site runs, in words; empty where it has not said."""
        row = self._connection.execute(
            "SELECT said, accepted FROM greeting WHERE site = ?", (site,)
        ).fetchone()
        return "" if row is None else row[0] + ("" if row[1] else " (refused: untested)")
