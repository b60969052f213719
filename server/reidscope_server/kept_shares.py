"""Sets of shares that are kept by a rule, as intervals, and how t and normal errors add up.

Two parts that the intervals over sites have in common. Shares differ more in the middle of the
scale than near its ends: a site's share spreads like p (1 - p), and its noisy count likewise. An
interval whose width is read off three or five sites near an end is too short towards the middle.
So these sets let the spread grow with p, and their ends have no closed form.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reidscope_server.intervals import Interval
from reidscope_server.student import two_sided

Floats = NDArray[np.float64]
Keeps = Callable[[Floats], NDArray[np.bool_]]

CONFIDENCE = 0.95
Z = 1.959963984540054
_GRID = np.sin(np.linspace(0.0, np.pi / 2, 513)) ** 2  # finest at 0 and 1
_FINER, _ROUNDS = np.linspace(0.0, 1.0, 33), 4
_TOGETHER = 1.5


def hull_of_kept(keeps: Keeps, mean: float) -> Interval:
    """Return the hull of the shares that are kept, and of `mean`.

    Parameters
    ----------
    keeps : callable
        Shares in [0, 1], shape (any,) -> which are kept, same shape.
    mean : float
        In [0, 1]; kept whatever the rule says.

    Returns
    -------
    Interval
        Within [0, 1]; ends are exact to 1e-9 unless the set has gaps finer than 1/300.
    """
    (kept,) = np.nonzero(keeps(_GRID))
    if not len(kept):
        return Interval(mean, mean)
    first, last = int(kept[0]), int(kept[-1])
    # One row an end: from the last share outside to the first inside.
    ends = _GRID[[[max(first - 1, 0), first], [min(last + 1, len(_GRID) - 1), last]]]
    for _ in range(_ROUNDS):
        finer = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * _FINER
        inside = keeps(finer.ravel()).reshape(finer.shape)
        inside[:, -1] = True
        places = inside.argmax(axis=1)
        rows = np.arange(2)
        ends = np.stack([finer[rows, np.maximum(places - 1, 0)], finer[rows, places]], axis=1)
    return Interval(min(float(ends[0, 1]), mean), max(float(ends[1, 1]), mean))


def reach_squared(spread: Floats, gallery: Floats | float, freedom: int) -> Floats:
    """Square of how far an error may lie whose variance is partly known.

    Parameters
    ----------
    spread : ndarray
        Variance estimated with `freedom` degrees of freedom.
    gallery : float or ndarray
        Variance that is known.
    freedom : int
        At least 1.

    Returns
    -------
    ndarray
        (A + G) [z^2 + (t^2 - z^2) (A / (A + G))^(3/2)]: Student's where G is nought, the normal's
        where A is. With A for A_true chi^2 / freedom that is kept 94.8 to 96.4 times in 100 for
        every ratio of the two from 2 degrees of freedom (94.1 to 97.5 with 1); t^2 A + z^2 G up to
        97.7 (98.7), and Welch's degrees of freedom, read off A, as little as 90 with 2.
    """
    both = np.maximum(spread + gallery, np.finfo(float).tiny)
    t = two_sided(CONFIDENCE, freedom)
    return both * (Z * Z + (t * t - Z * Z) * (spread / both) ** _TOGETHER)
