"""Exact inner products counted as they are made: no matrix of scores is ever whole.

Whole numbers up to 127 (128 at the edge): every partial sum of at most `MAX_DIMENSION` products is
an integer below 2^24, which 32-bit whole numbers hold, and float32 too: any product, order of
summation, block size or thread count gives the same bits. A block of scores is compared and counted
while it is still in the processor's cache; flags are added eight at a time, as bytes of a 64-bit
word, at most 255 rows before the bytes are read off.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]  # float32 or int32, as the product makes them
    Multiply = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], object]

MAX_DIMENSION = (1 << 24) // 128**2
"""Longest embedding whose inner products float32 holds exactly, whatever its 8 bits are."""

_ROWS_A_BYTE = 255
_PEOPLE = 512
_BLOCK_ROWS = 4 * _ROWS_A_BYTE
_BLOCK_SCORES = _BLOCK_ROWS * _PEOPLE
_MAX_BLOCK_ROWS = 32 * _ROWS_A_BYTE
_WORD = 8  # bytes
_TRIALS = 20
_HOPELESS = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """One way to multiply; all give the same whole numbers.

    Attributes
    ----------
    factors, scores : type
        What it takes, and what it makes of them.
    multiply : callable
        Of (rows, d), (d, columns) and where the scores go, (rows, columns).
    """

    factors: type[np.float32 | np.int8]
    scores: type[np.float32 | np.int32]
    multiply: Multiply


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _People:
    """A few people's probes, laid out for the product.

    Attributes
    ----------
    first, count : int
        Rows of the result that are theirs.
    columns : ndarray of float32 or int8
        (d, r count): all first vectors, then all second ones.
    own : ndarray of float32 or int32
        (count,), the mates' scores.
    """

    first: int
    count: int
    columns: Numbers
    own: Numbers


def count(
    probes: NDArray[np.int8],
    own: NDArray[np.int64],
    gallery: NDArray[np.int8],
    *,
    chunk: int | None = None,
    threads: int = 1,
) -> NDArray[np.int64]:
    """Count the reference faces that score above each person's mate, and those that score the same.

    Parameters
    ----------
    probes : ndarray of int8
        (n, r, d), d <= `MAX_DIMENSION`: r vectors a person, of which the best counts.
    own : ndarray of int64
        (n,), scores of the mates.
    gallery : ndarray of int8
        (M, g, d), in memory or mapped: g vectors a face, of which the best counts.
    chunk : int, optional
        Reference faces at a time; by itself what fits the cache.
    threads : int
        Each takes every so many-th chunk. Changes no bit.

    Returns
    -------
    ndarray of int64
        (2, n): better, equal.

    Privacy
    -------
    A column is a function of that person's rows and the public gallery (docs/privacy.md, "Exact
    comparisons").
    """
    total, each, dimension = probes.shape
    together = max(1, _PEOPLE // each)
    widest = max(1, min(together, total))
    vectors = each * gallery.shape[1]
    faces = chunk or max(1, min(_MAX_BLOCK_ROWS, _BLOCK_SCORES // (widest * vectors)))
    starts = range(0, len(gallery), faces)
    rows = min(faces, max(1, len(gallery))) * gallery.shape[1]
    product = fastest_product(rows, dimension, widest * each)
    people = _laid_out(probes, own, product, together=together)

    def stripe(which: int) -> NDArray[np.int64]:
        return _count_stripe(people, gallery, starts[which::threads], faces, total, product=product)

    if threads == 1:
        return stripe(0)
    with ThreadPoolExecutor(threads) as pool:
        counts: NDArray[np.int64] = sum(pool.map(stripe, range(1, threads)), start=stripe(0))
        return counts


@functools.cache
def fastest_product(rows: int, dimension: int, columns: int) -> Product:
    """Return the product that is fastest for this shape here: NumPy's, PyTorch's, or of bytes.

    Whether OpenBLAS or MKL is faster depends on the processor and the shape; 8-bit whole numbers
    are several times as fast where the processor multiplies them (AVX-512 VNNI), and out of the
    question elsewhere.
    """
    if importlib.util.find_spec("torch") is None:
        return NUMPY
    draw = np.random.default_rng(0)
    left = draw.choice(np.array([-128, 127], np.int8), (rows, dimension))
    right = draw.choice(np.array([-128, 127], np.int8), (dimension, columns))
    trials = {
        product: (
            left.astype(product.factors),
            right.astype(product.factors),
            np.empty((rows, columns), product.scores),
        )
        for product in (NUMPY, TORCH, BYTES)
    }

    def seconds(product: Product) -> float:
        start = time.perf_counter()
        product.multiply(*trials[product])
        return time.perf_counter() - start

    best = dict.fromkeys((NUMPY, TORCH), math.inf)
    NUMPY.multiply(*trials[NUMPY])
    with suppress(RuntimeError):  # a PyTorch without that product, or a processor
        BYTES.multiply(*trials[BYTES])
        # trusted no further than it was seen, at the largest numbers
        right_there = np.array_equal(trials[BYTES][-1], trials[NUMPY][-1])
        if right_there and seconds(BYTES) < _HOPELESS * seconds(NUMPY):
            best[BYTES] = math.inf
    # In turns: what else the machine does then slows all of them.
    for _ in range(_TRIALS):
        for product, least in best.items():
            best[product] = min(least, seconds(product))
    return min(best, key=best.__getitem__)


def _numpy_product(left: NDArray[Any], right: NDArray[Any], out: NDArray[Any]) -> None:
    np.matmul(left, right, out=out)


def _torch_product(left: NDArray[Any], right: NDArray[Any], out: NDArray[Any]) -> None:
    # imported here: it takes a second, and some never compare
    import torch  # noqa: PLC0415  # loaded where it is asked for

    torch.mm(torch.from_numpy(left), torch.from_numpy(right), out=torch.from_numpy(out))


def _byte_product(left: NDArray[Any], right: NDArray[Any], out: NDArray[Any]) -> None:
    import torch  # noqa: PLC0415  # as above

    multiply = torch._int_mm  # noqa: SLF001  # PyTorch's one 8-bit product
    multiply(torch.from_numpy(left), torch.from_numpy(right), out=torch.from_numpy(out))


NUMPY = Product(factors=np.float32, scores=np.float32, multiply=_numpy_product)
TORCH = Product(factors=np.float32, scores=np.float32, multiply=_torch_product)
BYTES = Product(factors=np.int8, scores=np.int32, multiply=_byte_product)


def _laid_out(
    probes: NDArray[np.int8], own: NDArray[np.int64], product: Product, *, together: int
) -> list[_People]:
    dimension = probes.shape[2]
    laid_out = []
    for first in range(0, len(probes), together):
        some = probes[first : first + together]
        columns = some.astype(product.factors).transpose(2, 1, 0).reshape(dimension, -1)
        laid_out.append(
            _People(
                first=first,
                count=len(some),
                columns=np.ascontiguousarray(columns),
                own=own[first : first + together].astype(product.scores),
            )
        )
    return laid_out


def _count_stripe(
    people: list[_People],
    gallery: NDArray[np.int8],
    starts: range,
    faces: int,
    total: int,
    *,
    product: Product,
) -> NDArray[np.int64]:
    _, each, dimension = gallery.shape
    counts = np.zeros((2, total), dtype=np.int64)
    rows = min(faces, len(gallery))
    # one buffer for all blocks: fresh memory for every product costs a third of the speed
    wide = np.empty((rows * each, dimension), dtype=product.factors)
    room = np.empty(
        rows * each * max((some.columns.shape[1] for some in people), default=0), product.scores
    )
    most = max((some.count for some in people), default=0)
    best = np.empty(rows * most, product.scores)
    flags = np.zeros((rows + _ROWS_A_BYTE) * (most + _WORD), np.bool_)
    for start in starts:
        block = gallery[start : start + faces]
        some_rows = len(block) * each
        np.copyto(wide[:some_rows], block.reshape(some_rows, dimension))
        for some in people:
            width = some.columns.shape[1]
            scores = room[: some_rows * width].reshape(some_rows, width)
            product.multiply(wide[:some_rows], some.columns, scores)
            if scores.shape != (len(block), some.count):
                every = scores.reshape(len(block), -1, some.count)
                scores = best[: len(block) * some.count].reshape(len(block), some.count)
                np.maximum.reduce(every, axis=1, out=scores)
            here = slice(some.first, some.first + some.count)
            above, level = _tally(scores, some.own, flags)
            counts[0, here] += above
            counts[1, here] += level - above
    return counts


def _tally(
    scores: Numbers, own: Numbers, room: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows above, and rows not below, each column's own score."""
    rows, columns = scores.shape
    padded = -(-columns // _WORD) * _WORD
    groups = -(-rows // _ROWS_A_BYTE)
    flags = room[: groups * _ROWS_A_BYTE * padded].reshape(-1, padded)
    flags[rows:] = False
    words = flags.view(np.uint64).reshape(groups, _ROWS_A_BYTE, -1)
    tallies = []
    for compare in (np.greater, np.greater_equal):
        compare(scores, own, out=flags[:rows, :columns])
        sums = np.add.reduce(words, axis=1).view(np.uint8)
        tallies.append(np.add.reduce(sums, axis=0, dtype=np.int64)[:columns])
    return tallies[0], tallies[1]
