"""One worker a home: the daemon where it runs, else the command itself."""

from __future__ import annotations

import json
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.desk import Answer, CarriedOutError, Desk
from reidscope_protocols.errors import BudgetExhaustedError, NotReadyError

Handle = Callable[[str, Mapping[str, Any]], Answer]


def echo(verb: str, arguments: Mapping[str, Any]) -> Answer:
    return {"verb": verb, **arguments, "by": threading.current_thread().name}


def refuse(_: str, __: Mapping[str, Any]) -> Answer:
    raise BudgetExhaustedError("epsilon", got="3", expected="at most 2", do="decline")


def break_down(_: str, __: Mapping[str, Any]) -> Answer:
    message = "Doe^Jane"
    raise ValueError(message)


def never(_: str, __: Mapping[str, Any]) -> Answer:
    pytest.fail("the command worked although a daemon holds the home")


@contextmanager
def daemon(home: Path, handler: Handle) -> Iterator[threading.Event]:
    """Run a daemon thread that holds the home and looks at its desk."""
    stop, holds = threading.Event(), threading.Event()

    def serve() -> None:
        desk = Desk(home)
        with desk.claim() as held:
            assert held
            holds.set()
            while not stop.wait(0.02):
                desk.serve_waiting(handler)

    thread = threading.Thread(target=serve, name="daemon")
    thread.start()
    assert holds.wait(5)
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def test_without_a_daemon_the_command_works_itself(tmp_path: Path) -> None:
    answer = Desk(tmp_path).ask("show", {"study": "a"}, echo, timeout_s=5)
    assert answer == {"verb": "show", "study": "a", "by": threading.current_thread().name}


def test_with_a_daemon_the_request_is_carried_out_by_it(tmp_path: Path) -> None:
    with daemon(tmp_path, echo):
        answer = Desk(tmp_path).ask("show", {"study": "a"}, never, timeout_s=5)
    assert answer == {"verb": "show", "study": "a", "by": "daemon"}
    assert list((tmp_path / "requests").iterdir()) == []


def test_an_error_comes_back_with_its_text_and_its_exit_code(tmp_path: Path) -> None:
    with daemon(tmp_path, refuse), pytest.raises(CarriedOutError) as caught:
        Desk(tmp_path).ask("approve", {}, never, timeout_s=5)
    assert caught.value.exit_code == BudgetExhaustedError.exit_code
    assert str(caught.value) == "epsilon: got 3, expected at most 2; decline"


def test_a_defect_in_one_request_ends_neither_the_daemon_nor_says_what_it_saw(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path, break_down):
        for _ in range(2):
            with pytest.raises(CarriedOutError) as caught:
                Desk(tmp_path).ask("index", {}, never, timeout_s=5)
            assert caught.value.exit_code == 5
            assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"verb": "show"}'])
def test_a_request_that_is_none_does_not_end_the_daemon(tmp_path: Path, body: bytes) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "requests" / "a.request").write_bytes(body)
    assert desk.serve_waiting(echo) == 1
    assert json.loads((tmp_path / "requests" / "a.answer").read_bytes())["exit_code"] == 5


def test_a_request_is_taken_back_and_done_here_when_the_daemon_ended(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    answers: list[Answer] = []
    with desk.claim() as held:
        assert held
        asker = threading.Thread(
            target=lambda: answers.append(Desk(tmp_path).ask("show", {}, echo, timeout_s=10)),
            name="asker",
        )
        asker.start()
        while not list((tmp_path / "requests").glob("*.request")):
            time.sleep(0.01)
    asker.join(timeout=10)
    assert answers == [{"verb": "show", "by": "asker"}]
    assert list((tmp_path / "requests").iterdir()) == []


def test_concurrent_askers_each_get_their_own_answer(tmp_path: Path) -> None:
    answers: dict[int, Answer] = {}

    def ask(number: int) -> None:
        answers[number] = Desk(tmp_path).ask("show", {"n": number}, never, timeout_s=10)

    with daemon(tmp_path, echo):
        askers = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
    assert {number: answer["n"] for number, answer in answers.items()} == dict(
        zip(range(6), range(6), strict=True)
    )


def test_concurrent_askers_without_a_daemon_work_one_after_the_other(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def slow(verb: str, arguments: Mapping[str, Any]) -> Answer:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        inside[0] -= 1
        return echo(verb, arguments)

    askers = [
        threading.Thread(target=lambda: Desk(tmp_path).ask("show", {}, slow, timeout_s=20))
        for _ in range(4)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert most == [1]


def test_a_daemon_that_never_answers_is_told_to_the_asker_in_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.claim() as held:
        assert held
        with pytest.raises(NotReadyError):
            Desk(tmp_path).ask("show", {}, never, timeout_s=0.3)
    assert list((tmp_path / "requests").iterdir()) == []


def test_requests_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(verb: str, arguments: Mapping[str, Any]) -> Answer:
        del verb, arguments
        return {}

    desk = Desk(tmp_path)
    with desk.claim():
        asker = threading.Thread(target=lambda: Desk(tmp_path).ask("show", {}, look, timeout_s=10))
        asker.start()
        while not seen:
            seen = [path.stat().st_mode for path in (tmp_path / "requests").glob("*.request")]
        desk.serve_waiting(look)
        asker.join()
    assert [stat.S_IMODE(mode) for mode in seen] == [0o600]
    assert stat.S_IMODE((tmp_path / "requests").stat().st_mode) == 0o700
