"""What the choice of ONE reference gallery adds to the error of every rate: sigma_G(N).

All probes of a study meet the same gallery, so its luck does not average out over people. It is
estimated on public probes: the gallery is resampled with replacement, and the mean chance of rank 1
over the probes varies by sigma_G. A little of each probe's own luck stays in, over the number of
probes: an overestimate, on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_site.face.found import Comparison, chance_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

RESAMPLINGS = 200
_SEED = 20240607


def mean_chance(comparisons: Iterable[Comparison], gallery_size: int, *, people: int) -> float:
    """Mean chance of rank 1 at N over `people`, those without a comparison (no face) counting 0."""
    return sum(chance_at(one, gallery_size) for one in comparisons) / people


@dataclass(frozen=True, slots=True, kw_only=True)
class GallerySpread:
    """What the choice of one gallery does to two kinds of share.

    Attributes
    ----------
    found : dict
        Gallery size N to the standard deviation of the mean chance of rank 1 at N.
    beaten : dict
        Count of faces to the standard deviation of the share of people beaten by no more.
    """

    found: dict[int, float]
    beaten: dict[int, float]


def sigma_gallery(
    probes: NDArray[np.int8],
    mates: NDArray[np.int8],
    gallery: NDArray[np.int8],
    anchors: Sequence[int],
    edges: Sequence[int] = (),
    *,
    resamplings: int = RESAMPLINGS,
) -> GallerySpread:
    """Take the standard deviation of rates over resampled galleries.

    Parameters
    ----------
    probes, mates : ndarray of int8
        (n, d), public people.
    gallery : ndarray of int8
        (M, d).
    anchors : sequence of int
        Gallery sizes N.
    edges : sequence of int
        Counts of faces.
    resamplings : int
        Galleries drawn.
    """
    size = len(gallery)
    scores = probes.astype(np.float32) @ gallery.astype(np.float32).T
    own = np.einsum("nd,nd->n", probes, mates, dtype=np.int64).astype(np.float32)[:, None]
    better = (scores > own).astype(np.float32)
    equal = (scores == own).astype(np.float32)
    draw = np.random.default_rng(_SEED)
    means: dict[int, list[float]] = {anchor: [] for anchor in anchors}
    shares: dict[int, list[float]] = {edge: [] for edge in edges}
    for _ in range(resamplings):
        # how often each face is drawn; the two products are exact, being small whole numbers
        times = draw.multinomial(size, np.full(size, 1 / size)).astype(np.float32)
        drawn = [
            Comparison(better=int(b), equal=int(e), reference_size=size)
            for b, e in zip(better @ times, equal @ times, strict=True)
        ]
        for anchor in anchors:
            means[anchor].append(mean_chance(drawn, anchor, people=len(drawn)))
        beaten_by = np.array([one.better + one.equal for one in drawn])
        for edge in edges:
            shares[edge].append(float((beaten_by <= edge).mean()))
    return GallerySpread(found=_spread(means), beaten=_spread(shares))


def _spread(drawn: dict[int, list[float]]) -> dict[int, float]:
    return {place: float(np.std(values, ddof=1)) for place, values in drawn.items()}
