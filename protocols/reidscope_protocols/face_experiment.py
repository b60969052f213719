"""The face experiment as a study fixes it: who searches whom, by which means, and what is read.

A person's cells follow from these fields, the person's own data and public constants; everything
that an experimenter could choose after having seen an outcome stands here instead.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from reidscope_protocols.cells import LARGEST_TABLE, JointCells
from reidscope_protocols.cohort import DEFAULT_SCANS, Modality
from reidscope_protocols.groups import Groups
from reidscope_protocols.recogniser import RecogniserDeclaration
from reidscope_protocols.side_tables import DamageCells, GateCells
from reidscope_protocols.statements import Parsed
from reidscope_protocols.tail_tables import Beyond, Scores, beyond_table, score_table
from reidscope_protocols.vocabulary import (
    UNMODIFIED,
    ArmName,
    Attacker,
    Direction,
    FailedGate,
    Fusion,
    Line,
    Mate,
    ScanRule,
)

JOINT_TABLE = "face-joint"
GATES_TABLE = "face-gates"
DAMAGE_TABLE = "face-damage"
_MEASURED_SHARE = 10
LARGEST_SCAN_CAP = 10


class GalleryError(Parsed):
    """Standard deviation of a rate at one anchor from having drawn ONE public gallery.

    Attributes
    ----------
    gallery_size : int
        The anchor, N.
    sigma_ppm : int
        sigma_G(N), parts per million, from public probes over resampled public galleries.
    """

    gallery_size: int = Field(ge=2)
    sigma_ppm: int = Field(ge=0, le=1_000_000)


class Renders(Parsed):
    """Which pictures the attacker takes of a scan, and how what they say is put together.

    Attributes
    ----------
    views, lights : int
        1 (from the front), 3 or 9 directions of the camera and of the lamp: views x lights renders.
    fusion : Fusion
        `mean`: the unit embeddings are averaged; `best`: the render that fits best counts.
    grey : bool
        Whether photos and renders lose their colours before they are described.
    """

    views: Literal[1, 3, 9] = 1
    lights: Literal[1, 3, 9] = 1
    fusion: Fusion = Fusion.MEAN
    grey: bool = False


class Readout(Parsed):
    """One question of the joint table: is the person found in `arm`, by `attacker`."""

    arm: ArmName
    attacker: Attacker
    column: Line


class FaceExperiment(Parsed):
    """The question whether a person's released scan and the person's mate find each other.

    Attributes
    ----------
    mate : Mate
        What the attacker holds with a name on it: a photo, or the person's second scan by date.
    direction : Direction
        `sample-to-population`: a released scan searches named photos or scans;
        `population-to-sample`: the photo or scan with a name searches released scans.
    attackers : tuple of Attacker
        The first reads every arm; the others read the defaced arms too, a bit each.
    scan_rule : ScanRule
        `first-by-date`, or `most-exposed`: found in any of the person's first `scan_cap` scans.
        Another estimand: its chance line is up to `scan_cap` times as high.
    scans : tuple of Modality
        What may be a scan; MR and CT where a study says nothing. PET by a study's own asking alone.
    public_scans : Modality
        What the public scans are that the attacker's means of scans, and galleries of scans, come
        from: another domain than the study's where they differ.
    failed_gate : FailedGate
        `not-released`: a scan that fails the gates of a defacer is not found, since nobody gets it;
        `released`: the defacer is measured as it works for people without gates.
    anchors : tuple of int
        Gallery sizes at which the unmodified arm is read; at most a tenth of the reference.
    arms : tuple of str
        `unmodified` first, then the defacers, which are read at the smallest anchor.
    damage_arms : tuple of str
        Defacers whose damage to the brain is released in a table of its own.
    groups : Groups or None
        Disjoint public groups that the joint table is crossed with.
    reference_size : int
        Faces of the public reference gallery, M.
    scores : Scores or None
        Opt-in tables of u, the share of public faces that beat the mate.
    beyond : Beyond or None
        Opt-in tables of galleries larger than the reference measures.
    """

    kind: Literal["face-identification"] = "face-identification"
    mate: Mate = Mate.PHOTO
    direction: Direction = Direction.SAMPLE_TO_POPULATION
    attackers: tuple[Attacker, ...] = Field((Attacker.CALIBRATED,), min_length=1, max_length=3)
    scan_rule: ScanRule = ScanRule.FIRST_BY_DATE
    scan_cap: int = Field(1, ge=1, le=LARGEST_SCAN_CAP)
    failed_gate: FailedGate = FailedGate.NOT_RELEASED
    scans: tuple[Modality, ...] = Field(DEFAULT_SCANS, min_length=1, max_length=3)
    public_scans: Modality = Modality.MR
    renders: Renders = Renders()
    recogniser: RecogniserDeclaration
    anchors: tuple[int, ...] = Field(min_length=1, max_length=8)
    arms: tuple[ArmName, ...] = Field(min_length=1, max_length=9)
    damage_arms: tuple[ArmName, ...] = ()
    groups: Groups | None = None
    reference_size: int = Field(ge=20)
    reference_people: Line
    gallery_error: tuple[GalleryError, ...]
    scores: Scores | None = None
    beyond: Beyond | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        problem = self._problem()
        if problem:
            raise ValueError(problem)
        return self

    def _problem(self) -> str:  # noqa: PLR0911  # one return a rule
        """Say what does not hold together; empty if all does."""
        if self.arms[0] != UNMODIFIED:
            return "the first arm must be unmodified"
        if max(self.anchors) * _MEASURED_SHARE > self.reference_size:
            return f"every anchor must be at most a tenth of {self.reference_size} faces"
        if tuple(error.gallery_size for error in self.gallery_error) != self.anchors:
            return "gallery_error must give each anchor once, in order"
        if len(set(self.attackers)) < len(self.attackers):
            return "attackers must be different ones"
        if self.attackers[0] is Attacker.REPAIRING:
            return "the first attacker must be one who takes scans as they are"
        if not set(self.damage_arms) <= set(self.arms[1:]) or len(set(self.damage_arms)) < len(
            self.damage_arms
        ):
            return "damage_arms must be different defacers of the study"
        if (self.scan_rule is ScanRule.MOST_EXPOSED) is not (self.scan_cap > 1):
            return "a cap of several scans goes with most-exposed, and most-exposed with a cap"
        if self.scan_rule is ScanRule.MOST_EXPOSED and self.mate is Mate.SECOND_SCAN:
            return "most-exposed needs photos as mates: a second scan is one of the scans"
        if self.renders.fusion is Fusion.BEST and (
            self.mate is Mate.SECOND_SCAN or self.direction is Direction.POPULATION_TO_SAMPLE
        ):
            return "best-of fusion is for scans that search photos: take the mean"
        return self._scans_problem() or self._groups_problem() or self._tails_problem()

    @model_serializer(mode="wrap")
    def _unsaid_where_usual(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what studies of before there was PET did not say: their bytes stay theirs."""
        said: dict[str, Any] = dump(self)
        if self.scans == DEFAULT_SCANS:
            said.pop("scans", None)
        if self.public_scans is Modality.MR:
            said.pop("public_scans", None)
        return said

    def _scans_problem(self) -> str:
        if len(set(self.scans)) < len(self.scans):
            return "scans must list each modality once"
        asks_pet, knows_pet = Modality.PT in self.scans, self.public_scans is Modality.PT
        searched = self.direction is Direction.POPULATION_TO_SAMPLE
        if (searched or self.mate is Mate.SECOND_SCAN) and (
            asks_pet is not knows_pet or (asks_pet and len(self.scans) > 1)
        ):
            return (
                "where scans are searched, or are the mates, PET is searched among public PET and "
                "other scans among public MR: a scan stands out among those of another kind"
            )
        if knows_pet and not asks_pet:
            return "a reference of PET is for a study of PET"
        return ""

    @property
    def other_domain(self) -> bool:
        """Whether some scans are of another kind than the public ones, as PET beside public MR."""
        knows_pet = self.public_scans is Modality.PT
        return any((one is Modality.PT) is not knows_pet for one in self.scans)

    def _groups_problem(self) -> str:
        if self.groups is None:
            return ""
        if self.groups.by in self.arms:
            return "an arm must not have the groups' name"
        if len(self.cells()) * len(self.groups.labels) > LARGEST_TABLE:
            return f"arms and groups together must make at most {LARGEST_TABLE} cells"
        return ""

    def _tails_problem(self) -> str:
        """Say what is wrong with the opt-in tables; empty if nothing is."""
        if self.scan_cap > 1 and (self.scores or self.beyond):
            return (
                "tables of u and beyond the reference are of one scan a person: several tries let "
                "more strangers in than their false match rate says"
            )
        columns = [readout.column for readout in self.readouts]
        scores = self.scores and self.scores.problem(
            columns=columns, anchors=self.anchors, reference_size=self.reference_size
        )
        beyond = self.beyond and self.beyond.problem(
            columns=columns, reference_size=self.reference_size
        )
        return scores or beyond or ""

    @property
    def readouts(self) -> tuple[Readout, ...]:
        """The joint table's questions: `unmodified` first, then arm by arm its attackers.

        A column is named by its arm; by arm and attacker where another than the first attacks.
        """
        first = self.attackers[0]
        return (
            Readout(arm=UNMODIFIED, attacker=first, column=UNMODIFIED),
            *(
                Readout(
                    arm=arm,
                    attacker=attacker,
                    column=arm if attacker is first else f"{arm}/{attacker}",
                )
                for arm in self.arms[1:]
                for attacker in self.attackers
            ),
        )

    def cells(self) -> JointCells:
        """Return the joint table's cells."""
        return JointCells(
            anchors=self.anchors,
            defacers=tuple(readout.column for readout in self.readouts[1:]),
        )

    def joint_labels(self) -> tuple[str, ...]:
        """Labels of the joint table: its cells, crossed with the groups where there are any."""
        labels = self.cells().labels
        return labels if self.groups is None else self.groups.crossed(labels)

    def gate_cells(self) -> GateCells | None:
        """Return the cells of the table of failed gates; None without a defacer."""
        return GateCells(defacers=self.arms[1:]) if len(self.arms) > 1 else None

    def tables(self) -> dict[str, tuple[str, ...]]:
        """Cells of every table that a study of this experiment must ask for, in order, by name.

        The table of failed gates is compulsory: a defacer that always fails would look safe.
        """
        gates = self.gate_cells()
        return {
            JOINT_TABLE: self.joint_labels(),
            **({} if gates is None else {GATES_TABLE: gates.labels}),
            **{damage_table(arm): DamageCells().labels for arm in self.damage_arms},
            **self._tail_tables(),
        }

    def _tail_tables(self) -> dict[str, tuple[str, ...]]:
        scores = self.scores.cells(self.reference_size).labels if self.scores else ()
        beyond = self.beyond.cells(self.anchors[-1]).labels if self.beyond else ()
        return {
            **{
                score_table(column): scores
                for column in (self.scores.columns if self.scores else ())
            },
            **{
                beyond_table(tail.column): beyond
                for tail in (self.beyond.tails if self.beyond else ())
            },
        }

    @property
    def chance_percent(self) -> float:
        """What guessing reaches at the smallest anchor at most, per cent of people."""
        return min(100.0, 100.0 * self.scan_cap / self.anchors[0])


def damage_table(arm: str) -> str:
    """Name of the table that holds one defacer's damage."""
    return f"{DAMAGE_TABLE}/{arm}"
