"""Databases of older versions are brought up to date, newer ones are left alone."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from reidscope_protocols.database import open_migrated
from reidscope_protocols.errors import ConfigError, NotReadyError
from reidscope_site import store
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.verbs import carry_out

FIRST = """
CREATE TABLE person (pseudonym TEXT PRIMARY KEY, files TEXT NOT NULL, photo TEXT NOT NULL);
CREATE TABLE snapshot (
  only INTEGER PRIMARY KEY CHECK (only = 1), digest TEXT NOT NULL, taken_at TEXT NOT NULL);
CREATE TABLE journal (
  number INTEGER PRIMARY KEY AUTOINCREMENT, written_at TEXT NOT NULL, event TEXT NOT NULL,
  study_sha256 TEXT);
"""
CHECKSUM_OF_FIRST = 887_897_532
"""What stood in `user_version` before steps had numbers."""


def version_of(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


def test_a_home_of_the_first_version_is_taken_on_with_its_journal_and_asks_for_an_index(
    home: Home,
) -> None:
    connection = sqlite3.connect(home.database)
    connection.executescript(FIRST)
    connection.execute("INSERT INTO journal VALUES (1, '2026-01-01', 'initialised', NULL)")
    connection.execute("INSERT INTO person VALUES ('P-1', '[]', 'a photo')")
    connection.execute("INSERT INTO snapshot VALUES (1, 'ab', '2026-01-01')")
    connection.execute(f"PRAGMA user_version = {CHECKSUM_OF_FIRST}")
    connection.commit()
    connection.close()
    agent = Agent(home)
    assert [entry.event for entry in agent.journal.entries()] == ["initialised"]
    assert list(agent.snapshot.people()) == []
    assert agent.connection.execute("SELECT COUNT(*) FROM snapshot").fetchone() == (0,)
    assert agent.connection.execute("SELECT COUNT(*) FROM voice").fetchone() == (0,)
    assert carry_out(agent, "ledger", {})["spent"] == "0"
    agent.close()
    assert version_of(home.database) == len(store._STEPS)
    Agent(home).close()


def test_a_newer_database_is_refused_in_one_line_and_not_touched(home: Home) -> None:
    Agent(home).close()
    newer = len(store._STEPS) + 1
    with sqlite3.connect(home.database) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    connection.close()
    with pytest.raises(ConfigError, match=f"version {newer}, expected version"):
        Agent(home)
    assert version_of(home.database) == newer


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    open_migrated(path, ["CREATE TABLE t (x)"]).close()

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        message = "in the middle"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError):
        open_migrated(path, ["CREATE TABLE t (x)", "CREATE TABLE u (x)", fail])
    connection = open_migrated(path, ["CREATE TABLE t (x)"])
    names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert names == [("t",)]
    assert version_of(path) == 1


def test_each_step_is_taken_once_whoever_opens_the_file_first(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    steps = ["CREATE TABLE t (x)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"]
    threads = [
        threading.Thread(target=lambda: open_migrated(path, steps).close()) for _ in range(5)
    ]
    open_migrated(path, steps[:1]).close()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection = open_migrated(path, steps)
    assert connection.execute("SELECT x FROM t ORDER BY x").fetchall() == [(1,), (2,)]
    connection.close()


def test_a_snapshot_without_attributes_is_dropped_and_marks_and_decisions_stay(
    home: Home,
) -> None:
    """A cohort would find nobody in it: `index` is asked for again, and approvals with it."""
    before_attributes = store._STEPS[:3]
    connection = open_migrated(home.database, before_attributes)
    connection.execute("INSERT INTO person VALUES ('P-1', '[]', NULL)")
    connection.execute("INSERT INTO snapshot VALUES (1, 'ab', '2026-01-01')")
    connection.execute("INSERT INTO photo_mark VALUES ('P-1', '[0, 0, 1, 1]', '[]')")
    connection.execute("INSERT INTO journal VALUES (1, '2026-01-01', 'initialised', NULL)")
    connection.close()
    agent = Agent(home)
    with pytest.raises(NotReadyError, match="index"):
        agent.snapshot.digest()
    assert list(agent.snapshot.people()) == []
    assert agent.connection.execute("SELECT pseudonym FROM photo_mark").fetchall() == [("P-1",)]
    assert [entry.event for entry in agent.journal.entries()] == ["initialised"]
    agent.close()
