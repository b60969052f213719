"""Rules of the ledger that other tests leave out: clocks, names, cohorts, processes, full disks.

docs/ledger.md lists every rule with its tests.
"""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import (
    BudgetExhaustedError,
    ConfigError,
    ConsentMissingError,
    OutcomeMissingError,
    ReidscopeError,
    StaleError,
)
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Mate, Verdict
from reidscope_site import consent, handover, ledger, measuring, studies
from reidscope_site import release as release_module
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.constants import Constants
from reidscope_site.handover import answer_for
from reidscope_site.measuring import measure
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.release import release
from reidscope_site.snapshot import Person

ROLE = "data protection officer"
MakeHome = Callable[..., Home]
MakeStudy = Callable[..., Study]


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


def approve(agent: Agent, study: Opened[Study]) -> None:
    agent.decide(study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)


def evaluate(agent: Agent, study: Opened[Study], *, people: int = 5) -> None:
    outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
    for number in range(people):
        outcomes.keep(f"P-{number}", Outcome(cells=(number % 5, number % 3)))


class Clock:
    """A machine's clock that a test can set, for every module that asks for the time."""

    def __init__(self) -> None:
        self.moved = timedelta(0)

    def now(self, zone: Any = None) -> datetime:
        return datetime.now(zone) + self.moved

    def __getattr__(self, name: str) -> Any:
        return getattr(datetime, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    held = Clock()
    for module in (consent, handover, ledger, release_module, studies):
        if hasattr(module, "datetime"):
            monkeypatch.setattr(module, "datetime", held)
    return held


# A clock turned back


@pytest.mark.parametrize("days", [-1, -400, 3])
def test_a_clock_that_is_turned_gives_nothing_back_and_draws_nothing_anew(
    agent: Agent, evaluated: Opened[Study], clock: Clock, days: int
) -> None:
    first = released(agent, evaluated)
    clock.moved = timedelta(days=days)
    assert released(agent, evaluated) == first
    assert agent.ledger.spent() == evaluated.statement.loss
    agent.ledger.charge("1" * 64, "t", PrivacyLoss.from_decimal("2"), agent.policy)
    with pytest.raises(BudgetExhaustedError):
        agent.ledger.charge("2" * 64, "t", PrivacyLoss.from_decimal("2"), agent.policy)
    agent.ledger.check()  # entries are ordered by their chain, not by their hour


def test_a_lost_table_stays_lost_whatever_the_clock_says(
    agent: Agent, evaluated: Opened[Study], clock: Clock
) -> None:
    name = " + ".join(table.table for table in evaluated.statement.tables)
    agent.ledger.charge(evaluated.sha256, name, evaluated.statement.loss, agent.policy)
    for days in (-30, 0, 1, 5):
        clock.moved = timedelta(days=days)
        with pytest.raises(OutcomeMissingError):
            released(agent, evaluated)
    clock.moved = timedelta(0)
    assert answer_for(agent, evaluated.sha256) == b"Nworking"  # it may be just being signed
    for days in (-1, 1):
        clock.moved = timedelta(days=days)
        assert answer_for(agent, evaluated.sha256) == b"Nlost"
    assert agent.ledger.spent() == evaluated.statement.loss


def test_a_clock_before_the_study_opens_or_after_it_closes_finds_no_approval(
    agent: Agent, approved: Opened[Study], clock: Clock
) -> None:
    for days in (-2, 31):
        clock.moved = timedelta(days=days)
        with pytest.raises(ConsentMissingError):
            agent.consent.require(
                approved, policy=agent.policy, snapshot_digest=agent.snapshot.digest()
            )


def test_a_study_that_was_signed_in_what_is_now_the_future_is_not_taken_in(
    agent: Agent, coordinator: Any, make_study: MakeStudy, clock: Clock
) -> None:
    clock.moved = timedelta(days=-3)
    with pytest.raises(StaleError):
        agent.studies.receive(coordinator.sign(make_study()))


# Renamed studies, added patients, changed packages


def test_the_same_question_under_another_name_is_charged_again_and_drawn_again(
    agent: Agent, coordinator: Any, make_study: MakeStudy
) -> None:
    said = []
    for name in ("faces-1", "faces-2", "faces-3", "faces-4"):
        study = coordinator.opened(make_study(study_id=name))
        evaluate(agent, study)
        said.append(released(agent, study))
    assert len(set(said)) == 4
    assert agent.ledger.spent() == PrivacyLoss.from_decimal("4")
    fifth = coordinator.opened(make_study(study_id="faces-5", epsilon="0.000000005"))
    evaluate(agent, fifth)
    with pytest.raises(BudgetExhaustedError):
        released(agent, fifth)


def test_one_added_patient_opens_no_new_account(
    agent: Agent, evaluated: Opened[Study], people: tuple[Person, ...], coordinator: Any,
    make_study: MakeStudy,
) -> None:  # fmt: skip
    first = released(agent, evaluated)
    agent.snapshot.freeze(people[:4], agent.site_key)
    agent.snapshot.freeze(people, agent.site_key)
    assert agent.ledger.spent() == evaluated.statement.loss
    assert released(agent, evaluated) == first  # the stored one, whoever was added since
    again = agent.studies.receive(coordinator.sign(make_study(study_id="faces-2")))
    approve(agent, again)
    evaluate(agent, again, people=6)
    assert released(agent, again) != first
    assert agent.ledger.spent() == PrivacyLoss.from_decimal("2")


def test_a_changed_package_releases_nothing_until_somebody_approves_anew(
    agent: Agent, evaluated: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Constants, "read", lambda *_: b"public")
    monkeypatch.setattr(Constants, "missing", lambda *_: ())
    monkeypatch.setattr(consent.package, "sha256", lambda: "00" * 32)
    with pytest.raises(ConsentMissingError, match="package"):
        measure(agent, evaluated)
    assert agent.ledger.spent() == PrivacyLoss(0)


# Caps and studies over them


@pytest.mark.parametrize("cap", ["-1", "nan", "1e-400", "0.0000000001", "10001", "two", "", "1001"])
def test_a_cap_that_is_none_is_a_wrong_policy_file(home: Home, cap: str) -> None:
    text = home.policy_file.read_text()
    home.policy_file.write_text(
        text.replace('epsilon_per_study = "2"', f'epsilon_per_study = "{cap}"')
    )
    assert home.policy_file.read_text() != text
    with pytest.raises(ConfigError):
        Agent(home).policy.study_cap  # noqa: B018  # read for what it raises


@pytest.mark.parametrize(("cap", "lifetime"), [("0", "4"), ("2", "0"), ("0.999999999", "4")])
def test_a_study_above_a_cap_is_not_approved_and_costs_nothing(
    make_home: MakeHome,
    coordinator: Any,
    make_study: MakeStudy,
    people: tuple[Person, ...],
    *,
    cap: str,
    lifetime: str,
) -> None:
    agent = Agent(make_home("capped", epsilon_per_study=cap, epsilon_lifetime=lifetime))
    agent.snapshot.freeze(people, agent.site_key)
    study = agent.studies.receive(coordinator.sign(make_study()))
    with pytest.raises(BudgetExhaustedError) as refused:
        approve(agent, study)
    assert refused.value.exit_code == 31
    assert agent.ledger.spent() == PrivacyLoss(0)
    agent.close()


# Sites with no one


def test_a_site_where_nobody_has_such_a_mate_releases_a_noisy_table_like_any_other(
    agent: Agent, approved: Opened[Study], coordinator: Any, make_study: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Everybody has a photo and one scan; the study asks for second scans."""
    monkeypatch.setattr(Constants, "read", lambda *_: b"public")
    monkeypatch.setattr(Constants, "missing", lambda *_: ())
    monkeypatch.setattr(measuring, "worker", NobodyAtWork)
    said = make_study(study_id="second-scans", asked={"mate": Mate.SECOND_SCAN})
    study = agent.studies.receive(coordinator.sign(said))
    approve(agent, study)
    assert measure(agent, study) == agent.ledger.stored(study.sha256)
    assert agent.ledger.spent() == study.statement.loss
    assert answer_for(agent, study.sha256)[:1] == b"R"
    assert approved.sha256 != study.sha256


class NobodyAtWork:
    """The isolated child, of whom nothing is asked."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_tables_of_nobody_are_noise_and_have_the_same_size() -> None:
    counter = release_module.noisy_counter(400, PrivacyLoss.from_decimal("1"))
    drawn = counter([])
    assert len(drawn) == 400
    assert any(count < 0 for count in drawn)
    assert any(count > 0 for count in drawn)


# Eight at once, and full disks, in processes of their own


def releasing(home: Home, sha256: str, room: int, start: Any, said: Any) -> None:
    """Release in a forked process, whose files cannot grow beyond `room` bytes."""
    agent = Agent(home)
    study = agent.studies.find(sha256)
    start.wait()
    if room >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        word = released(agent, study).decode()
    except ReidscopeError as error:
        word = type(error).__name__
    except (sqlite3.Error, OSError):
        word = "full"
    said.send(word)
    said.close()
    os._exit(0)  # nothing is tidied up, as nothing is where a disk is full


def at_once(agent: Agent, study: Opened[Study], count: int, room: int = -1) -> list[str]:
    fork = get_context("fork")
    start = fork.Barrier(count)
    pipes = [fork.Pipe(duplex=False) for _ in range(count)]
    children = [
        fork.Process(target=releasing, args=(agent.home, study.sha256, room, start, said))
        for _, said in pipes
    ]
    for child in children:
        child.start()
    words = [heard.recv() for heard, _ in pipes]
    for child in children:
        child.join(60)
    return words


@pytest.fixture
def witnessed(home: Home, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "elsewhere").mkdir()
    text = home.site_file.read_text()
    home.site_file.write_text(
        text.replace('witness = ""', f'witness = "{tmp_path}/elsewhere/witness"')
    )
    return


@pytest.mark.usefixtures("witnessed")
def test_eight_processes_at_once_charge_once_and_send_one_release(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    said = at_once(agent, evaluated, 8)
    stored = agent.ledger.stored(evaluated.sha256)
    assert stored is not None
    assert {word for word in said if word[0] == "{"} == {stored.decode()}
    assert {word for word in said if word[0] != "{"} <= {"OutcomeMissingError"}
    assert agent.ledger.spent() == evaluated.statement.loss
    assert [entry.kind for entry in agent.ledger.entries()] == ["charged", "stored"]
    agent.ledger.check()


@pytest.mark.usefixtures("witnessed")
@pytest.mark.parametrize("room", [0, 300, 4_200, 8_400, 12_600, 20_000, 33_000])
def test_a_disk_that_is_full_at_any_byte_costs_the_charge_at_most(
    agent: Agent, evaluated: Opened[Study], room: int
) -> None:
    """No file of the process may grow beyond `room`: the log, the database, the witness."""
    agent.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (said,) = at_once(agent, evaluated, 1, room)
    agent.ledger.check()
    charged = agent.ledger.charged(evaluated.sha256)
    stored = agent.ledger.stored(evaluated.sha256)
    assert agent.ledger.spent() == (evaluated.statement.loss if charged else PrivacyLoss(0))
    if said[0] == "{":
        assert stored == said.encode()
    elif charged and stored is None:
        with pytest.raises(OutcomeMissingError):
            released(agent, evaluated)
    else:
        assert released(agent, evaluated)
    assert agent.ledger.spent() == evaluated.statement.loss
    agent.ledger.check()
