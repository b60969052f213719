"""Bounds on noise that hold, and are not far from what they bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_server.noise_tails import alike_by_chance, likeliest, sum_reach


def laplace(rng: np.random.Generator, epsilon: float, size: tuple[int, ...]) -> np.ndarray:
    stop = -math.expm1(-epsilon)
    plus, minus = (rng.negative_binomial(1, stop, size) for _ in range(2))
    return np.asarray(plus - minus)


@pytest.mark.parametrize(("cells", "epsilon"), [(65, 1.6), (16, 0.4), (5, 0.25), (2, 4.0)])
def test_a_sums_noise_passes_its_reach_no_more_often_than_said(cells: int, epsilon: float) -> None:
    sums = laplace(np.random.default_rng(1), epsilon, (20_000, cells)).sum(axis=1)
    reach = sum_reach([(cells, epsilon)], 1e-2)
    assert (sums >= reach).mean() <= 1e-2
    # the bound is of use: half as far is passed far more often
    assert (sums >= reach / 2).mean() > 2e-2


def test_the_reach_of_two_tables_is_that_of_their_noise_together() -> None:
    rng = np.random.default_rng(2)
    difference = laplace(rng, 1.6, (10_000, 65)).sum(axis=1)
    difference -= laplace(rng, 0.4, (10_000, 4)).sum(axis=1)
    assert (np.abs(difference) >= sum_reach([(65, 1.6), (4, 0.4)], 5e-3)).mean() <= 1e-2


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 8), st.integers(1, 200))
def test_a_smaller_false_alarm_reaches_further(epsilon: float, cells: int) -> None:
    reaches = [sum_reach([(cells, epsilon)], alarm) for alarm in (1e-2, 1e-5, 1e-9)]
    assert reaches == sorted(reaches)
    assert 0 < reaches[0] < reaches[-1] < math.inf


@pytest.mark.parametrize("epsilon", [0.25, 1.0, 2.0])
def test_noise_is_zero_as_often_as_its_likeliest_value_says(epsilon: float) -> None:
    drawn = laplace(np.random.default_rng(3), epsilon, (200_000,))
    assert (drawn == 0).mean() == pytest.approx(likeliest(epsilon), abs=5e-3)


def test_equal_counts_are_met_no_more_often_than_said() -> None:
    """The worst case is a table of equal true counts."""
    drawn = laplace(np.random.default_rng(4), 1.0, (10_000, 8))
    commonest = np.array([np.bincount(row - row.min()).max() for row in drawn])
    for alike in (6, 7, 8):
        met = (commonest >= alike).mean()
        assert 0 < met <= alike_by_chance(8, alike, 1.0)


def test_a_default_table_of_one_number_is_no_accident_and_a_small_one_may_be() -> None:
    assert alike_by_chance(65, 65, 1.6) < 1e-9
    assert alike_by_chance(5, 5, 2.0) > 1e-3
