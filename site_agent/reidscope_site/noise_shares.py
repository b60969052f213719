"""Drawing a site's part of the noise: exact integers, the system's randomness, no seed."""

from __future__ import annotations

import secrets
from bisect import bisect_right

from reidscope_protocols.polya import UNIFORM_BITS, PolyaShare, cumulative


def draw(share: PolyaShare, count: int) -> tuple[int, ...]:
    """Draw the noise shares of `count` cells; every call draws anew.

    Parameters
    ----------
    share : PolyaShare
        The law that the study and its list of participants give.
    count : int
        Cells, at least 0.

    Returns
    -------
    tuple of int
        X - Y each, X and Y negative binomial: no floating-point number has a part in them.

    Privacy
    -------
    One share hides a person by `share.alone()`; the sum of K - t by the whole epsilon
    (docs/privacy.md, "Noise in shares"; docs/distributed-noise.md, "Shares of noise"). How long a
    draw takes depends a little on it: answers leave when they are asked for, not when they are
    drawn.
    """
    table = cumulative(share)

    def half() -> int:
        return bisect_right(table, secrets.randbits(UNIFORM_BITS))

    return tuple(half() - half() for _ in range(count))
