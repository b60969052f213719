"""One person at a time, in a process of its own that holds no other person.

A want of resources (memory, time, a killed worker) is retried once in a fresh process and is never
a cell: load depends on the others, a cell must not.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_deid.keys import load_key
from reidscope_protocols.errors import OutcomeMissingError, ReidscopeError
from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_site.child import Child
from reidscope_site.face.external.leftovers import forget_left
from reidscope_site.face.external.program import longest_s
from reidscope_site.isolation import bound_pictures, close_network, end_with_parent
from reidscope_site.outcomes import Outcome
from reidscope_site.snapshot import Person

if TYPE_CHECKING:
    from reidscope_site.experiments.face import FaceStudy

_PERSON_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker loads once: public constants by content, the key by its file."""

    sha256: str
    experiment: FaceExperiment
    gallery: bytes
    calibration: bytes
    models: Mapping[str, bytes]
    key_file: Path
    work: Path


class Worker:
    """Evaluates people in a child process, one after the other."""

    def __init__(self, task: Task, *, stop: threading.Event | None = None) -> None:
        self._task = task
        self._child = Child(_load, task, clear=lambda: empty(task.work), stop=stop)

    def evaluate(self, person: Person) -> Outcome:
        """Evaluate one person.

        Raises
        ------
        StatementError, UnsupportedError
            The study's public constants, or an arm, are not what it says: whoever the person is.
        DefacerStoppedError
            A program of others did not end in time, or did not start.
        OutcomeMissingError
            The worker failed twice for want of resources, or was stopped: one constant text,
            whoever it was.
        """
        cells = self._child.ask(_evaluate, person, seconds=_seconds(self._task))
        if cells is None:
            raise OutcomeMissingError(
                "study",
                got="too little memory or time for a person",
                expected="resources for one person at a time",
                do="run it again on a machine with more memory; nothing was charged",
            )
        return Outcome(cells=cells)

    def close(self) -> None:
        """End the child process, whatever it is doing."""
        self._child.close()


def _seconds(task: Task) -> float:
    """Give a person's time: a program of others has a time-out of its own, which comes first."""
    asked = task.experiment
    return _PERSON_SECONDS + asked.scan_cap * longest_s(asked.arms)


@contextmanager
def worker(task: Task, *, stop: threading.Event | None = None) -> Iterator[Worker]:
    """Hold a worker for the block; the work folder is empty before and after."""
    held = Worker(task, stop=stop)
    empty(task.work)
    try:
        yield held
    finally:
        held.close()
        empty(task.work)


def empty(work: Path) -> None:
    """Remove what a killed worker left; the caller holds the home, so nobody else is at work."""
    forget_left()
    for left in work.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


_LOADED: list[FaceStudy] = []
_REFUSED: list[ReidscopeError] = []


def _load(task: Task) -> None:
    """Run in the child: no network, then public constants and the key, once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    close_network()
    bound_pictures()
    # Image libraries take 250 MB, which an agent that waits can do without: the child loads them.
    from reidscope_site.experiments.face import FaceStudy  # noqa: PLC0415 - said above
    from reidscope_site.face.constants import (  # noqa: PLC0415 - said above
        ConstantFiles,
        load_constants,
    )

    try:
        constants = load_constants(
            task.experiment,
            ConstantFiles(gallery=task.gallery, calibration=task.calibration, models=task.models),
        )
    except ReidscopeError as error:
        # Raised here it would look like a want of memory: it is said when the first person comes.
        _REFUSED[:] = [error]
        return
    _LOADED[:] = [
        FaceStudy(
            sha256=task.sha256,
            constants=constants,
            key=load_key(task.key_file),
            work=task.work,
        )
    ]


def _evaluate(person: Person) -> tuple[int, ...]:
    """Run in the child: back to the parent go the cells' numbers alone."""
    from reidscope_site.experiments.face import evaluate  # noqa: PLC0415 - as in _load

    if _REFUSED:
        raise _REFUSED[0]
    return evaluate(person, _LOADED[0]).cells
