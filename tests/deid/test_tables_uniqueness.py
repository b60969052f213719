"""Estimates of population uniqueness, on populations whose uniques are known."""

from __future__ import annotations

import numpy as np
import pytest

from reidscope_deid.tables.uniqueness import (
    estimate_uniques,
    pitman_uniques,
    snb_uniques,
    zayatz_uniques,
)

PEOPLE = 50_000


def pitman_population(theta: float, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """Class of each person, drawn by the two-parameter Chinese restaurant."""
    of_person, sizes = np.zeros(PEOPLE, dtype=np.int64), [1]
    new = rng.random(PEOPLE)
    for number in range(1, PEOPLE):
        if new[number] * (number + theta) < theta + alpha * len(sizes):
            of_person[number] = len(sizes)
            sizes.append(1)
            continue
        while True:  # a person's class, less alpha a class: propose by size, accept the rest
            chosen = of_person[int(rng.random() * number)]
            if rng.random() * sizes[chosen] < sizes[chosen] - alpha:
                break
        of_person[number] = chosen
        sizes[chosen] += 1
    return of_person


def sampled(of_person: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.permutation(len(of_person))[: int(fraction * len(of_person))]
    return np.unique(of_person[chosen], return_counts=True)[1]


@pytest.fixture(scope="module")
def population() -> np.ndarray:
    return pitman_population(200, 0.6, np.random.default_rng(11))


# Tolerances are three standard deviations of the relative error over 40 seeds of the sample.
@pytest.mark.parametrize(("fraction", "tolerance"), [(0.02, 0.47), (0.05, 0.19), (0.1, 0.12)])
def test_pitman_finds_the_uniques_of_a_pitman_population(
    population: np.ndarray, fraction: float, tolerance: float
) -> None:
    rng = np.random.default_rng(5)
    true = int((np.bincount(population) == 1).sum())
    found = estimate_uniques(sampled(population, fraction, rng), fraction)
    assert found.method == "pitman"
    assert found.population_uniques == pytest.approx(true, rel=tolerance)
    assert found.share == pytest.approx(found.population_uniques / PEOPLE)


@pytest.mark.parametrize(("fraction", "tolerance"), [(0.3, 0.07), (0.6, 0.045)])
def test_zayatz_finds_them_from_a_large_sample(
    population: np.ndarray, fraction: float, tolerance: float
) -> None:
    rng = np.random.default_rng(5)
    true = int((np.bincount(population) == 1).sum())
    sizes = sampled(population, fraction, rng)
    assert zayatz_uniques(sizes, PEOPLE) == pytest.approx(true, rel=tolerance)


@pytest.mark.parametrize(("fraction", "tolerance"), [(0.3, 0.26), (0.6, 0.13)])
def test_the_slide_negative_binomial_finds_those_of_its_own_population(
    fraction: float, tolerance: float
) -> None:
    rng = np.random.default_rng(5)
    sizes = 1 + rng.negative_binomial(2, 0.3, 20_000)
    of_person = np.repeat(np.arange(20_000), sizes)
    true = int((sizes == 1).sum())
    seen = sampled(of_person, fraction, rng)
    assert snb_uniques(seen, len(of_person)) == pytest.approx(true, rel=tolerance)
    assert estimate_uniques(seen, fraction).method == "snb"


def test_a_sample_that_is_everybody_has_the_uniques_that_it_has(population: np.ndarray) -> None:
    sizes = np.bincount(population)
    true = int((sizes == 1).sum())
    found = estimate_uniques(sizes, 1.0)
    assert found.zayatz == pytest.approx(true)
    assert found.snb == pytest.approx(true)
    assert found.population_uniques == pytest.approx(true)


def test_no_sample_unique_means_no_estimate_of_any() -> None:
    found = estimate_uniques(np.array([2, 3, 9]), 0.05)
    assert (found.pitman, found.zayatz, found.snb, found.share) == (0.0, 0.0, 0.0, 0.0)


def test_where_every_row_is_unique_everybody_may_be() -> None:
    found = estimate_uniques(np.ones(1000, dtype=np.int64), 0.05)
    assert pitman_uniques(np.ones(1000, dtype=np.int64), 20_000) is None
    assert found.method == "zayatz"
    assert found.share == pytest.approx(1.0)


def test_an_estimate_is_never_more_than_the_population(population: np.ndarray) -> None:
    rng = np.random.default_rng(9)
    for fraction in (0.001, 0.01, 0.2, 0.9):
        found = estimate_uniques(sampled(population, fraction, rng), fraction)
        assert 0 <= found.share <= 1
