"""Transactions inside transactions: a part is undone by itself, the whole is kept or undone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reidscope_protocols.database import open_database, transaction


class RefusedError(Exception):
    """What a part met."""


def opened(path: Path) -> sqlite3.Connection:
    return open_database(path, "CREATE TABLE IF NOT EXISTS t (x INTEGER)")


def kept(path: Path) -> list[int]:
    other = sqlite3.connect(path)
    rows = [x for (x,) in other.execute("SELECT x FROM t ORDER BY rowid")]
    other.close()
    return rows


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.booleans(), max_size=6), whole=st.booleans())
def test_parts_that_fail_are_undone_alone_and_all_with_the_whole(
    tmp_path_factory: pytest.TempPathFactory, *, parts: list[bool], whole: bool
) -> None:
    path = tmp_path_factory.mktemp("t") / "a.sqlite"
    connection = opened(path)

    def write(number: int, *, stands: bool) -> None:
        with transaction(connection):
            connection.execute("INSERT INTO t VALUES (?)", (number,))
            if not stands:
                raise RefusedError

    def together() -> None:
        with transaction(connection):
            for number, stands in enumerate(parts):
                try:
                    write(number, stands=stands)
                except RefusedError:
                    assert not stands
            assert kept(path) == []
            if not whole:
                raise RefusedError

    if whole:
        together()
    else:
        with pytest.raises(RefusedError):
            together()
    stood = [number for number, stands in enumerate(parts) if stands]
    assert kept(path) == (stood if whole else [])
    assert not connection.in_transaction
    write(9, stands=True)
    assert kept(path)[-1] == 9
    connection.close()


def test_a_full_disk_in_a_part_undoes_the_whole_and_is_said(tmp_path: Path) -> None:
    connection = opened(tmp_path / "a.sqlite")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    def together() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO t VALUES (1)")
            with transaction(connection):
                connection.execute("INSERT INTO t SELECT zeroblob(1000000)")

    with pytest.raises(sqlite3.OperationalError):
        together()
    assert kept(tmp_path / "a.sqlite") == []
    with transaction(connection):
        connection.execute("INSERT INTO t VALUES (2)")
    assert kept(tmp_path / "a.sqlite") == [2]
    connection.close()
