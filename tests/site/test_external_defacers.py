"""A program of others is looked at when a study is approved, and by `doctor`."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reidscope_protocols.envelope import Opened, peek_payload
from reidscope_protocols.errors import ConsentMissingError, UnsupportedError
from reidscope_protocols.programs import ProgramSaid
from reidscope_protocols.statements import Decision, Release
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site import measuring, package
from reidscope_site.agent import Agent
from reidscope_site.doctor import examine
from reidscope_site.face.external.program import OWN_DESCRIPTIONS
from reidscope_site.measuring import measure
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.preview import preview
from reidscope_site.snapshot import Person
from reidscope_site.standing import said_of

ROLE = "data protection officer"
ARM = "external-knife"


@pytest.fixture
def knife(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The site's own program of version 1.4.2, and its description."""
    folder = tmp_path / "defacers"
    folder.mkdir()
    program = folder / "knife"
    program.write_text("#!/bin/sh\necho knife 1.4.2\n", encoding="utf-8")
    program.chmod(stat.S_IRWXU)
    (folder / "knife.toml").write_text(
        f'name = "knife"\nintent = "removed"\nexpects = "1.4.2"\noutputs = ["o.nii.gz"]\n'
        f'command = ["{program}", "{{input}}"]\nversion = ["{program}"]\n',
        encoding="utf-8",
    )
    monkeypatch.setenv(OWN_DESCRIPTIONS, str(folder))
    return program


@pytest.fixture
def asked(
    make_home: Any, coordinator: Any, make_study: Callable[..., Study], people: tuple[Person, ...]
) -> tuple[Agent, Opened[Study]]:
    """A site that lets the program be measured, and a study that asks for it."""
    agent = Agent(make_home(arms=("unmodified", ARM), approvals_needed=1))
    agent.snapshot.freeze(people, agent.site_key)
    study = make_study(arms=("unmodified", ARM), epsilon="1")
    return agent, agent.studies.receive(coordinator.sign(study))


def decide(agent: Agent, study: Opened[Study], verdict: Verdict = Verdict.APPROVED) -> bool:
    return agent.decide(study.sha256, verdict, role=ROLE, reason=DecisionReason.REVIEWED)


def required(agent: Agent, study: Opened[Study]) -> None:
    agent.consent.require(study, policy=agent.policy, snapshot_digest=agent.snapshot.digest())


@pytest.mark.usefixtures("knife")
def test_what_is_installed_and_as_described_is_approved_and_named_in_the_release(
    asked: tuple[Agent, Opened[Study]],
    people: tuple[Person, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent, study = asked
    assert decide(agent, study)
    required(agent, study)
    (waiting,) = agent.outbox.waiting("decision")
    bound = Decision.parse(peek_payload(waiting.envelope)).package_sha256
    assert bound != package.sha256()
    outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
    for person in people:
        outcomes.keep(person.pseudonym, Outcome(cells=tuple(0 for _ in study.statement.tables)))
    # everybody is evaluated: no constants are needed any more
    monkeypatch.setattr(measuring, "_task", lambda *_: SimpleNamespace(work=agent.home.work))
    released = measure(agent, study)
    assert released is not None
    for envelope in (released, preview(study, agent.policy, "north")):
        said = Release.parse(peek_payload(envelope)).versions[ARM]
        assert ProgramSaid.read(said) is not None
        assert said.startswith("1.4.2, program ")


def test_a_missing_program_is_refused_at_approval_and_no_can_still_be_said(
    asked: tuple[Agent, Opened[Study]], knife: Path
) -> None:
    agent, study = asked
    knife.unlink()
    with pytest.raises(UnsupportedError, match="external-knife: got a program that is not") as no:
        decide(agent, study)
    assert "\n" not in str(no.value)
    assert str(knife.parent) not in str(no.value)
    assert said_of(agent, study) == "none yet"
    assert agent.outbox.every() == ()
    assert decide(agent, study, Verdict.DECLINED)


def test_another_version_than_the_description_names_is_refused_at_approval(
    asked: tuple[Agent, Opened[Study]], knife: Path
) -> None:
    agent, study = asked
    knife.write_text("#!/bin/sh\necho knife 1.5.0\n", encoding="utf-8")
    with pytest.raises(UnsupportedError, match=r"got version 1\.5\.0, expected version 1\.4\.2"):
        decide(agent, study)


def test_an_approval_ends_when_the_program_is_another(
    asked: tuple[Agent, Opened[Study]], knife: Path
) -> None:
    agent, study = asked
    decide(agent, study)
    required(agent, study)
    with knife.open("a", encoding="utf-8") as script:
        script.write("# sharpened\n")
    with pytest.raises(ConsentMissingError, match="package or of an external defacer"):
        required(agent, study)
    with pytest.raises(ConsentMissingError):
        measure(agent, study)
    knife.unlink()
    with pytest.raises(UnsupportedError, match="not installed"):
        measure(agent, study)


def test_doctor_asks_for_the_programs_of_the_policy(
    asked: tuple[Agent, Opened[Study]], knife: Path
) -> None:
    agent, _ = asked

    def found() -> dict[bool, list[str]]:
        findings = examine(agent.home, offline=True)
        return {fine: [f.what for f in findings if f.fine is fine] for fine in (True, False)}

    assert "external defacers of the policy" in found()[True]
    knife.write_text("#!/bin/sh\necho knife 1.5.0\n", encoding="utf-8")
    assert any("got version 1.5.0" in what for what in found()[False])
    knife.unlink()
    assert any("external-knife: got a program" in what for what in found()[False])


def test_a_study_without_such_arms_asks_for_no_program(
    agent: Agent, approved: Opened[Study]
) -> None:
    required(agent, approved)
    (waiting,) = agent.outbox.waiting("decision")
    assert Decision.parse(peek_payload(waiting.envelope)).package_sha256 == package.sha256()
