"""A probe, its mate and a public gallery, compared in exact integers.

Embeddings are centred by a public mean, brought to unit length and rounded to 8 bits with one
public scale. An inner product of two is an integer below 2^24, which float32 holds exactly whatever
the order of summation: batches, machines and thread counts agree to the bit (docs/privacy.md,
"Exact comparisons").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.errors import InvariantError
from reidscope_site.face.found import Comparison

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.recognise import Embedding

LARGEST = 127
STANDARD_DEVIATIONS = 4
"""A coordinate of a random unit vector is 1/sqrt(d) on average; so many of them fill the 8 bits."""

MAX_DIMENSION = (1 << 24) // LARGEST**2
"""Longest embedding whose inner products float32 holds exactly."""

GALLERY_CHUNK = 8192
_PROBE_CHUNK = 512


def quantise(embedding: Embedding, mean: NDArray[np.float32]) -> NDArray[np.int8]:
    """Centre, normalise and round an embedding.

    Parameters
    ----------
    embedding : Embedding
        (d,).
    mean : ndarray of float32
        (d,), public: of photos, or of scans treated by one arm.

    Returns
    -------
    ndarray of int8
        (d,), clip(rint(127 e sqrt(d) / 4), -127, 127); zeros if the embedding is the mean itself.

    Privacy
    -------
    Biometric data of one person: stays in the process.
    """
    if embedding.values.shape != mean.shape or not np.isfinite(embedding.values).all():
        raise InvariantError(
            "an embedding",
            got=f"{embedding.values.size} numbers, or not all finite",
            expected=f"{mean.size} finite numbers",
            do="report it: the recogniser and the calibration do not belong together",
        )
    row: NDArray[np.int8] = quantised(embedding.values[None], mean)[0]
    return row


def quantised(values: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.int8]:
    """Quantise many embeddings at once, (n, d): row by row what `quantise` does."""
    centred = values.astype(np.float64) - mean.astype(np.float64)
    # summed row by row in one order: a row does not depend on how many there are
    length = np.sqrt(np.add.reduce(centred**2, axis=1, keepdims=True))
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    scaled = np.rint(LARGEST * unit * np.sqrt(values.shape[1]) / STANDARD_DEVIATIONS)
    rounded: NDArray[np.int8] = np.clip(scaled, -LARGEST, LARGEST).astype(np.int8)
    return rounded


def compare(
    probe: NDArray[np.int8], mate: NDArray[np.int8], gallery: NDArray[np.int8]
) -> Comparison:
    """How the mate fares against the gallery.

    Parameters
    ----------
    probe, mate : ndarray of int8
        (d,), of one person.
    gallery : ndarray of int8
        (M, d), public.

    Privacy
    -------
    A function of one person and public faces.
    """
    return compare_batch(probe[None], mate[None], gallery)[0]


def compare_batch(
    probes: NDArray[np.int8],
    mates: NDArray[np.int8],
    gallery: NDArray[np.int8],
    *,
    chunk: int = GALLERY_CHUNK,
) -> list[Comparison]:
    """`compare` for many people at once, bit for bit, in memory that does not grow with them.

    Parameters
    ----------
    probes, mates : ndarray of int8
        (n, d); row i of both is person i.
    gallery : ndarray of int8
        (M, d).
    chunk : int
        Gallery faces at a time.

    Privacy
    -------
    Each element is a function of its own row alone: exact integers leave nothing to the batch.
    """
    _check(probes, mates, gallery)
    people, size = len(probes), len(gallery)
    mate_scores = np.einsum("nd,nd->n", probes, mates, dtype=np.int64).astype(np.float32)
    better = np.zeros(people, dtype=np.int64)
    equal = np.zeros(people, dtype=np.int64)
    wide = probes.astype(np.float32)
    # one buffer for all chunks: fresh memory for every product costs a third of the speed
    room = np.empty((min(people, _PROBE_CHUNK), min(size, chunk)), dtype=np.float32)
    flags = np.empty(room.shape[1], dtype=np.bool_)
    for start in range(0, size, chunk):
        faces = gallery[start : start + chunk].astype(np.float32).T
        beaten = flags[: faces.shape[1]]
        for first in range(0, people, _PROBE_CHUNK):
            some = wide[first : first + _PROBE_CHUNK]
            scores = np.matmul(some, faces, out=room[: len(some), : faces.shape[1]])
            for row, score in enumerate(scores, start=first):
                own = mate_scores[row]
                better[row] += np.count_nonzero(np.greater(score, own, out=beaten))
                equal[row] += np.count_nonzero(np.equal(score, own, out=beaten))
    return [
        Comparison(better=int(b), equal=int(e), reference_size=size)
        for b, e in zip(better, equal, strict=True)
    ]


def _check(probes: NDArray[np.int8], mates: NDArray[np.int8], gallery: NDArray[np.int8]) -> None:
    dimension = gallery.shape[-1]
    if not (
        {probes.dtype, mates.dtype, gallery.dtype} == {np.dtype(np.int8)}
        and probes.shape == mates.shape
        and probes.shape[1:] == gallery.shape[1:] == (dimension,)
        and 0 < dimension <= MAX_DIMENSION
    ):
        raise InvariantError(
            "a comparison",
            got=f"shapes {probes.shape}, {mates.shape}, {gallery.shape}",
            expected=f"int8 of one dimension up to {MAX_DIMENSION}",
            do="report it: the gallery and the recogniser do not belong together",
        )
