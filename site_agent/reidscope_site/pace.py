"""How long an agent waits between two looks at the coordinator.

An agent only ever asks: it is never called. Asked for every second by hundreds of agents, a
coordinator would do nothing else; asked for twice a minute, it would let people wait. So the wait
grows with the time in which nothing happened, up to a bound, and is never quite the same at two
sites, which would otherwise call together for ever.
"""

from __future__ import annotations

import random
import time

_GROWTH = 10.0
_SPREAD = 0.15


class Pace:
    """When the next look is due; any thread may `stir`.

    Parameters
    ----------
    first : float
        Seconds between two looks while something happens.
    last : float
        Seconds between two looks after nothing has happened for ten times as long, at most.

    Privacy
    -------
    What stirs an agent is public or a person's own deed at the site: a study, a query, a decision,
    a finished release. Nothing that depends on data does (docs/privacy.md, "The wire").
    """

    def __init__(self, *, first: float, last: float) -> None:
        self._first, self._last = first, last
        self._stirred = time.monotonic()
        self._looked = -float("inf")
        self._spread = 1.0

    def stir(self) -> None:
        """Note that something happened: looks come quickly again."""
        self._stirred = time.monotonic()

    def looked(self) -> None:
        """Note that a look was taken."""
        self._looked = time.monotonic()
        self._spread = random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311  # spreads load, no secret

    def seconds(self) -> float:
        """Return how long to wait until the next look is due, 0 if it is."""
        now = time.monotonic()
        quiet = now - self._stirred
        wait = min(self._last, max(self._first, quiet / _GROWTH)) * self._spread
        return max(0.0, self._looked + wait - now)
