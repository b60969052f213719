"""Public people, described exactly as a site's people are: pictures, scans, arms, recogniser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from reidscope_protocols.face_experiment import Readout, Renders
from reidscope_protocols.vocabulary import Attacker, Mate
from reidscope_site.face.arms import Arm
from reidscope_site.face.calibration import reading_name
from reidscope_site.face.describe import (
    Attack,
    Described,
    describe_photo,
    describe_scan,
    released_scans,
    take_in,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.recognise import Recogniser
    from reidscope_site.face.volume import Volume
    from reidscope_site.synthetic.seeds import Population


class Shown(StrEnum):
    """What there may be of a public person."""

    PHOTO = "photo"
    SCAN = "scan"
    SECOND_SCAN = "second_scan"


class PublicSource(Protocol):
    """Where public people come from; `number` counts from 0 within a population."""

    @property
    def name(self) -> str:
        """What tells this source's people from another's: part of the name of a build's rows."""

    @property
    def photos_name(self) -> str:
        """The same for its photos alone."""

    def count(self, population: Population) -> int | None:
        """How many people there are; None if there is no end of them."""

    def named(self, population: Population, number: int) -> str:
        """Say who a person is, for whoever made the source."""

    def lacks(self, population: Population, number: int, what: Shown) -> bool:
        """Whether the source has none of a person."""

    def problem(self, population: Population, number: int, what: Shown) -> str:
        """Say why it cannot be read; nothing where it can."""

    def photo(self, population: Population, number: int) -> NDArray[np.uint8] | None:
        """Return a photo, (H, W, 3) RGB; None if it cannot be read."""

    def scan(self, population: Population, number: int, visit: int) -> Volume | None:
        """Return the scan of a visit, 0 or 1; None if it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Studio:
    """What public people are described with.

    Attributes
    ----------
    source : PublicSource
        Of people.
    recogniser : Recogniser
        Of faces.
    mate : Mate
        What the side with names is: a photo, or the second visit's scan.
    renders : Renders
        Views, lights, fusion.
    readouts : tuple of Readout
        Arms and attackers, each with `arm/attacker` as its column; without raw ones, whose
        embeddings are the calibrated one's before its mean is taken off.
    treatments : mapping
        The readouts' arms, by name.
    """

    source: PublicSource
    recogniser: Recogniser
    mate: Mate
    renders: Renders
    readouts: tuple[Readout, ...]
    treatments: Mapping[str, Arm]

    @property
    def dimension(self) -> int:
        """Numbers of an embedding."""
        return self.recogniser.dimension

    def identified_row(self, population: Population, number: int) -> NDArray[np.float32]:
        """Embedding of the side with names, (d,); not-a-numbers without one face."""
        torch.set_num_threads(1)
        if self.mate is Mate.PHOTO:
            photo = self.source.photo(population, number)
            return self._row(
                None if photo is None else describe_photo(photo, self.recogniser, self.renders)
            )
        scan = self.source.scan(population, number, 1)
        return self._row(
            None if scan is None else describe_scan(scan, self.recogniser, self.renders)
        )

    def released_rows(self, population: Population, number: int) -> NDArray[np.float32]:
        """Embeddings of the scan, reading by reading, then gates by arm: (readings d + arms,).

        A gate is 1 where it let the scan pass, else 0.
        """
        torch.set_num_threads(1)
        scan = self.source.scan(population, number, 0)
        head = None if scan is None else take_in(scan)
        if head is None:
            nothing = np.full(len(self.readouts) * self.dimension, np.nan, np.float32)
            return np.concatenate([nothing, np.zeros(len(self.arms), np.float32)])
        attack = Attack(readouts=self.readouts, renders=self.renders, recogniser=self.recogniser)
        seen = list(released_scans(head, self.treatments, attack))
        faces = {column: face for scan in seen for column, face in scan.faces.items()}
        passed = {scan.arm: scan.passed for scan in seen}
        return np.concatenate(
            [
                *(self._row(faces[readout.column]) for readout in self.readouts),
                np.array([passed[arm] for arm in self.arms], dtype=np.float32),
            ]
        )

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms of the readouts, each once, in their order."""
        return tuple(dict.fromkeys(readout.arm for readout in self.readouts))

    def _row(self, face: Described | None) -> NDArray[np.float32]:
        if face is None:
            return np.full(self.dimension, np.nan, dtype=np.float32)
        # a public row is one embedding: best-of takes the mean of the renders as the means' basis
        row: NDArray[np.float32] = face.values.mean(axis=0, dtype=np.float64).astype(np.float32)
        return row


def readouts_of(arms: tuple[str, ...], attackers: tuple[Attacker, ...]) -> tuple[Readout, ...]:
    """Every arm by every attacker who looks at it with eyes of his own.

    Repairing is for defaced arms; raw shares the calibrated attacker's embeddings.
    """
    looking = tuple(
        dict.fromkeys(Attacker.CALIBRATED if one is Attacker.RAW else one for one in attackers)
    )
    return tuple(
        Readout(arm=arm, attacker=attacker, column=reading_name(arm, attacker))
        for arm in arms
        for attacker in looking
        if not (attacker is Attacker.REPAIRING and arm == arms[0])
    )
