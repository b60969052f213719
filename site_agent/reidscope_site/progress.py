"""How far a run is and how long it will take, on the site's own screen alone.

How many people a site has, and how fast it is, say something about its data: nothing here is
handed to the wire, the journal or an error.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from reidscope_protocols.terminal import say

Tell = Callable[[int, int], None]

_ERR = Console(stderr=True)

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


@dataclass
class Pace:
    """Time left, from the mean of the people of this run.

    People who were done before the run do not count: a run that goes on would look too fast.

    Attributes
    ----------
    clock : callable
        Seconds that only grow.
    """

    clock: Callable[[], float] = time.monotonic
    _from: tuple[int, float] | None = field(default=None, init=False)

    def left(self, done: int, of: int) -> float | None:
        """Seconds until `of` people are done; None until the first of this run is."""
        now = self.clock()
        if self._from is None:
            self._from = (done, now)
        first, started = self._from
        if done >= of:
            return 0.0
        return None if done <= first else (now - started) / (done - first) * (of - done)


def in_words(seconds: float) -> str:
    """Say a time roughly: 40 s, 12 min, 3.5 h, 2.1 days."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < _DAY else f"{seconds / _DAY:.1f} days"


def in_tenths(name: str, line: Callable[[str], None] = say) -> Tell:
    """Say a line for every tenth of the people, with the time left: for a log."""
    pace, last = Pace(), [0]

    def tell(done: int, of: int) -> None:
        left = pace.left(done, of)
        tenth = 10 * done // of if of else 10
        if tenth > last[0]:
            last[0] = tenth
            after = f", about {in_words(left)} left" if left else ""
            line(f"{name}: {10 * tenth} % of the people{after}")

    return tell


@contextmanager
def people_left(name: str) -> Iterator[Tell]:
    """Show a bar with the time left for the block; yields what to tell: done, of."""
    pace = Pace()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TextColumn("{task.fields[left]}"),
        console=_ERR,
        transient=True,
        disable=not _ERR.is_terminal,
    ) as bar:
        task = bar.add_task(name, total=None, left="")

        def tell(done: int, of: int) -> None:
            left = pace.left(done, of)
            words = f"about {in_words(left)} left" if left else ""
            bar.update(task, completed=done, total=of, left=words)

        yield tell


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does: the child is ended, its work folder emptied."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        say("stopped; what is done is kept, and the same command goes on with the next person")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
