"""Constants out of files that anybody may have written."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.errors import ConstantMismatchError, MalformedError, UnsupportedError
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError, Renders
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.vocabulary import Attacker, Direction, Mate
from reidscope_site.face.arms import UNMODIFIED
from reidscope_site.face.calibration import read_calibration
from reidscope_site.face.constants import (
    ConstantFiles,
    FaceConstants,
    load_constants,
    read_galleries,
)
from reidscope_site.face.template import template
from reidscope_site.face.weights import (
    DETECTOR_SHA256,
    RECOGNISER_SHA256,
    installed_model_bytes,
)

ARMS = (UNMODIFIED, "blur", "quickshear")
DIMENSION = 128
FACES = 50
WEIGHTS = installed_model_bytes()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=array.dtype == object)
    return stream.getvalue()


def calibration(**changes: object) -> bytes:
    draw = np.random.default_rng(0)
    names = ("identified", *(f"{arm}/calibrated" for arm in ARMS))
    facts = {
        "schema": "reidscope.calibration/2",
        "mate": "photo",
        "direction": "sample-to-population",
        "renders": {"views": 1, "lights": 1, "fusion": "mean", "grey": False},
        "recogniser": SFACE.model_dump(mode="json"),
        "detector_sha256": DETECTOR_SHA256,
        "template_sha256": template().sha256,
        "dimension": DIMENSION,
        "means": {name: draw.normal(size=DIMENSION).tolist() for name in names},
        "galleries": ["identified"],
        "sigma_gallery": {"100": 0.01},
        "gallery_faces": FACES,
        "figures": {"people": 1, "found": {"unmodified/calibrated": {"100": 0.5}}},
        "seeds": {},
        "versions": {},
    }
    return json.dumps(facts | changes).encode()


GALLERY = npy(np.random.default_rng(1).integers(-127, 128, (FACES, DIMENSION)).astype(np.int8))


def asked(**changes: Any) -> FaceExperiment:
    fields: dict[str, Any] = {
        "recogniser": SFACE,
        "anchors": (2, 5),
        "arms": ARMS,
        "reference_size": FACES,
        "reference_people": "nobody",
        **changes,
    }
    errors = tuple(GalleryError(gallery_size=size, sigma_ppm=0) for size in fields["anchors"])
    return FaceExperiment(**{"gallery_error": errors, **fields})


def load(gallery: bytes = GALLERY, facts: bytes | None = None, **changes: Any) -> FaceConstants:
    files = ConstantFiles(
        gallery=gallery,
        calibration=calibration() if facts is None else facts,
        models={DETECTOR_SHA256: WEIGHTS.detector, RECOGNISER_SHA256: WEIGHTS.recogniser},
    )
    return load_constants(asked(**changes), files)


def test_constants_read_back_what_was_written() -> None:
    constants = load()
    assert list(constants.arms) == ["unmodified", "blur", "quickshear"]
    written = json.loads(calibration())["means"]
    for column, reading in constants.readings.items():
        assert reading.gallery.shape == (FACES, DIMENSION)
        for mean, name in (
            (reading.identified_mean, "identified"),
            (reading.released_mean, f"{column}/calibrated"),
        ):
            assert mean.tolist() == np.array(written[name], np.float32).tolist()


def test_the_gallery_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load().readings["unmodified"].gallery[0, 0] = 1


def test_a_raw_attacker_takes_no_mean_off_and_has_a_gallery_of_his_own() -> None:
    two = np.random.default_rng(2).integers(-127, 128, (2, FACES, DIMENSION)).astype(np.int8)
    facts = calibration(galleries=["identified", "identified/raw"])
    constants = load(npy(two), facts, attackers=(Attacker.CALIBRATED, Attacker.RAW))
    raw = constants.readings["blur/raw"]
    assert not raw.released_mean.any()
    assert not raw.identified_mean.any()
    assert np.array_equal(raw.gallery, two[1])
    assert np.array_equal(constants.readings["blur"].gallery, two[0])


def test_scans_that_are_searched_have_a_gallery_a_reading() -> None:
    three = np.random.default_rng(3).integers(-127, 128, (3, FACES, DIMENSION)).astype(np.int8)
    names = [f"{arm}/calibrated" for arm in ARMS]
    facts = calibration(direction="population-to-sample", galleries=names)
    constants = load(npy(three), facts, direction=Direction.POPULATION_TO_SAMPLE)
    for place, arm in enumerate(ARMS):
        assert np.array_equal(constants.readings[arm].gallery, three[place])


@pytest.mark.parametrize(
    "changes",
    [
        {"mate": Mate.SECOND_SCAN},
        {"direction": Direction.POPULATION_TO_SAMPLE},
        {"renders": Renders(views=9, lights=9)},
        {"renders": Renders(grey=True)},
        {"recogniser": SFACE.model_copy(update={"name": "another"})},
    ],
)
def test_a_study_that_asks_for_another_attack_than_was_calibrated_is_refused(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(ConstantMismatchError):
        load(**changes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        GALLERY[:-1],
        GALLERY + b"more",
        npy(np.zeros((FACES, DIMENSION), np.float32)),
        npy(np.zeros((FACES, DIMENSION - 1), np.int8)),
        npy(np.zeros((0, DIMENSION), np.int8)),
        npy(np.zeros(DIMENSION, np.int8)),
        npy(np.array([{"a": 1}], dtype=object)),
    ],
)
def test_what_is_no_gallery_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedError):
        read_galleries(content, count=1, dimension=DIMENSION)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 127), st.integers(0, 255))
def test_a_damaged_gallery_header_is_refused(place: int, value: int) -> None:
    damaged = bytearray(GALLERY)
    damaged[place] = value
    if damaged == GALLERY:
        return
    with pytest.raises(MalformedError):
        read_galleries(bytes(damaged), count=1, dimension=DIMENSION)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "reidscope.calibration/1"},
        {"detector_sha256": "0" * 63},
        {"dimension": 5000},
        {"dimension": 64},
        {"dimension": "128"},
        {"means": {"identified": [0.0]}},
        {"means": {"identified": [None] * DIMENSION}},
        {"galleries": []},
        {"direction": "sideways"},
        {"renders": {"views": 2}},
        {"sigma_gallery": {"ten": 0.1}},
        {"sigma_gallery": {"100": -0.1}},
        {"surprise": 1},
    ],
)
def test_what_is_no_calibration_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        read_calibration(calibration(**changes))


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_calibration(content: bytes) -> None:
    with pytest.raises(MalformedError):
        read_calibration(content)


@pytest.mark.parametrize("key", ["detector_sha256", "template_sha256"])
def test_a_calibration_made_with_something_else_is_refused(key: str) -> None:
    with pytest.raises(ConstantMismatchError):
        load(facts=calibration(**{key: "0" * 64}))


@pytest.mark.parametrize("faces", [FACES + 1, FACES - 1])
def test_a_gallery_and_a_calibration_of_two_builds_are_refused(faces: int) -> None:
    with pytest.raises(MalformedError):
        load(facts=calibration(gallery_faces=faces))


def test_a_study_of_another_reference_size_is_refused() -> None:
    with pytest.raises(MalformedError):
        load(reference_size=FACES + 10)


def test_an_arm_that_nobody_knows_is_refused() -> None:
    names = ("identified", "unmodified/calibrated", "other/calibrated")
    facts = calibration(means={name: [0.0] * DIMENSION for name in names})
    with pytest.raises(UnsupportedError):
        load(facts=facts, arms=("unmodified", "other"))


def test_an_arm_without_a_public_mean_is_refused() -> None:
    facts = calibration(means={"identified": [0.0] * DIMENSION})
    with pytest.raises(MalformedError):
        load(facts=facts)


def test_an_attacker_without_a_public_mean_is_refused() -> None:
    with pytest.raises(MalformedError):
        load(attackers=(Attacker.CALIBRATED, Attacker.REPAIRING))
