"""Exact comparisons: a cell cannot depend on a batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reidscope_protocols.errors import InvariantError
from reidscope_site.face.compare import (
    MAX_DIMENSION,
    compare,
    compare_batch,
    quantise,
    quantised,
)
from reidscope_site.face.found import Comparison
from reidscope_site.face.recognise import Embedding


def faces(draw: np.random.Generator, count: int, dimension: int) -> NDArray[np.int8]:
    return draw.integers(-127, 128, (count, dimension)).astype(np.int8)


def counts(comparison: Comparison) -> tuple[int, int, int]:
    return comparison.better, comparison.equal, comparison.reference_size


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 300),
    st.sampled_from([1, 2, 128, 512, MAX_DIMENSION]),
    st.integers(1, 400),
)
def test_people_compared_together_get_what_each_gets_alone(
    seed: int, people: int, size: int, dimension: int, chunk: int
) -> None:
    draw = np.random.default_rng(seed)
    probes, mates = faces(draw, people, dimension), faces(draw, people, dimension)
    gallery = faces(draw, size, dimension)
    together = compare_batch(probes, mates, gallery, chunk=chunk)
    alone = [compare(probe, mate, gallery) for probe, mate in zip(probes, mates, strict=True)]
    backwards = list(compare_batch(probes[::-1], mates[::-1], gallery))[::-1]
    assert list(map(counts, together)) == list(map(counts, alone)) == list(map(counts, backwards))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 16))
def test_the_counts_are_those_of_whole_number_arithmetic(
    seed: int, size: int, dimension: int
) -> None:
    draw = np.random.default_rng(seed)
    probe, mate = faces(draw, 2, dimension)
    gallery = faces(draw, size, dimension)
    gallery[0] = mate  # a tie
    own = sum(int(a) * int(b) for a, b in zip(probe, mate, strict=True))
    scores = [sum(int(a) * int(b) for a, b in zip(probe, face, strict=True)) for face in gallery]
    found = compare(probe, mate, gallery)
    assert found.better == sum(score > own for score in scores)
    assert found.equal == sum(score == own for score in scores)
    assert found.equal >= 1


def test_the_largest_products_are_still_told_apart() -> None:
    probe = np.full(MAX_DIMENSION, 127, np.int8)
    mate = probe.copy()
    mate[0] = 126
    gallery = np.stack([probe, mate, np.full(MAX_DIMENSION, 126, np.int8)])
    assert counts(compare(probe, mate, gallery)) == (1, 1, 3)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_neither_length_nor_company_changes_a_quantised_face(seed: int, length: float) -> None:
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(7, 128)).astype(np.float32)
    mean = np.zeros(128, np.float32)
    together = quantised(values, mean)
    for row, face in zip(together, values, strict=True):
        assert np.array_equal(row, quantise(Embedding(values=face), mean))
    stretched = quantise(Embedding(values=values[0] * np.float32(length)), mean)
    assert np.abs(stretched.astype(int) - together[0]).max() <= 1


def test_quantising_follows_the_published_formula() -> None:
    values = np.random.default_rng(1).normal(size=128).astype(np.float32)
    mean = np.random.default_rng(2).normal(size=128).astype(np.float32)
    centred = values.astype(float) - mean
    unit = centred / np.sqrt((centred**2).sum())
    expected = np.clip(np.rint(127 * unit * np.sqrt(128) / 4), -127, 127)
    assert np.array_equal(quantise(Embedding(values=values), mean), expected)


def test_eight_bits_keep_the_cosine() -> None:
    values = np.random.default_rng(3).normal(size=(200, 128)).astype(np.float32)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    exact = (unit @ unit.T)[np.triu_indices(200, 1)]
    rounded = quantised(values, np.zeros(128, np.float32)).astype(np.float64)
    rough = (rounded @ rounded.T)[np.triu_indices(200, 1)]
    assert np.corrcoef(exact, rough)[0, 1] > 0.999


def test_the_mean_face_itself_is_all_noughts() -> None:
    mean = np.ones(128, np.float32)
    assert not quantise(Embedding(values=mean), mean).any()


@pytest.mark.parametrize("values", [np.full(128, np.nan, np.float32), np.ones(64, np.float32)])
def test_an_embedding_that_cannot_be_compared_is_refused(values: NDArray[np.float32]) -> None:
    with pytest.raises(InvariantError):
        quantise(Embedding(values=values), np.zeros(128, np.float32))


def test_embeddings_too_long_for_exact_products_are_refused() -> None:
    long = np.zeros((1, MAX_DIMENSION + 1), np.int8)
    with pytest.raises(InvariantError):
        compare(long[0], long[0], long)


def test_unrounded_embeddings_are_refused() -> None:
    floats = np.zeros((1, 8), np.float32)
    with pytest.raises(InvariantError):
        compare(floats[0], floats[0], floats)  # type: ignore[arg-type]  # the point of the test
