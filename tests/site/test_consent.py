"""A yes binds digest, package, policy and index; any change takes it away."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from reidscope_protocols.envelope import Opened, peek_payload
from reidscope_protocols.errors import (
    ConsentMissingError,
    LedgerError,
    MalformedError,
    NotReadyError,
    OutcomeMissingError,
    PolicyRefusalError,
    ReidscopeError,
    StaleError,
)
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import Decision, LedgerHead
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site import measuring, package
from reidscope_site.agent import Agent
from reidscope_site.config import Policy
from reidscope_site.constants import Constants
from reidscope_site.measuring import measure
from reidscope_site.outcomes import Outcomes
from reidscope_site.snapshot import Person

ROLE = "data protection officer"
MakeStudy = Callable[..., Study]


def required(agent: Agent, study: Opened[Study]) -> None:
    agent.consent.require(study, policy=agent.policy, snapshot_digest=agent.snapshot.digest())


def decide(agent: Agent, study: Opened[Study], verdict: Verdict, role: str = ROLE) -> None:
    agent.decide(study.sha256, verdict, role=role, reason=DecisionReason.REVIEWED)


@pytest.fixture
def with_constants(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every constant is there, whatever it holds: nobody is evaluated in these tests."""
    monkeypatch.setattr(Constants, "read", lambda *_: b"public")
    monkeypatch.setattr(Constants, "missing", lambda *_: ())
    assert agent.home.constants.exists()


def test_an_approval_stands_while_nothing_changes(agent: Agent, approved: Opened[Study]) -> None:
    required(agent, approved)
    assert agent.consent.verdict(approved.sha256) is Verdict.APPROVED


def test_no_decision_is_no_approval(
    agent: Agent, coordinator: Any, make_study: MakeStudy, people: tuple[Person, ...]
) -> None:
    agent.snapshot.freeze(people, agent.site_key)
    study = agent.studies.receive(coordinator.sign(make_study()))
    with pytest.raises(ConsentMissingError, match="no approval"):
        required(agent, study)


def test_another_package_voids_an_approval(
    agent: Agent, approved: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "sha256", lambda: "00" * 32)
    with pytest.raises(ConsentMissingError, match="package"):
        required(agent, approved)


def test_another_policy_voids_an_approval_though_only_a_cap_was_raised(
    agent: Agent, approved: Opened[Study]
) -> None:
    text = agent.home.policy_file.read_text()
    agent.home.policy_file.write_text(text + "# a comment changes nothing\n")
    required(agent, approved)
    agent.home.policy_file.write_text(text.replace('"4"', '"5"'))
    with pytest.raises(ConsentMissingError, match="policy"):
        required(agent, approved)


def test_another_index_voids_an_approval(
    agent: Agent, approved: Opened[Study], people: tuple[Person, ...]
) -> None:
    agent.snapshot.freeze(people[1:], agent.site_key)
    with pytest.raises(ConsentMissingError, match="index"):
        required(agent, approved)
    agent.snapshot.freeze(people, agent.site_key)
    required(agent, approved)


@pytest.mark.parametrize(
    ("opens", "closes"), [(timedelta(days=1), timedelta(days=2)), (-timedelta(minutes=50), None)]
)
def test_an_approval_holds_within_the_studys_dates_alone(
    *,
    agent: Agent,
    coordinator: Any,
    make_study: MakeStudy,
    people: tuple[Person, ...],
    opens: timedelta,
    closes: timedelta | None,
) -> None:
    now = datetime.now(UTC)
    study = agent.studies.receive(
        coordinator.sign(
            make_study(
                opens_at=now + opens,
                closes_at=now + closes if closes else now - timedelta(minutes=1),
            )
        )
    )
    agent.snapshot.freeze(people, agent.site_key)
    decide(agent, study, Verdict.APPROVED)
    with pytest.raises(ConsentMissingError, match="dates"):
        required(agent, study)
    assert agent.ready_to_run() == ()


def test_a_role_that_the_policy_does_not_name_cannot_decide(
    agent: Agent, approved: Opened[Study]
) -> None:
    for verdict in Verdict:
        with pytest.raises(PolicyRefusalError, match="role"):
            decide(agent, approved, verdict, role="janitor")


def test_the_later_decision_wins(agent: Agent, approved: Opened[Study]) -> None:
    decide(agent, approved, Verdict.WITHDRAWN)
    with pytest.raises(ConsentMissingError, match="withdrawn"):
        required(agent, approved)
    decide(agent, approved, Verdict.APPROVED)
    required(agent, approved)
    assert agent.consent.number(approved.sha256) == 3


@pytest.mark.parametrize("verdict", [Verdict.DECLINED, Verdict.WITHDRAWN])
def test_nothing_is_declined_once_anybody_was_evaluated(
    agent: Agent, evaluated: Opened[Study], verdict: Verdict
) -> None:
    with pytest.raises(PolicyRefusalError, match="before any outcome"):
        decide(agent, evaluated, verdict)
    assert agent.consent.verdict(evaluated.sha256) is Verdict.APPROVED


def test_nothing_is_declined_once_the_table_was_charged(
    agent: Agent, approved: Opened[Study]
) -> None:
    agent.ledger.charge(approved.sha256, "face-joint", approved.statement.loss, agent.policy)
    with pytest.raises(PolicyRefusalError):
        decide(agent, approved, Verdict.DECLINED)


def test_an_ended_study_cannot_be_decided_about(
    agent: Agent, approved: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=100)

    monkeypatch.setattr("reidscope_site.consent.datetime", Later)
    for verdict in Verdict:
        with pytest.raises(StaleError):
            decide(agent, approved, verdict)


def test_a_decision_names_no_person_and_waits_in_the_outbox(
    agent: Agent, approved: Opened[Study]
) -> None:
    (waiting,) = agent.outbox.waiting("decision")
    said = Decision.parse(peek_payload(waiting.envelope))
    assert said.study_sha256 == approved.sha256
    assert said.policy_sha256 == agent.policy.sha256
    assert said.package_sha256 == package.sha256()
    assert set(Decision.model_fields) == {
        *("schema_", "audience", "issued_at", "not_after", "study_sha256", "site", "verdict"),
        *("reason", "role", "package_version", "package_sha256", "policy_sha256", "nonce"),
        "declared_people",
    }
    assert said.declared_people == agent.policy.declared_people


def test_a_new_yes_under_another_index_starts_everybody_anew(
    agent: Agent, evaluated: Opened[Study], people: tuple[Person, ...]
) -> None:
    """Outcomes of people who are not in the index any more must not be counted."""
    outcomes = Outcomes(agent.connection, agent.site_key, evaluated.sha256)
    decide(agent, evaluated, Verdict.APPROVED)
    assert len(outcomes.known()) == 5
    agent.snapshot.freeze(people[:2], agent.site_key)
    decide(agent, evaluated, Verdict.APPROVED)
    assert outcomes.known() == frozenset()


@pytest.mark.usefixtures("with_constants")
def test_measuring_finds_everybody_in_a_cell_and_releases_once(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    first = measure(agent, evaluated)
    assert first is not None
    assert measure(agent, evaluated) == first
    assert [item.kind for item in agent.outbox.every()] == ["decision", "release"]
    assert agent.ready_to_run() == ()


@pytest.mark.usefixtures("with_constants")
def test_a_file_that_was_edited_after_the_yes_voids_it(
    agent: Agent, evaluated: Opened[Study], people: tuple[Person, ...]
) -> None:
    photo = people[3].photo
    found = photo.stat()
    photo.write_bytes(b"PHOTO")
    os.utime(photo, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    with pytest.raises(ConsentMissingError, match="index"):
        measure(agent, evaluated)
    assert agent.ledger.spent() == PrivacyLoss(0)


@pytest.mark.usefixtures("with_constants")
@pytest.mark.parametrize("change", ["index", "policy", "package"])
def test_what_changes_while_people_are_measured_stops_the_release_and_costs_nothing(
    agent: Agent,
    evaluated: Opened[Study],
    people: tuple[Person, ...],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    def meanwhile(done: int, of: int) -> None:
        if done < of:
            return
        if change == "index":
            agent.snapshot.freeze(people[1:], agent.site_key)
        elif change == "policy":
            text = agent.home.policy_file.read_text()
            agent.home.policy_file.write_text(text.replace('"4"', '"3"'))
        else:
            monkeypatch.setattr(package, "sha256", lambda: "00" * 32)

    with pytest.raises(ConsentMissingError, match=change):
        measure(agent, evaluated, progress=meanwhile)
    assert agent.ledger.spent() == PrivacyLoss(0)
    assert agent.ledger.stored(evaluated.sha256) is None


@pytest.mark.usefixtures("with_constants")
def test_a_ledger_behind_a_receipt_measures_nothing(
    agent: Agent, evaluated: Opened[Study], coordinator: Any
) -> None:
    """The database was put back, or the home was made anew under the same name."""
    head = LedgerHead(sequence=2, head="ab" * 32)
    with pytest.raises(LedgerError):
        agent.take_receipt(coordinator.receipt(evaluated.sha256, head))
    with pytest.raises(LedgerError):
        measure(agent, evaluated)
    assert agent.ledger.spent() == PrivacyLoss(0)


@pytest.mark.usefixtures("with_constants")
def test_a_charged_study_without_a_release_is_lost_before_anybody_is_measured(
    agent: Agent, evaluated: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.ledger.charge(evaluated.sha256, "face-joint", evaluated.statement.loss, agent.policy)
    monkeypatch.setattr(measuring, "worker", pytest.fail)
    with pytest.raises(OutcomeMissingError):
        measure(agent, evaluated)


def test_without_an_index_nothing_can_be_approved(
    agent: Agent, coordinator: Any, make_study: MakeStudy
) -> None:
    study = agent.studies.receive(coordinator.sign(make_study()))
    with pytest.raises(NotReadyError):
        decide(agent, study, Verdict.APPROVED)
    decide(agent, study, Verdict.DECLINED)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], int, tuple[str, ...]]] = [
    ({"epsilon": "2.5"}, {}, 31, ("2.5", "2")),
    ({"epsilon": "2"}, {"epsilon_per_study": "1.5"}, 31, ("2", "1.5")),
    ({"epsilon": "2"}, {"epsilon_lifetime": "1"}, 31, ("2", "1")),
    ({"population": "patients"}, {"populations": ("volunteers",)}, 32, ("patients", "volunteers")),
    ({"arms": ("unmodified", "mystery")}, {}, 32, ("mystery", "blur")),
    ({"minimum_declared_people": 21}, {}, 32, ("20", "21")),
]


@pytest.mark.parametrize(("asked", "allowed", "code", "words"), REFUSED)
def test_a_study_outside_the_policy_is_refused_with_what_got_expected_and_what_to_do(
    *,
    make_home: Any,
    coordinator: Any,
    make_study: MakeStudy,
    people: tuple[Person, ...],
    asked: dict[str, Any],
    allowed: dict[str, Any],
    code: int,
    words: tuple[str, ...],
) -> None:
    agent = Agent(make_home(**allowed))
    agent.snapshot.freeze(people, agent.site_key)
    study = agent.studies.receive(coordinator.sign(make_study(**asked)))
    with pytest.raises(ReidscopeError) as caught:
        decide(agent, study, Verdict.APPROVED)
    agent.close()
    text = str(caught.value)
    assert caught.value.exit_code == code
    assert all(
        word in text
        for word in (*words, ": got ", ", expected ", "; ", "decline" if code == 32 else "")
    )


def test_a_study_for_others_forged_or_ended_is_not_kept(
    agent: Agent, coordinator: Any, make_study: MakeStudy
) -> None:
    past = datetime.now(UTC) - timedelta(days=50)
    ended = make_study(
        issued_at=past, opens_at=past, closes_at=past + timedelta(1), not_after=past + timedelta(2)
    )
    altered = coordinator.sign(make_study()).replace(b'"sig":"', b'"sig":"AAAA')
    for envelope in (
        coordinator.sign(make_study(sites=("south",))),
        coordinator.sign(ended),
        altered,
        b"{}",
    ):
        with pytest.raises(ReidscopeError) as caught:
            agent.studies.receive(envelope)
        assert 20 <= caught.value.exit_code < 30
    assert agent.studies.every() == ()


def test_a_study_is_found_by_its_name_or_its_first_digits_and_never_by_nothing(
    agent: Agent, approved: Opened[Study]
) -> None:
    for word in ("faces-1", approved.sha256, approved.sha256[:6]):
        assert agent.studies.find(word).sha256 == approved.sha256
    for word in ("", "faces", "zz"):
        with pytest.raises(MalformedError):
            agent.studies.find(word)


def test_two_studies_under_one_name_must_be_told_apart_by_digest(
    agent: Agent, approved: Opened[Study], coordinator: Any, make_study: MakeStudy
) -> None:
    other = agent.studies.receive(coordinator.sign(make_study(title="Another")))
    with pytest.raises(MalformedError, match="2 studies"):
        agent.studies.find("faces-1")
    assert agent.studies.find(other.sha256[:12]).statement.title == "Another"
    assert agent.studies.find(approved.sha256[:12]).statement.title != "Another"


def test_a_minimum_size_is_held_against_what_was_declared_and_never_against_a_count(
    agent: Agent, coordinator: Any, make_study: MakeStudy, people: tuple[Person, ...]
) -> None:
    agent.snapshot.freeze(people[:1], agent.site_key)
    study = agent.studies.receive(coordinator.sign(make_study(minimum_declared_people=20)))
    decide(agent, study, Verdict.APPROVED)
    required(agent, study)


def test_the_policys_digest_changes_with_each_of_its_fields() -> None:
    base = Policy(declared_people=20)
    others = [
        Policy(declared_people=21),
        Policy(declared_people=20, epsilon_per_study="1"),
        Policy(declared_people=20, epsilon_lifetime="3"),
        Policy(declared_people=20, populations=("patients",)),
        Policy(declared_people=20, arms=("unmodified",)),
        Policy(declared_people=20, roles=("ethics board",)),
        Policy(declared_people=20, recognisers=()),
        Policy(declared_people=20, approvals_needed=2, roles={"ethics board": ("uid:1",)}),
        Policy(declared_people=20, approval_days=1),
        Policy(declared_people=20, signing_keys={ROLE: ("ssh-ed25519 " + "A" * 68,)}),
        Policy(declared_people=20, coordinators=("ab" * 32,)),
        Policy(declared_people=20, experiments=("face-identification",)),
        Policy(declared_people=20, constants=("ab" * 32,)),
        Policy(declared_people=20, hours=("20:00-06:00",)),
        Policy(declared_people=20, distributed=True),
        Policy(declared_people=20, distributed_colluders=1),
        Policy(declared_people=20, distributed_sites=5),
        Policy(declared_people=20, epsilon_alone_per_study="5"),
        Policy(declared_people=20, epsilon_alone_lifetime="5"),
        Policy(declared_people=20, peers={"south": "ab" * 32}),
        Policy(declared_people=20, population_reached=5000),
        Policy(declared_people=20, population_reached=5000, region="North"),
    ]
    assert len({base.sha256, *(other.sha256 for other in others)}) == len(others) + 1
    assert len(Policy.model_fields) == len(others)


@pytest.mark.usefixtures("with_constants")
def test_stopping_between_people_releases_nothing(agent: Agent, evaluated: Opened[Study]) -> None:
    stop = threading.Event()
    stop.set()
    assert measure(agent, evaluated, stop=stop) is None
    assert agent.ledger.spent() == PrivacyLoss(0)
    known = Outcomes(agent.connection, agent.site_key, evaluated.sha256).known()
    assert len(known) == 5


@pytest.mark.usefixtures("with_constants")
def test_nothing_is_charged_where_the_release_might_not_be_stored(
    agent: Agent, evaluated: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = SimpleNamespace(free=1 << 20)
    with monkeypatch.context() as disk:
        disk.setattr(measuring.shutil, "disk_usage", lambda _: full)
        with pytest.raises(NotReadyError, match="nothing was charged"):
            measure(agent, evaluated)
    assert not agent.ledger.charged(evaluated.sha256)
    assert measure(agent, evaluated)
