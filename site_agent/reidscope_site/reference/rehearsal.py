"""A study tried on public people first: exact rates, since nobody needs protection from them.

    public people -> the very pipeline of the study -> chances of rank 1 and rank 5, gates, damage

Choosing arms and attackers here costs no epsilon; choosing them by trying studies on patients does.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scipy.stats import hypergeom

from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.side_tables import DAMAGE_CLASSES, DamageCells
from reidscope_protocols.vocabulary import UNMODIFIED, FailedGate, Mate
from reidscope_site.face.constants import ConstantFiles, FaceConstants, load_constants
from reidscope_site.face.evaluate import ReadFaces, comparison, read_faces
from reidscope_site.face.found import chance_at
from reidscope_site.reference.left_out import require
from reidscope_site.reference.people import Shown
from reidscope_site.reference.processes import processes
from reidscope_site.synthetic.seeds import Population

if TYPE_CHECKING:
    from reidscope_site.face.found import Comparison
    from reidscope_site.reference.people import PublicSource

FIRST_FIVE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedPerson:
    """What came of one public person.

    Attributes
    ----------
    acquired : bool
        A face on both sides before any defacing.
    rank_1, rank_5 : dict
        Column, then gallery size, to the chance of rank 1 or of the first five.
    passed : dict
        Defacer to whether its gates let the scan pass.
    brain_lost : dict
        Defacer to the share of the brain that it took.
    seconds : float
        Of processor time, reading apart.
    face_found : dict
        Column to whether the study's detector found a face in what the attacker rendered, whether
        the gates let the scan pass or not; empty where the scan was no head.
    """

    acquired: bool
    rank_1: dict[str, dict[int, float]]
    rank_5: dict[str, dict[int, float]]
    passed: dict[str, bool]
    brain_lost: dict[str, float]
    seconds: float
    face_found: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedRate:
    """One line of a rehearsal: shares of all public people, exact.

    Attributes
    ----------
    face_found : float
        Share of people in whose treated scan the detector found a face. No measure of risk:
        detectors fire on most cut heads.
    failed_gates : float or None
        Share of people whose defaced scan failed, of those whose scan was a head; None for
        `unmodified`, and where no scan was one.
    lost_1_percent : float or None
        Share of people who lost 1% of the brain or more, where damage is asked for.
    """

    arm: str
    attacker: str
    gallery_size: int
    rank_1: float
    rank_5: float
    face_found: float
    failed_gates: float | None
    lost_1_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """A rehearsal's result."""

    people: int
    acquired: float
    seconds_a_person: float
    rates: tuple[RehearsedRate, ...]


def rehearse(
    experiment: FaceExperiment,
    files: ConstantFiles,
    source: PublicSource,
    *,
    people: int,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Rehearsed:
    """Run a study's pipeline on public people.

    Raises
    ------
    InputError
        Fewer public people than asked for.
    """
    if people < 1:
        raise InputError(
            "rehearsal", got=f"{people} people", expected="at least one", do="correct --count"
        )
    named = Shown.PHOTO if experiment.mate is Mate.PHOTO else Shown.SECOND_SCAN
    require(source, [(Population.REHEARSAL, what, people) for what in (Shown.SCAN, named)])
    found = []
    load_constants(experiment, files)  # once here: what a new process raises at its start is lost
    with processes(jobs, _start, (experiment, files, source)) as pool:
        for number, person in enumerate(pool.map(_rehearse, range(people)), start=1):
            found.append(person)
            if progress:
                progress(number, people)
    return summed_up(experiment, found)


def summed_up(experiment: FaceExperiment, found: Sequence[RehearsedPerson]) -> Rehearsed:
    """Average people's chances, point by point of the study."""
    first, *defaced = experiment.readouts
    points = [
        *((first, anchor) for anchor in experiment.anchors),
        *((readout, experiment.anchors[0]) for readout in defaced),
    ]
    return Rehearsed(
        people=len(found),
        acquired=_share([person.acquired for person in found]),
        seconds_a_person=statistics.median(person.seconds for person in found),
        rates=tuple(
            RehearsedRate(
                arm=readout.arm,
                attacker=readout.attacker,
                gallery_size=size,
                rank_1=_share([p.rank_1.get(readout.column, {}).get(size, 0.0) for p in found]),
                rank_5=_share([p.rank_5.get(readout.column, {}).get(size, 0.0) for p in found]),
                face_found=_share([p.face_found.get(readout.column, False) for p in found]),
                failed_gates=None
                if readout.arm == UNMODIFIED or not any(p.passed for p in found)
                else _share([not p.passed[readout.arm] for p in found if p.passed]),
                lost_1_percent=_share(
                    [_lost(p.brain_lost[readout.arm]) for p in found if p.brain_lost]
                )
                if readout.arm in experiment.damage_arms
                else None,
            )
            for readout, size in points
        ),
    )


def chance_within(compared: Comparison, rank: int, gallery_size: int) -> float:
    """Chance that the mate is among the first `rank` of a gallery of N; ties are shared.

    Hypergeometric: of the N - 1 strangers drawn, fewer than `rank` beat the mate.
    """
    ranks = range(compared.better, compared.better + compared.equal + 1)
    chances = [
        float(hypergeom.cdf(rank - 1, compared.reference_size, k, gallery_size - 1)) for k in ranks
    ]
    return sum(chances) / len(chances)


_LOADED: list[tuple[FaceConstants, PublicSource]] = []


def _start(experiment: FaceExperiment, files: ConstantFiles, source: PublicSource) -> None:
    _LOADED[:] = [(load_constants(experiment, files), source)]


def _rehearse(number: int) -> RehearsedPerson:
    constants, source = _LOADED[0]
    scan = source.scan(Population.REHEARSAL, number, 0)
    mate = (
        source.photo(Population.REHEARSAL, number)
        if constants.experiment.mate is Mate.PHOTO
        else source.scan(Population.REHEARSAL, number, 1)
    )
    if scan is None or mate is None:
        return _nobody()
    started = time.process_time()
    read = read_faces(scan, mate, constants)
    return rehearsed(read, constants, seconds=time.process_time() - started)


def rehearsed(read: ReadFaces, constants: FaceConstants, *, seconds: float) -> RehearsedPerson:
    """Turn one PUBLIC person's reading into chances: exact, so never a patient's."""
    asked = constants.experiment
    compared = {
        readout.column: found
        for readout in asked.readouts
        if (found := comparison(read, readout.column, constants)) is not None
        and _is_released(read, readout.arm, asked)
    }
    acquired = UNMODIFIED in compared
    return RehearsedPerson(
        acquired=acquired,
        rank_1={
            column: {size: chance_at(one, size) for size in asked.anchors}
            for column, one in compared.items()
            if acquired
        },
        rank_5={
            column: {size: chance_within(one, FIRST_FIVE, size) for size in asked.anchors}
            for column, one in compared.items()
            if acquired
        },
        passed=dict(read.passed or {}),
        brain_lost=dict(read.brain_lost or {}),
        seconds=seconds,
        face_found={column: face is not None for column, face in read.released.items()},
    )


def _is_released(read: ReadFaces, arm: str, asked: FaceExperiment) -> bool:
    if arm == UNMODIFIED or asked.failed_gate is FailedGate.RELEASED:
        return True
    return read.passed is not None and read.passed[arm]


def _nobody() -> RehearsedPerson:
    return RehearsedPerson(
        acquired=False, rank_1={}, rank_5={}, passed={}, brain_lost={}, seconds=0.0
    )


def _lost(share: float) -> bool:
    """Whether the class says 1% of the brain or more."""
    return DamageCells().index(share) > DAMAGE_CLASSES.index("below 1%")


def _share(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
