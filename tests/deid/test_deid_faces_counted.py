"""What the record of a run says of faces: series by series, and never of whom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from tests.deid.conftest import ROOT, as_bytes, mr_slice
from typer.testing import CliRunner

from reidscope_deid import SiteKey, cli, deidentify_tree, load_profile
from reidscope_deid.faces import DefacedSeries
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.review.record_file import parse_record

KEY = SiteKey(bytes(range(32)))
PROFILE = load_profile("basic", ("clean_recognizable_visual_features",))
SYNTAX = "1.2.840.10008.1.2.1"
ANSWERS = {"1": (True, False), "2": (True, True), "3": (False, False)}
SLICES = 3


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four series of three slices, the fourth one refused."""
    folder = tmp_path / "in"
    folder.mkdir()
    for series in (1, 2, 3, 4):
        for number in range(SLICES):
            data_set = mr_slice(SYNTAX, number=number)
            data_set.SeriesInstanceUID = f"{ROOT}.78.{series}"
            data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = (
                f"{ROOT}.79.{series}.{number}"
            )
            (folder / f"{series}-{number}.dcm").write_bytes(as_bytes(data_set, SYNTAX))
    return folder


def deface(series: Sequence[Path]) -> DefacedSeries:
    """Empty every slice; answer for the detector by the series' last digit."""
    read = [pydicom.dcmread(path) for path in series]
    which = str(read[0].SeriesInstanceUID)[-1]
    if which not in ANSWERS:
        raise QuarantinedError(Reason.FACE)
    return DefacedSeries(
        samples={str(one.SOPInstanceUID): np.zeros_like(one.pixel_array) for one in read},
        detected=ANSWERS[which],
    )


def silent(series: Sequence[Path]) -> DefacedSeries:
    """The same where no detector was asked."""
    return DefacedSeries(samples=deface(series).samples)


COUNTED = {
    "series defaced": 3,
    "series a face detector looked at": 3,
    "series with a face found before defacing": 2,
    "series with a face found after defacing": 1,
}


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_record_counts_series_and_the_detectors_answers_once_a_series(
    source: Path, tmp_path: Path, jobs: int
) -> None:
    record = deidentify_tree(
        source, tmp_path / "out", key=KEY, profile=PROFILE, jobs=jobs, defacer=("mine", deface)
    )
    assert record.actions["faces"] == COUNTED
    assert (record.written, record.left_out) == (3 * SLICES, {Reason.FACE: SLICES})
    said = json.dumps(record.document() | {"key": "K"})
    rows = [one for one in parse_record(said.encode()).elements if one.tag == "faces"]
    assert {row.action: row.count for row in rows} == COUNTED


def test_a_defacer_that_asked_no_detector_says_so_by_saying_nothing(
    source: Path, tmp_path: Path
) -> None:
    record = deidentify_tree(
        source, tmp_path / "out", key=KEY, profile=PROFILE, defacer=("mine", silent)
    )
    assert record.actions["faces"] == {"series defaced": 3}


def test_a_run_without_a_defacer_says_nothing_of_faces(source: Path, tmp_path: Path) -> None:
    record = deidentify_tree(source, tmp_path / "out", key=KEY, profile=load_profile("basic"))
    assert "faces" not in record.actions


def test_a_run_that_was_stopped_counts_as_if_it_had_not_been(source: Path, tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == SLICES + 1:  # in the middle of the second series
            raise KeyboardInterrupt

    out, how = tmp_path / "out", {"key": KEY, "profile": PROFILE, "defacer": ("mine", deface)}
    with pytest.raises(KeyboardInterrupt):
        deidentify_tree(source, out, progress=stop, **how)  # type: ignore[arg-type]  # of three kinds
    again = deidentify_tree(source, out, **how)  # type: ignore[arg-type]  # as above
    assert again.actions["faces"] == COUNTED


def test_the_command_says_how_often_a_detector_still_fires(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    assert CliRunner().invoke(cli.app, ["keygen", str(key)]).exit_code == 0
    monkeypatch.setattr(cli, "find_defacer", lambda _name: deface)
    said = CliRunner().invoke(
        cli.app,
        ["run", str(source), str(tmp_path / "out"), "--key", str(key), "--deface", "mine",
         "--option", "clean_recognizable_visual_features",
         "--report", str(tmp_path / "report.json"), "--page", str(tmp_path / "page.html")],
    )  # fmt: skip
    told = " ".join(said.output.split())
    assert "3 series defaced, their gates passed." in told
    assert "A face detector fires on 2 of 3 before and on 1 after" in told
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert sum(row["tag"] == "faces" for row in report["elements"]) == len(COUNTED)
    assert "series with a face found after defacing" in (tmp_path / "page.html").read_text()
    assert ROOT not in said.output
