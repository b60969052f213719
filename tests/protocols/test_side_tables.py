"""Failed gates and damage: one person, one cell of each table, and a label that says which."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.cells import NOT_ACQUIRED
from reidscope_protocols.errors import MalformedError
from reidscope_protocols.face_experiment import (
    DAMAGE_TABLE,
    GATES_TABLE,
    JOINT_TABLE,
    FaceExperiment,
    GalleryError,
)
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.side_tables import (
    DAMAGE_CLASSES,
    DAMAGE_EDGES,
    SERIOUS_DAMAGE,
    DamageCells,
    GateCells,
    weights_of_damage,
    weights_of_failed,
)
from reidscope_protocols.study import priced
from reidscope_protocols.vocabulary import Attacker

ARMS = [f"arm-{letter}" for letter in "abcdefghij"]
DAMAGE = DamageCells()


def gate_cells(most: int = 7) -> st.SearchStrategy[GateCells]:
    arms = st.lists(st.sampled_from(ARMS), unique=True, min_size=1, max_size=most)
    return arms.map(lambda chosen: GateCells(defacers=tuple(chosen)))


def an_experiment(
    arms: tuple[str, ...], attackers: tuple[Attacker, ...], damage_arms: tuple[str, ...]
) -> FaceExperiment:
    return FaceExperiment(
        recogniser=SFACE,
        attackers=attackers,
        anchors=(100,),
        arms=("unmodified", *arms),
        damage_arms=damage_arms,
        reference_size=1000,
        reference_people="nobody",
        gallery_error=(GalleryError(gallery_size=100, sigma_ppm=0),),
    )


@settings(max_examples=40, deadline=None)
@given(gate_cells())
def test_every_answer_of_the_gates_has_its_own_cell_and_every_cell_its_own_answer(
    cells: GateCells,
) -> None:
    found = [
        cells.index(dict(zip(cells.defacers, row, strict=True)))
        for row in product((True, False), repeat=len(cells.defacers))
    ]
    assert found == list(range(len(cells) - 1))
    assert cells.index(None) == len(cells) - 1 == len(cells.labels) - 1
    assert len(set(cells.labels)) == len(cells) == 2 ** len(cells.defacers) + 1
    assert cells.labels[-1] == NOT_ACQUIRED


@settings(max_examples=40, deadline=None)
@given(gate_cells(), st.data())
def test_a_label_says_which_gates_failed(cells: GateCells, data: st.DataObject) -> None:
    passed = {arm: data.draw(st.booleans()) for arm in cells.defacers}
    said = dict(part.split("=") for part in cells.labels[cells.index(passed)].split(";"))
    assert list(said) == list(cells.defacers)
    assert {arm: answer == "passed" for arm, answer in said.items()} == passed


@settings(max_examples=40, deadline=None)
@given(gate_cells(4), st.data())
def test_a_share_of_failures_recomputed_from_labels_alone_is_that_of_the_people(
    cells: GateCells, data: st.DataObject
) -> None:
    person = st.fixed_dictionaries({arm: st.booleans() for arm in cells.defacers})
    people = data.draw(st.lists(person | st.none(), max_size=30))
    counts = [0] * len(cells)
    for each in people:
        counts[cells.index(each)] += 1
    assert sum(counts) == len(people)
    for arm in cells.defacers:
        kept = weights_of_failed(cells.labels, arm=arm)
        failed = sum(w * c for w, c in zip(kept, counts, strict=True))
        assert failed == sum(each is not None and not each[arm] for each in people)
        assert sum(kept) == 2 ** (len(cells.defacers) - 1)
        assert kept[-1] == 0


def test_an_arm_whose_name_begins_like_anothers_is_not_taken_for_it() -> None:
    cells = GateCells(defacers=("blur", "blur-more"))
    assert cells.labels[:2] == ("blur=passed;blur-more=passed", "blur=passed;blur-more=failed")
    assert weights_of_failed(cells.labels, arm="blur") == (0, 0, 1, 1, 0)
    assert weights_of_failed(cells.labels, arm="blur-more") == (0, 1, 0, 1, 0)


@pytest.mark.parametrize("defacers", [(), ("blur", "blur"), tuple(ARMS)])
def test_a_table_of_no_gates_of_one_twice_or_of_ten_is_refused(defacers: tuple[str, ...]) -> None:
    with pytest.raises(MalformedError, match="failed gates"):
        GateCells(defacers=defacers)


def test_a_defacer_without_an_answer_is_no_pass() -> None:
    with pytest.raises(KeyError):
        GateCells(defacers=("blur", "quickshear")).index({"blur": True})


@pytest.mark.parametrize(
    ("share", "label"),
    [
        (0.0, "none"),
        (-0.0, "none"),
        (5e-324, "below 0.1%"),
        (math.nextafter(0.001, 0), "below 0.1%"),
        (0.001, "below 1%"),
        (math.nextafter(0.01, 0), "below 1%"),
        (0.01, "below 5%"),
        (math.nextafter(0.05, 0), "below 5%"),
        (0.05, "5% or more"),
        (1.0, "5% or more"),
        (None, NOT_ACQUIRED),
        (math.nan, NOT_ACQUIRED),
    ],
)
def test_a_class_of_damage_begins_at_its_edge_and_none_is_exactly_nothing(
    share: float | None, label: str
) -> None:
    assert DAMAGE.labels[DAMAGE.index(share)] == label


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_damage_never_stands_in_a_lower_class(one: float, other: float) -> None:
    assert DAMAGE.index(min(one, other)) <= DAMAGE.index(max(one, other))


@given(st.none() | st.floats())
def test_whatever_is_measured_every_person_has_one_cell_of_damage(share: float | None) -> None:
    assert 0 <= DAMAGE.index(share) < len(DAMAGE) == len(set(DAMAGE.labels))


@given(st.floats(0, 1))
def test_serious_damage_is_one_percent_or_more_and_every_class_stands_for_itself(
    share: float,
) -> None:
    place = DAMAGE.index(share)
    assert weights_of_damage(DAMAGE.labels, lost=SERIOUS_DAMAGE)[place] == int(share >= 0.01)
    for label in DAMAGE_CLASSES:
        kept = weights_of_damage(DAMAGE.labels, lost=label)
        assert kept[place] == int(DAMAGE.labels[place] == label)
        assert sum(kept) == 1


def test_every_class_of_damage_has_an_edge_and_somebody_who_could_stand_in_it() -> None:
    inside = [DAMAGE.index(edge) for edge in DAMAGE_EDGES]
    assert inside == [0, 2, 3, 4]
    assert len(DAMAGE_CLASSES) == len(DAMAGE_EDGES) + 1
    assert (*DAMAGE_CLASSES, NOT_ACQUIRED) == DAMAGE.labels


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(ARMS), unique=True, max_size=3),
    st.permutations(list(Attacker)).map(tuple),
    st.integers(1, 3),
    st.data(),
)
def test_an_experiment_asks_for_its_joint_table_its_gates_and_its_damage_in_that_order(
    arms: list[str], order: tuple[Attacker, ...], attacks: int, data: st.DataObject
) -> None:
    attackers = order[:attacks]
    if attackers[0] is Attacker.REPAIRING:
        return
    damaged = tuple(data.draw(st.lists(st.sampled_from(arms), unique=True))) if arms else ()
    asked = an_experiment(tuple(arms), attackers, damaged)
    tables = asked.tables()
    assert list(tables) == [
        JOINT_TABLE,
        *([GATES_TABLE] if arms else []),
        *(f"{DAMAGE_TABLE}/{arm}" for arm in damaged),
    ]
    assert len(tables[JOINT_TABLE]) == 2 * 2 ** (len(arms) * attacks) + 1
    assert [(readout.arm, readout.attacker) for readout in asked.readouts] == [
        ("unmodified", attackers[0]),
        *product(arms, attackers),
    ]
    columns = [readout.column for readout in asked.readouts]
    assert len(set(columns)) == len(columns)


@settings(max_examples=40, deadline=None)
@given(nano=st.integers(5, 10**12), damage_nano=st.integers(1, 10**9), defaced=st.booleans())
def test_gates_and_joint_table_cost_what_was_agreed_to_the_nano(
    *, nano: int, damage_nano: int, defaced: bool
) -> None:
    arms = ("blur",) if defaced else ()
    asked = an_experiment(arms, (Attacker.CALIBRATED,), arms)
    prices = [
        table.epsilon_nano for table in priced(asked, PrivacyLoss(nano), PrivacyLoss(damage_nano))
    ]
    assert prices[0] + sum(prices[1:2]) == nano
    if defaced:
        assert prices[1] == nano // 5
        assert prices[2] == damage_nano
