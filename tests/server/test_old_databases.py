"""A coordinator's database of an older version is taken on with all it holds."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

import pytest
from tests.server.conftest import SiteParty

from reidscope_protocols.enrolment import certificate_sha256
from reidscope_protocols.errors import ConfigError
from reidscope_server import store
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator


def as_it_was(home: ServerHome) -> None:
    """Turn a database back into one from before steps had numbers: a checksum as its version."""
    connection = sqlite3.connect(home.database)
    rows = connection.execute(
        "SELECT name, certificate_sha256, transport_key, statement_key, enrolled_at, revoked_at"
        " FROM site"
    ).fetchall()
    for (table,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall():
        connection.execute(f"DROP TABLE {table}")
    connection.executescript(store._SCHEMA)
    connection.executemany("INSERT INTO site VALUES (?, ?, ?, ?, ?, ?)", rows)
    checksum = zlib.crc32(store._SCHEMA.encode()) & 0x7FFFFFFF
    connection.execute(f"PRAGMA user_version = {checksum}")
    connection.commit()
    connection.close()


def test_the_sites_of_an_older_database_are_sites_still_and_can_change_their_keys(
    server_home: ServerHome, north: SiteParty
) -> None:
    as_it_was(server_home)
    with Coordinator.opened(server_home) as coordinator:
        sha256 = certificate_sha256(north.certificate_pem)
        assert coordinator.sites.by_certificate(sha256) == "north"
        site = coordinator.sites.every()[0]
        assert (site.root, site.former_keys, site.key_since) == (None, (), site.enrolled_at)
    connection = sqlite3.connect(server_home.database)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(store._STEPS),)
    connection.close()


def test_a_newer_database_is_refused_in_one_line_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    store.connect(path).close()
    newer = len(store._STEPS) + 1
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {newer}")
    connection.commit()
    with pytest.raises(ConfigError, match="newer version"):
        store.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (newer,)
    connection.close()
