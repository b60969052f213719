"""Methods for a paper and the RO-Crate: what they say follows from the report and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.report import DEFAULT_LICENCE, Report
from reidscope_protocols.vocabulary import Attacker, Direction, Mate, ScanRule
from reidscope_server.coordinator import Coordinator
from reidscope_server.publish import publish
from reidscope_server.report.crate import crate
from reidscope_server.report.methods import methods_text, paragraphs

Consortium = Any  # the fixture's class, in conftest.py


def test_both_paragraphs_hold_every_number_that_a_paper_needs(
    another: Callable[..., Consortium],
) -> None:
    both = (Attacker.CALIBRATED, Attacker.REPAIRING)
    report = another(asked={"attackers": both, "damage_arms": ("blur",)}).report()
    methods, results = paragraphs(report)
    serious = [row for row in report.damage if row.brain_lost == "1% or more"]
    for row in (*report.identification, *report.failed_gates, *report.acquired, *serious):
        interval = f"{100 * row.low:.1f} to {100 * row.high:.1f}%"
        assert f"{100 * row.rate:.1f}% (95% interval {interval})" in results
    for compared in report.comparisons:
        said = f"{100 * compared.difference:+.1f}".replace("-", "\N{MINUS SIGN}")
        assert said in results
    for table in report.tables:
        assert f"{table.table} ({len(table.cells)} counts, epsilon {table.epsilon:g})" in methods
    assert f"epsilon {report.privacy.epsilon_total:g} a person" in methods
    assert report.study_sha256[:12] in methods
    assert "one subtracted them too and filled" in methods


def test_results_on_synthetic_people_say_so(
    another: Callable[..., Consortium], report: Report
) -> None:
    assert paragraphs(report)[1].startswith("The people are synthetic")
    real = another(population="patients").report()
    assert "synthetic" not in paragraphs(real)[1]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mate": Mate.SECOND_SCAN}, "searched among named second scans"),
        (
            {"direction": Direction.POPULATION_TO_SAMPLE},
            "made the gallery in which the person's named photo was searched",
        ),
        (
            {"scan_rule": ScanRule.MOST_EXPOSED, "scan_cap": 4},
            "From each of a person's first 4 scans by date",
        ),
        ({"attackers": (Attacker.RAW,)}, "The attacker compared embeddings as they were (raw)"),
        ({"arms": ("unmodified",)}, "people without a single face"),
    ],
)
def test_methods_follow_the_study(
    another: Callable[..., Consortium], changed: dict[str, Any], words: str
) -> None:
    methods, _ = paragraphs(another(asked=changed).report())
    assert words in methods
    assert ("Gates checked" in methods) is ("arms" not in changed)


def test_the_page_shows_what_the_file_says(whole: Path, report: Report) -> None:
    text = (whole / "methods.txt").read_bytes()
    shown = (whole / "index.html").read_text()
    assert text == methods_text(report)
    for paragraph in paragraphs(report):
        assert paragraph in text.decode()
        assert paragraph[:40].replace('"', "&#34;") in shown
        assert paragraph.isprintable()


def graph_of(content: bytes) -> dict[str, dict[str, Any]]:
    said = json.loads(content)["@graph"]
    named = {entity["@id"]: entity for entity in said}
    assert len(named) == len(said)
    return named


def test_the_crate_names_every_file_with_its_sha256_and_size(whole: Path) -> None:
    graph = graph_of((whole / "ro-crate-metadata.json").read_bytes())
    files = {
        str(path.relative_to(whole)): path.read_bytes()
        for path in whole.rglob("*")
        if path.is_file() and path.name != "ro-crate-metadata.json"
    }
    assert {part["@id"] for part in graph["./"]["hasPart"]} == set(files)
    for name, content in files.items():
        assert graph[name]["@type"] == "File"
        assert graph[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert graph[name]["contentSize"] == str(len(content))


def test_the_crate_is_one_of_version_1_1_and_every_reference_leads_somewhere(whole: Path) -> None:
    content = (whole / "ro-crate-metadata.json").read_bytes()
    graph = graph_of(content)
    assert json.loads(content)["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    descriptor = graph["ro-crate-metadata.json"]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert descriptor["about"] == {"@id": "./"}
    # what RO-Crate 1.1 asks of the root
    assert graph["./"]["@type"] == "Dataset"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", graph["./"]["datePublished"])
    assert {"name", "description", "license"} <= set(graph["./"])
    referred = re.findall(r'\{\s*"@id": "([^"]+)"\s*\}', content.decode())
    assert set(referred) - set(graph) == {"https://w3id.org/ro/crate/1.1"}


def test_the_crate_rests_on_the_study_its_constants_and_the_releases(
    whole: Path, report: Report, consortium: Consortium
) -> None:
    graph = graph_of((whole / "ro-crate-metadata.json").read_bytes())
    assert graph["#study"]["sha256"] == report.study_sha256
    for constant in consortium.study().statement.constants:
        assert f"urn:sha256:{constant.sha256}" in graph
    assert {name for name in graph if name.startswith("#release-")} == {
        "#release-east",
        "#release-north",
        "#release-west",
    }
    for name, number in report.versions.items():
        assert graph[f"#{name}"]["version"] == number


def test_the_licence_is_the_coordinators_choice_and_part_of_what_is_signed(
    report: Report, whole: Path
) -> None:
    files = {"report.json": (whole / "report.json").read_bytes()}
    assert report.licence == DEFAULT_LICENCE
    free = report.model_copy(update={"licence": "CC0-1.0"})
    graph = graph_of(crate(free, files))
    assert graph["./"]["license"] == {"@id": "https://spdx.org/licenses/CC0-1.0"}
    assert graph["#reidscope"]["license"] == {"@id": "https://spdx.org/licenses/Apache-2.0"}
    with pytest.raises(ValueError, match="licence"):
        Report.model_validate(report.model_dump() | {"licence": "do what you want!"})


def test_a_licence_that_is_no_identifier_is_the_readers_mistake(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="SPDX"):
        publish(coordinator, "any", tmp_path / "out", notices=(), licence="all rights\nreserved")
    assert not (tmp_path / "out").exists()


def test_every_choice_of_an_experiment_is_said_somewhere(folder: Path, report: Report) -> None:
    """A field that somebody adds to the experiment must come to the reader, too."""
    said_elsewhere = {"kind", "anchors", "arms", "damage_arms", "gallery_error", "groups"}
    told = {
        "mate",
        "direction",
        "attackers",
        "scan_rule",
        "scan_cap",
        "failed_gate",
        "renders",
        "recogniser",
        "reference_size",
        "reference_people",
        "scores",
        "beyond",
        "scans",
        "public_scans",
    }
    assert set(FaceExperiment.model_fields) == said_elsewhere | told
    shown = (folder / "index.html").read_text()
    assert report.study.direction in shown
    assert report.study.scan_rule in shown
    assert report.study.failed_gate in shown
    assert f"{report.study.recogniser}: 1 network" in shown
