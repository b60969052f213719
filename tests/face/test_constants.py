"""Constants out of files that anybody may have written."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.errors import ConstantMismatchError, MalformedError
from reidscope_site.face.arms import UNMODIFIED
from reidscope_site.face.constants import (
    FaceConstants,
    load_constants,
    read_calibration,
    read_gallery,
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
    means = {name: draw.normal(size=DIMENSION).tolist() for name in ("photo", *ARMS)}
    facts = {
        "schema": "reidscope.calibration/1",
        "detector_sha256": DETECTOR_SHA256,
        "recogniser_sha256": RECOGNISER_SHA256,
        "template_sha256": template().sha256,
        "dimension": DIMENSION,
        "means": means,
        "sigma_gallery": {"100": 0.01},
        "gallery_faces": FACES,
        "figures": {"people": 1, "found": {"unmodified": {"100": 0.5}}},
        "seeds": {},
        "versions": {},
    }
    return json.dumps(facts | changes).encode()


GALLERY = npy(np.random.default_rng(1).integers(-127, 128, (FACES, DIMENSION)).astype(np.int8))


def load(
    gallery: bytes = GALLERY,
    facts: bytes | None = None,
    anchors: tuple[int, ...] = (5, 10),
    arms: tuple[str, ...] = ARMS,
) -> FaceConstants:
    facts = calibration() if facts is None else facts
    return load_constants(gallery, facts, WEIGHTS.detector, WEIGHTS.recogniser, anchors, arms)


def test_constants_read_back_what_was_written() -> None:
    constants = load()
    assert constants.gallery.shape == (FACES, DIMENSION)
    assert constants.arms == ("unmodified", "blur", "quickshear")
    assert constants.anchors == (5, 10)
    written = json.loads(calibration())["means"]["photo"]
    assert constants.means["photo"].tolist() == np.array(written, np.float32).tolist()


def test_the_gallery_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load().gallery[0, 0] = 1


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
        read_gallery(content, dimension=DIMENSION)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 127), st.integers(0, 255))
def test_a_damaged_gallery_header_is_refused(place: int, value: int) -> None:
    damaged = bytearray(GALLERY)
    damaged[place] = value
    if damaged == GALLERY:
        return
    with pytest.raises(MalformedError):
        read_gallery(bytes(damaged), dimension=DIMENSION)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "reidscope.calibration/2"},
        {"detector_sha256": "0" * 63},
        {"dimension": 5000},
        {"dimension": 64},
        {"dimension": "128"},
        {"means": {"photo": [0.0]}},
        {"means": {"photo": [None] * DIMENSION}},
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


@pytest.mark.parametrize("key", ["detector_sha256", "recogniser_sha256", "template_sha256"])
def test_a_calibration_made_with_something_else_is_refused(key: str) -> None:
    with pytest.raises(ConstantMismatchError):
        load(facts=calibration(**{key: "0" * 64}))


def test_a_gallery_and_a_calibration_of_two_builds_are_refused() -> None:
    with pytest.raises(MalformedError):
        load(facts=calibration(gallery_faces=FACES + 1))


@pytest.mark.parametrize("anchors", [(), (1, 5), (10, 5), (5, 5), (5, FACES + 2)])
def test_anchors_that_the_gallery_cannot_answer_are_refused(anchors: tuple[int, ...]) -> None:
    with pytest.raises(MalformedError):
        load(anchors=anchors)


def test_the_largest_gallery_is_the_reference_and_the_mate() -> None:
    assert load(anchors=(2, FACES + 1)).anchors == (2, FACES + 1)


@pytest.mark.parametrize(
    "arms", [(), ("blur",), ("blur", "unmodified"), ("unmodified", "other"), ("unmodified",) * 2]
)
def test_arms_that_are_none_are_refused(arms: tuple[str, ...]) -> None:
    with pytest.raises(MalformedError):
        load(arms=arms)


def test_an_arm_without_a_public_mean_is_refused() -> None:
    constants = load()
    with pytest.raises(MalformedError):
        replace(constants, means={"photo": constants.means["photo"]})
