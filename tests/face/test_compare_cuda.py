"""The card's bits are the processor's. Skipped where PyTorch sees no card."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reidscope_protocols.errors import UnsupportedError
from reidscope_site.face import products, products_cuda
from reidscope_site.face.compare import compare_batch, compare_best

needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
no_card = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")

SHAPES = [
    (1, 1, 1, 1, 1),
    (1, 1, 7, 1, 128),
    (17, 1, 1000, 1, 2),
    (129, 1, 8193, 1, 128),
    (300, 1, 70_001, 1, 512),
    (3, 1, 20_000, 1, 1024),
    (20, 3, 5000, 1, 128),
    (20, 1, 5000, 4, 130),
    (9, 3, 999, 2, 512),
]


def faces(draw: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    return draw.integers(-127, 128, shape).astype(np.int8)


def on_the_card(shape: tuple[int, int, int, int, int]) -> None:
    people, each, size, group, dimension = shape
    draw = np.random.default_rng(sum(shape))
    probes, gallery = faces(draw, people, each, dimension), faces(draw, size, group, dimension)
    mates = faces(draw, people, group, dimension)
    gallery[: min(size, people)] = mates[: min(size, people)]  # ties
    own = np.einsum("nrd,ngd->nrg", probes, mates, dtype=np.int64).max((1, 2))
    expected = products.count(probes, own, gallery)
    resident = products_cuda.upload(gallery)
    room = products_cuda.has_room(each * group * (dimension + -dimension % 16))
    # a few people are not worth the one kernel: it is asked for
    for fused in (False, None, True) if room else (False, None):
        for chunk in (None, 1 + size // 3):
            for held in (gallery, resident):
                found = products_cuda.count(probes, own, held, chunk=chunk, fused=fused)
                assert np.array_equal(found, expected), (fused, chunk)
    best = compare_best(probes, mates, resident, device="cuda")
    assert [(one.better, one.equal) for one in best] == list(map(tuple, expected.T.tolist()))


@needs_card
@pytest.mark.parametrize("shape", SHAPES)
def test_the_cards_bits_are_the_processors(shape: tuple[int, int, int, int, int]) -> None:
    on_the_card(shape)


def at_the_edge(chunk: int | None) -> None:
    dimension = products.MAX_DIMENSION
    probes = np.full((2, 1, dimension), -128, np.int8)
    gallery = probes.repeat(20, axis=0)
    gallery[:, 0, 0] = np.arange(-128, -88)
    own = np.full(2, 128 * 128 * dimension - 128, np.int64)
    # one face is whole, one a step below, the others two and more
    assert products_cuda.count(probes, own, gallery, chunk=chunk).tolist() == [[1, 1], [1, 1]]


@needs_card
@pytest.mark.parametrize("chunk", [None, 3])
def test_the_largest_sums_are_told_apart_on_the_card(chunk: int | None) -> None:
    at_the_edge(chunk)


@no_card
def test_asking_for_a_card_that_is_not_there_says_so() -> None:
    one = np.zeros((1, 8), np.int8)
    with pytest.raises(UnsupportedError, match="compare on the CPU"):
        compare_batch(one, one, one, device="cuda")
