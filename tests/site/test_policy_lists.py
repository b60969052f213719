"""What the policy's lists and hours leave out is left out whoever approves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import NotReadyError, PolicyRefusalError
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site import measuring
from reidscope_site.agent import Agent
from reidscope_site.allowed import check_hours, is_open
from reidscope_site.config import Policy
from reidscope_site.constants import Constants
from reidscope_site.handover import answer_for
from reidscope_site.measuring import measure
from reidscope_site.snapshot import Person

ROLE = "data protection officer"
OTHER = "ab" * 32


@pytest.fixture
def approve(
    make_home: Any,
    coordinator: Any,
    make_study: Callable[..., Study],
    people: tuple[Person, ...],
) -> Callable[..., None]:
    def build(**policy: Any) -> None:
        agent = Agent(make_home(**policy))
        agent.snapshot.freeze(people, agent.site_key)
        study = agent.studies.receive(coordinator.sign(make_study()))
        try:
            agent.decide(study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)
        finally:
            agent.close()

    return build


def test_a_study_that_every_list_names_is_approved(
    approve: Callable[..., None], coordinator: Any, make_study: Callable[..., Study]
) -> None:
    constants = tuple(constant.sha256 for constant in make_study().constants)
    approve(
        coordinators=(coordinator.study_key.public,),
        experiments=("face-identification",),
        constants=constants,
    )


def test_the_ca_names_a_coordinator_as_well_as_the_study_key(
    approve: Callable[..., None], coordinator: Any
) -> None:
    approve(coordinators=(OTHER, coordinator.pinned.ca_sha256))


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        ({"coordinators": (OTHER,)}, "coordinator"),
        ({"experiments": ("record-linkage",)}, "experiment"),
        ({"constants": (OTHER,)}, "constants"),
    ],
)
def test_a_study_that_a_list_leaves_out_is_refused_in_one_line(
    approve: Callable[..., None], policy: dict[str, Any], word: str
) -> None:
    with pytest.raises(PolicyRefusalError, match=f"^{word}: got .*expected one out of"):
        approve(**policy)


@given(at=st.times(), starts=st.times(), ends=st.times())
def test_hours_are_open_from_their_start_up_to_their_end_over_midnight_too(
    at: time, starts: time, ends: time
) -> None:
    starts, ends = (each.replace(second=0, microsecond=0) for each in (starts, ends))
    hours = f"{starts:%H:%M}-{ends:%H:%M}"
    opened = is_open(
        Policy(declared_people=20, hours=(hours,)),
        datetime.combine(datetime(2026, 1, 1, tzinfo=UTC), at),
    )
    back = is_open(
        Policy(declared_people=20, hours=(f"{ends:%H:%M}-{starts:%H:%M}",)),
        datetime.combine(datetime(2026, 1, 1, tzinfo=UTC), at),
    )
    assert (opened and back) if starts == ends else opened != back
    if at == starts:
        assert opened


def closed_now() -> str:
    hour = datetime.now().astimezone().hour
    return f"{(hour + 12) % 24:02}:00-{(hour + 13) % 24:02}:00"


@pytest.mark.parametrize(
    "hours", ["24:00-01:00", "1:00-2:00", "10:00", "10:60-11:00", "10:00-11:00 ", "always"]
)
def test_hours_that_are_none_are_refused(hours: str) -> None:
    with pytest.raises(ValueError, match="hours"):
        Policy(declared_people=20, hours=(hours,))


def test_outside_its_hours_the_agent_neither_computes_nor_answers(
    agent: Agent, evaluated: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Constants, "read", lambda *_: b"public")
    text = agent.home.policy_file.read_text()
    closed = text.replace("hours = []", f'hours = ["{closed_now()}"]')
    assert closed != text
    agent.home.policy_file.write_text(closed)
    with monkeypatch.context() as none:
        none.setattr(measuring, "worker", pytest.fail)
        with pytest.raises(NotReadyError, match="hours: got an hour"):
            measure(agent, evaluated)
    agent.home.policy_file.write_text(text)
    released = measure(agent, evaluated)
    assert released is not None
    assert answer_for(agent, evaluated.sha256) == b"R" + released
    agent.home.policy_file.write_text(closed)
    assert answer_for(agent, evaluated.sha256) == b"Nworking"


def test_hours_that_end_between_two_people_keep_what_was_evaluated_for_the_next_run(
    agent: Agent, evaluated: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Constants, "read", lambda *_: b"public")
    monkeypatch.setattr(measuring, "is_open", lambda _: False)
    assert measure(agent, evaluated) is None
    assert agent.ledger.stored(evaluated.sha256) is None


def test_without_hours_it_is_always_open() -> None:
    check_hours(Policy(declared_people=20))
