"""One person at a time, in a process of its own that holds no other person.

A want of resources (memory, time, a killed worker) is retried once in a fresh process and is never
a cell: load depends on the others, a cell must not.
"""

from __future__ import annotations

import multiprocessing
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_deid.keys import load_key
from reidscope_protocols.cells import JointCells
from reidscope_protocols.errors import OutcomeMissingError, ReidscopeError
from reidscope_site.isolation import close_network, end_with_parent
from reidscope_site.outcomes import Outcome
from reidscope_site.snapshot import Person

if TYPE_CHECKING:
    from reidscope_site.experiments.face import FaceStudy

_PERSON_SECONDS = 900
_TRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker loads once: public constants by content, the key by its file."""

    sha256: str
    cells: JointCells
    gallery: bytes
    calibration: bytes
    detector: bytes
    recogniser: bytes
    key_file: Path
    work: Path


class Worker:
    """Evaluates people in a child process, one after the other."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._pool: ProcessPoolExecutor | None = None

    def evaluate(self, person: Person) -> Outcome:
        """Evaluate one person.

        Raises
        ------
        OutcomeMissingError
            The worker failed twice for want of resources: one constant text, whoever it was.
        """
        for _ in range(_TRIES):
            if self._pool is None:
                self._pool = _fresh_pool(self._task)
            try:
                cell = self._pool.submit(_evaluate, person).result(timeout=_PERSON_SECONDS)
            except ReidscopeError:
                raise
            except Exception:  # noqa: BLE001  # a killed worker, no memory, no disk: its text may hold data
                self.close()
            else:
                return Outcome(cell=cell)
        raise OutcomeMissingError(
            "study",
            got="too little memory or time for a person",
            expected="resources for one person at a time",
            do="run it again on a machine with more memory; nothing was charged",
        )

    def close(self) -> None:
        """End the child process, whatever it is doing."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        # Safety: a private attribute, read to end a child that hangs; absent, nothing is killed.
        for child in list((getattr(pool, "_processes", None) or {}).values()):
            child.kill()
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def worker(task: Task) -> Iterator[Worker]:
    """Hold a worker for the block; the work folder is empty before and after."""
    held = Worker(task)
    empty(task.work)
    try:
        yield held
    finally:
        held.close()
        empty(task.work)


def empty(work: Path) -> None:
    """Remove what a killed worker left; the caller holds the home, so nobody else is at work."""
    for left in work.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _fresh_pool(task: Task) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_load,
        initargs=(task,),
    )


_LOADED: list[FaceStudy] = []


def _load(task: Task) -> None:
    """Run in the child: no network, then public constants and the key, once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    close_network()
    # Image libraries take 250 MB, which an agent that waits can do without: the child loads them.
    from reidscope_site.experiments.face import FaceStudy  # noqa: PLC0415 - said above
    from reidscope_site.face.evaluate import load_constants  # noqa: PLC0415 - said above

    constants = load_constants(
        task.gallery,
        task.calibration,
        task.detector,
        task.recogniser,
        anchors=task.cells.anchors,
        arms=("unmodified", *task.cells.defacers),
    )
    _LOADED[:] = [
        FaceStudy(
            sha256=task.sha256,
            cells=task.cells,
            constants=constants,
            key=load_key(task.key_file),
            work=task.work,
        )
    ]


def _evaluate(person: Person) -> int:
    """Run in the child: back to the parent goes the cell's number alone."""
    from reidscope_site.experiments.face import evaluate  # noqa: PLC0415 - as in _load

    return evaluate(person, _LOADED[0]).cell
