"""A process of its own, asked one thing at a time, asked again where it died.

A want of resources (memory, time, a killed process) is met with a fresh process, once; what
the process raises on purpose comes back as what it is.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

from reidscope_protocols.errors import ReidscopeError

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

_TRIES = 2
_END_SECONDS = 5.0
_TICK_SECONDS = 0.2


class Child(Generic[T]):
    """A child process that loads a task once and then answers.

    Parameters
    ----------
    load : callable
        Run in the child first, with `task`.
    task : picklable
        What it loads.
    clear : callable
        Run here after a child was ended: removes what it left.
    stop : threading.Event, optional
        Once it is set, the child is ended in the middle of whatever it does.
    """

    def __init__(
        self,
        load: Callable[[T], None],
        task: T,
        *,
        clear: Callable[[], None],
        stop: threading.Event | None = None,
    ) -> None:
        self._load = load
        self._task = task
        self._clear = clear
        self._stop = stop
        self._pool: ProcessPoolExecutor | None = None

    def ask(self, function: Callable[[A], R], argument: A, *, seconds: float) -> R | None:
        """Call `function` in the child.

        Returns
        -------
        object or None
            None where it failed twice for want of resources, or was stopped. What it said of why
            is dropped: it may hold data.

        Raises
        ------
        ReidscopeError
            Whatever the function raises on purpose.
        """
        for _ in range(_TRIES):
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    max_workers=1,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=self._load,
                    initargs=(self._task,),
                )
            try:
                return self._wait(self._pool.submit(function, argument), seconds)
            except ReidscopeError:
                raise
            except Exception:  # noqa: BLE001  # a killed worker, no memory, no disk: its text may hold data
                self.close()
                self._clear()
            if self._stop and self._stop.is_set():
                break
        return None

    def _wait(self, answer: Future[R], seconds: float) -> R:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return answer.result(timeout=min(_TICK_SECONDS, seconds))
            except TimeoutError:
                stopped = self._stop is not None and self._stop.is_set()
                if answer.done() or stopped or time.monotonic() > deadline:
                    raise

    def close(self) -> None:
        """End the child process, whatever it is doing."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        # Safety: a private attribute, read to end a child that hangs; absent, nothing is killed.
        children = list((getattr(pool, "_processes", None) or {}).values())
        for child in children:
            child.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.join(timeout=_END_SECONDS)


@contextmanager
def child_of(
    load: Callable[[T], None], task: T, *, clear: Callable[[], None]
) -> Iterator[Child[T]]:
    """Hold a child for the block; what it left is removed before and after."""
    held = Child(load, task, clear=clear)
    clear()
    try:
        yield held
    finally:
        held.close()
        clear()
