"""One person's place in the opt-in tables: a function of that person and public constants."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import genpareto, norm
from tests.server.tail_studies import an_experiment, beyond_of, scores_of

from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.tail_tables import OpenSet
from reidscope_protocols.vocabulary import Attacker, Direction, FailedGate
from reidscope_site.face import tails
from reidscope_site.face.arms import resolve
from reidscope_site.face.calibration import Tail
from reidscope_site.face.constants import FaceConstants, ReadingConstants
from reidscope_site.face.evaluate import ReadFaces, comparison
from reidscope_site.face.found import Comparison, found_at
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.tails import (
    found_beyond,
    gpd_share,
    normal_share,
    tail_cells,
    tail_shares,
    z_score,
)
from reidscope_site.face.template import template

DIMENSION, FACES = 32, 400
GALLERY = np.random.default_rng(5).integers(-60, 61, (FACES, DIMENSION)).astype(np.int8)
TAIL = Tail(people=40, pairs=16_000, threshold=1.0, share=0.16, shape=-0.1, scale=0.4)
COLUMNS = ("unmodified", "blur", "blur/repairing")
SCORES = scores_of(
    FACES,
    columns=COLUMNS,
    fmr_ppm=(100_000, 300_000),
    open_set=(
        OpenSet(gallery_size=5, fpir_ppm=400_000),
        OpenSet(gallery_size=20, fpir_ppm=990_000),
    ),
    above=(5,),
)
BEYOND = beyond_of((100, 1000, 10_000), COLUMNS, pairs=16_000)
Face = NDArray[np.int8]


def asked(**changes: Any) -> FaceExperiment:
    fields: dict[str, Any] = {
        "anchors": (5, 20),
        "attackers": (Attacker.CALIBRATED, Attacker.REPAIRING),
        "reference_size": FACES,
        "scores": SCORES,
        "beyond": BEYOND,
    }
    return an_experiment(**{**fields, **changes})


@pytest.fixture(scope="module")
def constants(recogniser: Recogniser) -> FaceConstants:
    zeros = np.zeros(DIMENSION, np.float32)
    reading = ReadingConstants(
        identified_mean=zeros, released_mean=zeros, gallery=GALLERY, tail=TAIL
    )
    return FaceConstants(
        experiment=asked(),
        readings=MappingProxyType(dict.fromkeys(COLUMNS, reading)),
        arms=MappingProxyType({name: resolve(name) for name in ("unmodified", "blur")}),
        recogniser=recogniser,
        template=template(),
    )


def read(
    mate: Face | None, *, passed: bool = True, probes: dict[str, Face | None] | None = None
) -> ReadFaces:
    every = dict.fromkeys(COLUMNS, mate) | (probes or {})
    return ReadFaces(
        released={name: None if one is None else one[None] for name, one in every.items()},
        identified=None if mate is None else dict.fromkeys(COLUMNS, mate[None]),
        passed={"blur": passed},
        brain_lost={"blur": 0.0},
    )


def face(seed: int) -> Face:
    return np.random.default_rng(seed).integers(-60, 61, DIMENSION).astype(np.int8)


def somebody(seed: int) -> ReadFaces:
    """A person whose probes are more or less like the mate, column by column."""
    draw = np.random.default_rng(seed)
    mate = face(seed)
    probes = {
        column: np.clip(
            draw.uniform(0, 1) * mate + draw.normal(0, 30, DIMENSION), -127, 127
        ).astype(np.int8)
        for column in COLUMNS
    }
    return read(mate, passed=bool(draw.integers(2)), probes=probes)


def labels(constants: FaceConstants, places: Sequence[int]) -> dict[str, str]:
    tables = list(constants.experiment.tables().items())[2:]
    return {name: cells[place] for (name, cells), place in zip(tables, places, strict=True)}


def test_a_perfect_match_is_found_everywhere_and_beaten_by_nobody(
    constants: FaceConstants,
) -> None:
    said = labels(constants, tail_cells([read(face(1))], constants, 0.5))
    for column in COLUMNS:
        assert said[f"face-u/{column}"].startswith("beaten-by=0-")
        assert said[f"face-u/{column}"].endswith("found=20")
        assert said[f"face-beyond/{column}"] == "gpd=10000;normal=10000"


@pytest.mark.parametrize("missing", ["no scan", "no mate", "no face unmodified"])
def test_whoever_is_not_acquired_is_so_in_every_table(
    constants: FaceConstants, missing: str
) -> None:
    scans = {
        "no scan": [],
        "no mate": [read(None, probes={"unmodified": face(1)})],
        "no face unmodified": [read(face(1), probes={"unmodified": None})],
    }[missing]
    said = labels(constants, tail_cells(scans, constants, 2**-64))
    assert set(said.values()) == {"not acquired"}


def test_a_scan_that_nobody_gets_is_lost_and_beaten_by_everybody(
    constants: FaceConstants,
) -> None:
    kept_back = labels(constants, tail_cells([read(face(1), passed=False)], constants, 2**-64))
    for column in ("blur", "blur/repairing"):
        first, last = kept_back[f"face-u/{column}"].split(";")[0][len("beaten-by=") :].split("-")
        assert int(first) > SCORES.edges(FACES)[-1] - 1
        assert int(last) == FACES
        assert kept_back[f"face-u/{column}"].endswith("found=0")
        assert kept_back[f"face-beyond/{column}"] == "gpd=0;normal=0"
    anyway = replace(constants, experiment=asked(failed_gate=FailedGate.RELEASED))
    said = labels(anyway, tail_cells([read(face(1), passed=False)], anyway, 2**-64))
    assert said["face-beyond/blur"] == "gpd=10000;normal=10000"


def test_an_arm_that_leaves_no_face_is_lost(constants: FaceConstants) -> None:
    said = labels(constants, tail_cells([read(face(1), probes={"blur": None})], constants, 2**-64))
    assert said["face-u/blur"].endswith(f"-{FACES};found=0")
    assert said["face-beyond/blur"] == "gpd=0;normal=0"
    assert said["face-u/unmodified"].startswith("beaten-by=0-")


def test_a_recogniser_that_sees_everybody_alike_lets_nobody_in(constants: FaceConstants) -> None:
    nobody = np.zeros(DIMENSION, np.int8)
    said = labels(constants, tail_cells([read(nobody)], constants, 2**-64))
    # every face is tied with the mate: at no false match rate below 1 does the mate pass
    assert said["face-u/unmodified"].split(";")[0].endswith(f"-{FACES}")
    assert not said["face-u/unmodified"].startswith("beaten-by=0-")
    assert said["face-beyond/unmodified"] == "gpd=20;normal=20"


def test_a_study_without_such_tables_has_no_such_cells(constants: FaceConstants) -> None:
    plain = replace(constants, experiment=asked(scores=None, beyond=None))
    assert tail_cells([read(face(1))], plain, 0.5) == ()


def test_either_side_may_search(constants: FaceConstants) -> None:
    turned = replace(constants, experiment=asked(direction=Direction.POPULATION_TO_SAMPLE))
    mate, probe = face(2), (face(2) // 2 + face(3) // 3).astype(np.int8)
    straight = read(mate, probes=dict.fromkeys(COLUMNS, probe))
    swapped = read(probe, probes=dict.fromkeys(COLUMNS, mate))
    for luck in (0.01, 0.2, 0.9):
        assert tail_cells([straight], constants, luck) == tail_cells([swapped], turned, luck)


def test_cells_are_the_same_bits_alone_and_in_any_company(constants: FaceConstants) -> None:
    people = [somebody(seed) for seed in range(40)]
    alone = [tail_cells([one], constants, 0.3) for one in people]
    order = np.random.default_rng(0).permutation(len(people))
    among = {place: tail_cells([people[place]], constants, 0.3) for place in order}
    assert alone == [among[place] for place in range(len(people))]
    assert len(set(alone)) > 10


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 60), max_size=8), st.integers(61, 90), st.sampled_from(["hub", "one"])
)
def test_one_person_more_moves_one_count_by_one_in_each_table(
    constants: FaceConstants, others: list[int], more: int, added_is: str
) -> None:
    """A hub, alike to everybody, is one person like any other: nobody meets anybody else."""
    added = read(GALLERY.mean(0).astype(np.int8)) if added_is == "hub" else somebody(more)
    before = [tail_cells([somebody(seed)], constants, 0.4) for seed in others]
    after = [*before, tail_cells([added], constants, 0.4)]
    for table in range(6):
        counts = Counter(places[table] for places in after)
        counts.subtract(Counter(places[table] for places in before))
        assert sum(abs(count) for count in counts.values()) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(2**-64, 1.0))
def test_the_opt_in_tables_agree_with_the_comparison(
    constants: FaceConstants, seed: int, luck: float
) -> None:
    one = somebody(seed)
    said = labels(constants, tail_cells([one], constants, luck))
    compared = comparison(one, "unmodified", constants)
    assert compared is not None
    first, last = said["face-u/unmodified"].split(";")[0][len("beaten-by=") :].split("-")
    assert int(first) <= compared.better + compared.equal <= int(last)
    found = found_at(compared, (5, 20), coin=luck)
    assert said["face-u/unmodified"].endswith(f"found={found}")
    # whoever is lost at the largest measured gallery is found in none that is larger
    lost = said["face-beyond/unmodified"] == "gpd=0;normal=0"
    assert lost == (found < 20)


@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 3))
def test_z_is_the_score_in_the_probes_own_deviations(seed: int, r: int, g: int) -> None:
    draw = np.random.default_rng(seed)
    probes = draw.integers(-127, 128, (r, 16)).astype(np.int8)
    mates = draw.integers(-127, 128, (g, 16)).astype(np.int8)
    gallery = draw.integers(-127, 128, (50, 16)).astype(np.int8)
    scores = (probes.astype(int) @ gallery.astype(int).T).max(0)
    mate = (probes.astype(int) @ mates.astype(int).T).max()
    assert z_score(probes, mates, gallery) == pytest.approx((mate - scores.mean()) / scores.std())


def test_z_does_not_depend_on_how_many_faces_are_taken_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe, mate = face(8)[None], face(9)[None]
    whole = z_score(probe, mate, GALLERY)
    monkeypatch.setattr(tails, "_CHUNK", 7)
    assert z_score(probe, mate, GALLERY) == whole


def test_where_all_faces_score_alike_nothing_is_extrapolated() -> None:
    same = np.tile(face(1), (50, 1))
    assert z_score(face(2)[None], face(3)[None], same) == -math.inf
    assert tail_shares(-math.inf, Comparison(better=0, equal=0, reference_size=50), TAIL) == (
        1 / 50,
        1 / 50,
    )


@given(
    st.floats(1.0, 12.0, exclude_min=True),
    st.sampled_from([-0.3, -0.1, -1e-12, 0.0, 1e-12, 0.2, 0.9]),
)
def test_tails_are_those_of_the_textbooks(z: float, shape: float) -> None:
    tail = TAIL.model_copy(update={"shape": shape})
    pareto = tail.share * float(genpareto.sf(z - tail.threshold, shape, scale=tail.scale))
    assert gpd_share(z, tail) == pytest.approx(pareto, rel=1e-6, abs=1e-12)
    joined = tail.share * float(norm.sf(z) / norm.sf(tail.threshold))
    assert normal_share(z, tail) == pytest.approx(joined, rel=1e-9, abs=1e-300)


@given(st.floats(-5, 12), st.floats(0, 3), st.sampled_from([-0.2, 0.0, 0.3]))
def test_a_better_z_never_loses_in_the_tail(z: float, more: float, shape: float) -> None:
    tail = TAIL.model_copy(update={"shape": shape})
    # below the threshold the share that was counted is at least the tail's
    compared = Comparison(better=200, equal=0, reference_size=FACES)
    for worse, better in zip(
        tail_shares(z, compared, tail), tail_shares(z + more, compared, tail), strict=True
    ):
        assert 0 <= better <= worse <= 1


@given(st.floats(0, 1), st.floats(2**-64, 1.0))
def test_found_beyond_is_the_chance_itself_and_falls_with_size(share: float, luck: float) -> None:
    sizes = (100, 1000, 10_000)
    found = found_beyond(share, sizes, coin=luck)
    for size in sizes:
        chance = math.exp((size - 1) * math.log1p(-share)) if share < 1 else 0.0
        assert (found >= size) == (chance >= luck)
