"""What is tried and meets no error because it changes nothing: what was said is said again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.attacks.by_coordinator import HASH, receipt_fields, released_and_admitted
from tests.attacks.catalogue import files_of
from tests.attacks.parties import World

from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import LedgerHead, Release
from reidscope_protocols.wire import RELEASE_FRAME, pad

ODD = {
    "nothing": "",
    "a path": "../../keys/site.key",
    "SQL": "' OR '1'='1",
    "a study's short name": "faces-1",
    "a digest of nothing": "0" * 64,
    "a megabyte": "f" * (1 << 20),
    "a zero byte": "\0",
    "a surrogate": "\ud800",
}


@pytest.mark.parametrize("asked", ODD)
def test_a_query_for_no_study_of_ours_gets_one_word_in_one_frame(world: World, asked: str) -> None:
    world.north.measure(world.approved())
    before = list(world.north.agent.connection.iterdump())
    answer = world.north.answer(ODD[asked])
    assert answer == b"Nunknown-study"
    assert len(pad(answer)) == RELEASE_FRAME
    assert list(world.north.agent.connection.iterdump()) == before


def test_a_question_asked_a_hundred_times_gets_the_same_bytes_and_costs_once(world: World) -> None:
    study = world.approved()
    envelope = world.north.measure(study)
    assert {world.north.answer(study.sha256) for _ in range(100)} == {b"R" + (envelope or b"")}
    assert world.north.spent() == PrivacyLoss.from_decimal("1")


def test_a_digest_cut_short_is_no_study(world: World) -> None:
    study = world.approved()
    world.north.measure(study)
    assert world.north.answer(study.sha256[:-1]) == b"Nunknown-study"
    assert world.north.answer(study.sha256.upper()) == b"Nunknown-study"


def test_the_difference_of_two_cohorts_is_paid_for_twice_and_noisy_each_time(world: World) -> None:
    """One person leaves the index between two studies: both tables are charged to one account."""
    first, second = (world.operator.open(study_id=f"faces-{number}") for number in (1, 2))
    world.north.exchange()
    tables = []
    for study, without in ((first, None), (second, 2)):
        world.north.index(world.north.people(without=without))
        world.north.approve(study.sha256)
        envelope = world.north.measure(study)
        tables.append(Release.parse(peek_payload(envelope or b"")).tables[0])
    assert world.north.spent() == PrivacyLoss.from_decimal("2")
    assert {table.mechanism for table in tables} == {"discrete-laplace"}
    assert all(table.epsilon_nano <= 10**9 for table in tables)
    # Exact tables of 5 and 4 people would differ by one person in one cell; noise of scale 1.25 in
    # ten counts leaves both exact less than once in 10^5 runs.
    exact = [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert [list(table.counts) for table in tables] != exact


def test_studies_in_another_order_and_twice_are_kept_once_each(world: World) -> None:
    for number in range(3):
        world.operator.open(study_id=f"faces-{number}")
    world.north.line.bend_studies = lambda held: [*held[::-1], *held]
    for _ in range(2):
        world.north.exchange()
    assert len(world.north.agent.studies.every()) == 3
    assert world.north.said.count("faces-1: study received, waits for a decision") == 1


def test_a_study_among_rubbish_is_found(world: World) -> None:
    study = world.operator.open()
    rubbish = [b"", b"{}", b"\xff" * 99, study.envelope[:-3], b"[" * 5000]
    world.north.line.bend_studies = lambda held: [*rubbish, *held]
    world.north.exchange()
    assert [held.sha256 for held in world.north.agent.studies.every()] == [study.sha256]
    assert all(line.isprintable() for line in world.north.said)


def test_a_receipt_that_is_withheld_or_replayed_changes_nothing(world: World) -> None:
    released_and_admitted(world)
    held: list[bytes] = []

    def withheld(receipts: list[bytes]) -> list[bytes]:
        held[:] = receipts
        return []

    world.north.line.bend_receipts = withheld
    world.north.exchange()
    (receipt,) = held
    for _ in range(3):
        world.north.agent.take_receipt(receipt)
    world.north.agent.check_receipts()
    assert world.north.spent() == PrivacyLoss.from_decimal("1")
    (count,) = world.north.agent.connection.execute("SELECT COUNT(*) FROM receipt").fetchone()
    assert count == 1


def test_a_receipt_that_is_refused_does_not_keep_back_the_next_one(world: World) -> None:
    released_and_admitted(world)
    forged = world.operator.receipt(**receipt_fields(world, site="south"))
    world.north.line.bend_receipts = lambda held: [b"{}", forged, *held]
    world.north.exchange()
    world.north.agent.check_receipts()
    (count,) = world.north.agent.connection.execute("SELECT COUNT(*) FROM receipt").fetchone()
    assert count == 1
    assert sum("receipt refused" in line for line in world.north.said) == 2


def test_a_head_that_was_never_ours_stops_releases_for_good_and_no_later_receipt_helps(
    world: World,
) -> None:
    study = world.approved()
    alien = receipt_fields(world, ledger=LedgerHead(sequence=7, head=HASH))
    own = receipt_fields(world, counter=2)
    world.north.line.bend_receipts = lambda _: [
        world.operator.receipt(**alien),
        world.operator.receipt(**own),
    ]
    world.north.exchange()
    with pytest.raises(Exception, match="without the head"):
        world.north.measure(study)
    assert world.north.spent() == PrivacyLoss(0)


@pytest.mark.parametrize(
    "content", [b"", b"R", b"R{}", b"N", b"N\x1b[2J", b"Nreleased", b"Q", b"\xff" * 60_000]
)
def test_an_answer_that_is_none_is_noted_as_a_word_and_finishes_nobody(
    world: World, content: bytes
) -> None:
    study = world.approved()
    world.operator.take("north", study.sha256, content)
    coordinator = world.operator.coordinator()
    standing = {row.site: row for row in coordinator.studies.standings(study)}["north"]
    coordinator.close()
    assert not standing.finished
    assert standing.waits_for
    assert all(line.isprintable() for line in world.operator.said)
    assert world.operator.rows("release") == 0


def test_a_site_that_says_lost_cannot_take_back_a_release_and_holds_up_nobody(
    world: World,
) -> None:
    released_and_admitted(world)
    coordinator = world.operator.coordinator()
    study = coordinator.studies.find("faces-1")
    coordinator.close()
    for content in (b"Nlost", b"Ndeclined", b"Nunknown-study"):
        world.operator.take("north", study.sha256, content)
    world.operator.take("south", study.sha256, b"Nlost")
    coordinator = world.operator.coordinator()
    standings = coordinator.studies.standings(study)
    coordinator.close()
    assert [(row.released, row.finished) for row in standings] == [(True, True), (False, True)]


def test_nothing_that_is_received_becomes_a_file_outside_the_constants_folder(
    world: World,
) -> None:
    before = set(files_of(world.north))
    study = world.operator.open()
    world.north.line.bend_constant = lambda content: content + b""
    world.north.exchange()
    new = set(files_of(world.north)) - before
    named = {f"constants/{constant.sha256}" for constant in study.statement.constants}
    assert new
    assert new <= named


def test_a_study_cannot_be_made_to_last_longer_than_it_was_signed_for(world: World) -> None:
    now = datetime.now(UTC)
    study = world.approved(closes_at=now + timedelta(seconds=0.4))
    deadline = now + timedelta(seconds=1)
    while datetime.now(UTC) < deadline:
        pass
    assert world.north.agent.ready_to_run() == ()
    coordinator = world.operator.coordinator()
    assert coordinator.studies.collecting() == ()
    standings = coordinator.studies.standings(study)
    coordinator.close()
    assert all(row.finished and not row.released for row in standings)
    assert json.loads(peek_payload(study.envelope))["study_id"] == "faces-1"
