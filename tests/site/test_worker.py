"""One person at a time, in a process that holds no other."""

from __future__ import annotations

import multiprocessing.context
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from reidscope_protocols.cells import JointCells
from reidscope_protocols.errors import InvariantError, OutcomeMissingError
from reidscope_site import worker as module
from reidscope_site.experiments import face
from reidscope_site.snapshot import Person
from reidscope_site.worker import Task, worker

CELLS = JointCells(anchors=(2,), defacers=("blur",))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    work = tmp_path / "work"
    work.mkdir()
    return Task(
        sha256="ab" * 32,
        cells=CELLS,
        gallery=b"",
        calibration=b"",
        detector=b"",
        recogniser=b"",
        key_file=tmp_path / "site.key",
        work=work,
    )


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(pseudonym="P-1", files=(tmp_path / "scan",), photo=tmp_path / "photo")


def study(task: Task) -> Any:
    return face.FaceStudy(
        sha256=task.sha256,
        cells=CELLS,
        constants=None,  # type: ignore[arg-type]  # never reached in these tests
        key=None,  # type: ignore[arg-type]  # never reached in these tests
        work=task.work,
    )


def failing(error: BaseException) -> Callable[..., int]:
    def cell(*_: object) -> int:
        raise error

    return cell


def memory() -> cv2.error:
    error = cv2.error("no memory for Doe^Jane")
    error.code = -4
    return error


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), KeyError("x"), ZeroDivisionError(), TypeError("x"), cv2.error("assertion")],
)
def test_what_fails_in_a_persons_own_data_is_a_cell_and_never_an_exit(
    task: Task, person: Person, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(face, "_cell", failing(error))
    assert face.evaluate(person, study(task)).cell == CELLS.not_acquired
    assert list(task.work.iterdir()) == []


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left"), memory()])
def test_a_want_of_resources_is_nobodys_cell(
    task: Task, person: Person, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(face, "_cell", failing(error))
    with pytest.raises((MemoryError, OSError)):
        face.evaluate(person, study(task))
    assert list(task.work.iterdir()) == []


def die(_: Person) -> int:
    os._exit(9)


def break_down(_: Person) -> int:
    message = "no memory for Doe^Jane"
    raise RuntimeError(message)


def contradict(_: Person) -> int:
    raise InvariantError("counts", got="a", expected="b", do="c")


def never_end(_: Person) -> int:
    time.sleep(60)
    return 0


def ready(_: Task) -> None:
    """Load nothing: these children fail before they need it."""


@pytest.fixture
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that load no models; everything else is the real worker."""
    monkeypatch.setattr(module, "_load", ready)
    monkeypatch.setattr(module.multiprocessing, "get_context", lambda _: fork_context())


def fork_context() -> Any:
    return multiprocessing.context.ForkContext()


@pytest.mark.usefixtures("without_models")
@pytest.mark.parametrize("evaluate", [die, break_down, never_end])
def test_a_worker_that_fails_twice_gives_one_constant_text_and_no_cell(
    task: Task,
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
    evaluate: Callable[[Person], int],
) -> None:
    monkeypatch.setattr(module, "_evaluate", evaluate)
    monkeypatch.setattr(module, "_PERSON_SECONDS", 0.5)
    with pytest.raises(OutcomeMissingError) as caught, worker(task) as hands:
        hands.evaluate(person)
    assert "Doe" not in str(caught.value)
    assert caught.value.problem.got == "too little memory or time for a person"


@pytest.mark.usefixtures("without_models")
def test_a_defect_of_ours_comes_back_as_what_it_is(
    task: Task, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_evaluate", contradict)
    with pytest.raises(InvariantError), worker(task) as hands:
        hands.evaluate(person)


def test_what_a_killed_worker_left_behind_is_removed_before_and_after(task: Task) -> None:
    (task.work / "left").mkdir()
    (task.work / "left" / "scan.dcm").write_bytes(b"scan")
    (task.work / "file").write_bytes(b"scan")
    with worker(task):
        assert list(task.work.iterdir()) == []
        (task.work / "again").mkdir()
    assert list(task.work.iterdir()) == []
