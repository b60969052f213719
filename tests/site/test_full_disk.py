"""A disk that is full leaves the database usable, and costs one line."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.database import open_database, transaction
from reidscope_protocols.terminal import run_as_command


def test_a_write_for_which_there_is_no_room_leaves_the_database_usable(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "a.sqlite", "CREATE TABLE IF NOT EXISTS t (x BLOB)")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(sqlite3.OperationalError, match="full"), transaction(connection):
        connection.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    with transaction(connection):
        connection.execute("INSERT INTO t VALUES (1)")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_an_error_of_the_database_is_one_line_without_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> Any:
        raise sqlite3.OperationalError("SECRET disk I/O error")

    with pytest.raises(SystemExit) as ended:
        run_as_command(fail)
    said = capsys.readouterr().err
    assert ended.value.code == 10
    assert said.count("\n") == 1
    assert "SECRET" not in said
