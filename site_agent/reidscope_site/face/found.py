"""Whether this person would be found among N strangers.

A recogniser compared one person's scan with the person's own photo (the mate) and with every face
of a public reference gallery. Here that comparison becomes one of a few public classes, with a coin
of the person's own:

    Comparison -> chance_first(N) -> found_at(anchors, coin) -> the largest anchor at which the
    person is found

Nothing here sees a second person. Reading the comparison off embeddings is `compare`'s business;
naming cells is the experiment's; noise is the release's.
"""

from __future__ import annotations

import hmac
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidscope_protocols.errors import InvariantError
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

_COIN_DOMAIN = b"reidscope/coin/v1"
_COIN_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Unsendable):
    """How one person's mate fared against the public reference gallery.

    Attributes
    ----------
    better : int
        Reference faces more similar to the probe than the mate is.
    equal : int
        Reference faces exactly as similar: similarities are integers.
    reference_size : int
        Faces in the reference gallery, M.

    Raises
    ------
    InvariantError
        If no gallery of that size can have produced the counts.

    Privacy
    -------
    Exact and about one person: may not leave the site. Has no serialiser (docs/privacy.md, "Found
    at N").
    """

    better: int
    equal: int
    reference_size: int

    def __post_init__(self) -> None:
        if not 0 <= self.better <= self.better + self.equal <= self.reference_size:
            raise _impossible(self.reference_size)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparisons(Unsendable):
    """`Comparison` of many people, in columns: a million people need no million objects.

    Attributes
    ----------
    better, equal : ndarray of int64
        (n,); place i is person i.
    reference_size : int
        M, of all of them.

    Raises
    ------
    InvariantError
        If no gallery of that size can have produced the counts.

    Privacy
    -------
    Exact, each element about one person: may not leave the site. Has no serialiser
    (docs/privacy.md, "Found at N").
    """

    better: NDArray[np.int64]
    equal: NDArray[np.int64]
    reference_size: int

    def __post_init__(self) -> None:
        up_to = self.better + self.equal
        possible = (self.better >= 0) & (self.equal >= 0) & (up_to <= self.reference_size)
        if self.better.shape != self.equal.shape or not possible.all():
            raise _impossible(self.reference_size)

    def __len__(self) -> int:
        return len(self.better)

    def __getitem__(self, person: int) -> Comparison:
        return Comparison(
            better=int(self.better[person]),
            equal=int(self.equal[person]),
            reference_size=self.reference_size,
        )

    def __iter__(self) -> Iterator[Comparison]:
        return map(self.__getitem__, range(len(self)))


def _impossible(reference_size: int) -> InvariantError:
    return InvariantError(
        "a comparison with the reference gallery",
        got="counts outside it",
        expected=f"better and equal faces within {reference_size}",
        do="report it",
    )


def chance_first(beaten_by: int, *, gallery_size: int, reference_size: int) -> float:
    """Chance that the mate ranks first among `gallery_size` faces.

    The gallery is the mate and `gallery_size` - 1 faces drawn from the reference without
    replacement, so the chance is C(M - k, N - 1) / C(M, N - 1): exact, where (1 - k/M)^(N - 1) is
    biased upward from N = M/10 on.

    Parameters
    ----------
    beaten_by : int
        k, reference faces that outrank the mate; 0 <= k <= M.
    gallery_size : int
        N; 2 <= N <= M + 1.
    reference_size : int
        M.

    Returns
    -------
    float
        In [0, 1]; falls as `beaten_by` or `gallery_size` grows.

    References
    ----------
    Hypergeometric distribution; docs/privacy.md, "Found at N".
    """
    drawn = gallery_size - 1
    spared = reference_size - beaten_by
    if drawn > spared:
        return 0.0
    log_chance = (
        math.lgamma(spared + 1)
        - math.lgamma(spared - drawn + 1)
        - math.lgamma(reference_size + 1)
        + math.lgamma(reference_size - drawn + 1)
    )
    return min(1.0, math.exp(log_chance))


def chance_at(comparison: Comparison, gallery_size: int) -> float:
    """Chance that the person ranks first in a gallery of N.

    Faces tied with the mate are as likely above it as below: the chance is averaged over the tied
    ranks, so that a recogniser that collapses many faces onto one similarity is charged neither for
    nor against.

    Parameters
    ----------
    comparison : Comparison
        The person's own.
    gallery_size : int
        N, within [2, M + 1].

    Returns
    -------
    float
        In [0, 1]; does not rise with N.

    Privacy
    -------
    Exact and about one person: may not leave the site (docs/privacy.md, "Found at N").
    """
    ranks = range(comparison.better, comparison.better + comparison.equal + 1)
    chances = [
        chance_first(k, gallery_size=gallery_size, reference_size=comparison.reference_size)
        for k in ranks
    ]
    return math.fsum(chances) / len(chances)


def coin(coin_key: bytes, *, pseudonym: str, study_sha256: str) -> float:
    """Toss the person's secret coin for one study: the same in every arm, on every run.

    Parameters
    ----------
    coin_key : bytes
        The site's branch for coins; never the site key itself.
    pseudonym : str
        The person, at this site.
    study_sha256 : str
        Of the signed study.

    Returns
    -------
    float
        In (0, 1], uniform to whoever does not hold `coin_key`.

    Privacy
    -------
    Depends on one person and the site's key; never leaves the site. docs/privacy.md, "The coin".
    """
    message = b"\x00".join((_COIN_DOMAIN, study_sha256.encode(), pseudonym.encode()))
    digest = hmac.digest(coin_key, message, "sha256")
    draw = int.from_bytes(digest[: _COIN_BITS // 8], "big")
    return (draw + 1) / (1 << _COIN_BITS)


def found_at(comparison: Comparison, anchors: Sequence[int], *, coin: float) -> int:
    """Largest anchor gallery size at which the person is found, 0 if at none.

    Parameters
    ----------
    comparison : Comparison
        The person's own.
    anchors : sequence of int
        Ascending gallery sizes, each within [2, M + 1].
    coin : float
        In (0, 1].

    Privacy
    -------
    A function of one person and public constants: one person moves one cell (docs/privacy.md,
    "Found at N").
    """
    found = 0
    for anchor in anchors:
        if chance_at(comparison, anchor) < coin:
            break
        found = anchor
    return found
