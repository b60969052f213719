"""What a defacer costs: measured on the average head itself, where the truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_site.face.damage import DAMAGE_CLASSES, Damage, damage_class, measure
from reidscope_site.face.register import Registration
from reidscope_site.face.template import Template
from reidscope_site.face.volume import Volume

THERE = Registration(to_template=np.eye(4), ncc=1.0)


@pytest.fixture(scope="module")
def average(head: Template) -> Volume:
    return Volume(voxels=head.head.numpy(), spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))


def damage(lost: float) -> Damage:
    return Damage(brain_lost=lost, brain_changed=lost, head_removed_ml=0.0, head_removed=0.0)


def test_nothing_done_costs_nothing(average: Volume) -> None:
    found = measure(average, average, THERE)
    assert found == Damage(brain_lost=0, brain_changed=0, head_removed_ml=0, head_removed=0)
    assert DAMAGE_CLASSES[damage_class(found)] == "none"


def test_a_tenth_of_the_brain_emptied_is_a_tenth_lost(average: Volume, head: Template) -> None:
    brain = head.brain.numpy()
    cut = brain & (np.cumsum(brain.ravel()).reshape(brain.shape) <= brain.sum() / 10)
    found = measure(average, replace(average, voxels=np.where(cut, 0, average.voxels)), THERE)
    assert abs(found.brain_lost - 0.1) < 0.02
    assert abs(found.brain_changed - 0.1) < 0.02
    assert found.head_removed_ml == pytest.approx(cut.sum() / 1000, rel=0.1)
    assert DAMAGE_CLASSES[damage_class(found)] == "5% or more"


def test_a_brain_that_is_dimmed_is_changed_and_not_lost(average: Volume) -> None:
    found = measure(average, replace(average, voxels=average.voxels * 0.8), THERE)
    assert found.brain_lost < 0.01
    assert found.brain_changed > 0.9


@pytest.mark.slow
def test_a_head_beside_the_grid_has_nothing_to_lose(average: Volume) -> None:
    away = np.eye(4)
    away[:3, 3] = 1000
    found = measure(average, average, Registration(to_template=away, ncc=0.0))
    assert (found.brain_lost, found.head_removed) == (0, 0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_who_loses_more_is_in_no_lower_class(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert damage_class(damage(low)) <= damage_class(damage(high)) < len(DAMAGE_CLASSES)


@pytest.mark.parametrize(
    ("lost", "label"),
    [(0, "none"), (1e-9, "below 0.1%"), (0.001, "below 1%"), (0.01, "below 5%"), (1, "5% or more")],
)
def test_a_class_says_what_its_label_says(lost: float, label: str) -> None:
    assert DAMAGE_CLASSES[damage_class(damage(lost))] == label


@pytest.mark.slow
def test_a_brain_is_found_again_on_a_scan_without_a_face(average: Volume) -> None:
    cut = average.voxels.copy()
    cut[:, 190:, :150] = 0
    found = measure(average, replace(average, voxels=cut), THERE, again=True)
    assert found.brain_dice is not None
    assert found.brain_dice > 0.95
