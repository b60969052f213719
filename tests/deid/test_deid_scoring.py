"""The score of benchmarks/deid_midib.py: a copy that nobody worked on fails what it should."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

pytest.importorskip("cv2")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Scored = Callable[[Callable[[pydicom.Dataset], object] | None], Any]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scored:
    """Scores copies of the corpus of one person, each changed; or no outputs at all."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    midib, corpus = (importlib.import_module(name) for name in ("deid_midib", "midib_corpus"))
    instances = corpus.write_corpus(tmp_path, 2)

    def score(change: Callable[[pydicom.Dataset], object] | None) -> Any:
        outputs = {}
        for one in instances if change is not None else ():
            outputs[one.name] = pydicom.dcmread(tmp_path / one.name)
            change(outputs[one.name])
        return midib.score(instances, tmp_path, outputs)

    return score


REMOVALS = ("text_removed", "date_shifted", "uid_changed", "pixels_hidden")
KEEPING = ("tag_retained", "text_notnull", "text_retained", "pixels_retained")


def test_a_plain_copy_passes_what_is_to_stay_and_nothing_that_is_to_go(scored: Scored) -> None:
    result = scored(lambda _: None)
    for reading in ("published", "strict"):
        for action in REMOVALS:
            assert result.passed[reading][action] == 0
        for action in (*KEEPING, "uid_consistent", "patid_consistent"):
            assert result.passed[reading][action] == result.total[action] > 0


def test_what_is_missing_passes_removals_as_published_and_nothing_strictly(scored: Scored) -> None:
    result = scored(None)
    for action in REMOVALS:
        assert result.passed["published"][action] == result.total[action]
    assert result.passed["strict"].total() == 0


def test_a_removed_date_has_not_been_moved(scored: Scored) -> None:
    def without(data_set: pydicom.Dataset) -> None:
        data_set.StudyDate = ""
        data_set.SeriesDate = "19000101"

    result = scored(without)
    assert result.passed["published"]["date_shifted"] == 2 * len(result_files(result))
    assert result.passed["strict"]["date_shifted"] < result.passed["published"]["date_shifted"]


def result_files(result: Any) -> range:
    return range(result.total["patid_consistent"])


def test_a_box_over_the_text_hides_it_and_noise_does_not(scored: Scored) -> None:
    def covered(data_set: pydicom.Dataset) -> None:
        if data_set.Modality == "US":
            samples = data_set.pixel_array.copy()
            samples[:70] = 0
            data_set.PixelData = samples.tobytes()

    def dimmed(data_set: pydicom.Dataset) -> None:
        if data_set.Modality == "US":
            data_set.PixelData = (data_set.pixel_array // 4 + 3).tobytes()

    assert scored(covered).passed["strict"]["pixels_hidden"] == 2
    assert scored(dimmed).passed["strict"]["pixels_hidden"] == 0
