"""`ledger` says who spent what, on which digest, what is left, in odds too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import LedgerError
from reidscope_protocols.privacy import PrivacyLoss, odds_said
from reidscope_protocols.study import Study
from reidscope_site import ledger as ledger_module
from reidscope_site.agent import Agent
from reidscope_site.cli import app
from reidscope_site.config import Home
from reidscope_site.outcomes import Outcomes
from reidscope_site.plainwords import explain
from reidscope_site.release import release
from reidscope_site.verbs import ask, carry_out


def released(agent: Agent, study: Opened[Study]) -> bytes:
    return release(
        study,
        Outcomes(agent.connection, agent.site_key, study.sha256),
        ledger=agent.ledger,
        policy=agent.policy,
        site="north",
        key=agent.statement_key,
        versions={},
    )


def test_the_account_says_who_spent_what_on_which_digest_and_what_is_left_in_odds(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    released(agent, evaluated)
    said = carry_out(agent, "ledger", {})
    assert (said["spent"], said["left"], said["lifetime_cap"]) == ("1", "3", "4")
    assert said["odds"] == round(math.e, 2)
    assert said["odds_at_the_cap"] == round(math.exp(4), 2)
    charge, store = said["entries"]
    assert charge == {
        **charge,
        "kind": "charged",
        "name": "faces-1",
        "study": evaluated.sha256,
        "approved by": "data protection officer",
        "table": "face-joint + face-gates",
        "epsilon": "1",
        "odds": 2.72,
        "left": "3",
        "release": "stored",
    }
    assert (store["kind"], store["epsilon"], store["left"]) == ("stored", "0", "3")


def test_a_charge_without_a_release_is_in_hand_and_then_lost(
    agent: Agent, evaluated: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.ledger.charge(evaluated.sha256, "t", evaluated.statement.loss, agent.policy)
    (charge,) = carry_out(agent, "ledger", {})["entries"]
    assert charge["release"] == "in hand"
    monkeypatch.setattr(ledger_module, "_IN_HAND", ledger_module._IN_HAND * 0)
    (charge,) = carry_out(agent, "ledger", {})["entries"]
    assert charge["release"] == "lost"


def test_a_study_that_is_not_kept_and_what_is_no_study_are_said_so(agent: Agent) -> None:
    agent.ledger.charge("1" * 64, "t", PrivacyLoss(1), agent.policy)
    agent.ledger.charge("0" * 64, "adopted 2", PrivacyLoss(1), agent.policy)
    unknown, adopted = carry_out(agent, "ledger", {})["entries"]
    assert unknown["name"] == "(a study that is not kept here)"
    assert (adopted["name"], adopted["approved by"]) == ("(not a study)", "")


def test_a_broken_chain_is_refused_and_shows_nothing(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    released(agent, evaluated)
    agent.connection.execute("UPDATE ledger SET nano = 1 WHERE sequence = 1")
    with pytest.raises(LedgerError):
        carry_out(agent, "ledger", {})


def test_the_command_prints_the_account_for_people_and_for_programs(
    home: Home, agent: Agent, evaluated: Opened[Study]
) -> None:
    released(agent, evaluated)
    agent.close()
    shown = CliRunner().invoke(app, ["ledger", "--home", str(home.root)]).stdout
    for said in ("spent 1 of 4, left 3", "2.72 times", "at the cap 54.6", "without a witness"):
        assert said in " ".join(shown.split())
    as_json: dict[str, Any] = ask(home.root, "ledger", {})
    assert as_json["entries"][0]["release"] == "stored"


MakeHome = Callable[..., Home]


def test_odds_beyond_any_number_are_null_and_never_infinity(make_home: MakeHome) -> None:
    agent = Agent(make_home("wide", epsilon_per_study="1000", epsilon_lifetime="1000"))
    assert carry_out(agent, "ledger", {})["odds_at_the_cap"] is None
    agent.close()


@pytest.mark.parametrize(
    ("odds", "said"),
    [
        (1.0, "1.0"),
        (7.389, "7.4"),
        (999.9, "999.9"),
        (1000.0, "more than 1,000 to 1: practically certain"),
        (math.exp(30), "more than 1,000 to 1: practically certain"),
        (math.inf, "more than 1,000 to 1: practically certain"),
        (None, "more than 1,000 to 1: practically certain"),
    ],
)
def test_odds_are_a_number_that_means_something_or_plain_words(
    odds: float | None, said: str
) -> None:
    assert odds_said(odds) == said


def test_the_ledger_of_a_huge_epsilon_speaks_plain_words(make_home: MakeHome) -> None:
    home = make_home("huge", epsilon_per_study="1000", epsilon_lifetime="1000")
    agent = Agent(home)
    agent.ledger.charge("1" * 64, "t", PrivacyLoss(40 * 10**9), agent.policy)
    agent.close()
    shown = CliRunner().invoke(app, ["ledger", "--home", str(home.root)]).stdout
    said = " ".join(shown.split())
    assert "grown from even to more than 1,000 to 1: practically certain" in said
    assert "at the cap more than 1,000 to 1: practically certain" in said
    assert "235385266837019985" not in said.replace(",", "")


def test_show_says_what_a_huge_epsilon_means_and_a_small_one_as_ever(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    said = " ".join("\n".join(explain(evaluated, agent.policy, PrivacyLoss(0))).split())
    assert (
        "nobody's odds of guessing that a person took part can grow by more than a factor of"
        in said
    )
    said = " ".join("\n".join(explain(evaluated, agent.policy, PrivacyLoss(40 * 10**9))).split())
    assert "(together more than 1,000 to 1: practically certain)" in said
