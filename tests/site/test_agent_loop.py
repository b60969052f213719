"""A running agent: its desk, its socket, its hand-brake, and a log without a word of the data."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.desk import CarriedOutError
from reidscope_protocols.envelope import Opened
from reidscope_protocols.study import Study
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.constants import Constants
from reidscope_site.serve import Loop
from reidscope_site.verbs import ask, carry_out

TOKEN = "CANARYTOKEN"
ROLE = "data protection officer"


@pytest.fixture
def planted(home: Home, series: Callable[..., tuple[Path, ...]], tmp_path: Path) -> Home:
    """A home whose data, links and opt-outs hold the token, and that listens on a socket."""
    config = home.config()
    rows = ["patient_id,photo"]
    for number in (1, 2):
        series(Path(config.dicom, f"{TOKEN}{number}"), f"{TOKEN}-{number}", names=TOKEN)
        Path(config.photos, f"{TOKEN}{number}.png").write_bytes(b"photo")
        rows.append(f"{TOKEN}-{number},{TOKEN}{number}.png")
    Path(config.links).write_text("\n".join(rows) + "\n")
    (tmp_path / "opt-outs").write_text(f"{TOKEN}-2\n")
    text = home.site_file.read_text()
    text = text.replace('exclude = ""', f'exclude = "{tmp_path / "opt-outs"}"')
    home.site_file.write_text(text.replace('socket = ""', f'socket = "{tmp_path / "s"}"'))
    return home


@contextmanager
def serving(home: Home) -> Iterator[list[str]]:
    said: list[str] = []
    loop = Loop(home, said.append)
    handler = lambda agent: lambda verb, arguments: carry_out(agent, verb, arguments)  # noqa: E731  # as the command line has it
    thread = threading.Thread(target=loop.serve, args=(handler,))
    thread.start()
    try:
        wait_until(lambda: "agent-started" in events(home))
        yield said
    finally:
        loop.stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture
def running(planted: Home) -> Iterator[list[str]]:
    with serving(planted) as said:
        yield said


def events(home: Home) -> list[str]:
    path = home.log / "agent.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["event"] for line in lines]


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_what_an_agent_logs_and_keeps_holds_nothing_of_the_data_and_the_hand_brake_holds(
    planted: Home,
    running: list[str],
    coordinator: Any,
    make_study: Callable[..., Study],
    tmp_path: Path,
) -> None:
    socket = Path(planted.config().socket)
    wait_until(socket.is_socket)
    assert ask(planted.root, "index", {})["excluded"] == {"opted-out": 1}
    (tmp_path / "study").write_bytes(coordinator.sign(make_study()))
    assert ask(socket, "import", {"file": str(tmp_path / "study")})["kind"] == "study"
    with pytest.raises(CarriedOutError):
        ask(socket, "import", {"file": str(tmp_path / TOKEN)})

    ask(socket, "hold", {})
    wait_until(lambda: "agent-held" in events(planted))
    approval = {"study": "faces-1", "verdict": "approved", "role": ROLE, "reason": "reviewed"}
    for way in (socket, planted.root):
        with pytest.raises(CarriedOutError, match="stopped by hand"):
            ask(way, "decide", approval)
        with pytest.raises(CarriedOutError, match="stopped by hand"):
            ask(way, "export", {"out": str(tmp_path / "out")})
        assert ask(way, "status", {})["stopped_by_hand"]
    ask(socket, "resume", {"role": ROLE})
    assert ask(socket, "decide", approval) == {"stands": True}
    ask(planted.root, "export", {"out": str(tmp_path / "out")})

    kept = [path.read_bytes() for path in (*planted.log.iterdir(), *planted.sent.iterdir())]
    assert len(kept) >= 3
    for text in (*kept, *(line.encode() for line in running)):
        assert TOKEN.encode() not in text
        assert str(tmp_path).encode() not in text
    assert any("stopped by hand" in line for line in running)


@pytest.mark.slow
def test_an_agent_releases_by_itself_within_its_hours_and_not_before_nor_while_it_is_held(
    agent: Agent, evaluated: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Constants, "read", lambda *_: b"public")
    monkeypatch.setattr(Constants, "missing", lambda *_: ())
    hours = {"open": False}
    monkeypatch.setattr("reidscope_site.serve.is_open", lambda _: hours["open"])
    home = agent.home
    home.hold_file.write_bytes(b"")
    with serving(home):
        wait_until(lambda: "agent-held" in events(home))
        ask(home.root, "resume", {"role": ROLE})
        wait_until(lambda: "waiting" in events(home))
        assert "measuring" not in events(home)
        assert agent.ledger.stored(evaluated.sha256) is None
        hours["open"] = True
        wait_until(lambda: "released" in events(home))
    assert agent.ledger.stored(evaluated.sha256) is not None
    assert events(home)[-1] == "agent-stopped"
