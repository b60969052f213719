"""Counts that lie too close together: bounds that hold, and what they catch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_server.huddles import (
    even_by_chance,
    huddled_by_chance,
    most_in_a_window,
    together_by_chance,
)
from reidscope_server.noise_tails import EVEN_ALARM, FALSE_ALARM


def laplace(rng: np.random.Generator, epsilon: float, size: tuple[int, ...]) -> np.ndarray:
    stop = -math.expm1(-epsilon)
    plus, minus = (rng.negative_binomial(1, stop, size) for _ in range(2))
    return np.asarray(plus - minus)


@pytest.mark.parametrize(("cells", "epsilon"), [(5, 2.0), (9, 1.0), (16, 0.25), (9, 0.1)])
@pytest.mark.parametrize("differ", [0, 3])
def test_noise_huddles_no_more_often_than_said(cells: int, epsilon: float, differ: int) -> None:
    """The worst case, equal true counts, and others: 3,000 tables each."""
    rng = np.random.default_rng(cells)
    true = differ * np.arange(cells)
    chances = np.array(
        [huddled_by_chance(row, epsilon) for row in true + laplace(rng, epsilon, (3000, cells))]
    )
    for alarm in (0.2, 0.05, 0.01):
        assert (chances <= alarm).mean() <= alarm + 3 * math.sqrt(alarm / 3000)


@pytest.mark.parametrize(("cells", "mean", "epsilon"), [(4, 20.0, 2.0), (9, 9.0, 1.0), (3, 200, 4)])
def test_people_fill_cells_evenly_no_more_often_than_said(
    cells: int, mean: float, epsilon: float
) -> None:
    rng = np.random.default_rng(cells)
    drawn = rng.poisson(mean, (2000, cells)) + laplace(rng, epsilon, (2000, cells))
    chances = np.array([even_by_chance(row.tolist(), epsilon) for row in drawn])
    for alarm in (0.2, 0.05, 0.01):
        assert (chances <= alarm).mean() <= alarm + 3 * math.sqrt(alarm / 2000)


def test_the_chance_that_equal_cells_become_one_number_is_exact() -> None:
    """P(all nine noises agree) = sum of P(z)^9, times the number of windows looked at: one."""
    a = math.exp(-2.0)
    exact = sum(((1 - a) / (1 + a) * a ** abs(z)) ** 9 for z in range(-50, 51))
    assert huddled_by_chance([7] * 9, 2.0) == pytest.approx(exact)
    drawn = laplace(np.random.default_rng(1), 2.0, (40_000, 9))
    met = (drawn == drawn[:, :1]).all(axis=1).mean()
    assert met == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(("cells", "epsilon"), [(51, 1.6), (28, 1.0), (11, 0.25), (8, 0.1)])
def test_a_constant_table_of_cells_enough_is_refused_for_its_noise_alone(
    cells: int, epsilon: float
) -> None:
    assert huddled_by_chance([0] * cells, epsilon) <= FALSE_ALARM
    assert huddled_by_chance([0] * (cells - 1), epsilon) > FALSE_ALARM


def test_a_nearly_constant_table_is_seen_where_noise_is_wide() -> None:
    nearly = [9, 10, 9, 11, 9, 9, 10, 9, 12, 9, 9, 10] * 2
    assert huddled_by_chance(nearly, 0.1) <= FALSE_ALARM
    assert huddled_by_chance([*nearly, 400], 0.1) <= FALSE_ALARM  # one apart hides nothing
    assert huddled_by_chance(nearly, 2.0) > 1e-3


def test_nine_cells_of_nine_people_each_are_no_table_of_people() -> None:
    assert huddled_by_chance([9] * 9, 2.0) > 1e-2
    assert even_by_chance([9] * 9, 2.0) <= EVEN_ALARM
    assert even_by_chance([30, 31, 30, 30, 31, 30, 30, 30, 30], 2.0) <= EVEN_ALARM
    assert even_by_chance([12, 7, 9, 4, 8, 11, 9, 6, 15], 2.0) > 1e-2


def test_an_empty_sites_small_table_of_noughts_is_admitted() -> None:
    assert even_by_chance([0] * 9, 2.0) == 1
    assert huddled_by_chance([0] * 9, 2.0) > 1e-2


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(-40, 400), min_size=1, max_size=30), st.sampled_from([0.05, 1.0, 6.0]))
def test_chances_are_probabilities_and_a_shift_moves_none(
    counts: list[int], epsilon: float
) -> None:
    chance = huddled_by_chance(counts, epsilon)
    assert 0 <= chance <= 1
    assert 0 <= even_by_chance(counts, epsilon) <= 1
    assert huddled_by_chance([count + 13 for count in counts], epsilon) == chance
    assert 1 <= most_in_a_window(counts, 0) <= most_in_a_window(counts, 5) <= len(counts)


def test_independent_chances_add_up_as_fishers() -> None:
    rng = np.random.default_rng(2)
    products = rng.random((20_000, 3)).prod(axis=1)
    said = np.array([together_by_chance([product, 1.0, 1.0]) for product in products])
    assert (said <= 0.05).mean() == pytest.approx(0.05, abs=0.006)
    assert together_by_chance([0.3]) == pytest.approx(0.3)
    assert together_by_chance([1.0, 1.0]) == 1
    assert together_by_chance([0.0]) == pytest.approx(0)
