"""One person, one reading: what the attacker makes of a scan, and whether it would find the person.

    Volume, mate, constants -> ReadFaces -> classify(coin) -> CellReading

Sees one person and public constants, keeps nothing, and runs on one thread: a person's reading is
the same bits alone, permuted, and among others. What fails because of the person's own data (no
face, no registration, two faces on the photo) is "not acquired", a cell like any other; running out
of time or memory is not, and raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch

from reidscope_protocols.vocabulary import UNMODIFIED, Direction, FailedGate
from reidscope_site.face.compare import compare, compare_best, quantised
from reidscope_site.face.describe import (
    Attack,
    describe_photo,
    describe_scan,
    released_scans,
    take_in,
)
from reidscope_site.face.found import found_at
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_protocols.face_experiment import FaceExperiment
    from reidscope_site.face.constants import FaceConstants
    from reidscope_site.face.found import Comparison
    from reidscope_site.face.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadFaces(Unsendable):
    """One released scan and the person's mate, described.

    Attributes
    ----------
    released : mapping
        Column to int8 (r, d), or None where no face was found; empty if the scan was no head.
    identified : mapping
        Column to int8 (1, d), of the mate; None unless it shows exactly one face.
    passed : mapping or None
        Defacer to whether its gates let the scan pass; None if the scan was no head.
    brain_lost : mapping or None
        Defacer to the share of the brain that it took.

    Privacy
    -------
    Biometric data of one person. Has no serialiser (docs/privacy.md, "What stays at the site").
    """

    released: Mapping[str, NDArray[np.int8] | None]
    identified: Mapping[str, NDArray[np.int8]] | None
    passed: Mapping[str, bool] | None
    brain_lost: Mapping[str, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReading(Unsendable):
    """Where one person falls.

    Attributes
    ----------
    acquired : bool
        Whether an unmodified scan and the mate each gave a face; if not, found_at and
        defaced_found say nothing.
    found_at : int
        Largest anchor at which the unmodified scan is found, 0 if at none.
    defaced_found : mapping
        Every other column to whether it is found at the first anchor.
    passed : mapping or None
        Defacer to whether its gates let every released scan pass; None if none was a head.
    brain_lost : mapping or None
        Defacer to the largest share of the brain that it took of a scan.

    Privacy
    -------
    Exact and about one person: may not leave the site but in a noisy table. Has no serialiser
    (docs/privacy.md, "What stays at the site").
    """

    acquired: bool
    found_at: int
    defaced_found: Mapping[str, bool]
    passed: Mapping[str, bool] | None
    brain_lost: Mapping[str, float] | None


def read_faces(
    volume: Volume,
    mate: NDArray[np.uint8] | Volume,
    constants: FaceConstants,
    *,
    marked: bool = False,
) -> ReadFaces:
    """Attack one released scan in every arm, and describe the person's mate.

    Parameters
    ----------
    volume : Volume
        De-identified, any spacing and orientation.
    mate : ndarray of uint8 or Volume
        A photo, (H, W, 3) RGB, or the person's second scan, as the study says.
    constants : FaceConstants
        Public.
    marked : bool
        Whether the photo is what lies around a face that somebody marked by hand: one face.

    Privacy
    -------
    A function of one person and public constants. Sets PyTorch to one thread, so that it is so to
    the bit (docs/privacy.md, "One person, one cell").
    """
    torch.set_num_threads(1)
    asked = constants.experiment
    named = (
        describe_photo(mate, constants.recogniser, asked.renders, marked=marked)
        if isinstance(mate, np.ndarray)
        else describe_scan(mate, constants.recogniser, asked.renders)
    )
    identified = (
        None
        if named is None
        else {
            column: quantised(named.values, reading.identified_mean)
            for column, reading in constants.readings.items()
        }
    )
    head = take_in(volume)
    if head is None:
        return ReadFaces(released={}, identified=identified, passed=None, brain_lost=None)
    released: dict[str, NDArray[np.int8] | None] = {}
    passed, brain_lost = {}, {}
    attack = Attack(
        readouts=asked.readouts,
        renders=asked.renders,
        recogniser=constants.recogniser,
        damage_arms=asked.damage_arms,
    )
    for scan in released_scans(head, constants.arms, attack):
        if scan.arm != UNMODIFIED:
            passed[scan.arm], brain_lost[scan.arm] = scan.passed, scan.brain_lost
        for column, face in scan.faces.items():
            mean = constants.readings[column].released_mean
            released[column] = None if face is None else quantised(face.values, mean)
    return ReadFaces(
        released=MappingProxyType(released),
        identified=identified,
        passed=MappingProxyType(passed),
        brain_lost=MappingProxyType(brain_lost),
    )


def classify(scans: Sequence[ReadFaces], constants: FaceConstants, coin: float) -> CellReading:
    """Say at which gallery sizes the person is found: in any of the released scans.

    Parameters
    ----------
    scans : sequence of ReadFaces
        The person's own: one, or up to the cap of a study of the most exposed scan.
    constants : FaceConstants
        Public.
    coin : float
        The person's own, in (0, 1].

    Privacy
    -------
    A function of one person and public constants (docs/privacy.md, "Found at N").
    """
    asked = constants.experiment
    columns = [readout.column for readout in asked.readouts]
    arms = asked.arms[1:]
    usable = [
        scan for scan in scans if scan.identified and scan.released.get(UNMODIFIED) is not None
    ]
    heads = [scan for scan in scans if scan.passed is not None]
    return CellReading(
        acquired=bool(usable),
        found_at=max(
            (_found(scan, UNMODIFIED, constants, asked.anchors, coin) for scan in usable), default=0
        ),
        defaced_found=MappingProxyType(
            {
                column: any(
                    is_released(scan, column, asked)
                    and _found(scan, column, constants, asked.anchors[:1], coin) > 0
                    for scan in usable
                )
                for column in columns[1:]
            }
        ),
        passed=MappingProxyType(
            {arm: all(scan.passed[arm] for scan in heads if scan.passed) for arm in arms}
        )
        if heads
        else None,
        brain_lost=MappingProxyType(
            {arm: max(scan.brain_lost[arm] for scan in heads if scan.brain_lost) for arm in arms}
        )
        if heads
        else None,
    )


def is_released(scan: ReadFaces, column: str, asked: FaceExperiment) -> bool:
    """Whether anybody gets the scan that a defacer made: a failed gate keeps it back."""
    if asked.failed_gate is FailedGate.RELEASED:
        return True
    arm = column.partition("/")[0]
    return scan.passed is not None and scan.passed[arm]


def _found(
    scan: ReadFaces,
    column: str,
    constants: FaceConstants,
    anchors: tuple[int, ...],
    coin: float,
) -> int:
    compared = comparison(scan, column, constants)
    return 0 if compared is None else found_at(compared, anchors, coin=coin)


def comparison(scan: ReadFaces, column: str, constants: FaceConstants) -> Comparison | None:
    """How the person's mate fares in one column; None where either side has no face.

    Privacy
    -------
    A function of one person and public constants; exact: may not leave the site (docs/privacy.md,
    "One person, one cell").
    """
    released = scan.released.get(column)
    if released is None or scan.identified is None:
        return None
    identified, gallery = scan.identified[column], constants.readings[column].compared
    if constants.experiment.direction is Direction.POPULATION_TO_SAMPLE:
        return compare(identified[0], released[0], gallery)
    if len(released) == 1:
        return compare(released[0], identified[0], gallery)
    return compare_best(released[None], identified, gallery)[0]
