"""What a build of public constants makes: who searches whom, with what, and how many people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from reidscope_protocols.cohort import Modality
from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import Renders
from reidscope_protocols.recogniser import SFACE, RecogniserDeclaration
from reidscope_protocols.vocabulary import UNMODIFIED, Attacker, Direction, Fusion, Mate
from reidscope_site.face.calibration import gallery_name, reading_name

Progress = Callable[[str, int, int], None]
"""Told what is being made, how many are there and how many are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the constants are made.

    Attributes
    ----------
    size : int
        Faces in each gallery, M.
    anchors : tuple of int
        Gallery sizes at which figures are given; a study may ask up to M/10.
    arms : tuple of str
        `unmodified` first.
    attackers : tuple of Attacker
        Whom the constants are for.
    mate, direction, renders, recogniser
        As a study declares them.
    scans : Modality
        What the public people's scans are.
    calibration_photos : int
        Public photos (or scans with names) that the mean of that side is taken of.
    calibration_people : int
        Public people, the first of those, whose released scans the arms' means are taken of.
    probe_people : int
        Public people on whom the attack is measured.
    """

    size: int
    anchors: tuple[int, ...] = (100, 1000)
    arms: tuple[str, ...] = (UNMODIFIED, "facemask", "quickshear")
    attackers: tuple[Attacker, ...] = (Attacker.CALIBRATED,)
    mate: Mate = Mate.PHOTO
    direction: Direction = Direction.SAMPLE_TO_POPULATION
    scans: Modality = Modality.MR
    renders: Renders = field(default_factory=Renders)
    recogniser: RecogniserDeclaration = SFACE
    calibration_photos: int = 200
    calibration_people: int = 60
    probe_people: int = 60

    def __post_init__(self) -> None:
        if self.arms[:1] != (UNMODIFIED,) or len(set(self.arms)) < len(self.arms):
            raise InputError(
                "arms",
                got=", ".join(self.arms) or "none",
                expected=f"{UNMODIFIED} first, each arm once",
                do="correct the plan",
            )
        if self.searches_scans and self.renders.fusion is Fusion.BEST:
            raise InputError(
                "renders",
                got="best-of fusion in a gallery of scans",
                expected="their mean",
                do="take --fusion mean",
            )
        if self.calibration_people > self.calibration_photos:
            raise InputError(
                "calibration people",
                got=f"{self.calibration_people}",
                expected=f"at most the {self.calibration_photos} of the other side",
                do="take more photos or fewer people",
            )

    @property
    def searches_scans(self) -> bool:
        """Whether galleries hold released scans, one gallery a reading."""
        return self.direction is Direction.POPULATION_TO_SAMPLE

    @property
    def readings(self) -> tuple[tuple[str, Attacker], ...]:
        """Every arm by every attacker; only defaced arms are repaired."""
        return tuple(
            (arm, attacker)
            for arm in self.arms
            for attacker in self.attackers
            if not (attacker is Attacker.REPAIRING and arm == UNMODIFIED)
        )

    @property
    def galleries(self) -> tuple[str, ...]:
        """Names of the galleries, each once."""
        return tuple(
            dict.fromkeys(gallery_name(*reading, self.direction) for reading in self.readings)
        )

    @property
    def first_reading(self) -> str:
        """The unmodified arm as it is: whoever has a face there was acquired."""
        return reading_name(UNMODIFIED, Attacker.CALIBRATED)
