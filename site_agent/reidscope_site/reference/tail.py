"""How the scores of public strangers end: pooled z-scores and a generalised Pareto tail.

Each public probe's scores with the gallery are put in its own standard deviations, as a person's
are at a site, and pooled: the tail of all of them reaches further than one probe's. The estimate is
by probability-weighted moments, which needs no search and is the same bits on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reidscope_site.face.calibration import Tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

TAIL_SHARE = 0.01
FEWEST_PAIRS = 100_000
"""Fewer leave the tail with less than a thousand pairs: then there is none."""

_PLOTTING = 0.35
_DIGITS = 9


def pooled_tail(probes: NDArray[np.int8], gallery: NDArray[np.int8]) -> Tail | None:
    """Estimate the tail of public strangers' scores.

    Parameters
    ----------
    probes : ndarray of int8
        (n, d), public people who are not in the gallery.
    gallery : ndarray of int8
        (M, d).

    Returns
    -------
    Tail or None
        None below `FEWEST_PAIRS`, or where the scores have no tail to speak of.
    """
    if len(probes) * len(gallery) < FEWEST_PAIRS:
        return None
    scores = (probes.astype(np.float32) @ gallery.astype(np.float32).T).astype(np.float64)
    spread = scores.std(axis=1, keepdims=True)
    return tail_of(
        (scores - scores.mean(axis=1, keepdims=True))[spread[:, 0] > 0] / spread[spread[:, 0] > 0]
    )


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
