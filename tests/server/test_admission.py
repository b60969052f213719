"""Each thing that a malicious site could send, and the policy that refuses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reidscope_protocols.envelope import Opened, open_envelope, peek_payload, sign_payload
from reidscope_protocols.errors import (
    AdmissionError,
    BadSignatureError,
    ImplausibleError,
    MalformedError,
    ReidscopeError,
    ReplayedError,
    StaleError,
    WrongAudienceError,
)
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.statements import Decision, LedgerHead, Receipt, Release
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole, Verdict
from reidscope_server.admission import WithinItsDates
from reidscope_server.coordinator import Coordinator
from reidscope_server.flower import Reply
from reidscope_server.rounds import one_turn, take

OpenStudy = Callable[..., Opened[Study]]


def opened(coordinator: Coordinator, envelope: bytes) -> Opened[Release]:
    ring = coordinator.sites.ring()
    return open_envelope(envelope, Release, ring, role=KeyRole.SITE, site="north")


def admitted(coordinator: Coordinator, envelope: bytes, site: str = "north") -> bytes | None:
    coordinator.studies.take_release(envelope, site)
    study = json.loads(peek_payload(envelope))["study_sha256"]
    return coordinator.studies.release_of(study, site)


def test_an_honest_release_is_stored_byte_for_byte(
    coordinator: Coordinator, approved: Opened[Study], north: Any
) -> None:
    envelope = north.release(approved)
    assert admitted(coordinator, envelope) == envelope


RELEASES: dict[str, tuple[dict[str, Any], type[ReidscopeError]]] = {
    "another audience": ({"audience": ("world",)}, WrongAudienceError),
    "another site's name": ({"site": "south"}, WrongAudienceError),
    "made before the study": (
        {"issued_at": datetime.now(UTC) - timedelta(hours=3)},
        StaleError,
    ),
    "expired": (
        {
            "not_after": datetime.now(UTC) - timedelta(seconds=5),
            "issued_at": datetime.now(UTC) - timedelta(seconds=9),
        },
        StaleError,
    ),
    "from the future": ({"issued_at": datetime.now(UTC) + timedelta(hours=1)}, StaleError),
    "a cell too few": ({"table": {"counts": (1, 2, 3, 4)}}, MalformedError),
    "a cell too many": ({"table": {"counts": (1, 2, 3, 4, 5, 6)}}, MalformedError),
    "another table": ({"table": {"table": "people"}}, MalformedError),
    "more epsilon": (
        {"table": {"epsilon_nano": 1_000_000_001, "scale": "1.0"}},
        ImplausibleError,
    ),
    "less epsilon, to excuse any count": (
        {"table": {"epsilon_nano": 1, "scale": "1e9", "counts": (10**9, 0, 0, 0, 0)}},
        ImplausibleError,
    ),
    "another scale": ({"table": {"scale": "2.0"}}, ImplausibleError),
    "no scale": ({"table": {"scale": "plenty"}}, ImplausibleError),
    "a scale of nan": ({"table": {"scale": "nan"}}, ImplausibleError),
    "a scale below nothing": ({"table": {"scale": "-1.0"}}, ImplausibleError),
    "a boundless scale": ({"table": {"scale": "inf"}}, ImplausibleError),
    "a million people in a cell": (
        {"table": {"counts": (10**6, 0, 0, 0, 0)}},
        ImplausibleError,
    ),
    "a cell far below nothing": ({"table": {"counts": (-100, 9, 9, 9, 9)}}, ImplausibleError),
    "a site too small for the study": ({"declared_people": 9}, ImplausibleError),
}


@pytest.mark.parametrize("attack", RELEASES)
def test_a_release_that_no_honest_site_sends_is_refused_and_not_stored(
    coordinator: Coordinator, approved: Opened[Study], north: Any, attack: str
) -> None:
    changes, expected = RELEASES[attack]
    envelope = north.release(approved, **changes)
    with pytest.raises(expected) as caught:
        coordinator.studies.take_release(envelope, "north")
    assert ": got " in str(caught.value)
    assert coordinator.studies.release_of(approved.sha256, "north") is None
    assert coordinator.studies.receipts_for("north") == ()


def test_a_release_in_anothers_name_or_by_anothers_key_is_refused(
    coordinator: Coordinator, approved: Opened[Study], north: Any, south: Any
) -> None:
    for envelope, site in (
        (north.release(approved, key=south.key), "north"),
        (north.release(approved, key=StatementKey.generate()), "north"),
        (north.release(approved), "south"),
        (north.release(approved, site="south"), "south"),
    ):
        with pytest.raises(BadSignatureError):
            coordinator.studies.take_release(envelope, site)


def test_a_preview_is_never_admitted(
    coordinator: Coordinator, approved: Opened[Study], north: Any
) -> None:
    with pytest.raises(ImplausibleError):
        coordinator.studies.take_release(
            north.release(approved, table={"scale": "preview: no noise was drawn"}), "north"
        )


def test_a_release_of_an_unknown_study_is_refused(
    coordinator: Coordinator, approved: Opened[Study], north: Any
) -> None:
    with pytest.raises(MalformedError):
        coordinator.studies.take_release(north.release(approved, study_sha256="00" * 32), "north")


def test_a_site_that_the_study_did_not_ask_cannot_release(
    coordinator: Coordinator, open_study: OpenStudy, north: Any
) -> None:
    study = open_study(sites=("south",))
    with pytest.raises(WrongAudienceError):
        coordinator.studies.take_release(north.release(study), "north")


@pytest.mark.parametrize("verdict", [None, Verdict.DECLINED, Verdict.WITHDRAWN])
def test_a_release_without_a_signed_yes_is_refused(
    coordinator: Coordinator, study: Opened[Study], north: Any, verdict: Verdict | None
) -> None:
    if verdict is not None:
        coordinator.studies.take_decision(north.decision(study, verdict), "north")
    with pytest.raises(AdmissionError) as caught:
        coordinator.studies.take_release(north.release(study), "north")
    assert caught.value.exit_code == 70


def test_the_same_bytes_again_are_welcome_and_other_bytes_are_a_replay(
    coordinator: Coordinator, approved: Opened[Study], north: Any
) -> None:
    first = north.release(approved)
    for _ in range(3):
        assert admitted(coordinator, first) == first
    assert len(coordinator.studies.receipts_for("north")) == 1
    with pytest.raises(ReplayedError):
        coordinator.studies.take_release(north.release(approved), "north")
    assert coordinator.studies.release_of(approved.sha256, "north") == first


@pytest.mark.parametrize("made", [timedelta(seconds=-301), timedelta(days=30, seconds=301)])
def test_a_release_made_while_the_study_was_closed_is_stale(
    coordinator: Coordinator, approved: Opened[Study], north: Any, made: timedelta
) -> None:
    asked = approved.statement
    release = opened(coordinator, north.release(approved, issued_at=asked.opens_at + made))
    with pytest.raises(StaleError, match="before the study opened or after it closed"):
        WithinItsDates(asked.closes_at + timedelta(days=1)).check(release, approved)


def test_a_release_that_comes_after_the_studys_end_is_stale(
    coordinator: Coordinator, approved: Opened[Study], north: Any
) -> None:
    """No receipt could be written for it: a receipt ends with its study."""
    release = opened(coordinator, north.release(approved))
    ended = approved.statement.not_after
    WithinItsDates(ended).check(release, approved)
    with pytest.raises(StaleError):
        WithinItsDates(ended + timedelta(seconds=1)).check(release, approved)


def test_receipts_name_the_head_and_their_counter_grows_over_studies(
    coordinator: Coordinator, open_study: OpenStudy, north: Any
) -> None:
    for number in (1, 2, 3):
        study = open_study(study_id=f"faces-{number}")
        coordinator.studies.take_decision(north.decision(study), "north")
        head = LedgerHead(sequence=number, head=f"{number:064x}")
        coordinator.studies.take_release(north.release(study, ledger=head), "north")
    receipts = [
        Receipt.parse(peek_payload(envelope))
        for envelope in coordinator.studies.receipts_for("north")
    ]
    assert [receipt.counter for receipt in receipts] == [1, 2, 3]
    assert [receipt.ledger.sequence for receipt in receipts] == [1, 2, 3]
    assert {receipt.audience for receipt in receipts} == {("north",)}
    assert coordinator.studies.receipts_for("south") == ()
    (latest,) = coordinator.studies.heads(["south", "north"])
    assert (latest.site, latest.ledger.sequence) == ("north", 3)


def test_the_later_decision_wins_and_an_older_one_is_a_replay(
    coordinator: Coordinator, study: Opened[Study], north: Any
) -> None:
    yes = north.decision(study)
    no = north.decision(study, Verdict.DECLINED, later=timedelta(seconds=1))
    older = north.decision(study, Verdict.APPROVED, later=timedelta(seconds=-1))
    for envelope in (yes, no):
        coordinator.studies.take_decision(envelope, "north")
    (standing, _) = coordinator.studies.standings(study)
    assert standing.decision == "declined"
    assert standing.finished
    with pytest.raises(ReplayedError):
        coordinator.studies.take_decision(older, "north")
    assert coordinator.studies.last_decision(study.sha256, "north") == no


def test_a_decision_handed_over_twice_is_harmless_even_after_a_later_one(
    coordinator: Coordinator, study: Opened[Study], north: Any
) -> None:
    yes = north.decision(study)
    no = north.decision(study, Verdict.DECLINED, later=timedelta(seconds=1))
    for envelope in (yes, yes, no, yes):
        coordinator.studies.take_decision(envelope, "north")
    assert coordinator.studies.last_decision(study.sha256, "north") == no


def test_a_nonce_is_used_once(coordinator: Coordinator, study: Opened[Study], north: Any) -> None:
    coordinator.studies.take_decision(north.decision(study, nonce="1" * 32), "north")
    with pytest.raises(ReplayedError):
        coordinator.studies.take_decision(
            north.decision(study, Verdict.DECLINED, nonce="1" * 32, later=timedelta(seconds=1)),
            "north",
        )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"audience": ("world",)}, WrongAudienceError),
        ({"site": "south"}, WrongAudienceError),
        ({"study_sha256": "00" * 32}, MalformedError),
        ({"later": timedelta(hours=1)}, StaleError),
    ],
)
def test_a_decision_that_does_not_fit_is_refused(
    coordinator: Coordinator,
    study: Opened[Study],
    north: Any,
    changes: dict[str, Any],
    expected: type[ReidscopeError],
) -> None:
    with pytest.raises(expected):
        coordinator.studies.take_decision(north.decision(study, **changes), "north")
    assert coordinator.studies.last_decision(study.sha256, "north") is None


def test_a_revoked_sites_word_counts_no_more(
    coordinator: Coordinator, approved: Opened[Study], north: Any
) -> None:
    coordinator.sites.revoke("north")
    for envelope in (north.release(approved), north.decision(approved)):
        with pytest.raises(BadSignatureError):
            coordinator.import_statement(envelope)


def test_an_integer_that_no_float_holds_ends_neither_round_nor_coordinator(
    coordinator: Coordinator, approved: Opened[Study], north: Any
) -> None:
    said = json.loads(peek_payload(north.release(approved)))
    for place, value in (("epsilon_nano", 10**400), ("counts", [10**400, 0, 0, 0, 0])):
        bent = {**said, "tables": [{**said["tables"][0], place: value}]}
        envelope = sign_payload(
            json.dumps(bent).encode(), payload_type=Release.payload_type, key=north.key
        )
        lines: list[str] = []
        reply = Reply(site="north", study_sha256=approved.sha256, content=b"R" + envelope)
        take(coordinator, reply, lines.append)
        assert "refused" in lines[0]
    assert coordinator.studies.release_of(approved.sha256, "north") is None


@pytest.mark.parametrize(
    "content", [b"", b"R", b"Rnoise", b"N", b"Nnoise", b"N\xff\x1b[2J", b"Q", b"\0" * 60]
)
def test_any_reply_is_taken_as_a_release_as_a_known_word_or_as_nothing(
    coordinator: Coordinator, study: Opened[Study], content: bytes
) -> None:
    said: list[str] = []
    reply = Reply(site="north", study_sha256=study.sha256, content=content)
    take(coordinator, reply, said.append)
    (standing, _) = coordinator.studies.standings(study)
    assert standing.word in {"refused", "unknown", "not heard"}
    assert not standing.finished
    assert all(line.isprintable() for line in said)


class Asked:
    """A fleet that notes whom it was told to ask."""

    def __init__(self) -> None:
        self.wanted: list[dict[str, str]] = []

    def ask(self, wanted: dict[str, str]) -> None:
        self.wanted.append(wanted)

    def replies(self) -> tuple[Reply, ...]:
        return ()


def test_an_undecided_study_does_not_hold_up_another_at_the_same_site(
    coordinator: Coordinator, open_study: OpenStudy, north: Any
) -> None:
    assert north.name
    first, second = open_study(study_id="faces-1"), open_study(study_id="faces-2")
    fleet = Asked()
    for each in (first, second):
        coordinator.studies.set_collecting(each.sha256, collecting=True)
    asked = set()
    for second_of_day in range(4):
        one_turn(coordinator, fleet, print)  # type: ignore[arg-type]  # the fleet, in memory
        study = fleet.wanted[-1]["north"]
        asked.add(study)
        coordinator.studies.hear(study, "north", "undecided")
        coordinator.studies._connection.execute(
            "UPDATE standing SET heard_at = ? WHERE study_sha256 = ?",
            (f"2026-01-01T00:00:0{second_of_day}", study),
        )
    assert asked == {first.sha256, second.sha256}


@pytest.mark.parametrize("word", ["lost", "declined"])
def test_a_round_ends_when_every_site_has_answered_for_good(
    coordinator: Coordinator, approved: Opened[Study], north: Any, south: Any, word: str
) -> None:
    fleet = Asked()
    coordinator.studies.set_collecting(approved.sha256, collecting=True)
    one_turn(coordinator, fleet, print)  # type: ignore[arg-type]  # the fleet, in memory
    assert set(fleet.wanted[-1]) == {"north", "south"}
    coordinator.studies.take_release(north.release(approved), "north")
    if word == "lost":
        coordinator.studies.hear(approved.sha256, "south", "lost")
    else:
        decision = south.decision(approved, Verdict.DECLINED)
        assert isinstance(Decision.parse(peek_payload(decision)), Decision)
        coordinator.studies.take_decision(decision, "south")
    one_turn(coordinator, fleet, print)  # type: ignore[arg-type]  # the fleet, in memory
    assert fleet.wanted[-1] == {}
    assert coordinator.studies.collecting() == ()
