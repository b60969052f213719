"""Public constants that are not what a study says: said as what it is, not as want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from reidscope_protocols.errors import ConstantMismatchError, MalformedError
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.recogniser import SFACE
from reidscope_site.face.weights import models_of
from reidscope_site.snapshot import Person, Scan
from reidscope_site.worker import Task, worker

REFERENCE = Path(__file__).parents[2] / "examples" / "consortium" / "reference"
NOBODY = Person(
    pseudonym="P-1",
    scans=(Scan(kind="dicom", files=(Path("/nowhere"),), taken="20200101"),),
    photo=Path("/nowhere"),
)


def task_of(folder: Path, models: dict[str, bytes], calibration: bytes | None = None) -> Task:
    work = folder / "work"
    work.mkdir()
    asked = FaceExperiment(
        recogniser=SFACE,
        anchors=(100,),
        arms=("unmodified", "facemask"),
        reference_size=10_000,
        reference_people="people that never were",
        gallery_error=(GalleryError(gallery_size=100, sigma_ppm=0),),
    )
    return Task(
        sha256="ab" * 32,
        experiment=asked,
        gallery=(REFERENCE / "gallery.npy").read_bytes(),
        calibration=calibration or (REFERENCE / "calibration.json").read_bytes(),
        models=models,
        key_file=folder / "site.key",
        work=work,
    )


@pytest.mark.slow
def test_a_network_with_another_sha256_is_named_and_not_taken_for_want_of_memory(
    tmp_path: Path,
) -> None:
    models = models_of(SFACE) | {SFACE.parts[0].sha256: b"another network"}
    with (
        worker(task_of(tmp_path, models)) as hands,
        pytest.raises(ConstantMismatchError, match=SFACE.parts[0].sha256) as refused,
    ):
        hands.evaluate(NOBODY)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_calibration_that_is_none_is_named_too(tmp_path: Path) -> None:
    with (
        worker(task_of(tmp_path, models_of(SFACE), b"{}")) as hands,
        pytest.raises(MalformedError, match="calibration"),
    ):
        hands.evaluate(NOBODY)
