"""The opt-in cells of one person: where the mate stands among the public faces, and far beyond.

    Comparison           -> beaten by how many of M faces      -> class of u  x  found at N
    probe, mate, gallery -> z of the mate -> public tail at z  -> found at N > M / 10, twice

u counts every face that is at least as similar to the probe as the mate: a threshold that lets the
mate in lets those in, too, so that no false match rate is promised that ties would break.

z is the mate's score in standard deviations above the mean of the SAME probe's scores with the
public gallery: one threshold for all probes would mistake a probe that resembles everybody for one
that is recognised. Sums of scores are exact integers; z is their one quotient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.vocabulary import UNMODIFIED, Direction
from reidscope_site.face.evaluate import ReadFaces, comparison, is_released
from reidscope_site.face.found import Comparison, found_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_protocols.tail_tables import Beyond, BeyondCells, Scores
    from reidscope_site.face.calibration import Tail
    from reidscope_site.face.constants import FaceConstants

_CHUNK = 1 << 14  # faces at a time: their squared scores stay below 2^63
_NEARLY_ZERO = 1e-9


def tail_cells(
    scans: Sequence[ReadFaces], constants: FaceConstants, coin: float
) -> tuple[int, ...]:
    """Place of one person in each opt-in table, in the order of `FaceExperiment.tables`.

    Parameters
    ----------
    scans : sequence of ReadFaces
        The person's one scan, or none that could be read.
    constants : FaceConstants
        Public.
    coin : float
        The person's own, in (0, 1]: the one of the joint table.

    Returns
    -------
    tuple of int
        Empty where the study asks for no such table. `not acquired` where the joint table says so;
        lost and in the last class of u where a column has no face, or nobody gets its scan.

    Privacy
    -------
    A function of one person and public constants, for whatever the data are (docs/privacy.md,
    "Opt-in tables of scores").
    """
    asked = constants.experiment
    seen = next(
        (one for one in scans if one.identified and one.released.get(UNMODIFIED) is not None), None
    )
    scores = _score_cells(seen, asked.scores, constants, coin) if asked.scores else ()
    beyond = _beyond_cells(seen, asked.beyond, constants, coin) if asked.beyond else ()
    return scores + beyond


def _score_cells(
    seen: ReadFaces | None, asked: Scores, constants: FaceConstants, coin: float
) -> tuple[int, ...]:
    size = constants.experiment.reference_size
    cells = asked.cells(size)
    if seen is None:
        return (cells.not_acquired,) * len(asked.columns)
    each = [_compared(seen, column, constants) for column in asked.columns]
    return tuple(
        # no face to compare, or a scan that nobody gets: every stranger is in front
        cells.index(size, 0)
        if one is None
        else cells.index(one.better + one.equal, found_at(one, cells.sizes, coin=coin))
        for one in each
    )


def _beyond_cells(
    seen: ReadFaces | None, asked: Beyond, constants: FaceConstants, coin: float
) -> tuple[int, ...]:
    cells = asked.cells(constants.experiment.anchors[-1])
    if seen is None:
        return (cells.not_acquired,) * len(asked.tails)
    return tuple(_beyond(seen, tail.column, constants, cells, coin) for tail in asked.tails)


def _compared(seen: ReadFaces, column: str, constants: FaceConstants) -> Comparison | None:
    if column != UNMODIFIED and not is_released(seen, column, constants.experiment):
        return None
    return comparison(seen, column, constants)


def _beyond(
    seen: ReadFaces, column: str, constants: FaceConstants, cells: BeyondCells, coin: float
) -> int:
    compared = _compared(seen, column, constants)
    tail = constants.readings[column].tail
    if (
        compared is None
        or tail is None
        or found_at(compared, constants.experiment.anchors, coin=coin) < cells.anchor
    ):
        return cells.index(0, 0)
    shares = tail_shares(_z(seen, column, constants), compared, tail)
    gpd, normal = (found_beyond(share, cells.sizes, coin=coin) or cells.anchor for share in shares)
    return cells.index(gpd, normal)


def _z(seen: ReadFaces, column: str, constants: FaceConstants) -> float:
    released = seen.released[column]
    identified, gallery = (seen.identified or {})[column], constants.readings[column].gallery
    if released is None:
        return -math.inf
    if constants.experiment.direction is Direction.POPULATION_TO_SAMPLE:
        return z_score(identified, released, gallery)
    return z_score(released, identified, gallery)


def z_score(probes: NDArray[np.int8], mates: NDArray[np.int8], gallery: NDArray[np.int8]) -> float:
    """How far the mate's score lies above the mean of the public faces', in their deviations.

    Parameters
    ----------
    probes, mates : ndarray of int8
        (r, d) and (g, d), of one person: the best of all pairs is the score.
    gallery : ndarray of int8
        (M, d), public.

    Returns
    -------
    float
        (s M - sum) / sqrt(M sum of squares - sum^2), its integers exact; minus infinity where all
        public faces score alike, so that nothing is extrapolated.

    Privacy
    -------
    Exact and about one person: may not leave the site (docs/privacy.md, "Opt-in tables of scores").
    """
    faces = len(gallery)
    total = squares = 0
    for start in range(0, faces, _CHUNK):
        scores = _scores(probes, gallery[start : start + _CHUNK])
        total += int(scores.sum())
        squares += int((scores * scores).sum())
    mate = int(_scores(probes, mates).max())
    spread = faces * squares - total * total
    return (mate * faces - total) / math.sqrt(spread) if spread > 0 else -math.inf


def _scores(probes: NDArray[np.int8], faces: NDArray[np.int8]) -> NDArray[np.int64]:
    """Score of each face, (n,): exact in float32, as every inner product of 8-bit vectors."""
    products: NDArray[np.float32] = probes.astype(np.float32) @ faces.astype(np.float32).T
    best: NDArray[np.int64] = products.max(axis=0).astype(np.int64)
    return best


def tail_shares(z: float, compared: Comparison, tail: Tail) -> tuple[float, float]:
    """Share of strangers who would beat the mate: by a generalised Pareto tail, by a normal one.

    Both tails begin at the public threshold with the public share of pairs above it. Below it both
    are the share that was counted, of at least one face: a z that is not in the tail gives nobody
    the standing of one whom no face in the world can beat.
    """
    if not z > tail.threshold:
        counted = max(compared.better + compared.equal, 1) / compared.reference_size
        return counted, counted
    return gpd_share(z, tail), normal_share(z, tail)


def gpd_share(z: float, tail: Tail) -> float:
    """Share of pairs above z > threshold by the generalised Pareto tail, in [0, share]."""
    excess = (z - tail.threshold) / tail.scale
    if abs(tail.shape) < _NEARLY_ZERO:
        return tail.share * math.exp(-excess)
    inside = 1 + tail.shape * excess
    # a negative shape has an end: no stranger scores above it
    return tail.share * math.exp(-math.log(inside) / tail.shape) if inside > 0 else 0.0


def normal_share(z: float, tail: Tail) -> float:
    """Share of pairs above z > threshold by a normal tail that is joined there, in [0, share]."""
    return tail.share * math.erfc(z / math.sqrt(2)) / math.erfc(tail.threshold / math.sqrt(2))


def found_beyond(share: float, sizes: Sequence[int], *, coin: float) -> int:
    """Largest of ascending gallery sizes at which (1 - u)^(N - 1) is at least the coin; 0 if none.

    Privacy
    -------
    A function of one person and public constants (docs/privacy.md, "Found at N").
    """
    found = 0
    for size in sizes:
        chance = math.exp((size - 1) * math.log1p(-share)) if share < 1 else 0.0
        if chance < coin:
            break
        found = size
    return found
