"""Remove, add or replace any one person, a hub photo included: each table moves by that person.

People are drawn as embeddings, with every failure that a person's data can have; comparison, coin,
cells and counting are the shipped code, the counting at an epsilon at which its noise is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.face.test_evaluate import DIMENSION, GALLERY, asked, constants_of

from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.vocabulary import Attacker, Direction, FailedGate, ScanRule
from reidscope_site.experiments.face import cells
from reidscope_site.face.compare import compare, compare_batch
from reidscope_site.face.constants import FaceConstants
from reidscope_site.face.evaluate import ReadFaces, classify
from reidscope_site.face.found import coin
from reidscope_site.face.recognise import Recogniser
from reidscope_site.release import noisy_counter

EXACT = PrivacyLoss.from_decimal("1000")
"""At epsilon 1,000 the same chain adds noise other than 0 with probability 2e-434."""
KEY, STUDY = b"k" * 32, "5" * 64
FAILURES = ("", "", "", "", "no head", "two faces", "no face", "no defaced face", "failed gate")
DEFACERS = ("blur", "quickshear")
EXPERIMENTS = {
    "joint, gates and damage": {"damage_arms": DEFACERS},
    "two attackers": {"attackers": (Attacker.CALIBRATED, Attacker.REPAIRING)},
    "most exposed of three": {"scan_rule": ScanRule.MOST_EXPOSED, "scan_cap": 3},
    "photos search scans": {"direction": Direction.POPULATION_TO_SAMPLE},
    "gates ignored": {"failed_gate": FailedGate.RELEASED, "damage_arms": DEFACERS[:1]},
}
# The constants are public and the same for everybody: sharing them between examples is the point.
quiet = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Row = NDArray[np.int8]


@dataclass(frozen=True)
class Somebody:
    """A person, as hypothesis draws one."""

    seed: int
    failure: str = ""
    scans: int = 1
    collapse: float = 0.3
    is_hub: bool = False

    @property
    def pseudonym(self) -> str:
        return f"P-{self.seed}{'-hub' if self.is_hub else ''}"

    @property
    def mate(self) -> Row:
        """Embedding of the photo; a hub's is the mean of all probes, as loud as 8 bits allow."""
        values = 127 * np.sign(mean_probe()) if self.is_hub else 40 * draws(self.seed, 0)
        return quantised_roughly(values)

    def probe(self, number: int) -> Row:
        """Embedding of one scan: the person, drawn towards the face that all defaced scans have."""
        own = 40 * draws(self.seed, 0) + 15 * draws(self.seed, number + 1)
        return quantised_roughly((1 - self.collapse) * own + self.collapse * 40 * mean_probe())

    def read(self, columns: Sequence[str]) -> tuple[ReadFaces, ...]:
        """What the pipeline makes of the person's scans, whoever else there is."""
        scans = []
        for number in range(self.scans):
            probe = self.probe(number)[None]
            released = dict.fromkeys(columns, probe)
            if self.failure == "no face":
                released["unmodified"] = None
            if self.failure == "no defaced face":
                released |= dict.fromkeys((c for c in columns if c != "unmodified"), None)
            is_head = self.failure != "no head"
            scans.append(
                ReadFaces(
                    released=released if is_head else {},
                    identified=None
                    if self.failure == "two faces"
                    else dict.fromkeys(columns, self.mate[None]),
                    passed=dict.fromkeys(DEFACERS, self.failure != "failed gate")
                    if is_head
                    else None,
                    brain_lost=dict.fromkeys(DEFACERS, self.seed % 7 / 100) if is_head else None,
                )
            )
        return tuple(scans)

    def cells(self, constants: FaceConstants) -> tuple[int, ...]:
        """The person's cell of each table."""
        luck = coin(KEY, pseudonym=self.pseudonym, study_sha256=STUDY)
        return cells(classify(self.read(list(constants.readings)), constants, luck), constants)


def draws(*seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(DIMENSION)


@cache
def mean_probe() -> NDArray[np.float64]:
    return draws(10**6)


def quantised_roughly(values: NDArray[np.float64]) -> Row:
    return np.clip(np.rint(values), -127, 127).astype(np.int8)


HUB = Somebody(seed=0, is_hub=True)
everybody = st.lists(
    st.builds(
        Somebody,
        seed=st.integers(1, 10**5),
        failure=st.sampled_from(FAILURES),
        scans=st.integers(1, 3),
        collapse=st.sampled_from([0.0, 0.3, 0.7, 0.95]),
    ),
    min_size=1,
    max_size=10,
    unique_by=lambda person: person.seed,
)


@pytest.fixture(scope="module", params=list(EXPERIMENTS))
def constants(recogniser: Recogniser, request: pytest.FixtureRequest) -> FaceConstants:
    return constants_of(recogniser, asked(**EXPERIMENTS[request.param]))


def tables(people: Sequence[Somebody], constants: FaceConstants) -> list[NDArray[np.int64]]:
    """Exact counts of every table, through the chain that a release runs."""
    found = [person.cells(constants) for person in people]
    sizes = [len(labels) for labels in constants.experiment.tables().values()]
    return [
        np.array(noisy_counter(size, EXACT)([one[place] for one in found]))
        for place, size in enumerate(sizes)
    ]


def moved(one: Sequence[NDArray[np.int64]], other: Sequence[NDArray[np.int64]]) -> list[int]:
    """L1 distance of each table."""
    return [int(np.abs(a - b).sum()) for a, b in zip(one, other, strict=True)]


@quiet
@given(people=everybody, data=st.data())
def test_removing_any_one_person_moves_every_table_by_one(
    constants: FaceConstants, people: list[Somebody], data: st.DataObject
) -> None:
    who = data.draw(st.integers(0, len(people) - 1))
    whole = tables(people, constants)
    assert moved(whole, tables(people[:who] + people[who + 1 :], constants)) == [1] * len(whole)
    assert [table.sum() for table in whole] == [len(people)] * len(whole)


@quiet
@given(people=everybody)
def test_adding_a_hub_photo_moves_every_table_by_one(
    constants: FaceConstants, people: list[Somebody]
) -> None:
    whole = tables(people, constants)
    assert moved(whole, tables([*people, HUB], constants)) == [1] * len(whole)


@quiet
@given(people=everybody, data=st.data())
def test_replacing_any_one_person_by_a_hub_moves_every_table_by_two_at_most(
    constants: FaceConstants, people: list[Somebody], data: st.DataObject
) -> None:
    who = data.draw(st.integers(0, len(people) - 1))
    replaced = [*people[:who], HUB, *people[who + 1 :]]
    whole = tables(people, constants)
    assert max(moved(whole, tables(replaced, constants))) <= 2


@quiet
@given(people=everybody, data=st.data())
def test_a_persons_cells_are_the_same_bits_alone_permuted_and_beside_a_hub(
    constants: FaceConstants, people: list[Somebody], data: st.DataObject
) -> None:
    alone = {person.seed: person.cells(constants) for person in people}
    company = data.draw(st.permutations([*people, HUB]))
    together = {person.seed: person.cells(constants) for person in company}
    assert {seed: found for seed, found in together.items() if seed} == alone


@quiet
@given(people=everybody)
def test_a_comparison_in_a_batch_with_a_hub_is_the_one_alone(people: list[Somebody]) -> None:
    company = [HUB, *people]
    probes = np.stack([person.probe(0) for person in company])
    mates = np.stack([person.mate for person in company])
    together = compare_batch(probes, mates, GALLERY)
    assert list(together) == [compare(p, m, GALLERY) for p, m in zip(probes, mates, strict=True)]


def rank_one_among_themselves(people: Sequence[Somebody]) -> int:
    """The table that must not be released: everybody's photo is in everybody's gallery."""
    mates = np.stack([person.mate for person in people]).astype(int)
    scores = np.stack([person.probe(0) for person in people]).astype(int) @ mates.T
    return int((scores.argmax(axis=1) == np.arange(len(people))).sum())


def test_the_hub_is_one_it_takes_the_first_place_from_a_whole_site() -> None:
    """Else the tests above would show nothing."""
    people = [Somebody(seed=number, collapse=0.7) for number in range(1, 61)]
    before, after = (rank_one_among_themselves(site) for site in (people, [*people, HUB]))
    assert before - after > 30
