"""The log takes event names and numbers, and nothing that could be about anybody."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.errors import InvariantError
from reidscope_site.logs import Log, LogEvent

TOKEN = "CANARYTOKEN"


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "agent.jsonl").read_text().splitlines()]


def test_a_line_is_json_of_a_time_an_event_and_numbers(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.write(LogEvent.STARTED)
    log.write(LogEvent.ANSWERED, bytes=12, ratio=0.5, again=True)
    log.close()
    first, second = lines(tmp_path / "log")
    assert first.keys() == {"at", "event"}
    assert second["event"] == "answered"
    assert (second["bytes"], second["ratio"], second["again"]) == (12, 0.5, True)
    assert stat.S_IMODE((tmp_path / "log" / "agent.jsonl").stat().st_mode) == 0o600


class Number(int):
    """A number that would say something."""

    def __repr__(self) -> str:
        return TOKEN


@given(
    value=st.one_of(
        st.text(), st.binary(), st.none(), st.lists(st.integers()), st.just(Number(3)), st.uuids()
    )
)
def test_no_text_comes_in_whatever_is_handed_over(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("log") / "log"
    log = Log(folder)
    with pytest.raises(InvariantError) as caught:
        log.write(LogEvent.REFUSED, exit_code=value)
    with pytest.raises(InvariantError):
        log.write(value)
    log.close()
    assert TOKEN not in str(caught.value)
    assert not (folder / "agent.jsonl").exists()


def test_the_log_turns_over_and_stays_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reidscope_site.logs._FILE_BYTES", 500)
    log = Log(tmp_path / "log")
    for number in range(60):
        log.write(LogEvent.ANSWERED, bytes=number)
    log.close()
    files = sorted((tmp_path / "log").iterdir())
    assert [path.name for path in files] == [
        "agent.jsonl",
        *(f"agent.jsonl.{n}" for n in range(1, 5)),
    ]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    assert all(path.stat().st_size <= 500 for path in files)


def test_with_echo_the_same_line_is_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(tmp_path / "log", echo=True)
    log.write(LogEvent.STOPPED)
    log.close()
    assert capsys.readouterr().out == (tmp_path / "log" / "agent.jsonl").read_text()


def test_every_event_is_a_constant_word() -> None:
    assert all(event.replace("-", "").isalpha() and event.islower() for event in LogEvent)
