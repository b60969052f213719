"""Processes that describe public people, and end quietly when somebody stops the command."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context


@contextmanager
def processes(
    jobs: int, start: Callable[..., None], of: tuple[object, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Hold `jobs` processes for the block, each begun with `start(*of)`.

    Ctrl-C reaches every process of a terminal: these leave it to their parent, who ends them.
    """
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=start, initargs=of
    ) as pool:
        with _deaf():
            pool.submit(_nothing)  # all of them start here, and are deaf from their first line
        try:
            yield pool
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


@contextmanager
def _deaf() -> Iterator[None]:
    """Hold Ctrl-C back for the block; what is started there never hears it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _nothing() -> None:
    pass
