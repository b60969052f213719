"""Who may decide: accounts that the kernel vouches for, two people where the policy says so."""

from __future__ import annotations

import grp
import os
import pwd
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reidscope_protocols.envelope import Opened, peek_payload
from reidscope_protocols.errors import ConsentMissingError, PolicyRefusalError
from reidscope_protocols.statements import Decision
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site.agent import Agent
from reidscope_site.config import Policy
from reidscope_site.journal import Event
from reidscope_site.roles import Caller, Voice, check_role
from reidscope_site.snapshot import Person
from reidscope_site.standing import said_of
from reidscope_site.verbs import carry_out

DPO, HEAD = "data protection officer", "head of radiology"
ALICE, BOB, MALLORY = (Caller(uid=uid, gid=uid) for uid in (4_100_001, 4_100_002, 4_100_003))
ROLES = {DPO: ("uid:4100001", "uid:4100002"), HEAD: ("gid:4100002",)}
MakeStudy = Callable[..., Study]


@pytest.fixture
def asked(
    make_home: Any, coordinator: Any, make_study: MakeStudy, people: tuple[Person, ...]
) -> Any:
    """A site whose policy names accounts, and a study that waits for a decision."""

    def build(**policy: Any) -> tuple[Agent, Opened[Study]]:
        agent = Agent(make_home(**{"roles": ROLES, **policy}))
        agent.snapshot.freeze(people, agent.site_key)
        return agent, agent.studies.receive(coordinator.sign(make_study()))

    return build


def decide(
    agent: Agent,
    study: Opened[Study],
    caller: Caller,
    role: str = DPO,
    verdict: Verdict = Verdict.APPROVED,
) -> bool:
    return agent.decide(
        study.sha256, verdict, role=role, reason=DecisionReason.REVIEWED, caller=caller
    )


def required(agent: Agent, study: Opened[Study]) -> None:
    agent.consent.require(study, policy=agent.policy, snapshot_digest=agent.snapshot.digest())


def test_an_account_that_the_policy_names_decides_and_the_decision_names_its_role_alone(
    asked: Any,
) -> None:
    agent, study = asked()
    assert decide(agent, study, ALICE)
    required(agent, study)
    (waiting,) = agent.outbox.waiting("decision")
    assert Decision.parse(peek_payload(waiting.envelope)).role == DPO
    assert b"4100001" not in waiting.envelope
    assert b"4100001" not in peek_payload(waiting.envelope)


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize(
    ("caller", "role"),
    [(MALLORY, DPO), (ALICE, HEAD), (Caller(uid=0, gid=0), DPO), (ALICE, "janitor")],
)
def test_nobody_else_decides_not_even_root(
    asked: Any, caller: Caller, role: str, verdict: Verdict
) -> None:
    agent, study = asked()
    with pytest.raises(PolicyRefusalError, match="role: got"):
        decide(agent, study, caller, role, verdict)
    assert agent.consent.verdict(study.sha256) is None
    assert agent.outbox.every() == ()


def test_the_agents_own_account_is_nobody_even_where_the_policy_names_it(asked: Any) -> None:
    own = Caller.of_this_process()
    agent, study = asked(roles={DPO: (f"uid:{own.uid}", f"gid:{own.gid}")})
    with pytest.raises(PolicyRefusalError, match="the agent's own account"):
        decide(agent, study, own)
    with pytest.raises(PolicyRefusalError, match="the agent's own account"):
        agent.adopt(DPO)


def test_a_list_of_roles_is_read_as_before_whoever_holds_the_home_speaks_for_each(
    asked: Any,
) -> None:
    agent, study = asked(roles=(DPO, HEAD))
    with pytest.raises(PolicyRefusalError):
        decide(agent, study, ALICE)
    assert decide(agent, study, Caller.of_this_process(), HEAD)


def test_two_people_are_two_accounts_and_the_first_yes_is_told_to_nobody(asked: Any) -> None:
    agent, study = asked(approvals_needed=2)
    assert not decide(agent, study, ALICE)
    assert agent.outbox.every() == ()
    assert said_of(agent, study) == "one of two approved"
    with pytest.raises(ConsentMissingError):
        required(agent, study)
    assert not decide(agent, study, ALICE)
    assert decide(agent, study, BOB, HEAD)
    required(agent, study)
    assert said_of(agent, study) == "approved"
    (waiting,) = agent.outbox.waiting("decision")
    assert Decision.parse(peek_payload(waiting.envelope)).role == f"{DPO} and {HEAD}"
    assert [entry.event for entry in agent.journal.entries()][-1] == Event.APPROVED


def test_two_accounts_in_one_role_are_two_people_of_that_role(asked: Any) -> None:
    agent, study = asked(approvals_needed=2)
    assert not decide(agent, study, BOB)
    assert decide(agent, study, ALICE)
    (waiting,) = agent.outbox.waiting("decision")
    assert Decision.parse(peek_payload(waiting.envelope)).role == DPO


def test_one_account_with_two_roles_is_one_person(asked: Any) -> None:
    agent, study = asked(approvals_needed=2)
    assert not decide(agent, study, BOB, DPO)
    assert not decide(agent, study, BOB, HEAD)


def test_one_no_is_enough_and_takes_the_first_yes_away(asked: Any) -> None:
    agent, study = asked(approvals_needed=2)
    assert not decide(agent, study, ALICE)
    assert decide(agent, study, BOB, HEAD, Verdict.DECLINED)
    assert not decide(agent, study, BOB, HEAD)


@pytest.mark.parametrize("change", ["index", "policy"])
def test_the_second_yes_is_to_the_very_same_index_and_policy(
    asked: Any, people: tuple[Person, ...], change: str
) -> None:
    agent, study = asked(approvals_needed=2)
    assert not decide(agent, study, ALICE)
    if change == "index":
        agent.snapshot.freeze(people[1:], agent.site_key)
    else:
        text = agent.home.policy_file.read_text()
        agent.home.policy_file.write_text(text.replace('"4"', '"3"'))
    assert not decide(agent, study, BOB)
    assert decide(agent, study, ALICE)


def later(days: float) -> type[datetime]:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=days)

    return Later


def test_an_approval_expires_and_is_given_anew(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, study = asked(approval_days=3)
    assert decide(agent, study, ALICE)
    monkeypatch.setattr("reidscope_site.consent.datetime", later(2.9))
    required(agent, study)
    monkeypatch.setattr("reidscope_site.consent.datetime", later(3.1))
    with pytest.raises(ConsentMissingError, match="expired after 3 days"):
        required(agent, study)
    assert decide(agent, study, BOB)
    required(agent, study)


def test_the_first_of_two_approvals_expires_too(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, study = asked(approvals_needed=2, approval_days=3)
    assert not decide(agent, study, ALICE)
    monkeypatch.setattr("reidscope_site.consent.datetime", later(3.1))
    assert not decide(agent, study, BOB)
    assert decide(agent, study, ALICE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"approvals_needed": 2},
        {"approvals_needed": 3, "roles": ROLES},
        {"approvals_needed": 0},
        {"approval_days": 0},
        {"roles": {DPO: ("4100001",)}},
        {"roles": {DPO: ("uid:-1",)}},
        {"roles": {DPO: ("user:",)}},
        {"roles": {DPO: ("user:a b",)}},
        {"roles": {"x" * 151: ("uid:1",)}},
        {"signing_keys": {"nobody": ("ssh-ed25519 " + "A" * 68,)}},
        {"signing_keys": {DPO: ()}},
        {"signing_keys": {DPO: ("ssh-ed25519 " + "A" * 68 + "\n* ssh-ed25519 BBBB",)}},
    ],
)
def test_a_policy_that_cannot_tell_people_apart_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Policy(**{"declared_people": 20, **wrong})


def test_users_and_groups_are_looked_up_and_unknown_ones_are_nobody() -> None:
    me = pwd.getpwuid(os.getuid())
    caller = Caller(uid=me.pw_uid, gid=me.pw_gid)
    group = grp.getgrgid(me.pw_gid).gr_name
    assert caller.holds(f"user:{me.pw_name}")
    assert caller.holds(f"group:{group}")
    assert caller.holds(f"gid:{me.pw_gid}")
    assert not MALLORY.holds(f"user:{me.pw_name}")
    assert not MALLORY.holds(f"group:{group}")
    for account in ("user:nobody-of-that-name", "group:none-of-that-name", "uid:4100009"):
        assert not caller.holds(account)


VOICES = st.builds(
    Voice,
    role=st.sampled_from([DPO, HEAD]),
    uid=st.sampled_from([os.geteuid(), 4_100_001, 4_100_002]),
    signer=st.sampled_from(["", "key a", "key b"]),
)


@given(one=VOICES, other=VOICES)
def test_two_voices_are_two_people_only_if_nothing_says_that_they_could_be_one(
    one: Voice, other: Voice
) -> None:
    two = one.is_somebody_else_than(other)
    assert two == other.is_somebody_else_than(one)
    assert not one.is_somebody_else_than(one)
    if two:
        assert bool(one.signer) == bool(other.signer)
        assert one.uid != other.uid or one.signer != other.signer
        assert not one.signer or one.signer != other.signer


@given(uid=st.integers(min_value=0, max_value=2**31))
def test_whoever_is_not_named_speaks_for_nobody(uid: int) -> None:
    policy = Policy(declared_people=20, roles=ROLES)
    caller = Caller(uid=uid, gid=uid)
    named = uid in {4_100_001, 4_100_002} and uid != os.geteuid()
    assert bool(caller.roles(policy)) == named
    if not named:
        for role in ROLES:
            with pytest.raises(PolicyRefusalError):
                check_role(policy, role, caller)


@pytest.mark.parametrize("verb", ["index", "export", "import", "nonsense"])
def test_what_uses_the_agents_own_rights_is_not_done_for_others(asked: Any, verb: str) -> None:
    agent, _ = asked()
    with pytest.raises(PolicyRefusalError, match="agent's own"):
        carry_out(agent, verb, {"out": "/tmp", "file": "/etc/passwd"}, ALICE)  # noqa: S108  # never opened


@pytest.mark.parametrize("verb", ["studies", "ledger", "journal", "status"])
def test_people_with_a_role_may_look_and_others_may_not(asked: Any, verb: str) -> None:
    agent, _ = asked()
    assert carry_out(agent, verb, {}, ALICE)
    with pytest.raises(PolicyRefusalError):
        carry_out(agent, verb, {}, MALLORY)


def test_stopped_by_hand_is_stopped_until_a_role_resumes(asked: Any) -> None:
    agent, study = asked()
    carry_out(agent, "hold", {}, ALICE)
    assert carry_out(agent, "status", {})["stopped_by_hand"]
    with pytest.raises(PolicyRefusalError, match="stopped by hand"):
        decide(agent, study, ALICE)
    assert decide(agent, study, ALICE, verdict=Verdict.DECLINED)
    with pytest.raises(PolicyRefusalError):
        carry_out(agent, "resume", {"role": DPO})
    carry_out(agent, "resume", {"role": HEAD}, BOB)
    assert decide(agent, study, ALICE)


def test_show_says_whose_yes_is_needed_how_long_it_holds_and_when_the_agent_works(
    asked: Any,
) -> None:
    agent, study = asked(
        approvals_needed=2,
        approval_days=7,
        hours=("20:00-06:00",),
        signing_keys={HEAD: ("ssh-ed25519 " + "A" * 68,)},
    )
    lines = carry_out(agent, "show", {"study": study.sha256}, ALICE)["lines"]
    text = "\n".join(lines)
    for said in ("two people", DPO, HEAD, "7 days", "20:00-06:00", "signature"):
        assert said in text
    assert all(line.isprintable() for line in lines)
    assert "4100001" not in text


def test_two_people_at_the_same_moment_make_one_decision(asked: Any) -> None:
    agent, study = asked(approvals_needed=2)
    stands: list[bool] = []
    together = threading.Barrier(2)

    def approve(caller: Caller) -> None:
        own = Agent(agent.home)
        together.wait()
        stands.append(decide(own, study, caller))
        own.close()

    threads = [threading.Thread(target=approve, args=(caller,)) for caller in (ALICE, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stands) == [False, True]
    assert len(agent.outbox.every()) == 1
    required(agent, study)
