"""A person's OpenSSH signature over a decision: one key, one text, one use."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import (
    BadSignatureError,
    PolicyRefusalError,
    UnsupportedError,
)
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site.agent import Agent
from reidscope_site.roles import Caller
from reidscope_site.snapshot import Person

DPO, HEAD = "data protection officer", "head of radiology"
pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH here")


class Key:
    """A person's key pair."""

    def __init__(self, folder: Path, kind: str = "ed25519") -> None:
        folder.mkdir()
        self.file = folder / "key"
        keygen("-t", kind, "-N", "", "-C", "alice@hospital", "-f", self.file)
        self.public = " ".join((folder / "key.pub").read_text().split()[:2])

    def sign(self, text: str, namespace: str = "reidscope") -> str:
        message = self.file.with_name("text")
        message.write_text(text)
        message.with_name("text.sig").unlink(missing_ok=True)
        keygen("-Y", "sign", "-f", self.file, "-n", namespace, message)
        return message.with_name("text.sig").read_text()


def keygen(*words: object) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, capture_output=True)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Key, Key]:
    return Key(tmp_path / "alice"), Key(tmp_path / "bob", "ecdsa")


@pytest.fixture
def asked(
    make_home: Any,
    coordinator: Any,
    make_study: Callable[..., Study],
    people: tuple[Person, ...],
    keys: tuple[Key, Key],
) -> Any:
    alice, bob = keys

    def build(**policy: Any) -> tuple[Agent, Opened[Study]]:
        signing = {DPO: (alice.public,), HEAD: (bob.public, alice.public)}
        given = {"roles": (DPO, HEAD), "signing_keys": signing, **policy}
        agent = Agent(make_home(**given))
        agent.snapshot.freeze(people, agent.site_key)
        return agent, agent.studies.receive(coordinator.sign(make_study()))

    return build


def decide(
    agent: Agent,
    study: Opened[Study],
    signature: str,
    role: str = DPO,
    verdict: Verdict = Verdict.APPROVED,
) -> bool:
    return agent.decide(
        study.sha256,
        verdict,
        role=role,
        reason=DecisionReason.REVIEWED,
        caller=Caller.of_this_process(),
        signature=signature,
    )


def test_a_signature_over_the_text_decides_and_a_used_one_never_again(
    asked: Any, keys: tuple[Key, Key]
) -> None:
    agent, study = asked()
    alice, _ = keys
    approval = alice.sign(agent.text_to_sign(study.sha256, Verdict.APPROVED, DPO))
    assert decide(agent, study, approval)
    withdrawal = alice.sign(agent.text_to_sign(study.sha256, Verdict.WITHDRAWN, DPO))
    assert decide(agent, study, withdrawal, verdict=Verdict.WITHDRAWN)
    for old in (approval, withdrawal):
        with pytest.raises(BadSignatureError):
            decide(agent, study, old)
    assert agent.consent.verdict(study.sha256) is Verdict.WITHDRAWN


def test_another_key_text_namespace_role_or_no_signature_decides_nothing(
    asked: Any, keys: tuple[Key, Key]
) -> None:
    agent, study = asked()
    alice, bob = keys
    text = agent.text_to_sign(study.sha256, Verdict.APPROVED, DPO)
    wrong = [
        bob.sign(text),
        alice.sign(text + "\n"),
        alice.sign(text, namespace="git"),
        alice.sign(agent.text_to_sign(study.sha256, Verdict.DECLINED, DPO)),
        alice.sign(agent.text_to_sign(study.sha256, Verdict.APPROVED, HEAD)),
        alice.sign(text)[:-60],
        "-----BEGIN SSH SIGNATURE-----\n",
        "x" * 100_000,
    ]
    for signature in wrong:
        with pytest.raises(BadSignatureError) as caught:
            decide(agent, study, signature)
        assert "alice" not in str(caught.value)
    with pytest.raises(PolicyRefusalError, match="signature: got none"):
        decide(agent, study, "")
    assert agent.outbox.every() == ()


def test_two_signers_carried_in_by_one_account_are_two_people_and_one_signer_is_one(
    asked: Any, keys: tuple[Key, Key]
) -> None:
    agent, study = asked(approvals_needed=2)
    alice, bob = keys
    texts = {role: agent.text_to_sign(study.sha256, Verdict.APPROVED, role) for role in (DPO, HEAD)}
    assert not decide(agent, study, alice.sign(texts[DPO]))
    assert not decide(agent, study, alice.sign(texts[HEAD]), HEAD)
    assert decide(agent, study, bob.sign(texts[HEAD]), HEAD)


def test_where_roles_are_accounts_a_signature_lets_the_agents_account_carry_a_decision_in(
    asked: Any, keys: tuple[Key, Key]
) -> None:
    agent, study = asked(roles={DPO: ("uid:4100001",), HEAD: ("uid:4100002",)})
    alice, _ = keys
    assert decide(agent, study, alice.sign(agent.text_to_sign(study.sha256, Verdict.APPROVED, DPO)))


def test_a_signature_for_a_role_without_keys_is_refused(asked: Any, keys: tuple[Key, Key]) -> None:
    agent, study = asked(signing_keys={})
    text = agent.text_to_sign(study.sha256, Verdict.APPROVED, DPO)
    with pytest.raises(PolicyRefusalError, match="does not name"):
        decide(agent, study, keys[0].sign(text))


def test_a_machine_without_ssh_keygen_says_so(
    asked: Any, keys: tuple[Key, Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, study = asked()
    signature = keys[0].sign(agent.text_to_sign(study.sha256, Verdict.APPROVED, DPO))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnsupportedError, match="openssh-client"):
        decide(agent, study, signature)
