"""The process that evaluates a person compares on a card where there is one: the same cell."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from reidscope_deid.keys import generate_key
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError, Renders
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.vocabulary import Fusion
from reidscope_site import worker
from reidscope_site.child import Child
from reidscope_site.face.calibration import read_calibration
from reidscope_site.face.card import WORTH
from reidscope_site.face.weights import models_of
from reidscope_site.snapshot import Person, Scan
from reidscope_site.synthetic.people import make_person, png, visit_series
from reidscope_site.synthetic.seeds import PersonSeed, Population

REFERENCE = Path(__file__).parents[2] / "examples" / "consortium" / "reference"
RENDERS = Renders(views=9, lights=9, fusion=Fusion.BEST)
FACES = WORTH // (81 * 128) + 1


def a_task(folder: Path) -> worker.Task:
    shipped = read_calibration((REFERENCE / "calibration.json").read_bytes())
    calibration = shipped.model_copy(
        update={"renders": RENDERS, "gallery_faces": FACES, "galleries": ("identified",)}
    )
    gallery = np.random.default_rng(0).integers(-127, 128, (FACES, 128)).astype(np.int8)
    np.save(folder / "gallery.npy", gallery)
    generate_key(folder / "site.key")
    (folder / "work").mkdir()
    return worker.Task(
        sha256="ab" * 32,
        experiment=FaceExperiment(
            recogniser=SFACE,
            anchors=(10, 100, 1000, 10_000, 40_000),
            arms=("unmodified", "blur"),
            reference_size=FACES,
            reference_people="people that never were",
            renders=RENDERS,
            gallery_error=tuple(
                GalleryError(gallery_size=size, sigma_ppm=0)
                for size in (10, 100, 1000, 10_000, 40_000)
            ),
        ),
        gallery=(folder / "gallery.npy").read_bytes(),
        calibration=calibration.model_dump_json(by_alias=True).encode(),
        models=models_of(SFACE),
        key_file=folder / "site.key",
        work=folder / "work",
    )


def somebody(folder: Path) -> Person:
    made = make_person(PersonSeed(population=Population.SITE, label="card", number=0))
    slices = []
    for number, content in enumerate(visit_series(made, 0)):
        slices.append(folder / f"{number}.dcm")
        slices[-1].write_bytes(content)
    (folder / "photo.png").write_bytes(png(made.photos[0]))
    scan = Scan(kind="dicom", files=tuple(slices), taken="20200101")
    return Person(pseudonym="P-1", scans=(scan,), photo=folder / "photo.png")


def cells_and_cards(task: worker.Task, person: Person) -> tuple[tuple[int, ...], list[bool]]:
    child = Child(worker._load, task, clear=lambda: worker.empty(task.work))
    try:
        cells = child.ask(worker._evaluate, person, seconds=600)
        cards = child.ask(cards_held, None, seconds=60)
    finally:
        child.close()
    assert cells is not None
    assert cards is not None
    return cells, cards


def cards_held(_: None) -> list[bool]:
    readings = worker._LOADED[0].constants.readings
    return [one.card is not None for one in readings.values()]


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_real_worker_compares_on_the_card_and_says_the_same_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, person = a_task(tmp_path), somebody(tmp_path)
    on_card, cards = cells_and_cards(task, person)
    assert all(cards)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    without, none = cells_and_cards(task, person)
    assert not any(none)
    assert on_card == without
