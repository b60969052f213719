"""A report of the opt-in tables: every number again, and a model never taken for a measurement."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.server.tail_studies import beyond_of, scores_of

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.report import Report
from reidscope_protocols.tail_tables import OpenSet
from reidscope_protocols.vocabulary import Attacker
from reidscope_server.publish import headlines
from reidscope_server.report.page import page
from reidscope_server.report.readings import arms, attackers, unmodified
from reidscope_server.report.verify import verify_report

ASKED = {
    "attackers": (Attacker.CALIBRATED, Attacker.REPAIRING),
    "scores": scores_of(
        10_000,
        sigma_ppm=4000,
        columns=("unmodified", "blur/repairing"),
        fmr_ppm=(10_000, 100_000),
        open_set=(OpenSet(gallery_size=100, fpir_ppm=300_000),),
        above=(100,),
    ),
    "beyond": beyond_of((10_000, 1_000_000), ("unmodified", "quickshear"), sigma_ppm=9000),
}
SHEETS = ("tar", "open_set", "above", "identification")


@pytest.fixture(scope="module")
def asked(another: Callable[..., Any]) -> Any:
    return another(asked=ASKED)


@pytest.fixture(scope="module")
def tailed(asked: Any) -> Report:
    report: Report = asked.report()
    return report


@pytest.fixture(scope="module")
def written(asked: Any, tailed: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = asked.write(tmp_path_factory.mktemp("tails"), tailed)
    return folder


@pytest.mark.slow
def test_every_number_of_the_opt_in_tables_is_computed_again(written: Path) -> None:
    verified = verify_report(written)
    assert verified.report.tar
    assert (verified.page, verified.figures) == ("same bytes", "same bytes")


def test_the_sheets_say_what_the_json_says(written: Path) -> None:
    said = json.loads((written / "report.json").read_bytes())
    for name in SHEETS:
        rows = list(csv.DictReader(io.StringIO((written / f"{name}.csv").read_text())))
        assert rows == [
            {key: "" if value is None else str(value) for key, value in row.items()}
            for row in said[name]
        ]
    crate = (written / "ro-crate-metadata.json").read_text()
    for name in ("tar.csv", "figures/beyond.svg", "figures/thresholds.png"):
        assert (written / name).exists()
        assert name in crate


def test_a_model_is_never_counted_among_what_was_measured(tailed: Report) -> None:
    modelled = [row for row in tailed.identification if row.basis != "measured"]
    assert {row.gallery_size for row in modelled} == {10_000, 1_000_000}
    assert [row.basis for row in modelled] == [*["extrapolated"] * 2, *["model-based"] * 2] * 2
    assert {row.gallery_size for row in unmodified(tailed)} == {100, 1000}
    assert [arm.name for arm in arms(tailed)] == ["unmodified", "blur", "quickshear"]
    assert attackers(tailed) == ("calibrated", "repairing")
    for arm in arms(tailed):
        assert {row.basis for row in arm.found} == {"measured"}


def test_the_page_tells_measured_and_modelled_apart(tailed: Report) -> None:
    shown = page(tailed)
    text = re.sub(r"<[^>]*>", " ", shown)
    far = text[text.index("Beyond the reference") :]
    for row in tailed.identification:
        said = f"{row.low * 100:.1f} to {row.high * 100:.1f}%"
        assert said in (text if row.basis == "measured" else far)
    assert far.count("model-based") >= 4
    assert far.count("extrapolated") >= 4
    assert "analogy" in text
    assert "how many public faces beat the mate" in text
    assert "found in larger galleries, by two models" in text
    before = text[: text.index("Beyond the reference")]
    assert "1,000,000" not in before
    assert "blur (gates failed for" in text
    assert "quickshear (gates failed for" in far


def test_methods_and_results_hold_every_row(written: Path, tailed: Report) -> None:
    text = (written / "methods.txt").read_text()
    assert "an analogy" in text
    for row in (*tailed.tar, *tailed.open_set, *tailed.above):
        assert f"{100 * row.rate:.1f}% (95% CI {100 * row.low:.1f} to {100 * row.high:.1f})" in text
    assert text.count("model-based to 1,000,000 faces") == 2
    assert text.count("without a model, between 0 and") == 4


def test_a_terminal_hears_the_basis_of_each_rate(tailed: Report) -> None:
    lines = headlines(tailed)
    assert len(lines) == len(tailed.identification) + len(
        (*tailed.tar, *tailed.open_set, *tailed.above)
    )
    assert sum("model-based to 1,000,000" in line for line in lines) == 4
    for line in lines[len(unmodified(tailed)) :]:
        assert line.startswith("unmodified") != ("gates failed for" in line)


@pytest.mark.parametrize("field", ["tar", "open_set", "above", "identification"])
def test_a_bent_rate_is_noticed(asked: Any, written: Path, tmp_path: Path, field: str) -> None:
    without = shutil.ignore_patterns("figures")
    folder = shutil.copytree(written, tmp_path / "bent", ignore=without)

    def bend(said: dict[str, Any]) -> None:
        said[field][-1] |= {"low": 0.0, "rate": 0.001, "high": 1.0}

    with pytest.raises(MalformedError, match=f"another value at '{field}"):
        verify_report(asked.forge(folder, bend))


def test_a_report_without_opt_in_tables_says_nothing_of_them(report: Report) -> None:
    shown = page(report)
    assert "Beyond the reference" not in shown
    assert "open sets" not in shown
    assert (report.tar, report.open_set, report.above) == ((), (), ())
