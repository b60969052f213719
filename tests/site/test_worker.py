"""One person at a time, in a process that holds no other."""

from __future__ import annotations

import multiprocessing.context
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import InvariantError, OutcomeMissingError
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.recogniser import SFACE
from reidscope_site import child
from reidscope_site import worker as module
from reidscope_site.experiments import face
from reidscope_site.face.external.description import descriptions
from reidscope_site.face.external.program import longest_s
from reidscope_site.snapshot import Person, Scan
from reidscope_site.worker import Task, worker

ASKED = FaceExperiment(
    recogniser=SFACE,
    anchors=(2,),
    arms=("unmodified", "blur"),
    reference_size=20,
    reference_people="nobody",
    gallery_error=(GalleryError(gallery_size=2, sigma_ppm=0),),
)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    work = tmp_path / "work"
    work.mkdir()
    return Task(
        sha256="ab" * 32,
        experiment=ASKED,
        gallery=b"",
        calibration=b"",
        models={},
        key_file=tmp_path / "site.key",
        work=work,
    )


@pytest.fixture
def person(tmp_path: Path) -> Person:
    scan = Scan(kind="dicom", files=(tmp_path / "scan",), taken="20200101")
    return Person(pseudonym="P-1", scans=(scan,), photo=tmp_path / "photo")


def study(task: Task) -> Any:
    return face.FaceStudy(
        sha256=task.sha256,
        constants=SimpleNamespace(experiment=ASKED),  # type: ignore[arg-type]  # no models here
        key=SiteKey(b"k" * 32),
        work=task.work,
    )


def failing(error: BaseException) -> Callable[..., object]:
    def work(*_: object, **__: object) -> object:
        raise error

    return work


def memory() -> cv2.error:
    error = cv2.error("no memory for Doe^Jane")
    error.code = -4
    return error


@pytest.fixture
def pictured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person whose photo can be read: what fails is the scan, or what is made of it."""
    monkeypatch.setattr(face, "_read_photo", lambda *_: object())


@pytest.mark.usefixtures("pictured")
@pytest.mark.parametrize("where", ["read_scan", "read_faces"])
@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), ZeroDivisionError(), TypeError("x")]
)
def test_what_fails_in_a_persons_own_data_is_a_cell_and_never_an_exit(
    task: Task, person: Person, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    monkeypatch.setattr(face, "read_scan", lambda *_, **__: object())
    monkeypatch.setattr(face, where, failing(error))
    gates = ASKED.gate_cells()
    assert gates is not None
    assert face.evaluate(person, study(task)).cells == (
        ASKED.cells().not_acquired,
        len(gates) - 1,
    )
    assert list(task.work.iterdir()) == []


@pytest.mark.usefixtures("pictured")
def test_an_assertion_of_opencv_is_the_persons_own(
    task: Task, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "read_scan", lambda *_, **__: object())
    monkeypatch.setattr(face, "read_faces", failing(cv2.error("assertion")))
    assert face.evaluate(person, study(task)).cells[0] == ASKED.cells().not_acquired


@pytest.mark.usefixtures("pictured")
@pytest.mark.parametrize("where", ["read_scan", "read_faces"])
@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left")])
def test_a_want_of_resources_is_nobodys_cell(
    task: Task, person: Person, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    monkeypatch.setattr(face, "read_scan", lambda *_, **__: object())
    monkeypatch.setattr(face, where, failing(error))
    with pytest.raises((MemoryError, OSError)):
        face.evaluate(person, study(task))
    assert list(task.work.iterdir()) == []


@pytest.mark.usefixtures("pictured")
def test_opencv_without_memory_is_a_want_of_memory(
    task: Task, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "read_scan", lambda *_, **__: object())
    monkeypatch.setattr(face, "read_faces", failing(memory()))
    with pytest.raises(MemoryError):
        face.evaluate(person, study(task))


def die(_: Person) -> tuple[int, ...]:
    os._exit(9)


def break_down(_: Person) -> tuple[int, ...]:
    message = "no memory for Doe^Jane"
    raise RuntimeError(message)


def contradict(_: Person) -> tuple[int, ...]:
    raise InvariantError("counts", got="a", expected="b", do="c")


def never_end(_: Person) -> tuple[int, ...]:
    time.sleep(60)
    return (0,)


def ready(_: Task) -> None:
    """Load nothing: these children fail before they need it."""


@pytest.fixture
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that load no models; everything else is the real worker."""
    monkeypatch.setattr(module, "_load", ready)
    monkeypatch.setattr(child.multiprocessing, "get_context", lambda _: fork_context())


def fork_context() -> Any:
    return multiprocessing.context.ForkContext()


@pytest.mark.usefixtures("without_models")
@pytest.mark.parametrize("evaluate", [die, break_down, never_end])
def test_a_worker_that_fails_twice_gives_one_constant_text_and_no_cell(
    task: Task,
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
    evaluate: Callable[[Person], tuple[int, ...]],
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


def test_a_person_has_as_long_as_the_programs_of_others_may_take(task: Task) -> None:
    """mri_reface takes tens of minutes: its own time-out comes before the person's."""
    named = ASKED.model_copy(update={"arms": ("unmodified", "external-mri-reface")})
    longest = descriptions()["mri-reface"].timeout_s
    assert longest_s(named.arms) == longest > module._PERSON_SECONDS
    slow = replace(task, experiment=named)
    assert module._seconds(slow) == longest + module._PERSON_SECONDS
    assert module._seconds(task) == module._PERSON_SECONDS
