"""A probe, its mate and a public gallery, compared in exact integers.

Embeddings are centred by a public mean, brought to unit length and rounded to 8 bits with one
public scale. An inner product of two is an integer of at most 2^24, which float32 holds exactly
whatever the order of summation, as 32-bit whole numbers do: batches, machines, thread counts and
graphics cards agree to the bit (docs/privacy.md, "Exact comparisons").

A recogniser that was trained for Euclidean distances loses nothing here: between unit vectors
|a - b|^2 = 2 - 2 a.b, so that the smallest distance is the largest inner product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from reidscope_protocols.errors import InvariantError
from reidscope_site.face import products
from reidscope_site.face.found import Comparison, Comparisons
from reidscope_site.face.products import MAX_DIMENSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.products_cuda import Resident
    from reidscope_site.face.recognise import Embedding

__all__ = [
    "MAX_DIMENSION",
    "Device",
    "compare",
    "compare_batch",
    "compare_best",
    "quantise",
    "quantised",
]

Device = Literal["cpu", "cuda"]

LARGEST = 127
STANDARD_DEVIATIONS = 4
"""A coordinate of a random unit vector is 1/sqrt(d) on average; so many of them fill the 8 bits."""

_BATCH = 2  # axes


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
    Biometric data of one person: stays in the process (docs/privacy.md, "What stays at the site").
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
    probe: NDArray[np.int8], mate: NDArray[np.int8], gallery: NDArray[np.int8] | Resident
) -> Comparison:
    """How the mate fares against the gallery.

    Parameters
    ----------
    probe, mate : ndarray of int8
        (d,), of one person.
    gallery : ndarray of int8 or Resident
        (M, d), public.

    Privacy
    -------
    A function of one person and public faces (docs/privacy.md, "Exact comparisons").
    """
    return compare_batch(probe[None], mate[None], gallery)[0]


def compare_batch(
    probes: NDArray[np.int8],
    mates: NDArray[np.int8],
    gallery: NDArray[np.int8] | Resident,
    *,
    chunk: int | None = None,
    device: Device = "cpu",
    threads: int = 1,
) -> Comparisons:
    """Do `compare` for many people at once, bit for bit, in memory of a fixed size.

    Parameters
    ----------
    probes, mates : ndarray of int8
        (n, d); row i of both is person i.
    gallery : ndarray of int8 or Resident
        (M, d); may be a memory map, or stay on the card (`products_cuda.upload`).
    chunk : int, optional
        Gallery faces at a time.
    device : str
        `cpu` or `cuda`: the same bits.
    threads : int
        On the CPU. Changes no bit.

    Raises
    ------
    InvariantError
        If the three do not belong together.
    UnsupportedError
        If `cuda` is asked for and not there.

    Privacy
    -------
    Each element is a function of its own row alone: exact integers leave nothing to the batch
    (docs/privacy.md, "Exact comparisons").
    """
    if probes.ndim != _BATCH or mates.ndim != _BATCH or len(gallery.shape) < _BATCH:
        raise _mismatch(probes.shape, mates.shape, gallery.shape)
    return compare_best(probes, mates, gallery, chunk=chunk, device=device, threads=threads)


def compare_best(
    probes: NDArray[np.int8],
    mates: NDArray[np.int8],
    gallery: NDArray[np.int8] | Resident,
    *,
    chunk: int | None = None,
    device: Device = "cpu",
    threads: int = 1,
) -> Comparisons:
    """Compare people of several vectors each: the best of all pairs of vectors counts.

    Several renders of one scan, or several photos of each face of the gallery: the score of a face
    is the largest inner product of any vector of the person with any vector of the face, for the
    mate as for everybody else. Whoever has fewer vectors repeats one of them: that changes no
    maximum.

    Parameters
    ----------
    probes : ndarray of int8
        (n, r, d), or (n, d) for one vector a person.
    mates : ndarray of int8
        (n, g, d), or (n, d) for one vector a mate.
    gallery : ndarray of int8 or Resident
        (M, g, d), or (M, d): as many vectors a face as a mate has, lest more tries help strangers.
    chunk, device, threads
        As in `compare_batch`.

    Raises
    ------
    InvariantError
        If the three do not belong together.
    UnsupportedError
        If `cuda` is asked for and not there.

    Privacy
    -------
    Each element is a function of that person's own vectors and public faces (docs/privacy.md,
    "Exact comparisons").
    """
    ours, theirs = _grouped(probes), _grouped(mates)
    faces = _grouped(gallery) if isinstance(gallery, np.ndarray) else gallery
    _check(ours, theirs, faces)
    own = _best_of_mate(ours, theirs)
    if device == "cpu" and isinstance(faces, np.ndarray):
        counts = products.count(ours, own, faces, chunk=chunk, threads=threads)
    else:
        # imported here: a site without a card needs none of it
        from reidscope_site.face import products_cuda  # noqa: PLC0415  # a card

        if isinstance(faces, np.ndarray):
            products_cuda.require()
        counts = products_cuda.count(ours, own, faces, chunk=chunk)
    return Comparisons(better=counts[0], equal=counts[1], reference_size=faces.shape[0])


def _best_of_mate(probes: NDArray[np.int8], mates: NDArray[np.int8]) -> NDArray[np.int64]:
    """Score of each person's mate, (n,): exact in float32, as every inner product here."""
    scores = np.matmul(probes.astype(np.float32), mates.astype(np.float32).transpose(0, 2, 1))
    best: NDArray[np.float32] = scores.max(axis=(1, 2))
    return best.astype(np.int64)


def _grouped(rows: NDArray[np.int8]) -> NDArray[np.int8]:
    return rows[:, None] if rows.ndim == _BATCH else rows


def _check(
    probes: NDArray[np.int8], mates: NDArray[np.int8], gallery: NDArray[np.int8] | Resident
) -> None:
    kinds = {probes.dtype, mates.dtype}
    if isinstance(gallery, np.ndarray):
        kinds.add(gallery.dtype)
    shapes = probes.shape, mates.shape, gallery.shape
    if (
        kinds != {np.dtype(np.int8)}
        or {len(shape) for shape in shapes} != {_BATCH + 1}
        or len(probes) != len(mates)
        or mates.shape[1] != gallery.shape[1]
        or 0 in (probes.shape[1], mates.shape[1])
        or len({shape[2] for shape in shapes}) != 1
        or not 0 < probes.shape[2] <= MAX_DIMENSION
    ):
        raise _mismatch(*shapes)


def _mismatch(*shapes: tuple[int, ...]) -> InvariantError:
    return InvariantError(
        "a comparison",
        got="shapes " + ", ".join(map(str, shapes)) + ", or no 8 bits",
        expected=f"int8 of one dimension up to {MAX_DIMENSION}",
        do="report it: the gallery and the recogniser do not belong together",
    )
