"""The site follows the coordinator's keys where the pinned key signs, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reidscope_protocols.enrolment import certificate_sha256
from reidscope_protocols.envelope import peek_payload, sign
from reidscope_protocols.errors import (
    BadSignatureError,
    MalformedError,
    PolicyRefusalError,
    ReidscopeError,
    ReplayedError,
    StaleError,
    WrongAudienceError,
)
from reidscope_protocols.key_change import KeyChange, RootChange, sign_change
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.statements import WORLD, LedgerHead
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, KeyRole, Verdict
from reidscope_site.agent import Agent
from reidscope_site.pinned import PinnedCoordinator
from reidscope_site.portable import import_file

ROLE = "data protection officer"


def change(
    old: StatementKey, new: StatementKey, role: KeyRole = KeyRole.STUDY, **changes: Any
) -> bytes:
    said = {
        "role": role,
        "site": None,
        "audience": (WORLD,),
        "now": datetime.now(UTC),
        "lasts": timedelta(days=730),
    }
    return sign_change(old, new, **{**said, **changes})


def root(name: str = "another CA") -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def root_change(key: StatementKey, pinned: PinnedCoordinator, **changes: Any) -> bytes:
    now = datetime.now(UTC)
    fields = {
        "audience": (WORLD,),
        "issued_at": now,
        "not_after": now + timedelta(days=730),
        "old_ca_sha256": pinned.ca_sha256,
        "new_ca_pem": root(),
        "overlap_ends": now + timedelta(days=30),
    }
    return sign(RootChange(**{**fields, **changes}), key)


def test_a_study_of_either_key_is_received_and_an_approval_goes_on(
    agent: Agent, coordinator: Any, make_study: Callable[..., Study], people: Any
) -> None:
    agent.snapshot.freeze(people, agent.site_key)
    first = agent.studies.receive(coordinator.sign(make_study()))
    agent.decide(first.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)
    old, new = coordinator.study_key, StatementKey.generate()
    assert agent.follow(change(old, new))
    agent.studies.receive(sign(make_study(study_id="by-the-old"), old))
    agent.studies.receive(sign(make_study(study_id="by-the-new"), new))
    agent.consent.require(first, policy=agent.policy, snapshot_digest=agent.snapshot.digest())
    agent.check_policy(first)
    assert len(agent.studies.every()) == 3
    assert "coordinator key new" in [e.event for e in agent.journal.entries()]


def test_after_the_overlap_nothing_new_by_the_old_key_is_believed(
    agent: Agent, coordinator: Any, make_study: Callable[..., Study]
) -> None:
    agent.follow(change(coordinator.study_key, StatementKey.generate()))
    after = datetime.now(UTC) + timedelta(days=31)
    late = make_study(
        study_id="late", issued_at=after, opens_at=after, closes_at=after + timedelta(days=1),
        not_after=after + timedelta(days=2),
    )  # fmt: skip
    with pytest.raises(BadSignatureError, match="at that time"):
        agent.studies.receive(sign(late, coordinator.study_key))


def test_a_stolen_study_key_brings_nothing_new_whatever_date_it_writes(
    agent: Agent, coordinator: Any, make_study: Callable[..., Study]
) -> None:
    known = coordinator.sign(make_study())
    agent.studies.receive(known)
    stolen = coordinator.study_key
    agent.follow(change(stolen, StatementKey.generate(), at_once=True))
    agent.studies.receive(known)
    with pytest.raises(BadSignatureError, match="has ended"):
        agent.studies.receive(sign(make_study(study_id="backdated"), stolen))
    assert [study.statement.study_id for study in agent.studies.every()] == ["faces-1"]


def test_a_stolen_coordinator_key_writes_no_receipt_and_no_root(
    agent: Agent, coordinator: Any
) -> None:
    head = LedgerHead(sequence=0, head="0" * 64)
    stolen = coordinator.own_key
    agent.follow(change(stolen, StatementKey.generate(), KeyRole.COORDINATOR, at_once=True))
    with pytest.raises(BadSignatureError):
        agent.take_receipt(
            coordinator.receipt("ab" * 32, head, issued_at=datetime.now(UTC) - timedelta(hours=1))
        )
    backdated = datetime.now(UTC) - timedelta(hours=1)
    with pytest.raises(BadSignatureError):
        agent.follow(root_change(stolen, agent.pinned, issued_at=backdated))


def test_the_same_change_again_changes_nothing(agent: Agent, coordinator: Any) -> None:
    said = change(coordinator.study_key, StatementKey.generate())
    assert agent.follow(said)
    before = agent.home.coordinator_file.read_bytes()
    assert not agent.follow(said)
    assert agent.home.coordinator_file.read_bytes() == before


def test_keys_follow_one_another_in_their_order_alone(agent: Agent, coordinator: Any) -> None:
    second, third = StatementKey.generate(), StatementKey.generate()
    onward = change(second, third)
    with pytest.raises(BadSignatureError):
        agent.follow(onward)
    agent.follow(change(coordinator.study_key, second))
    assert agent.follow(onward)
    assert [record.public for record in agent.pinned.keys if record.role is KeyRole.STUDY] == [
        coordinator.study_key.public, second.public, third.public,
    ]  # fmt: skip


@dataclass
class Hands:
    """What whoever forges a change may have."""

    c: Any
    new: StatementKey
    agent: Agent


Forge = Callable[[Hands], bytes]
ATTACKS: dict[str, tuple[Forge, type[ReidscopeError]]] = {
    "by a key that nobody pinned": (
        lambda h: change(StatementKey.generate(), h.new),
        BadSignatureError,
    ),
    "by the new key alone": (lambda h: change(h.new, h.new), BadSignatureError),
    "of the study key by the coordinator's": (
        lambda h: change(h.c.own_key, h.new),
        BadSignatureError,
    ),
    "of the coordinator's key by the study key": (
        lambda h: change(h.c.study_key, h.new, KeyRole.COORDINATOR),
        BadSignatureError,
    ),
    "of which the new key knows nothing": (
        lambda h: sign(
            KeyChange.parse(
                peek_payload(change(h.c.study_key, StatementKey.generate()))
            ).model_copy(update={"new_key": h.new.public}),
            h.c.study_key,
        ),
        BadSignatureError,
    ),
    "a site's": (
        lambda h: change(h.agent.statement_key, h.new, KeyRole.SITE, site="north"),
        MalformedError,
    ),
    "for another reader": (
        lambda h: change(h.c.study_key, h.new, audience=("coordinator",)),
        WrongAudienceError,
    ),
    "expired": (
        lambda h: change(
            h.c.study_key,
            h.new,
            now=datetime.now(UTC) - timedelta(hours=3),
            lasts=timedelta(hours=1),
        ),
        StaleError,
    ),
    "a root by the study key": (
        lambda h: root_change(h.c.study_key, h.agent.pinned),
        BadSignatureError,
    ),
    "a root by nobody": (
        lambda h: root_change(h.new, h.agent.pinned),
        BadSignatureError,
    ),
    "a root after another one than the pinned": (
        lambda h: root_change(h.c.own_key, h.agent.pinned, old_ca_sha256="ab" * 32),
        WrongAudienceError,
    ),
    "a root for another reader": (
        lambda h: root_change(h.c.own_key, h.agent.pinned, audience=("south",)),
        WrongAudienceError,
    ),
    "a root from hours ahead": (
        lambda h: root_change(
            h.c.own_key, h.agent.pinned, issued_at=datetime.now(UTC) + timedelta(hours=3)
        ),
        StaleError,
    ),
    "a root that is no certificate": (
        lambda h: root_change(h.c.own_key, h.agent.pinned, new_ca_pem="x" * 60),
        MalformedError,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_change_that_the_pinned_key_did_not_sign_is_refused_and_the_pin_stays(
    name: str, agent: Agent, coordinator: Any
) -> None:
    forge, error = ATTACKS[name]
    before = agent.home.coordinator_file.read_bytes()
    with pytest.raises(error) as caught:
        agent.follow(forge(Hands(coordinator, StatementKey.generate(), agent)))
    assert str(caught.value).isprintable()
    assert agent.home.coordinator_file.read_bytes() == before


def test_a_key_hands_over_once_though_it_still_speaks(agent: Agent, coordinator: Any) -> None:
    agent.follow(change(coordinator.study_key, StatementKey.generate()))
    with pytest.raises(ReplayedError, match="handed over before"):
        agent.follow(change(coordinator.study_key, StatementKey.generate()))


def test_two_roots_are_trusted_until_the_window_ends(agent: Agent, coordinator: Any) -> None:
    first, new = agent.pinned, root()
    agent.follow(root_change(coordinator.own_key, first, new_ca_pem=new))
    assert agent.pinned.roots_pem == first.ca_pem + new
    assert agent.pinned.newest_root_pem == new
    with pytest.raises(WrongAudienceError):
        agent.follow(root_change(coordinator.own_key, first))
    settled = agent.pinned.settled(datetime.now(UTC) + timedelta(days=31))
    assert settled.roots_pem == new
    assert settled.ca_sha256 == certificate_sha256(new)
    assert first.ca_sha256 in settled.lineage


def test_a_root_without_a_window_is_trusted_alone_at_once(agent: Agent, coordinator: Any) -> None:
    now, new = datetime.now(UTC), root()
    agent.follow(
        root_change(coordinator.own_key, agent.pinned, issued_at=now, overlap_ends=now,
                    new_ca_pem=new)
    )  # fmt: skip
    assert agent.pinned.roots_pem == new


def test_a_policy_that_lists_the_old_root_or_key_goes_on_with_what_followed_it(
    make_home: Callable[..., Any], coordinator: Any, make_study: Callable[..., Study]
) -> None:
    listed = coordinator.study_key.public
    agent = Agent(make_home("listed", coordinators=(listed,)))
    new = StatementKey.generate()
    stranger = agent.studies.receive(coordinator.sign(make_study()))
    agent.check_policy(stranger)
    agent.follow(change(coordinator.study_key, new))
    agent.check_policy(agent.studies.receive(sign(make_study(study_id="next"), new)))
    agent.close()
    other = Agent(make_home("other", coordinators=("cd" * 32,)))
    other.follow(change(coordinator.study_key, new))
    with pytest.raises(PolicyRefusalError, match="coordinator"):
        other.check_policy(other.studies.receive(sign(make_study(study_id="next"), new)))
    other.close()


def test_a_change_comes_as_a_file_too(agent: Agent, coordinator: Any, tmp_path: Any) -> None:
    path = tmp_path / "0-change-1.dsse.json"
    path.write_bytes(change(coordinator.study_key, StatementKey.generate()))
    assert import_file(agent, path).kind == "change"
    assert import_file(agent, path).kind == "known change"
