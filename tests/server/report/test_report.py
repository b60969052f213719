"""A report is built, written as JSON and CSV, and drawn as one page."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.cells import JointCells
from reidscope_protocols.envelope import peek_payload, sign
from reidscope_protocols.errors import InvariantError, NotReadyError
from reidscope_protocols.report import Report
from reidscope_protocols.side_tables import DAMAGE_CLASSES, SERIOUS_DAMAGE
from reidscope_protocols.vocabulary import Verdict
from reidscope_server.report.build import build_report
from reidscope_server.report.page import page, points, suspicion
from reidscope_server.report.sheets import sheets
from reidscope_server.report.write import write_report

Consortium = Any  # the fixture's class, in conftest.py
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CELLS = JointCells(anchors=(100, 1000), defacers=("blur", "quickshear"))
SITES = ("east", "north", "west")
NOTICE = "one account holds every role here"
HOSTILE = '<script src="//x">alert(1)</script> & "quotes" {{ 7*7 }} $x$'


class Resources(HTMLParser):
    """Everything on a page that a browser might fetch, and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}:
                self.fetched.append(value or "")


def test_report_json_has_the_keys_that_checks_rely_on(folder: Path) -> None:
    said = json.loads((folder / "report.json").read_bytes())
    assert said["schema"] == "reidscope.report/2"
    assert said["study"].keys() >= {"id", "title", "sha256"}
    assert said["sites"][0].keys() >= {"site", "status", "subjects", "epsilon"}
    assert said["sites"][0]["subjects"].keys() == {"estimate", "low", "high"}
    table = said["tables"][0]
    assert table.keys() >= {"table", "cells", "counts", "epsilon"}
    assert table["cells"] == list(CELLS.labels)
    assert table["counts"].keys() == set(SITES)
    assert all(isinstance(count, int) for row in table["counts"].values() for count in row)
    interval = {"experiment", "low", "high"}
    assert said["identification"][0].keys() >= interval | {"arm", "attacker", "gallery_size"}
    assert said["identification"][0].keys() >= {"rank", "rate", "basis"}
    assert said["acquired"][0].keys() >= interval | {"rate"}
    assert said["comparisons"][0].keys() >= interval | {"arm", "against", "gallery_size"}
    assert said["comparisons"][0]["attacker"] == "calibrated"
    assert [row["arm"] for row in said["failed_gates"]] == list(CELLS.defacers)
    assert said["study"].keys() >= {"mate", "direction", "scan_rule", "failed_gate", "renders"}
    assert (said["study"]["recogniser"], said["study"]["chance_percent"]) == ("sface", 1.0)
    assert "difference" in said["comparisons"][0]
    assert said["privacy"] == said["privacy"] | {
        "mechanism": "discrete Laplace (OpenDP)",
        "unit": "person",
        "neighbouring": "add or remove one person",
        "mode": "local",
        "epsilon_total": 2.0,
    }


def test_every_site_stands_in_the_report_with_what_it_did(consortium: Consortium) -> None:
    study = consortium.study()
    built = build_report(
        study,
        {site: consortium.release(site, study) for site in SITES},
        {
            "east": consortium.decision("east", study, Verdict.APPROVED),
            "west": consortium.decision("west", study, Verdict.WITHDRAWN),
        },
        consortium.records,
        (),
        NOW,
    )
    status = {site.site: (site.status, site.epsilon) for site in built.sites}
    assert status == {
        "east": ("released", 2.0),
        "north": ("released", 2.0),
        "west": ("declined", 0.0),
        "silent": ("silent", 0.0),
    }
    assert built.tables[0].counts.keys() == {"east", "north"}


def test_below_the_studys_minimum_of_sites_there_is_no_report(consortium: Consortium) -> None:
    study = consortium.study()
    only = {"east": consortium.release("east", study)}
    with pytest.raises(NotReadyError, match="1 releases, expected at least 2"):
        build_report(study, only, {}, consortium.records, (), NOW)


def test_a_report_survives_its_own_json(report: Report) -> None:
    assert Report.parse(report.payload()) == report


def test_report_json_is_exactly_what_was_signed(folder: Path) -> None:
    signed = (folder / "report.dsse.json").read_bytes()
    assert (folder / "report.json").read_bytes() == peek_payload(signed)


def test_the_folder_is_whole_and_readable_by_all(whole: Path) -> None:
    files = {str(path.relative_to(whole)): path for path in whole.rglob("*") if path.is_file()}
    assert set(files) == {
        "report.json",
        "report.dsse.json",
        "index.html",
        "methods.txt",
        "ro-crate-metadata.json",
        "identification.csv",
        "after_any.csv",
        "by_group.csv",
        "by_site.csv",
        "comparisons.csv",
        "failed_gates.csv",
        "damage.csv",
        "catchment.csv",
        "risks.csv",
        "over_sites.csv",
        "robust.csv",
        "oddities.csv",
        "influence.csv",
        "tables.csv",
        "sites.csv",
        *(
            f"figures/{name}.{kind}"
            for name in ("rates", "effects", "risk", "gates", "forest", "counts")
            for kind in ("svg", "png")
        ),
    }
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o644}


def test_another_reports_envelope_is_not_written(
    tmp_path: Path, consortium: Consortium, report: Report
) -> None:
    other = report.model_copy(update={"notices": ()})
    with pytest.raises(InvariantError):
        write_report(tmp_path, report, sign(other, consortium.keys["coordinator"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["identification", "comparisons", "by_site", "failed_gates"])
def test_a_sheet_says_what_the_json_says(folder: Path, name: str) -> None:
    said = json.loads((folder / "report.json").read_bytes())[name]
    rows = list(csv.DictReader(io.StringIO((folder / f"{name}.csv").read_text())))
    assert rows == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in said
    ]


def test_damage_has_a_sheet_of_its_own_with_the_serious_share_last(
    another: Callable[..., Consortium],
) -> None:
    report = another(asked={"damage_arms": ("blur",)}).report()
    rows = list(csv.DictReader(io.StringIO(sheets(report)["damage.csv"].decode())))
    assert [(row["arm"], row["brain_lost"]) for row in rows] == [
        ("blur", lost) for lost in (*DAMAGE_CLASSES, SERIOUS_DAMAGE)
    ]
    assert [float(row["rate"]) for row in rows] == [row.rate for row in report.damage]


def test_the_tables_sheet_holds_every_noisy_count(folder: Path) -> None:
    tables = json.loads((folder / "report.json").read_bytes())["tables"]
    assert [table["table"] for table in tables] == ["face-joint", "face-gates"]
    rows = csv.DictReader(io.StringIO((folder / "tables.csv").read_text()))
    found = {(row["table"], row["site"], row["cell"]): int(row["noisy_count"]) for row in rows}
    assert found == {
        (table["table"], site, cell): count
        for table in tables
        for site, counts in table["counts"].items()
        for cell, count in zip(table["cells"], counts, strict=True)
    }


def test_the_page_asks_the_network_for_nothing(folder: Path) -> None:
    text = (folder / "index.html").read_text()
    resources = Resources(text)
    assert resources.fetched
    assert all(target.startswith("#") for target in resources.fetched)
    assert not re.search(r"https?:|@import|//[a-z]", text)
    assert not re.search(r"url\((?!#)", text)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(resources.tags)
    assert "default-src 'none'" in text


def test_the_page_has_its_figures_inside_each_with_a_text_for_those_who_cannot_see(
    folder: Path,
) -> None:
    text = (folder / "index.html").read_text()
    assert Resources(text).tags.count("svg") >= 3
    assert text.count('role="img" aria-label="') == text.count("<svg")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    assert used <= set(ids)


def test_synthetic_people_and_notices_stand_across_the_head(report: Report) -> None:
    head = page(report).split("<header>")[0]
    assert "Synthetic people" in head
    assert NOTICE in head
    real = report.model_copy(
        update={"notices": (), "study": report.study.model_copy(update={"population": "patients"})}
    )
    assert "ynthetic people" not in page(real).split("<header>")[0].split("</title>")[1]


def test_hostile_titles_and_notices_are_text(another: Callable[..., Consortium]) -> None:
    hostile = another(title=HOSTILE).report()
    text = page(hostile.model_copy(update={"notices": (HOSTILE,)}))
    assert "script" not in Resources(text).tags
    assert "&lt;script" in text
    assert "{{ 7*7 }}" in text


def test_one_report_has_one_page(report: Report) -> None:
    assert page(report) == page(Report.parse(report.payload()))


def test_the_page_shows_every_rate_of_the_report(report: Report) -> None:
    text = page(report)
    for row in report.identification:
        assert f"{100 * row.rate:.1f}%" in text
        assert f"{100 * row.low:.1f} to {100 * row.high:.1f}%" in text


def test_epsilon_in_words_is_the_bound_on_what_a_reader_may_believe() -> None:
    assert suspicion(0.5, 7.389056).after == pytest.approx(0.8808, abs=1e-4)
    assert suspicion(0.01, 1.0).after == pytest.approx(0.01)
    assert (points(-0.504), points(0.001), points(0.012, 1)) == ("\N{MINUS SIGN}50", "0", "+1.2")


def test_a_study_without_defacers_has_a_page_too(another: Callable[..., Consortium]) -> None:
    text = page(another(asked={"arms": ("unmodified",)}).report())
    assert text.count("<svg") == 3
    for absent in ("What each defacer changes", "Risk against damage", "gates"):
        assert absent not in text.split("</style>")[1].split("Check it yourself")[0]


def test_sheets_are_a_function_of_the_report(report: Report) -> None:
    assert sheets(report) == sheets(Report.parse(report.payload()))
