"""One person, one reading, whoever else is there."""

from __future__ import annotations

import pickle
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reidscope_protocols.face_experiment import FaceExperiment, GalleryError, Renders
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.vocabulary import Attacker, Direction, FailedGate, Fusion, Mate, ScanRule
from reidscope_site.experiments.face import cells
from reidscope_site.face.arms import UNMODIFIED, resolve
from reidscope_site.face.constants import FaceConstants, ReadingConstants
from reidscope_site.face.evaluate import CellReading, ReadFaces, classify, read_faces
from reidscope_site.face.gates import is_believed
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.register import register
from reidscope_site.face.template import Template, template
from reidscope_site.face.volume import Volume
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

DIMENSION = 128
FACES = 200
GALLERY = np.random.default_rng(0).integers(-60, 61, (FACES, DIMENSION)).astype(np.int8)
Face = NDArray[np.int8]


def asked(**changes: Any) -> FaceExperiment:
    fields: dict[str, Any] = {
        "recogniser": SFACE,
        "anchors": (5, 20),
        "arms": (UNMODIFIED, "blur", "quickshear"),
        "reference_size": FACES,
        "reference_people": "nobody",
        **changes,
    }
    errors = tuple(GalleryError(gallery_size=size, sigma_ppm=0) for size in fields["anchors"])
    return FaceExperiment(**{"gallery_error": errors, **fields})


def constants_of(recogniser: Recogniser, experiment: FaceExperiment) -> FaceConstants:
    zeros = np.zeros(DIMENSION, np.float32)
    reading = ReadingConstants(identified_mean=zeros, released_mean=zeros, gallery=GALLERY)
    return FaceConstants(
        experiment=experiment,
        readings=MappingProxyType({one.column: reading for one in experiment.readouts}),
        arms=MappingProxyType({name: resolve(name) for name in experiment.arms}),
        recogniser=recogniser,
        template=template(),
    )


@pytest.fixture(scope="module")
def constants(recogniser: Recogniser) -> FaceConstants:
    return constants_of(recogniser, asked())


def read(
    mate: Face | None, passed: dict[str, bool] | None = None, **probes: Face | None
) -> ReadFaces:
    columns = ("unmodified", "blur", "quickshear", "blur/repairing", "quickshear/repairing")
    return ReadFaces(
        released={name: None if one is None else one[None] for name, one in probes.items()},
        identified=None if mate is None else dict.fromkeys(columns, mate[None]),
        passed=({"blur": True, "quickshear": True} | (passed or {})) if probes else None,
        brain_lost={"blur": 0.0, "quickshear": 0.02} if probes else None,
    )


def face(seed: int) -> Face:
    return np.random.default_rng([seed, 9]).integers(-60, 61, DIMENSION).astype(np.int8)


def told(reading: CellReading) -> tuple[bool, int, dict[str, bool]]:
    return reading.acquired, reading.found_at, dict(reading.defaced_found)


def test_whom_nobody_beats_is_found_in_every_arm(constants: FaceConstants) -> None:
    mate = face(1)
    found = classify([read(mate, unmodified=mate, blur=mate, quickshear=mate)], constants, 1.0)
    assert told(found) == (True, 20, {"blur": True, "quickshear": True})


def test_an_arm_without_a_face_is_a_miss(constants: FaceConstants) -> None:
    mate = face(1)
    found = classify([read(mate, unmodified=mate, blur=None, quickshear=-mate)], constants, 0.5)
    assert told(found) == (True, 20, {"blur": False, "quickshear": False})


def test_a_scan_that_fails_its_gates_is_not_released_so_not_found(
    constants: FaceConstants, recogniser: Recogniser
) -> None:
    mate = face(1)
    scans = [read(mate, {"blur": False}, unmodified=mate, blur=mate, quickshear=mate)]
    kept_back = classify(scans, constants, 1.0)
    assert told(kept_back) == (True, 20, {"blur": False, "quickshear": True})
    assert kept_back.passed == {"blur": False, "quickshear": True}
    anyway = constants_of(recogniser, asked(failed_gate=FailedGate.RELEASED))
    assert told(classify(scans, anyway, 1.0)) == (True, 20, {"blur": True, "quickshear": True})


def test_a_gate_holds_back_what_every_attacker_would_see(recogniser: Recogniser) -> None:
    both = constants_of(recogniser, asked(attackers=(Attacker.CALIBRATED, Attacker.REPAIRING)))
    mate = face(1)
    probes = dict.fromkeys(both.readings, mate)
    found = classify([read(mate, {"blur": False}, **probes)], both, 1.0)
    assert dict(found.defaced_found) == {
        "blur": False,
        "blur/repairing": False,
        "quickshear": True,
        "quickshear/repairing": True,
    }


def test_defaced_arms_are_read_at_the_first_anchor_alone(constants: FaceConstants) -> None:
    probe = face(2)
    order = np.argsort(GALLERY.astype(int) @ probe)[::-1]
    # beaten by 10 of 200: found among 5 with chance .81, among 20 with .36
    mate = GALLERY[order[10]]
    both = [read(mate, unmodified=probe, blur=probe, quickshear=None)]
    found = classify(both, constants, 0.6)
    assert told(found) == (True, 5, {"blur": True, "quickshear": False})
    assert told(classify(both, constants, 0.3))[1] == 20


@pytest.mark.parametrize("lacking", ["mate", "probe", "registration", "scan"])
def test_whoever_gave_no_face_is_not_acquired(constants: FaceConstants, lacking: str) -> None:
    some = face(3)
    reads = {
        "mate": [read(None, unmodified=some, blur=some, quickshear=some)],
        "probe": [read(some, unmodified=None, blur=some, quickshear=some)],
        "registration": [read(some)],
        "scan": [],
    }
    found = classify(reads[lacking], constants, 2**-64)
    assert told(found) == (False, 0, {"blur": False, "quickshear": False})
    places = cells(found, constants)
    assert places[0] == len(constants.experiment.cells()) - 1
    # the gates' table knows a head without a face; what was no head is in its last cell
    is_head = lacking in {"mate", "probe"}
    assert (places[1] < 4) is is_head


def test_any_number_of_arms_and_anchors_will_do(recogniser: Recogniser) -> None:
    fewer = constants_of(recogniser, asked(arms=("unmodified",), anchors=(7,)))
    mate = face(4)
    found = classify([read(mate, unmodified=mate)], fewer, 1.0)
    assert told(found) == (True, 7, {})
    assert len(cells(found, fewer)) == 1


def test_one_of_several_scans_is_enough_for_the_most_exposed(recogniser: Recogniser) -> None:
    several = constants_of(recogniser, asked(scan_rule=ScanRule.MOST_EXPOSED, scan_cap=3))
    mate = face(1)
    hidden = read(mate, {"quickshear": False}, unmodified=-mate, blur=-mate, quickshear=mate)
    shown = read(mate, unmodified=mate, blur=-mate, quickshear=mate)
    assert told(classify([hidden], several, 0.5)) == (True, 0, {"blur": False, "quickshear": False})
    found = classify([hidden, shown], several, 0.5)
    assert told(found) == (True, 20, {"blur": False, "quickshear": True})
    assert found.passed == {"blur": True, "quickshear": False}


def test_a_photo_that_searches_scans_compares_the_other_way_round(recogniser: Recogniser) -> None:
    turned = constants_of(recogniser, asked(direction=Direction.POPULATION_TO_SAMPLE))
    straight = constants_of(recogniser, asked())
    probe, mate = face(5), face(6)
    order = np.argsort(GALLERY.astype(int) @ probe)[::-1]
    mate = GALLERY[order[40]]
    scans = [read(mate, unmodified=probe, blur=probe, quickshear=probe)]
    swapped = [read(probe, unmodified=mate, blur=mate, quickshear=mate)]
    for luck in (0.1, 0.3, 0.5):
        assert told(classify(scans, straight, luck)) == told(classify(swapped, turned, luck))


def test_the_best_of_several_renders_counts(recogniser: Recogniser) -> None:
    best = constants_of(
        recogniser, asked(arms=("unmodified",), renders=Renders(views=3, fusion=Fusion.BEST))
    )
    mate = face(7)
    renders = np.stack([-mate, face(8), mate])
    scan_read = replace(read(mate, unmodified=mate), released={"unmodified": renders})
    assert told(classify([scan_read], best, 1.0)) == (True, 20, {})
    without = replace(scan_read, released={"unmodified": renders[:1]})
    assert told(classify([without], best, 0.5))[1] == 0


@given(
    luck=st.floats(2**-64, 1.0),
    passed=st.dictionaries(st.sampled_from(["blur", "quickshear"]), st.booleans()),
    place=st.integers(0, FACES - 1),
)
def test_every_reading_is_one_cell_of_each_table(
    constants: FaceConstants, luck: float, passed: dict[str, bool], place: int
) -> None:
    probe = face(9)
    scans = [read(GALLERY[place], passed, unmodified=probe, blur=probe, quickshear=probe)]
    places = cells(classify(scans, constants, luck), constants)
    sizes = [len(labels) for labels in constants.experiment.tables().values()]
    assert len(places) == len(sizes)
    assert all(0 <= cell < size for cell, size in zip(places, sizes, strict=True))


def test_damage_is_a_cell_of_its_own_table(recogniser: Recogniser) -> None:
    damaging = constants_of(recogniser, asked(damage_arms=("quickshear",)))
    mate = face(1)
    found = classify([read(mate, unmodified=mate, blur=mate, quickshear=mate)], damaging, 1.0)
    tables = damaging.experiment.tables()
    assert list(tables) == ["face-joint", "face-gates", "face-damage/quickshear"]
    assert tables["face-damage/quickshear"][cells(found, damaging)[2]] == "below 5%"


def test_readings_have_no_serialiser(constants: FaceConstants) -> None:
    private = read(face(1), unmodified=face(1), blur=None, quickshear=None)
    for secret in (private, classify([private], constants, 0.5)):
        with pytest.raises(TypeError):
            pickle.dumps(secret)


def empty(value: float) -> Volume:
    voxels = np.full((120, 130, 140), value, np.float32)
    return Volume(voxels=voxels, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 700.0, -1.0, 3e38])
def test_a_scan_of_nothing_is_not_acquired(
    constants: FaceConstants, picture: NDArray[np.uint8], value: float
) -> None:
    found = classify([read_faces(empty(value), picture, constants)], constants, 2**-64)
    assert not found.acquired


@pytest.mark.slow
def test_noise_is_no_head(constants: FaceConstants, picture: NDArray[np.uint8]) -> None:
    noise = np.random.default_rng(0).normal(size=(150, 150, 150)).astype(np.float32)
    body = replace(empty(0), voxels=noise)
    assert not is_believed(register(body))
    assert not classify([read_faces(body, picture, constants)], constants, 2**-64).acquired


@pytest.mark.slow
def test_a_photo_of_two_is_not_acquired(
    recogniser: Recogniser, head_scan: Volume, picture: NDArray[np.uint8]
) -> None:
    group = np.hstack([picture, picture])
    quick = constants_of(recogniser, asked(arms=("unmodified",)))
    reading = read_faces(head_scan, group, quick)
    assert reading.released["unmodified"] is not None
    assert reading.identified is None
    assert not classify([reading], quick, 2**-64).acquired


def bits(reading: ReadFaces) -> list[bytes]:
    faces = [*(reading.identified or {}).values(), *reading.released.values()]
    return [b"" if one is None else one.tobytes() for one in faces]


@pytest.mark.slow
@pytest.mark.parametrize("mate", list(Mate))
def test_a_person_reads_the_same_alone_permuted_and_among_others(
    recogniser: Recogniser, head: Template, mate: Mate
) -> None:
    experiment = asked(
        mate=mate,
        arms=(UNMODIFIED, "facemask"),
        attackers=(Attacker.CALIBRATED, Attacker.REPAIRING),
    )
    constants = constants_of(recogniser, experiment)
    people: dict[int, tuple[Volume, NDArray[np.uint8] | Volume]] = {}
    for number in (0, 1):
        seed = PersonSeed(population=Population.SITE, label="tests", number=number)
        named = photo(seed, head) if mate is Mate.PHOTO else scan(seed, head, visit=1)
        people[number] = (scan(seed, head), named)
    company = [
        {number: bits(read_faces(*people[number], constants)) for number in order}
        for order in ([0, 1], [1, 0])
    ]
    alone = bits(read_faces(*people[1], constants))
    assert company[0] == company[1]
    assert alone == company[0][1]
    assert alone != company[0][0]
    assert all(alone)
