"""What a page says beyond pooled rates: places, risks by name, sites as a sample, odd releases."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.envelope import open_envelope, sign
from reidscope_protocols.errors import MalformedError
from reidscope_protocols.keys import KeyRing
from reidscope_protocols.reach import Reach, SiteCatchment
from reidscope_protocols.report import Report
from reidscope_protocols.statements import Catchment
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.publish import headlines
from reidscope_server.report.beyond import UNDETECTABLE, narrowing
from reidscope_server.report.build import build_report
from reidscope_server.report.page import page
from reidscope_server.report.readings import estimable
from reidscope_server.report.sheets import sheets
from reidscope_server.report.verify import verify_report

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SITES = ("east", "north", "west")


def built(consortium: Any, *, share: float | None = 0.25, **changed: Any) -> Report:
    """North reaches 1,000 people, east 500 of the same region, west a million."""
    reached = {
        "east": Catchment(population_reached=500, region="Île-de-France"),
        "north": Catchment(population_reached=1000, region="Île-de-France"),
        "west": Catchment(population_reached=1_000_000, region="Bretagne"),
    }
    study = consortium.study()
    return build_report(
        study,
        {
            site: consortium.release(site, study, catchment=reached[site], **changed)
            for site in SITES
        },
        {},
        consortium.records,
        (),
        NOW + timedelta(days=1),
        enrolled_share=share,
    )


@pytest.fixture(scope="module")
def placed(consortium: Any) -> Report:
    return built(consortium)


def test_every_place_is_read_from_the_pooled_curve(placed: Report) -> None:
    measured = {(row.arm, row.gallery_size): row for row in placed.identification}
    rows = {(row.place, row.arm): row for row in placed.catchment}
    assert rows["north", "unmodified"].basis == "measured"
    assert rows["north", "unmodified"].at_most == measured["unmodified", 1000].rate
    assert rows["east", "unmodified"].basis == "between anchors"
    assert rows["Île-de-France", "unmodified"].people == 1500
    assert rows["all sites", "unmodified"].people == 1_001_500
    assert rows["west", "blur"].basis == "beyond the anchors"
    assert (rows["west", "blur"].at_least, rows["west", "blur"].low) == (0, 0)
    assert placed.sites[0].catchment == Catchment(population_reached=500, region="Île-de-France")


def test_what_a_study_states_of_a_silent_site_stands_in_for_it(consortium: Any) -> None:
    study = consortium.study()
    stated = study.statement.model_copy(
        update={"reach": Reach(sites=(SiteCatchment(site="west", population_reached=77),))}
    )
    signed = sign(stated, consortium.keys["study"])
    ring = KeyRing(consortium.records)
    asked = open_envelope(signed, Study, ring, role=KeyRole.STUDY)
    report = build_report(
        asked,
        {site: consortium.release(site, asked) for site in SITES},
        {},
        consortium.records,
        (),
        NOW + timedelta(days=1),
    )
    assert Report.parse(report.payload()) == report
    assert {(row.place, row.people) for row in report.catchment} == {("west", 77)}


def test_the_page_says_of_whom_it_speaks_and_that_narrowing_helps(placed: Report) -> None:
    shown = " ".join(page(placed).split())
    assert "in galleries of N people drawn like the reference (synthetic adults)" in shown
    assert "Knowing where a scan comes from raises the attacker&#39;s success" in shown or (
        "Knowing where a scan comes from raises the attacker's success" in shown
    )
    assert "known to come from east could be of 500 people" in narrowing(placed)
    assert "one of unknown origin could be of 1,001,500" in narrowing(placed)
    assert "site north" in shown
    assert "region Bretagne" in shown


def test_both_poolings_are_labelled_and_undetectable_lies_are_admitted(placed: Report) -> None:
    shown = page(placed)
    for words in ("these sites, pooled", "sites like these", "without the furthest site"):
        assert words in shown
    assert UNDETECTABLE.split(":")[0] in shown
    (row,) = [r for r in placed.over_sites if (r.arm, r.gallery_size) == ("unmodified", 100)]
    assert row.sites == 3
    assert row.low <= row.rate <= row.high


def test_a_report_without_catchments_or_a_stated_share_says_what_is_missing(
    consortium: Any,
) -> None:
    plain = consortium.report()
    shown = page(plain)
    assert plain.catchment == ()
    assert "Where a scan comes from" not in shown
    assert "multiply by it" in shown
    assert narrowing(plain) == ""


def test_the_sheets_hold_every_row(placed: Report) -> None:
    made = sheets(placed)
    for name, rows in (
        ("catchment.csv", placed.catchment),
        ("risks.csv", placed.risks),
        ("over_sites.csv", placed.over_sites),
        ("robust.csv", placed.robust),
        ("oddities.csv", placed.oddities),
        ("influence.csv", placed.influence),
    ):
        assert len(list(csv.DictReader(io.StringIO(made[name].decode())))) == len(rows)
    first = next(csv.DictReader(io.StringIO(made["risks.csv"].decode())))
    assert (first["risk"], first["enrolled_share"]) == ("prosecutor", "1.0")


@pytest.fixture(scope="module")
def odd(consortium: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A written report, some of whose sites declared far fewer people than they count."""
    report = built(consortium, declared_people=5)
    assert report.oddities
    folder: Path = consortium.write(tmp_path_factory.mktemp("odd"), report)
    return folder


def test_everything_new_is_computed_again_and_drawn_again(odd: Path) -> None:
    assert (odd / "figures" / "places.svg").exists()
    assert verify_report(odd, now=NOW + timedelta(days=2)).page == "same bytes"


Change = Callable[[dict[str, Any]], None]


def _raise_share(said: dict[str, Any]) -> None:
    said["enrolled_share"] = 0.5


def _widen(said: dict[str, Any]) -> None:
    said["over_sites"][0]["low"] = 0.0


def _trust(said: dict[str, Any]) -> None:
    said["robust"][0]["withstands"] = 3


def _narrow(said: dict[str, Any]) -> None:
    said["catchment"][0]["people"] = 7


def _hush(said: dict[str, Any]) -> None:
    said["oddities"] = said["oddities"][1:]


def _rename(said: dict[str, Any]) -> None:
    said["risks"][0]["risk"] = "marketer"


@pytest.mark.parametrize("change", [_raise_share, _widen, _trust, _narrow, _hush, _rename])
def test_a_coordinator_that_changes_one_of_them_is_caught(
    consortium: Any, odd: Path, tmp_path: Path, change: Change
) -> None:
    said = shutil.copytree(odd, tmp_path / "report", ignore=shutil.ignore_patterns("figures"))
    consortium.forge(said, change)
    with pytest.raises(MalformedError):
        verify_report(said, now=NOW + timedelta(days=2))


def test_where_noise_leaves_nothing_no_point_is_shown(consortium: Any) -> None:
    consortium = type(consortium)(epsilon_nano=20_000_000)
    study = consortium.study()
    empty = consortium.release("east", study)
    tables = tuple(
        table.model_copy(update={"counts": tuple(-1 for _ in table.counts)})
        for table in empty.statement.tables
    )
    report = build_report(
        study,
        {site: consortium.release(site, study, tables=tables) for site in SITES},
        {},
        consortium.records,
        (),
        NOW + timedelta(days=1),
    )
    assert not any(estimable(row) for row in (*report.identification, *report.by_site))
    assert all((row.rate, row.low, row.high) == (0.5, 0, 1) for row in report.identification)
    shown = page(report).split("</style>")[1]
    assert "an unknown number of people" in shown
    assert ">50%<" not in shown
    assert all("not estimable" in line for line in headlines(report))
