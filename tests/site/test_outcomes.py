"""A cell of one person: sealed, unsendable, gone after the release."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import LedgerError, OutcomeMissingError
from reidscope_site.agent import Agent
from reidscope_site.outcomes import Outcome, Outcomes

STUDY = "ab" * 32


@pytest.fixture
def outcomes(agent: Agent) -> Outcomes:
    return Outcomes(agent.connection, agent.site_key, STUDY)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_outcome_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Outcome(cells=(3,)), protocol)


@pytest.mark.parametrize("send", [copy.copy, copy.deepcopy, json.dumps, bytes])
def test_an_outcome_is_neither_copied_nor_made_json(send: object) -> None:
    assert callable(send)
    with pytest.raises(TypeError):
        send(Outcome(cells=(3,)))


def test_an_outcome_shows_nothing_of_itself() -> None:
    assert "77" not in repr(Outcome(cells=(77,)))
    assert "77" not in f"{Outcome(cells=(77,))}"
    assert "77" not in "".join(traceback.format_exception(ValueError(Outcome(cells=(77,)))))


def test_what_was_kept_is_what_is_opened(outcomes: Outcomes) -> None:
    kept = [(0, 1), (64, 0), (4095, 3), (2**32 - 1, 2**32 - 1)]
    for number, cells in enumerate(kept):
        outcomes.keep(f"P-{number}", Outcome(cells=cells))
    assert [outcome.cells for outcome in outcomes.all()] == kept
    assert outcomes.known() == {"P-0", "P-1", "P-2", "P-3"}


def test_every_cell_has_one_sealed_size_and_no_sealed_bytes_twice(
    agent: Agent, outcomes: Outcomes
) -> None:
    for number in range(50):
        outcomes.keep(f"P-{number}", Outcome(cells=(number % 2,)))
    sealed = [row[0] for row in agent.connection.execute("SELECT sealed FROM outcome")]
    assert len({len(each) for each in sealed}) == 1
    assert len(set(sealed)) == 50


@pytest.mark.parametrize(
    "change",
    [
        "sealed = x''",
        "sealed = x'00'",
        "sealed = substr(sealed, 1, 20)",
        "sealed = sealed || x'00'",
        "sealed = zeroblob(32)",
        "sealed = 'text'",
        "pseudonym = 'P-2'",
        "study_sha256 = 'other'",
    ],
)
def test_an_altered_or_moved_outcome_is_refused(
    agent: Agent, outcomes: Outcomes, change: str
) -> None:
    outcomes.keep("P-1", Outcome(cells=(3,)))
    agent.connection.execute(f"UPDATE outcome SET {change}")  # noqa: S608  # the test's own words
    read = Outcomes(agent.connection, agent.site_key, "other") if "other" in change else outcomes
    with pytest.raises(LedgerError):
        read.all()


def test_two_peoples_outcomes_cannot_be_exchanged(agent: Agent, outcomes: Outcomes) -> None:
    outcomes.keep("P-1", Outcome(cells=(0,)))
    outcomes.keep("P-2", Outcome(cells=(1,)))
    agent.connection.execute(
        "UPDATE outcome SET sealed = (SELECT sealed FROM outcome o WHERE o.pseudonym = 'P-1')"
    )
    with pytest.raises(LedgerError):
        outcomes.all()


def test_another_site_key_opens_nothing(agent: Agent, outcomes: Outcomes) -> None:
    outcomes.keep("P-1", Outcome(cells=(3,)))
    with pytest.raises(LedgerError):
        Outcomes(agent.connection, SiteKey(bytes(32)), STUDY).all()


def test_erasing_one_study_leaves_another(agent: Agent, outcomes: Outcomes) -> None:
    other = Outcomes(agent.connection, agent.site_key, "cd" * 32)
    for held in (outcomes, other):
        held.keep("P-1", Outcome(cells=(3,)))
    outcomes.erase()
    assert outcomes.known() == frozenset()
    with pytest.raises(OutcomeMissingError, match="destroyed"):
        outcomes.all()
    assert len(other.all()) == 1
