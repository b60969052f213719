"""What a secure sum does next: a pure function of what came in and how long that was ago.

    keys --every site that may answer gave its key, or the wait is over--> sum
    sum  --every participant's masked tables are in--> done, or spoiled if they add up to nonsense
    sum  --a participant is lost, revoked or silent for too long--> keys of the next attempt, or
                                                                    failed after the last one

A participant cannot be dropped from a list: the others' masks for it would stay in the sum, and a
sum over fewer sites would carry too little noise. So a drop-out ends the attempt, and what was
charged for it stays charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Phase(StrEnum):
    """Where an attempt stands."""

    KEYS = "keys"
    SUM = "sum"
    DONE = "done"
    SPOILED = "spoiled"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing more is asked of anybody."""
        return self in {Phase.DONE, Phase.SPOILED, Phase.FAILED}


class Step(StrEnum):
    """What to do now."""

    WAIT = "wait"
    LIST = "list the participants"
    ADD_UP = "add up"
    AGAIN = "begin the next attempt"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True, kw_only=True)
class SumView:
    """What the coordinator knows of one attempt.

    Attributes
    ----------
    attempt, attempts : int
        Which one, of how many that the study allows.
    able : frozenset of str
        Sites of the study that are enrolled and have not said no.
    lost : frozenset of str
        Sites that said that they cannot answer this attempt any more.
    given : frozenset of str
        Approved sites whose keys for this attempt are here.
    listed, masked : frozenset of str
        Participants, and those whose masked tables are here; empty before the list.
    waited : timedelta
        Since the first key of the attempt came, or since the list was made.
    """

    attempt: int
    attempts: int
    phase: Phase
    minimum_sites: int
    wait: timedelta
    able: frozenset[str]
    lost: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    masked: frozenset[str] = frozenset()
    waited: timedelta = timedelta(0)


def next_step(view: SumView) -> Step:
    """Decide what to do; see the module's text."""
    if view.phase is Phase.KEYS:
        ready = view.given & view.able
        enough = len(ready) >= view.minimum_sites
        return Step.LIST if enough and (ready == view.able or _is_over(view)) else Step.WAIT
    if view.phase is Phase.SUM:
        if view.masked >= view.listed:
            return Step.ADD_UP
        missing = view.listed - view.masked
        if missing & view.lost or missing - view.able or _is_over(view):
            return Step.AGAIN if view.attempt < view.attempts else Step.GIVE_UP
    return Step.WAIT


def _is_over(view: SumView) -> bool:
    return view.waited >= view.wait
