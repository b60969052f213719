"""A coordinator that is put back to yesterday, and sites that never answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.attacks.parties import Operator, World

from reidscope_protocols.envelope import peek_payload, sign
from reidscope_protocols.errors import NotReadyError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import Receipt
from reidscope_server.publish import publish
from reidscope_server.studies import SiteStanding
from reidscope_server.verbs import ask

Backup = Callable[[], None]


def backup(operator: Operator, folder: Path) -> Backup:
    """Copy the coordinator's home as a backup would; returns what puts it back."""
    coordinator = operator.coordinator()
    coordinator.studies._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    coordinator.close()
    shutil.copytree(operator.home.root, folder)

    def restore() -> None:
        shutil.rmtree(operator.home.root)
        shutil.copytree(folder, operator.home.root)

    return restore


def standing(world: World, sha256: str, site: str = "north") -> SiteStanding:
    coordinator = world.operator.coordinator()
    study = coordinator.studies.find(sha256)
    rows = {row.site: row for row in coordinator.studies.standings(study)}
    coordinator.close()
    return rows[site]


@pytest.mark.parametrize("when", ["before the study", "before the yes", "before the release"])
def test_a_coordinator_restored_from_yesterday_ends_its_round_with_the_same_bytes(
    world: World, tmp_path: Path, when: str
) -> None:
    copies: dict[str, Backup] = {"before the study": backup(world.operator, tmp_path / "0")}
    study = world.operator.open()
    copies["before the yes"] = backup(world.operator, tmp_path / "1")
    world.north.exchange()
    world.north.index()
    world.north.approve(study.sha256)
    world.north.exchange()
    copies["before the release"] = backup(world.operator, tmp_path / "2")
    world.north.measure(study)
    world.operator.take("north", study.sha256, world.north.answer(study.sha256))
    world.north.exchange()
    first = world.north.answer(study.sha256)
    assert standing(world, study.sha256).released

    copies[when]()
    coordinator = world.operator.coordinator()
    if when == "before the study":
        # The signed file is opened again: the same bytes are the same study.
        opened = coordinator.studies.open(study.envelope, {})
        assert opened.sha256 == study.sha256
    coordinator.studies.set_collecting(study.sha256, collecting=True)
    coordinator.close()
    assert not standing(world, study.sha256).finished
    # The agent hands its decisions over again now and then: the site's people need do nothing.
    world.north.exchange(again=True)
    world.operator.take("north", study.sha256, world.north.answer(study.sha256))
    assert standing(world, study.sha256).released
    assert world.north.answer(study.sha256) == first
    assert world.north.spent() == PrivacyLoss.from_decimal("1")
    world.north.said.clear()
    world.north.exchange()
    assert world.north.said == []
    world.north.agent.check_receipts()


def test_receipts_written_anew_in_another_order_do_not_stop_the_ones_after_them(
    world: World, tmp_path: Path
) -> None:
    restore = backup(world.operator, tmp_path / "backup")
    studies = [world.operator.open(study_id=f"faces-{n}", epsilon="0.5") for n in range(3)]
    world.north.exchange()
    world.north.index()
    for study in studies[:2]:
        world.north.approve(study.sha256)
        world.north.exchange()
        world.north.measure(study)
        world.operator.take("north", study.sha256, world.north.answer(study.sha256))
    world.north.exchange()
    restore()
    coordinator = world.operator.coordinator()
    for study in studies:
        coordinator.studies.open(study.envelope, {})
    coordinator.close()
    world.north.exchange(again=True)
    for study in studies[1::-1]:
        world.operator.take("north", study.sha256, world.north.answer(study.sha256))
    world.north.exchange()
    # The third study's receipt comes after two whose counters the site has seen otherwise.
    world.north.approve(studies[2].sha256)
    world.north.exchange()
    world.north.measure(studies[2])
    world.operator.take("north", studies[2].sha256, world.north.answer(studies[2].sha256))
    world.north.exchange()
    kept = {
        Receipt.parse(peek_payload(envelope)).study_sha256
        for (envelope,) in world.north.agent.connection.execute("SELECT envelope FROM receipt")
    }
    assert kept == {study.sha256 for study in studies}
    assert world.north.spent() == PrivacyLoss.from_decimal("1.5")


def test_a_backup_revives_a_site_that_was_revoked_since(world: World, tmp_path: Path) -> None:
    """The residual: whoever restores a coordinator revokes again (docs/attacks.md)."""
    restore = backup(world.operator, tmp_path / "backup")
    ask(world.operator.home.root, "revoke", {"site": "north"})
    restore()
    coordinator = world.operator.coordinator()
    assert not any(site.revoked for site in coordinator.sites.every())
    coordinator.close()


def test_status_says_at_each_step_what_waits_for_whom(world: World) -> None:
    study = world.operator.open()

    def waits() -> str:
        rows = ask(world.operator.home.root, "status", {"study": study.sha256})["sites"]
        assert {row["site"]: row["waits_for"] for row in rows}["south"] == (
            "the agent: not heard yet"
        )
        return {row["site"]: row["waits_for"] for row in rows}["north"]

    assert waits() == "the agent: not heard yet"
    world.north.exchange()
    world.operator.take("north", study.sha256, world.north.answer(study.sha256))
    assert waits() == "a person: no decision yet"
    world.north.index()
    world.north.approve(study.sha256)
    world.north.exchange()
    assert waits() == "the agent: approved, not released"
    world.north.measure(study)
    envelope = world.north.answer(study.sha256)
    world.operator.take("north", study.sha256, envelope[:-9])
    assert waits() == "people of both: its release was refused"
    world.operator.take("north", study.sha256, envelope)
    assert waits() == ""


def test_a_site_that_never_answers_ends_with_the_studys_hour_and_the_others_count(
    world: World,
) -> None:
    now = datetime.now(UTC)
    study = world.operator.make_study(
        sites=("north", "south"), closes_at=now + timedelta(seconds=1.5)
    )
    key = StatementKey.load(world.operator.home.key("study.pem"))
    coordinator = world.operator.coordinator()
    opened = coordinator.studies.open(sign(study, key), {})
    coordinator.studies.set_collecting(opened.sha256, collecting=True)
    silent = coordinator.studies.standings(opened)[1]
    assert (silent.finished, silent.waits_for) == (False, "the agent: not heard yet")
    while datetime.now(UTC) <= study.closes_at:
        pass
    assert all(row.finished for row in coordinator.studies.standings(opened))
    assert coordinator.studies.collecting() == ()
    coordinator.close()


@pytest.mark.parametrize("minimum", [1, 2])
def test_a_report_is_made_of_the_sites_that_answered_if_they_are_enough(
    world: World, tmp_path: Path, minimum: int
) -> None:
    study = world.approved(minimum_sites=minimum)
    world.north.measure(study)
    world.operator.take("north", study.sha256, world.north.answer(study.sha256))
    coordinator = world.operator.coordinator()
    rows = {row.site: row for row in coordinator.studies.standings(study)}
    assert (rows["north"].waits_for, rows["south"].waits_for) == ("", "the agent: not heard yet")
    if minimum == 1:
        report = publish(coordinator, study.sha256, tmp_path / "report", notices=()).report
        assert [row.site for row in report.sites if row.status == "released"] == ["north"]
        assert {row.site for row in report.sites} == {"north", "south"}
    else:
        with pytest.raises(NotReadyError, match="got 1 releases, expected at least 2"):
            publish(coordinator, study.sha256, tmp_path / "report", notices=())
    coordinator.close()
