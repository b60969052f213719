"""What a secure sum does next, decided from what came in and how long that was ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reidscope_server.sum_steps import Phase, Step, SumView, next_step

NAMES = frozenset({"alpha", "bravo", "charlie", "delta"})
HOUR = timedelta(hours=1)
Some = st.frozensets(st.sampled_from(sorted(NAMES)))


def view(phase: Phase, **changes: Any) -> SumView:
    fields: dict[str, Any] = {
        "attempt": 1,
        "attempts": 2,
        "phase": phase,
        "minimum_sites": 3,
        "wait": HOUR,
        "able": NAMES,
        "listed": NAMES if phase is Phase.SUM else frozenset(),
    }
    return SumView(**{**fields, **changes})


def test_the_list_is_made_when_every_site_that_may_answer_gave_its_key() -> None:
    assert next_step(view(Phase.KEYS, given=NAMES)) is Step.LIST
    assert next_step(view(Phase.KEYS, given=NAMES - {"delta"})) is Step.WAIT
    # whoever said no, or was revoked, is waited for no longer
    able = NAMES - {"delta"}
    assert next_step(view(Phase.KEYS, given=able, able=able)) is Step.LIST


def test_the_list_is_made_without_the_silent_once_the_wait_is_over() -> None:
    given_keys = NAMES - {"delta"}
    assert next_step(view(Phase.KEYS, given=given_keys, waited=HOUR)) is Step.LIST
    assert next_step(view(Phase.KEYS, given=given_keys - {"alpha"}, waited=HOUR)) is Step.WAIT


def test_a_drop_out_ends_the_attempt_and_never_shrinks_the_list() -> None:
    almost = {"masked": NAMES - {"delta"}}
    assert next_step(view(Phase.SUM, **almost)) is Step.WAIT
    for trouble in (
        {"lost": frozenset({"delta"})},
        {"able": NAMES - {"delta"}},
        {"waited": HOUR},
    ):
        assert next_step(view(Phase.SUM, **almost, **trouble)) is Step.AGAIN
        assert next_step(view(Phase.SUM, **almost, **trouble, attempt=2)) is Step.GIVE_UP


def test_everybody_in_is_the_sum_whatever_else_happened() -> None:
    late = view(Phase.SUM, masked=NAMES, waited=2 * HOUR, able=frozenset(), lost=NAMES)
    assert next_step(late) is Step.ADD_UP


Views = st.builds(
    view,
    phase=st.sampled_from(Phase),
    able=Some,
    lost=Some,
    given=Some,
    listed=Some,
    masked=Some,
    attempt=st.integers(1, 2),
    waited=st.integers(0, 120).map(lambda minutes: timedelta(minutes=minutes)),
)


@given(Views)
def test_no_sum_without_all_and_no_list_below_the_minimum(seen: SumView) -> None:
    step = next_step(seen)
    if step is Step.ADD_UP:
        assert seen.phase is Phase.SUM
        assert seen.masked >= seen.listed
    if step is Step.LIST:
        assert seen.phase is Phase.KEYS
        assert len(seen.given & seen.able) >= seen.minimum_sites
    if seen.phase.is_final:
        assert step is Step.WAIT
    if step is Step.AGAIN:
        assert seen.attempt < seen.attempts
