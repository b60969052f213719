"""Several vectors a person or a face, threads, chunks and maps: the counts stay the same."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reidscope_protocols.errors import InvariantError
from reidscope_protocols.recogniser import MAX_DIMENSION as DECLARABLE
from reidscope_site.face import products
from reidscope_site.face.compare import MAX_DIMENSION, compare_batch, compare_best
from reidscope_site.face.found import Comparison

Rows = NDArray[np.int8]


def faces(draw: np.random.Generator, *shape: int) -> Rows:
    # few values, so that many scores tie
    return draw.integers(-3, 4, shape).astype(np.int8)


def counts(comparisons: Iterable[Comparison]) -> list[tuple[int, int]]:
    return [(one.better, one.equal) for one in comparisons]


def whole_numbers(probes: Rows, mates: Rows, gallery: Rows) -> list[tuple[int, int]]:
    """Count the long way, in 64-bit whole numbers."""
    ours, theirs, faces = (rows.astype(np.int64) for rows in (probes, mates, gallery))
    own = np.einsum("nrd,ngd->nrg", ours, theirs).max((1, 2))
    scores = np.einsum("nrd,mgd->nmrg", ours, faces).max((2, 3))
    better, equal = (scores > own[:, None]).sum(1), (scores == own[:, None]).sum(1)
    return list(zip(better.tolist(), equal.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    people=st.integers(1, 20),
    each=st.integers(1, 4),
    size=st.integers(1, 700),
    group=st.integers(1, 3),
    dimension=st.integers(1, 20),
    chunk=st.none() | st.integers(1, 800),
    threads=st.integers(1, 4),
)
def test_the_best_pair_counts_whatever_the_chunk_and_however_many_threads(
    *,
    seed: int,
    people: int,
    each: int,
    size: int,
    group: int,
    dimension: int,
    chunk: int | None,
    threads: int,
) -> None:
    draw = np.random.default_rng(seed)
    probes, mates = faces(draw, people, each, dimension), faces(draw, people, group, dimension)
    gallery = faces(draw, size, group, dimension)
    together = counts(compare_best(probes, mates, gallery, chunk=chunk, threads=threads))
    assert together == whole_numbers(probes, mates, gallery)
    order = draw.permutation(people)
    shuffled = counts(compare_best(probes[order], mates[order], gallery[::-1], chunk=chunk))
    assert shuffled == [together[person] for person in order]
    alone = compare_best(probes[:1], mates[:1], gallery)
    assert counts(alone) == together[:1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(500, 540), st.integers(1000, 2100))
def test_more_people_than_a_block_and_more_faces_than_a_byte_counts_are_counted(
    seed: int, people: int, size: int
) -> None:
    draw = np.random.default_rng(seed)
    probes, mates, gallery = (faces(draw, rows, 1, 4) for rows in (people, people, size))
    found = compare_batch(probes[:, 0], mates[:, 0], gallery[:, 0])
    assert counts(found) == whole_numbers(probes, mates, gallery)


def test_a_repeated_vector_changes_nothing() -> None:
    draw = np.random.default_rng(1)
    probes, mates, gallery = faces(draw, 9, 2, 16), faces(draw, 9, 16), faces(draw, 400, 16)
    again = np.concatenate([probes, probes[:, :1]], axis=1)
    assert counts(compare_best(again, mates, gallery)) == counts(
        compare_best(probes, mates, gallery)
    )


def test_one_vector_a_person_is_the_plain_comparison() -> None:
    draw = np.random.default_rng(2)
    probes, mates, gallery = faces(draw, 9, 16), faces(draw, 9, 16), faces(draw, 400, 16)
    assert counts(compare_best(probes[:, None], mates, gallery)) == counts(
        compare_batch(probes, mates, gallery)
    )


def test_a_gallery_may_stay_on_disk(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    probes, mates, gallery = faces(draw, 5, 32), faces(draw, 5, 32), faces(draw, 3000, 32)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    assert counts(compare_batch(probes, mates, mapped)) == counts(
        compare_batch(probes, mates, gallery)
    )


PRODUCTS = (products.NUMPY, products.TORCH, products.BYTES)


def test_every_product_counts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(4)
    shape = (40, MAX_DIMENSION)
    probes, mates = (draw.integers(-128, 128, shape).astype(np.int8) for _ in range(2))
    gallery = np.concatenate([mates, draw.integers(-128, 128, (3000, shape[1])).astype(np.int8)])
    found = []
    for product in PRODUCTS:
        monkeypatch.setattr(products, "fastest_product", lambda *_, product=product: product)
        found.append(counts(compare_batch(probes, mates, gallery)))
    assert found[0] == found[1] == found[2]
    assert min(equal for _, equal in found[0]) >= 1


@pytest.mark.parametrize("product", PRODUCTS)
@given(st.integers(0, 2**32), st.integers(1, 70), st.integers(1, 40), st.integers(1, 150))
def test_every_product_is_that_of_whole_numbers(
    product: products.Product, seed: int, rows: int, columns: int, dimension: int
) -> None:
    draw = np.random.default_rng(seed)
    edges = np.array([-128, -127, -1, 0, 1, 127], np.int8)
    left, right = draw.choice(edges, (rows, dimension)), draw.choice(edges, (dimension, columns))
    out = np.empty((rows, columns), product.scores)
    product.multiply(left.astype(product.factors), right.astype(product.factors), out)
    assert np.array_equal(out, left.astype(np.int64) @ right.astype(np.int64))


def test_a_product_that_is_wrong_is_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def saturating(left: Rows, right: Rows, out: NDArray[np.int32]) -> None:
        out[:] = np.minimum(left.astype(np.int32) @ right.astype(np.int32), 32767)

    def absent(_left: Rows, _right: Rows, _out: NDArray[np.int32]) -> None:
        raise RuntimeError

    for broken in (saturating, absent):
        wrong = products.Product(factors=np.int8, scores=np.int32, multiply=broken)
        monkeypatch.setattr(products, "BYTES", wrong)
        assert products.fastest_product.__wrapped__(30, 64, 20) is not wrong


def test_what_may_be_declared_can_be_compared() -> None:
    assert DECLARABLE == MAX_DIMENSION == (1 << 24) // 128**2


def test_nobody_and_nothing_are_counted_as_none() -> None:
    nobody = np.zeros((0, 8), np.int8)
    somebody = np.ones((2, 8), np.int8)
    assert list(compare_batch(nobody, nobody, somebody)) == []
    assert counts(compare_batch(somebody, somebody, nobody)) == [(0, 0), (0, 0)]


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 8), (3, 8), (5, 8)),
        ((2, 8), (2, 9), (5, 8)),
        ((2, 8), (2, 8), (5, 9)),
        ((2, 3, 8), (2, 2, 8), (5, 8)),
        ((2, 8), (2, 8), (5, 2, 8)),
        ((2, 0, 8), (2, 8), (5, 8)),
        ((2, MAX_DIMENSION + 1), (2, MAX_DIMENSION + 1), (5, MAX_DIMENSION + 1)),
        ((8,), (2, 8), (5, 8)),
    ],
)
def test_what_does_not_belong_together_is_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    probes, mates, gallery = (np.zeros(shape, np.int8) for shape in shapes)
    with pytest.raises(InvariantError, match="a comparison"):
        compare_best(probes, mates, gallery)
