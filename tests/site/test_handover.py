"""What leaves a site: stored bytes, constant words, and nothing that depends on data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.envelope import Opened, open_envelope, peek_payload, peek_type
from reidscope_protocols.errors import (
    BadSignatureError,
    ConstantMismatchError,
    DeclinedCallError,
    InputError,
    LedgerError,
    MalformedError,
    NotReadyError,
    PolicyRefusalError,
    ReidscopeError,
    UnreachableError,
    WrongAudienceError,
)
from reidscope_protocols.keys import KeyRing, StatementKey
from reidscope_protocols.statements import LedgerHead, Release
from reidscope_protocols.study import Constant, SiteHead, Study
from reidscope_protocols.vocabulary import ConstantRole, DecisionReason, KeyRole, Verdict
from reidscope_protocols.wire import RELEASE_FRAME, pad
from reidscope_site.agent import Agent
from reidscope_site.handover import Word, answer_for
from reidscope_site.journal import Event
from reidscope_site.outcomes import Outcomes
from reidscope_site.plainwords import explain
from reidscope_site.portable import export_statements, import_file
from reidscope_site.preview import preview
from reidscope_site.release import release
from reidscope_site.serve import exchange
from reidscope_site.snapshot import Person
from reidscope_site.studies import check_policy

ROLE = "data protection officer"
MakeStudy = Callable[..., Study]


def released(agent: Agent, study: Opened[Study]) -> bytes:
    envelope = release(
        study,
        Outcomes(agent.connection, agent.site_key, study.sha256),
        ledger=agent.ledger,
        policy=agent.policy,
        site="north",
        key=agent.statement_key,
        versions={"reidscope": "test"},
    )
    agent.outbox.add("release", study.sha256, envelope)
    return envelope


def test_the_words_are_the_five_that_the_coordinator_knows() -> None:
    assert {word.value for word in Word} == {
        *("unknown-study", "undecided", "declined", "working", "lost")
    }


def test_each_word_follows_from_what_people_decided_and_from_the_clock(
    agent: Agent, evaluated: Opened[Study], coordinator: Any, make_study: MakeStudy
) -> None:
    other = agent.studies.receive(coordinator.sign(make_study(study_id="faces-2")))
    assert answer_for(agent, "00" * 32) == b"Nunknown-study"
    assert answer_for(agent, "") == b"Nunknown-study"
    assert answer_for(agent, other.sha256) == b"Nundecided"
    agent.decide(other.sha256, Verdict.DECLINED, role=ROLE, reason=DecisionReason.ETHICS)
    assert answer_for(agent, other.sha256) == b"Ndeclined"
    assert answer_for(agent, evaluated.sha256) == b"Nworking"
    agent.ledger.charge(evaluated.sha256, "face-joint", evaluated.statement.loss, agent.policy)
    assert answer_for(agent, evaluated.sha256) == b"Nworking"
    agent.connection.execute("UPDATE ledger SET written_at = '2020-01-01T00:00:00+00:00'")
    assert answer_for(agent, evaluated.sha256) == b"Nlost"


def test_every_answer_fills_one_frame(agent: Agent, evaluated: Opened[Study]) -> None:
    framed = {len(pad(answer_for(agent, "00" * 32)))}
    envelope = released(agent, evaluated)
    framed.add(len(pad(answer_for(agent, evaluated.sha256))))
    assert framed == {RELEASE_FRAME}
    assert len(envelope) < RELEASE_FRAME


def test_the_widest_table_of_the_schema_fits_into_a_frame(
    agent: Agent, coordinator: Any, make_study: MakeStudy
) -> None:
    study = coordinator.opened(make_study(arms=("unmodified", *"abcdefgh"), epsilon="0.01"))
    assert len(pad(b"R" + released(agent, study))) == RELEASE_FRAME


def test_what_is_exported_is_what_the_wire_would_carry_and_nothing_else(
    agent: Agent, evaluated: Opened[Study], tmp_path: Path
) -> None:
    envelope = released(agent, evaluated)
    written = export_statements(agent, tmp_path / "out")
    assert [path.read_bytes() for path in written] == [
        item.envelope for item in agent.outbox.every()
    ]
    assert written[-1].read_bytes() == envelope
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in written
    )


def test_a_folder_that_cannot_be_written_is_an_input_error(
    agent: Agent, evaluated: Opened[Study], tmp_path: Path
) -> None:
    assert evaluated
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        export_statements(agent, tmp_path / "file")


def test_a_study_its_constants_and_a_receipt_come_in_as_files(
    agent: Agent, coordinator: Any, make_study: MakeStudy, tmp_path: Path
) -> None:
    contents = {role: f'{{"role": "{role}"}}'.encode() for role in ConstantRole}
    made = {
        role: Constant(
            role=role, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
        )
        for role, content in contents.items()
    }
    # The networks are the study's declared ones: the installation brings them along.
    constants = tuple(
        constant
        if constant.role in {ConstantRole.DETECTOR, ConstantRole.RECOGNISER}
        else made[constant.role]
        for constant in make_study().constants
    )
    study = coordinator.sign(make_study(constants=constants))
    gallery = tmp_path / "gallery"
    gallery.write_bytes(contents[ConstantRole.REFERENCE_GALLERY])
    with pytest.raises(ConstantMismatchError, match="no statement and no study's constant"):
        import_file(agent, gallery)
    (tmp_path / "study").write_bytes(study)
    assert import_file(agent, tmp_path / "study").kind == "study"
    assert import_file(agent, gallery).kind == "constant reference-gallery"
    (held,) = agent.studies.every()
    assert held.envelope == study
    assert (
        agent.constants.read(made[ConstantRole.REFERENCE_GALLERY])
        == contents[ConstantRole.REFERENCE_GALLERY]
    )
    receipt = coordinator.receipt(held.sha256, LedgerHead(sequence=0, head="0" * 64))
    (tmp_path / "receipt").write_bytes(receipt)
    with pytest.raises(LedgerError):
        import_file(agent, tmp_path / "receipt")


@pytest.mark.parametrize("content", [b"", b"\0" * 99, b"{}", b"[1, 2]", bytes(17 << 20), None])
def test_what_is_nothing_known_is_not_taken_in(
    agent: Agent, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "SECRET-name"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError if content is None else ConstantMismatchError) as caught:
        import_file(agent, path)
    assert "SECRET" not in str(caught.value)
    assert list(agent.home.constants.iterdir()) == []


def test_a_receipt_is_kept_if_its_counter_grows_and_its_head_is_ours(
    agent: Agent, evaluated: Opened[Study], coordinator: Any
) -> None:
    envelope = released(agent, evaluated)
    head = Release.parse(peek_payload(envelope)).ledger
    first = coordinator.receipt(evaluated.sha256, head)
    agent.take_receipt(first)
    agent.take_receipt(first)
    agent.check_receipts()
    with pytest.raises(MalformedError, match="does not grow"):
        agent.take_receipt(coordinator.receipt("ab" * 32, head, counter=1))
    with pytest.raises(WrongAudienceError):
        agent.take_receipt(coordinator.receipt(evaluated.sha256, head, audience=("south",)))
    coordinator.own_key = StatementKey.generate()
    with pytest.raises(BadSignatureError):
        agent.take_receipt(coordinator.receipt(evaluated.sha256, head))
    agent.check_receipts()


def test_a_study_that_names_a_head_which_the_ledger_lacks_is_not_approved(
    agent: Agent, coordinator: Any, make_study: MakeStudy
) -> None:
    lost = SiteHead(site="north", ledger=LedgerHead(sequence=2, head="ab" * 32))
    study = coordinator.opened(make_study(ledger_heads=(lost,)))
    agent.studies.receive(coordinator.sign(study.statement))
    with pytest.raises(LedgerError, match="without the head"):
        agent.decide(
            study.sha256,
            Verdict.APPROVED,
            role="data protection officer",
            reason=DecisionReason.REVIEWED,
        )
    other = SiteHead(site="south", ledger=lost.ledger)
    agent.check_heads(coordinator.opened(make_study(ledger_heads=(other,))).statement)


def test_a_study_of_people_is_not_approved_without_a_witness(
    agent: Agent, coordinator: Any, make_study: MakeStudy
) -> None:
    study = coordinator.opened(make_study(population="volunteers")).statement
    with pytest.raises(PolicyRefusalError, match="without a witness"):
        check_policy(study, agent.policy, agent.ledger)


def test_nobody_answers_before_the_studys_own_hour(
    agent: Agent, coordinator: Any, make_study: MakeStudy, people: tuple[Person, ...]
) -> None:
    later = datetime.now(UTC) + timedelta(hours=3)
    study = coordinator.opened(make_study(answers_from=later))
    agent.studies.receive(coordinator.sign(study.statement))
    assert answer_for(agent, study.sha256) == b"Nundecided"
    agent.snapshot.freeze(people, agent.site_key)
    agent.decide(
        study.sha256,
        Verdict.APPROVED,
        role="data protection officer",
        reason=DecisionReason.REVIEWED,
    )
    assert answer_for(agent, study.sha256) == b"Nworking"
    agent.ledger.charge(study.sha256, "face-joint", study.statement.loss, agent.policy)
    agent.ledger.store(study.sha256, "face-joint", b"the envelope")
    assert answer_for(agent, study.sha256) == b"Nworking"
    assert any(
        "answers from" in line for line in explain(study, agent.policy, study.statement.loss)
    )


def test_after_the_studys_hour_the_answer_is_what_was_stored(
    agent: Agent, coordinator: Any, make_study: MakeStudy
) -> None:
    opened = datetime.now(UTC) - timedelta(minutes=1)
    study = coordinator.opened(
        make_study(issued_at=opened, opens_at=opened, answers_from=opened + timedelta(seconds=1))
    )
    agent.studies.receive(coordinator.sign(study.statement))
    agent.ledger.charge(study.sha256, "face-joint", study.statement.loss, agent.policy)
    agent.ledger.store(study.sha256, "face-joint", b"the envelope")
    assert answer_for(agent, study.sha256) == b"Rthe envelope"


def test_plain_words_say_everything_that_the_study_binds(
    agent: Agent, coordinator: Any, make_study: MakeStudy
) -> None:
    study = coordinator.opened(make_study(epsilon="2", arms=("unmodified", "blur", "quickshear")))
    lines = list(explain(study, agent.policy, agent.ledger.spent()))
    text = "\n".join(lines)
    assert all(line.isprintable() for line in lines)
    assert all(cell in text for cell in study.statement.joint_table.cells)
    for said in (
        study.sha256,
        study.signer.public,
        "factor of 7.4",
        "of 4",
        "100,000",
        "quickshear",
    ):
        assert said in text
    assert study.statement.five_safes.outputs in text


@pytest.mark.parametrize("epsilon", ["0.000001", "709", "1000"])
def test_plain_words_can_be_said_of_any_epsilon(
    agent: Agent, coordinator: Any, make_study: MakeStudy, epsilon: str
) -> None:
    study = coordinator.opened(make_study(epsilon=epsilon))
    assert list(explain(study, agent.policy, agent.ledger.spent()))


def test_a_preview_has_the_shape_of_a_release_and_nobody_admits_it(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    made_up = preview(evaluated, agent.policy, "north")
    assert peek_type(made_up) == Release.payload_type
    shown, real = (
        json.loads(peek_payload(envelope)) for envelope in (made_up, released(agent, evaluated))
    )
    assert shown.keys() == real.keys()
    assert shown["tables"][0].keys() == real["tables"][0].keys()
    assert len(shown["tables"][0]["counts"]) == len(real["tables"][0]["counts"])
    assert set(shown["tables"][0]["counts"]) == {20 // 5}
    with pytest.raises(ReidscopeError):
        open_envelope(made_up, Release, KeyRing(()), role=KeyRole.SITE, site="north")


def test_a_preview_reads_no_data_draws_no_noise_and_charges_nothing(
    agent: Agent, evaluated: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(agent.connection.iterdump())
    monkeypatch.setattr("reidscope_site.release.noisy_counter", pytest.fail)
    monkeypatch.setattr(Outcomes, "all", pytest.fail)
    preview(evaluated, agent.policy, "north")
    assert list(agent.connection.iterdump()) == before


class Line:
    """A coordinator at the other end of an open channel."""

    def __init__(self, studies: list[bytes], refuses: bool = False) -> None:  # noqa: FBT001, FBT002  # one switch of a stand-in for the other party
        self._studies, self._refuses = studies, refuses
        self.decisions: list[bytes] = []
        self.down = False

    def decide(self, envelope: bytes) -> None:
        if self.down:
            raise UnreachableError("decision", got="a", expected="b", do="c")
        if self._refuses:
            raise DeclinedCallError("decision", got="a", expected="b", do="c")
        self.decisions.append(envelope)

    def studies(self) -> tuple[bytes, ...]:
        return tuple(self._studies)

    def receipts(self) -> tuple[bytes, ...]:
        return ()

    def constant(self, constant: Constant) -> bytes:
        raise AssertionError(constant.role)


@pytest.mark.usefixtures("everything_installed")
def test_a_decision_that_the_coordinator_refuses_does_not_block_the_rest(
    agent: Agent, approved: Opened[Study], coordinator: Any, make_study: MakeStudy
) -> None:
    assert approved
    line = Line([coordinator.sign(make_study(study_id="faces-2"))], refuses=True)
    said: list[str] = []
    exchange(agent, line, said.append)  # type: ignore[arg-type]  # the other party, in memory
    assert len(agent.studies.every()) == 2
    assert agent.outbox.waiting("decision") == ()
    assert any("decision" in line for line in said)


@pytest.mark.usefixtures("everything_installed")
def test_a_decision_waits_while_nobody_answers(agent: Agent, approved: Opened[Study]) -> None:
    assert approved
    line = Line([])
    line.down = True
    with pytest.raises(UnreachableError):
        exchange(agent, line, print)  # type: ignore[arg-type]  # the other party, in memory
    (waiting,) = agent.outbox.waiting("decision")
    line.down = False
    for _ in range(2):
        exchange(agent, line, print)  # type: ignore[arg-type]  # the other party, in memory
    assert line.decisions == [waiting.envelope]


@pytest.mark.usefixtures("everything_installed")
def test_a_study_that_is_refused_does_not_hide_the_next_one(
    agent: Agent, coordinator: Any, make_study: MakeStudy
) -> None:
    good = coordinator.sign(make_study())
    past = datetime.now(UTC) - timedelta(days=50)
    ended = make_study(
        issued_at=past, opens_at=past, closes_at=past + timedelta(1), not_after=past + timedelta(2)
    )
    said: list[str] = []
    exchange(agent, Line([b"{}", coordinator.sign(ended), good]), said.append)  # type: ignore[arg-type]  # the other party, in memory
    assert [study.envelope for study in agent.studies.every()] == [good]
    assert sum("refused" in line for line in said) == 2


def test_a_study_whose_constants_cannot_be_had_keeps_back_neither_studies_nor_receipts(
    agent: Agent, coordinator: Any, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (make_study(study_id=name) for name in ("faces-1", "faces-2"))
    line = Line([coordinator.sign(first), coordinator.sign(second)])
    asked: list[str] = []

    def nothing(constant: Constant) -> bytes:
        asked.append(constant.role)
        raise NotReadyError("constant", got="a", expected="b", do="c")

    def receipts() -> tuple[bytes, ...]:
        asked.append("receipts")
        return ()

    monkeypatch.setattr(line, "constant", nothing)
    monkeypatch.setattr(line, "receipts", receipts)
    monkeypatch.setattr(agent.constants, "missing", lambda study: study.constants[:1])
    said: list[str] = []
    exchange(agent, line, said.append)  # type: ignore[arg-type]  # the other party, in memory
    assert len(agent.studies.every()) == 2
    assert asked == [first.constants[0].role, second.constants[0].role, "receipts"]
    assert sum("expected b" in line for line in said) == 2


@pytest.fixture
def everything_installed(monkeypatch: pytest.MonkeyPatch, agent: Agent) -> None:
    monkeypatch.setattr(agent.constants, "missing", lambda _: ())


def test_the_journal_can_say_constant_words_alone(agent: Agent) -> None:
    for event in Event:
        agent.journal.write(event, "ab" * 32)
    assert [entry.event for entry in agent.journal.entries()] == [event.value for event in Event]
    assert all(event.value.replace(" ", "").isalpha() for event in Event)
