"""A graphics card compares where one is and it pays; it changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reidscope_site.face import card
from reidscope_site.face.card import WORTH, on_card
from reidscope_site.face.compare import compare, compare_best
from reidscope_site.face.constants import ReadingConstants

needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
no_card = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")


def reading(seed: int, size: int, dimension: int) -> tuple[ReadingConstants, NDArray[np.int8]]:
    draw = np.random.default_rng(seed)
    gallery = draw.integers(-127, 128, (size, dimension)).astype(np.int8)
    nothing = np.zeros(dimension, np.float32)
    constants = ReadingConstants(
        identified_mean=nothing,
        released_mean=nothing,
        gallery=gallery,
        card=on_card(gallery, vectors=1),
    )
    return constants, draw.integers(-127, 128, (3, dimension)).astype(np.int8)


@pytest.mark.parametrize(("size", "vectors"), [(10_000, 1), (190, 81), (100_000, 9)])
def test_the_references_of_today_are_compared_where_they_lie(size: int, vectors: int) -> None:
    assert size * 128 * vectors < WORTH
    gallery = np.zeros((size, 128), np.int8)
    assert on_card(gallery, vectors=vectors) is None


@no_card
def test_without_a_card_the_largest_reference_stays_with_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(card, "WORTH", 1)
    constants, _ = reading(0, 50, 16)
    assert constants.compared is constants.gallery


@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([2, 16, 130]))
def test_what_is_compared_with_is_the_gallery_of_the_study(
    seed: int, size: int, dimension: int
) -> None:
    constants, (probe, mate, _) = reading(seed, size, dimension)
    found = compare(probe, mate, constants.compared)
    scores = constants.gallery.astype(np.int64) @ probe.astype(np.int64)
    own = int(mate.astype(np.int64) @ probe.astype(np.int64))
    assert (found.better, found.equal) == ((scores > own).sum(), (scores == own).sum())


@needs_card
@pytest.mark.parametrize("size", [1, 1000, 70_001])
def test_a_person_falls_into_the_same_cell_on_a_card(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "WORTH", 1)
    constants, rows = reading(size, size, 128)
    assert constants.card is not None
    here, there = (compare(rows[0], rows[1], g) for g in (constants.gallery, constants.compared))
    assert here == there
    renders, mates = rows[None], rows[1:2][None]
    there, here = (compare_best(renders, mates, g) for g in (constants.compared, constants.gallery))
    assert list(there) == list(here)
