"""How often an agent looks at the coordinator: soon after something, seldom after nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_site import pace
from reidscope_site.pace import Pace


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    held = Clock()
    monkeypatch.setattr(pace, "time", held)
    return held


def waits(clock: Clock, quiet: float) -> float:
    made = Pace(first=2, last=30)
    clock.now += quiet
    made.looked()
    return made.seconds()


@pytest.mark.usefixtures("clock")
def test_the_first_look_is_due_at_once() -> None:
    assert Pace(first=2, last=30).seconds() == 0


def test_a_wait_ends_and_the_look_is_due(clock: Clock) -> None:
    made = Pace(first=2, last=30)
    made.looked()
    assert made.seconds() > 0
    clock.now += 2.4
    assert made.seconds() == 0


@given(quiet=st.floats(0, 1e6))
def test_waits_stay_between_the_first_and_the_last_and_grow(quiet: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(pace, "time", clock)
        assert 2 * 0.849 <= waits(clock, quiet) <= 30 * 1.151
        patch.setattr(pace, "_SPREAD", 0)
        assert waits(clock, quiet) <= waits(clock, quiet + 50)


def test_whatever_happens_makes_looks_frequent_again(clock: Clock) -> None:
    made = Pace(first=2, last=30)
    clock.now += 10_000
    made.looked()
    assert made.seconds() > 20
    made.stir()
    assert made.seconds() < 2.4


def test_two_agents_do_not_call_together_for_ever(clock: Clock) -> None:
    assert len({waits(clock, 1000) for _ in range(20)}) > 15
