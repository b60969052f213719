"""Exact inner products counted as they are made: no matrix of scores is ever whole.

Whole numbers up to 127 (128 at the edge) in float32: every partial sum of at most
`MAX_DIMENSION` products is an integer below 2^24, which float32 holds exactly, so that any order of
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
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Multiply = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], object]

MAX_DIMENSION = (1 << 24) // 128**2
"""Longest embedding whose inner products float32 holds exactly, whatever its 8 bits are."""

_ROWS_A_BYTE = 255
_PEOPLE = 512
_BLOCK_ROWS = 4 * _ROWS_A_BYTE
_BLOCK_SCORES = _BLOCK_ROWS * _PEOPLE
_MAX_BLOCK_ROWS = 32 * _ROWS_A_BYTE
_WORD = 8  # bytes
_TRIALS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _People:
    """A few people's probes, laid out for the product.

    Attributes
    ----------
    first, count : int
        Rows of the result that are theirs.
    columns : ndarray of float32
        (d, r count): all first vectors, then all second ones.
    own : ndarray of float32
        (count,), the mates' scores.
    """

    first: int
    count: int
    columns: NDArray[np.float32]
    own: NDArray[np.float32]


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
    people = _laid_out(probes, own)
    vectors = probes.shape[1] * gallery.shape[1]
    widest = max((some.count for some in people), default=1)
    faces = chunk or max(1, min(_MAX_BLOCK_ROWS, _BLOCK_SCORES // (widest * vectors)))
    starts = range(0, len(gallery), faces)

    rows = min(faces, max(1, len(gallery))) * gallery.shape[1]
    multiply = fastest_product(rows, probes.shape[2], max(1, widest) * probes.shape[1])

    def stripe(which: int) -> NDArray[np.int64]:
        return _count_stripe(
            people, gallery, starts[which::threads], faces, len(probes), multiply=multiply
        )

    if threads == 1:
        return stripe(0)
    with ThreadPoolExecutor(threads) as pool:
        counts: NDArray[np.int64] = sum(pool.map(stripe, range(1, threads)), start=stripe(0))
        return counts


@functools.cache
def fastest_product(rows: int, dimension: int, columns: int) -> Multiply:
    """Return NumPy's product or PyTorch's, whichever is faster for this shape: the same bits.

    Whether OpenBLAS or MKL is faster depends on the processor and the shape.
    """
    if importlib.util.find_spec("torch") is None:
        return _numpy_product
    left = np.ones((rows, dimension), np.float32)
    right = np.ones((dimension, columns), np.float32)
    out = np.empty((rows, columns), np.float32)

    def seconds(multiply: Multiply) -> float:
        start = time.perf_counter()
        multiply(left, right, out)
        return time.perf_counter() - start

    # In turns: what else the machine does then slows both.
    best = dict.fromkeys((_numpy_product, _torch_product), math.inf)
    for _ in range(_TRIALS):
        for multiply, least in best.items():
            best[multiply] = min(least, seconds(multiply))
    return min(best, key=best.__getitem__)


def _numpy_product(
    left: NDArray[np.float32], right: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    np.matmul(left, right, out=out)


def _torch_product(
    left: NDArray[np.float32], right: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    # imported here: it takes a second, and some never compare
    import torch  # noqa: PLC0415  # loaded where it is asked for

    torch.mm(torch.from_numpy(left), torch.from_numpy(right), out=torch.from_numpy(out))


def _laid_out(probes: NDArray[np.int8], own: NDArray[np.int64]) -> list[_People]:
    total, vectors, dimension = probes.shape
    step = max(1, _PEOPLE // vectors)
    laid_out = []
    for first in range(0, total, step):
        some = probes[first : first + step]
        columns = some.astype(np.float32).transpose(2, 1, 0).reshape(dimension, -1)
        laid_out.append(
            _People(
                first=first,
                count=len(some),
                columns=np.ascontiguousarray(columns),
                own=own[first : first + step].astype(np.float32),
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
    multiply: Multiply,
) -> NDArray[np.int64]:
    _, each, dimension = gallery.shape
    counts = np.zeros((2, total), dtype=np.int64)
    rows = min(faces, len(gallery))
    # one buffer for all blocks: fresh memory for every product costs a third of the speed
    wide = np.empty((rows * each, dimension), dtype=np.float32)
    room = np.empty(
        rows * each * max((some.columns.shape[1] for some in people), default=0), np.float32
    )
    most = max((some.count for some in people), default=0)
    best = np.empty(rows * most, np.float32)
    flags = np.zeros((rows + _ROWS_A_BYTE) * (most + _WORD), np.bool_)
    for start in starts:
        block = gallery[start : start + faces]
        some_rows = len(block) * each
        np.copyto(wide[:some_rows], block.reshape(some_rows, dimension))
        for some in people:
            width = some.columns.shape[1]
            scores = room[: some_rows * width].reshape(some_rows, width)
            multiply(wide[:some_rows], some.columns, scores)
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
    scores: NDArray[np.float32], own: NDArray[np.float32], room: NDArray[np.bool_]
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
