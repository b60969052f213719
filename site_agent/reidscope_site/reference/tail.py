"""How the scores of public strangers end: pooled z-scores and a generalised Pareto tail.

Each public probe's scores with the gallery are put in its own standard deviations, as a person's
are at a site, and pooled: the tail of all of them reaches further than one probe's. The estimate is
by probability-weighted moments, which needs no search and is the same bits on every machine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from reidscope_site.face.calibration import Tail
from reidscope_site.face.tails import gpd_share, normal_share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

TAIL_SHARE = 0.01
FEWEST_PAIRS = 100_000
"""Fewer leave the tail with less than a thousand pairs: then there is none."""

FEWEST_PEOPLE = 20
"""Fewer do not tell how far a tail is that of these people alone."""

GROUPS = 8
SIZES = tuple(round(10 ** (half / 2)) for half in range(6, 19))
"""1,000 to a billion faces, two to a decade."""

_PLOTTING = 0.35
_DIGITS = 9


def pooled_tail(
    probes: NDArray[np.int8], mates: NDArray[np.int8], gallery: NDArray[np.int8]
) -> Tail | None:
    """Estimate the tail of public strangers' scores, and what it leaves uncertain.

    Parameters
    ----------
    probes, mates : ndarray of int8
        (n, d), public people who are not in the gallery.
    gallery : ndarray of int8
        (M, d).

    Returns
    -------
    Tail or None
        None below `FEWEST_PAIRS` or `FEWEST_PEOPLE`, or where the scores have no tail to speak of.
    """
    scores = (probes.astype(np.float32) @ gallery.astype(np.float32).T).astype(np.float64)
    mean, spread = scores.mean(axis=1), scores.std(axis=1)
    kept = spread > 0
    if kept.sum() < FEWEST_PEOPLE or kept.sum() * len(gallery) < FEWEST_PAIRS:
        return None
    own = np.einsum("nd,nd->n", probes, mates, dtype=np.int64)
    strangers = ((scores - mean[:, None])[kept]) / spread[kept, None]
    tail = tail_of(strangers)
    if tail is None:
        return None
    found = (own[kept] - mean[kept]) / spread[kept]
    return tail.model_copy(update={"spread": tail_spread(strangers, found)})


def tail_spread(
    strangers: NDArray[np.float64], mates: NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    """Leave out a group of public people at a time, and see how the rates of their mates move.

    Parameters
    ----------
    strangers : ndarray
        z-scores, (people, faces).
    mates : ndarray
        z-score of each one's mate, (people,).

    Returns
    -------
    dict
        Model, then gallery size, to the jackknife's standard deviation of the rate there.
    """
    people = np.arange(len(strangers))
    tails = [tail_of(strangers[people % GROUPS != group]) for group in range(GROUPS)]
    left = [tail for tail in tails if tail is not None]
    return {
        model: {
            str(size): round(
                _jackknife([_rate(mates, tail, share, size) for tail in left]), _DIGITS
            )
            for size in SIZES
        }
        for model, share in (("gpd", gpd_share), ("normal", normal_share))
    }


def _rate(
    mates: NDArray[np.float64], tail: Tail, share: Callable[[float, Tail], float], size: int
) -> float:
    """Mean chance of rank 1 among `size`; whoever is not in the tail is lost."""
    chances = [
        math.exp((size - 1) * math.log1p(-share(float(z), tail)))
        for z in mates
        if z > tail.threshold
    ]
    return math.fsum(chances) / len(mates)


def _jackknife(rates: Sequence[float]) -> float:
    mean = math.fsum(rates) / len(rates)
    squares = math.fsum((rate - mean) ** 2 for rate in rates)
    return math.sqrt((len(rates) - 1) / len(rates) * squares)


def tail_of(standardised: NDArray[np.float64]) -> Tail | None:
    """Estimate the tail of z-scores, (people, faces)."""
    people = len(standardised)
    pooled = np.sort(standardised, axis=None)[::-1]
    above = int(len(pooled) * TAIL_SHARE)
    if not above or pooled[0] <= pooled[above]:
        return None
    threshold = float(pooled[above])
    excesses = np.sort(pooled[pooled > threshold] - threshold)
    shape, scale = gpd_by_moments(excesses)
    fits = threshold >= 0 and -1 <= shape <= 1 and scale > 0
    if not fits:
        return None
    return Tail(
        people=people,
        pairs=len(pooled),
        threshold=round(threshold, _DIGITS),
        share=round(len(excesses) / len(pooled), _DIGITS),
        shape=round(shape, _DIGITS),
        scale=round(scale, _DIGITS),
    )


def gpd_by_moments(excesses: NDArray[np.float64]) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution from ascending excesses.

    References
    ----------
    Hosking and Wallis (1987), probability-weighted moments; their k is minus the shape.
    """
    places = (np.arange(1, len(excesses) + 1) - _PLOTTING) / len(excesses)
    mean = float(excesses.mean())
    weighted = float((excesses * (1 - places)).mean())
    apart = mean - 2 * weighted
    return 2 - mean / apart, 2 * mean * weighted / apart
