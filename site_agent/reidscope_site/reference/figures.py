"""What the attack reaches on public people: rates, ties, the reference's error, strangers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.tail_tables import FEWEST_FACES
from reidscope_protocols.vocabulary import UNMODIFIED, Attacker, Fusion
from reidscope_site.face.calibration import (
    PublicFigures,
    Tail,
    gallery_name,
    means_of,
    reading_name,
)
from reidscope_site.face.card import on_card
from reidscope_site.face.compare import compare_batch, quantised
from reidscope_site.reference.gallery_error import GallerySpread, mean_chance, sigma_gallery
from reidscope_site.reference.tail import pooled_tail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from reidscope_site.reference.plan import Plan

_DIGITS = 6


def ladder(size: int) -> tuple[int, ...]:
    """Climb from the fewest faces that are measured to all but one, about four to a decade."""
    steps = range(int(4 * math.log10(max(size / FEWEST_FACES, 1))) + 1)
    climbed = {min(round(FEWEST_FACES * 10 ** (step / 4)), size - 1) for step in steps}
    return tuple(sorted({*climbed, size - 1}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Public probes, described: row i of everything is person i.

    Attributes
    ----------
    identified : ndarray of float32
        (n, d), not-a-numbers without a face.
    released : mapping
        Reading to (n, d).
    """

    identified: NDArray[np.float32]
    released: Mapping[str, NDArray[np.float32]]

    def acquired(self) -> NDArray[np.bool_]:
        """Who has a face on both sides before any defacing, (n,)."""
        before = self.released[reading_name(UNMODIFIED, Attacker.CALIBRATED)]
        both: NDArray[np.bool_] = ~np.isnan(self.identified[:, 0]) & ~np.isnan(before[:, 0])
        return both


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The attack on public probes."""

    plan: Plan
    probes: Probes
    means: Mapping[str, NDArray[np.float32]]
    galleries: Mapping[str, NDArray[np.int8]]

    def figures(self) -> PublicFigures:
        """Rates at every anchor; no face in an arm is a miss."""
        people = int(self.probes.acquired().sum())
        found, ties, strangers = {}, {}, {}
        for arm, attacker in self.plan.readings:
            name = reading_name(arm, attacker)
            gallery = self.galleries[gallery_name(arm, attacker, self.plan.direction)]
            probes, mates = self._pairs(arm, attacker)
            held = on_card(gallery, vectors=len(probes)) or gallery
            compared = compare_batch(probes, mates, held)
            found[name] = {
                str(anchor): round(mean_chance(compared, anchor, people=max(people, 1)), _DIGITS)
                for anchor in self.plan.anchors
            }
            ties[name] = round(int(compared.equal.sum()) / max(1, len(compared) * len(gallery)), 9)
            if len(probes) > 1:
                # everybody against the next one's mate: a stranger must do no better than chance
                others = compare_batch(probes, np.roll(mates, 1, axis=0), held)
                first = self.plan.anchors[0]
                strangers[name] = round(mean_chance(others, first, people=len(others)), _DIGITS)
        return PublicFigures(people=people, found=found, ties=ties, strangers_found=strangers)

    def sigma(self) -> GallerySpread:
        """sigma_G at every anchor and at a ladder of edges of u: the largest of the readings."""
        edges = ladder(self.plan.size)
        people = max(int(self.probes.acquired().sum()), 1)
        found, beaten = [], []
        for arm, attacker in self.plan.readings:
            probes, mates = self._pairs(arm, attacker)
            gallery = self.galleries[gallery_name(arm, attacker, self.plan.direction)]
            if len(probes):
                one = sigma_gallery(probes, mates, gallery, self.plan.anchors, edges)
                found.append(one.found)
                # whom the arm left without a face is beaten by everybody in every gallery
                beaten.append({at: sd * len(probes) / people for at, sd in one.beaten.items()})
        return GallerySpread(
            found={anchor: max(one[anchor] for one in found) for anchor in self.plan.anchors},
            beaten={edge: max(one[edge] for one in beaten) for edge in edges},
        )

    def tails(self) -> dict[str, Tail]:
        """Estimate the tail of strangers' scores by reading; none for best-of renders.

        The best of several renders has another tail than their mean, which public rows hold.
        """
        if self.plan.renders.fusion is Fusion.BEST:
            return {}
        found = {
            reading_name(arm, attacker): pooled_tail(
                *self._pairs(arm, attacker),
                self.galleries[gallery_name(arm, attacker, self.plan.direction)],
            )
            for arm, attacker in self.plan.readings
        }
        return {name: tail for name, tail in found.items() if tail is not None}

    def _pairs(self, arm: str, attacker: Attacker) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        """Probes and mates, (n, d) each, of acquired people whose face the arm left."""
        name = reading_name(arm, attacker)
        looked = reading_name(arm, Attacker.CALIBRATED) if attacker is Attacker.RAW else name
        released = self.probes.released[looked]
        kept = self.probes.acquired() & ~np.isnan(released[:, 0])
        dimension = self.plan.recogniser.dimension
        identified_mean, released_mean = means_of(self.means, arm, attacker, dimension=dimension)
        mine = quantised(released[kept], released_mean)
        theirs = quantised(self.probes.identified[kept], identified_mean)
        return (theirs, mine) if self.plan.searches_scans else (mine, theirs)
