"""Defacers of others in the report: which version ran where, and whether it was the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.report import Report
from reidscope_server.report.build import build_report
from reidscope_server.report.methods import paragraphs
from reidscope_server.report.page import page
from reidscope_server.report.verify import verify_report

ARM = "external-knife"
SAID = "1.4.2, program 0123456789abcdef, description fedcba9876543210"


def reported(another: Callable[..., Any], said: dict[str, str]) -> Report:
    """A report on a study with an external arm; `said` by each site."""
    asked = {"arms": ("unmodified", ARM)}
    made = another(asked=asked)
    study = made.study()
    now = study.statement.issued_at + timedelta(days=1)
    versions = {site: {"reidscope": "0.1.0", ARM: word} for site, word in said.items()}
    releases = {
        site: made.release(site, study, versions={k: v for k, v in named.items() if v})
        for site, named in versions.items()
    }
    return build_report(study, releases, {}, made.records, (), now)


def test_every_sites_program_stands_in_the_report_and_in_the_methods(
    another: Callable[..., Any],
) -> None:
    report = reported(another, {"east": SAID, "north": SAID})
    assert [(row.arm, row.site, str(row.said)) for row in report.programs] == [
        (ARM, "east", SAID),
        (ARM, "north", SAID),
    ]
    methods, _ = paragraphs(report)
    assert f"{ARM} was a program of the sites' own: version 1.4.2 at east and north." in methods
    shown = page(report)
    assert "1.4.2" in shown
    assert "The same at all sites." in shown


@pytest.mark.parametrize(
    "other",
    [
        SAID.replace("1.4.2", "1.5.0"),
        SAID.replace("0123456789abcdef", "1123456789abcdef"),
        SAID.replace("fedc", "aedc"),
        "",
        "<script>1</script>",
        "1.4.2 of Mrs. Jones, program 0123456789abcdef, description fedcba9876543210",
    ],
)
def test_sites_that_ran_something_else_are_pointed_at_and_nothing_odd_is_repeated(
    another: Callable[..., Any], other: str
) -> None:
    report = reported(another, {"east": SAID, "north": other})
    shown = page(report)
    assert f"Not the same at all sites: {ARM}." in shown
    said = shown + json.dumps([row.model_dump() for row in report.programs])
    assert "Jones" not in said
    assert "<script>1" not in said


def test_a_report_without_such_arms_says_nothing_of_them(report: Report) -> None:
    assert report.programs == ()
    assert "Defacers of others" not in page(report)
    # reports of before have no such field
    older = report.model_dump(mode="json", by_alias=True)
    del older["programs"]
    assert Report.parse(json.dumps(older).encode()) == report


def test_a_coordinator_who_changes_a_version_is_caught(
    another: Callable[..., Any], tmp_path: Path
) -> None:
    made = another(asked={"arms": ("unmodified", ARM)})
    report = reported(another, {"east": SAID, "north": SAID})
    folder = made.write(tmp_path / "report", report)
    later = report.issued_at + timedelta(days=1)
    verify_report(folder, now=later)

    def lie(said: dict[str, Any]) -> None:
        said["programs"][0]["said"]["version"] = "9.9"

    made.forge(folder, lie)
    with pytest.raises(MalformedError, match="programs"):
        verify_report(folder, now=later)
