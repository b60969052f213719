"""Groups in a report: estimates, sheet, page, figure and sentence, and all of it verified again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.groups import GroupedBy, Groups
from reidscope_protocols.report import Report
from reidscope_server.report.figures import sketches
from reidscope_server.report.methods import paragraphs
from reidscope_server.report.page import page
from reidscope_server.report.sheets import sheets
from reidscope_server.report.verify import verify_report

Consortium = Any  # the fixture's class, in conftest.py
LATER = datetime(2027, 11, 1, tzinfo=UTC)
BY_SEX = Groups(by=GroupedBy.SEX, values=("F", "M"))


@pytest.fixture(scope="session")
def consortium_of_groups(another: Callable[..., Consortium]) -> Consortium:
    return another(asked={"groups": BY_SEX})


@pytest.fixture(scope="session")
def grouped(consortium_of_groups: Consortium) -> Report:
    report: Report = consortium_of_groups.report()
    return report


def test_each_group_is_reported_with_everything_that_its_cells_say(grouped: Report) -> None:
    said = json.loads(grouped.payload())["by_group"]
    assert [each["group"] for each in said] == ["sex=F", "sex=M", "sex=other"]
    assert {len(each["identification"]) for each in said} == {len(grouped.identification)}
    assert {len(each["comparisons"]) for each in said} == {len(grouped.comparisons)}
    people = sum(each.people.estimate for each in grouped.by_group)
    everybody = sum(sum(counts) for counts in grouped.tables[0].counts.values())
    assert people == everybody


def test_a_report_without_groups_says_nothing_of_any(report: Report) -> None:
    assert report.by_group == ()
    assert "groups" not in sketches(report)
    assert "Group by group" not in page(report)
    assert Report.parse(_without(report, "by_group")).by_group == ()


def _without(report: Report, name: str) -> bytes:
    said = json.loads(report.payload())
    del said[name], said["study"]["cohort"], said["study"]["groups"]
    return json.dumps(said).encode()


def test_the_sheet_holds_every_number_of_every_group(grouped: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(sheets(grouped)["by_group.csv"].decode())))
    assert len(rows) == 3 * (2 + len(grouped.identification) + len(grouped.comparisons))
    first = next(row for row in rows if row["estimate"] == "rate")
    told = grouped.by_group[0].identification[0]
    assert (first["group"], first["arm"], float(first["value"])) == (
        "sex=F",
        "unmodified",
        told.rate,
    )


def test_page_figure_and_paragraph_speak_of_the_groups(grouped: Report) -> None:
    drawn = page(grouped)
    assert "Group by group" in drawn
    assert "over the groups" in drawn
    assert "of 100 people of each group" in drawn
    svg = sketches(grouped)["groups"].svg()
    for label in ("sex=F", "sex=M", "sex=other", "everybody"):
        assert label in svg
    methods, results = paragraphs(grouped)
    assert "kept apart by sex: F, M and other" in methods
    assert "By group" in results


def test_a_group_too_small_for_its_noise_is_said_to_say_nothing(grouped: Report) -> None:
    women, *rest = grouped.by_group
    unknown = women.identification[0].model_copy(update={"rate": 0.5, "low": 0.0, "high": 1.0})
    rows = (unknown, *women.identification[1:])
    few = women.model_copy(update={"identification": rows})
    report = grouped.model_copy(update={"by_group": (few, *rest)})
    assert "F: too few to say anything" in page(report)
    assert "F too few to say" in paragraphs(report)[1]


def test_the_boxes_are_added_over_the_groups(grouped: Report) -> None:
    svg = sketches(grouped)["counts"].svg()
    one = len(grouped.tables[0].cells) // 3
    summed = [sum(column) for column in zip(*grouped.tables[0].counts.values(), strict=True)]
    for label in ("lost", "among 100", "among 1,000"):
        assert label in svg
    for cell in range(one):
        assert str(sum(summed[cell::one])).replace("-", "\N{MINUS SIGN}") in svg


@pytest.mark.slow
def test_verify_computes_every_groups_numbers_again(
    consortium_of_groups: Consortium, grouped: Report, tmp_path: Path
) -> None:
    folder = consortium_of_groups.write(tmp_path / "report", grouped)
    result = verify_report(folder, now=LATER)
    assert result.report == grouped
    assert (result.page, result.figures) == ("same bytes", "same bytes")

    def lie(said: dict[str, Any]) -> None:
        said["by_group"][1]["identification"][0]["rate"] = 0.0001

    consortium_of_groups.forge(folder, lie)
    with pytest.raises(MalformedError):
        verify_report(folder, now=LATER)
