"""One person falls into exactly one cell, and a cell's label says everything about it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.cells import LARGEST_TABLE, NOT_ACQUIRED, JointCells, found_in, weights
from reidscope_protocols.errors import MalformedError

ARMS = [f"arm-{letter}" for letter in "abcdef"]


@st.composite
def joint_cells(draw: st.DrawFn) -> JointCells:
    anchors = draw(st.sets(st.integers(2, 10**6), min_size=1, max_size=5))
    defacers = draw(st.lists(st.sampled_from(ARMS), unique=True, max_size=5))
    return JointCells(anchors=tuple(sorted(anchors)), defacers=tuple(defacers))


@settings(max_examples=40, deadline=None)
@given(joint_cells())
def test_every_answer_has_its_own_cell_and_every_cell_its_own_answer(cells: JointCells) -> None:
    found = [
        cells.index(found_at, dict(zip(cells.defacers, row, strict=True)))
        for found_at in (0, *cells.anchors)
        for row in product((False, True), repeat=len(cells.defacers))
    ]
    assert found == list(range(len(cells) - 1))
    assert cells.not_acquired == len(cells) - 1 == len(cells.labels) - 1
    assert len(set(cells.labels)) == len(cells.labels)


@settings(max_examples=40, deadline=None)
@given(joint_cells())
def test_a_label_says_what_put_the_person_there(cells: JointCells) -> None:
    for label in cells.labels[:-1]:
        said = dict(part.split("=") for part in label.split(";"))
        found_at = int(said.pop("unmodified"))
        assert list(said) == list(cells.defacers)
        answers = {arm: answer == "yes" for arm, answer in said.items()}
        assert cells.labels[cells.index(found_at, answers)] == label
    assert cells.labels[-1] == NOT_ACQUIRED


@settings(max_examples=40, deadline=None)
@given(joint_cells(), st.data())
def test_a_rate_recomputed_from_labels_alone_is_the_rate_of_the_people(
    cells: JointCells, data: st.DataObject
) -> None:
    person = st.tuples(
        st.sampled_from((0, *cells.anchors)), st.tuples(*[st.booleans()] * len(cells.defacers))
    )
    people = data.draw(st.lists(person | st.none(), max_size=40))
    counts = [0] * len(cells)
    for each in people:
        position = (
            cells.not_acquired
            if each is None
            else cells.index(each[0], dict(zip(cells.defacers, each[1], strict=True)))
        )
        counts[position] += 1
    seen = [each for each in people if each is not None]
    for size in cells.anchors:
        kept = weights(cells.labels, arm="unmodified", gallery_size=size)
        found = sum(w * c for w, c in zip(kept, counts, strict=True))
        assert found == sum(found_at >= size for found_at, _ in seen)
    for number, arm in enumerate(cells.defacers):
        kept = weights(cells.labels, arm=arm, gallery_size=cells.anchors[0])
        found = sum(w * c for w, c in zip(kept, counts, strict=True))
        assert found == sum(row[number] for _, row in seen)


@settings(max_examples=40, deadline=None)
@given(joint_cells())
def test_the_number_of_cells_follows_from_the_study_and_from_nothing_else(
    cells: JointCells,
) -> None:
    assert len(cells) == (len(cells.anchors) + 1) * 2 ** len(cells.defacers) + 1
    assert len(cells.labels) == len(cells)


def test_four_defacers_and_three_anchors_make_the_65_cells_of_the_design() -> None:
    assert len(JointCells(anchors=(100, 1000, 10_000), defacers=tuple(ARMS[:4]))) == 65


def test_a_person_who_was_not_acquired_is_found_nowhere() -> None:
    assert not found_in(NOT_ACQUIRED, arm="unmodified", gallery_size=2)
    assert not found_in(NOT_ACQUIRED, arm="blur", gallery_size=2)


@pytest.mark.parametrize("anchors", [(), (100, 100), (1000, 100), (1, 100), (0,), (-5, 5)])
def test_anchors_that_do_not_ascend_from_two_are_refused(anchors: tuple[int, ...]) -> None:
    with pytest.raises(MalformedError):
        JointCells(anchors=anchors, defacers=())


@pytest.mark.parametrize("defacers", [("blur", "blur"), ("unmodified",)])
def test_an_arm_twice_or_the_unmodified_arm_is_refused(defacers: tuple[str, ...]) -> None:
    with pytest.raises(MalformedError):
        JointCells(anchors=(100,), defacers=defacers)


def test_a_table_too_large_to_answer_anything_is_refused() -> None:
    many = tuple(f"arm{number}" for number in range(12))
    assert LARGEST_TABLE < 2 << 12
    with pytest.raises(MalformedError):
        JointCells(anchors=(100,), defacers=many)


def test_a_class_that_no_anchor_names_has_no_cell() -> None:
    cells = JointCells(anchors=(100, 1000), defacers=("blur",))
    with pytest.raises(ValueError, match="not in tuple"):
        cells.index(500, {"blur": True})
    with pytest.raises(KeyError):
        cells.index(100, {})
