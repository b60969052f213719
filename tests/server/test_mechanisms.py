"""Laplace or Gaussian: computed as OpenDP computes it, for the tables that a study has."""

from __future__ import annotations

import math
import re
from pathlib import Path

import opendp.prelude as dp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.errors import InputError
from reidscope_protocols.privacy import NANO
from reidscope_server.mechanisms import (
    compare_mechanisms,
    delta_of,
    distributed_variance,
    gaussian_variance,
    rho_within,
)
from reidscope_server.pooling import noise_variance

dp.enable_features("contrib")


def profile(rho: float) -> dp.PrivacyProfile:
    scale = math.sqrt(1 / (2 * rho))
    count = dp.m.make_gaussian(dp.atom_domain(T="i64"), dp.absolute_distance(T="i64"), scale=scale)
    return dp.c.make_zCDP_to_approxDP(count).map(1)


@settings(max_examples=60, deadline=None)
@given(rho=st.floats(1e-4, 10), epsilon=st.floats(0.01, 20))
def test_delta_is_the_one_that_opendp_proves(rho: float, epsilon: float) -> None:
    assert delta_of(rho, epsilon) == pytest.approx(profile(rho).delta(epsilon), rel=1e-6, abs=1e-99)


@pytest.mark.parametrize(
    ("epsilon", "delta", "sigma"),
    [(1, 1e-6, 4.53), (1, 1e-5, 4.05), (2, 1e-6, 2.38), (0.5, 1e-6, 8.68), (4, 1e-6, 1.27)],
)
def test_the_largest_rho_is_opendps_own_calibration(
    epsilon: float, delta: float, sigma: float
) -> None:
    rho = rho_within(epsilon, delta)
    assert math.sqrt(1 / (2 * rho)) == pytest.approx(sigma, abs=0.006)
    assert profile(rho).epsilon(delta) == pytest.approx(epsilon, rel=1e-6)


def equal_tables(count: int, epsilon: float) -> list[tuple[str, int, int]]:
    return [(f"t{n}", 5, round(epsilon * NANO / count)) for n in range(count)]


@pytest.mark.parametrize(
    ("epsilon", "count", "laplace", "gaussian", "narrower"),
    [
        (1, 1, 1.36, 4.53, "discrete Laplace"),
        (1, 4, 5.64, 9.06, "discrete Laplace"),
        (1, 10, 14.1, 14.3, "discrete Laplace"),
        (1, 12, 17.0, 15.7, "discrete Gaussian"),
        (1, 64, 90.5, 36.2, "discrete Gaussian"),
        (2, 12, 8.5, 8.25, "discrete Gaussian"),
        (4, 12, 4.22, 4.39, "discrete Laplace"),
    ],
)
def test_the_narrower_mechanism_is_the_one_that_was_measured(
    epsilon: float, count: int, laplace: float, gaussian: float, narrower: str
) -> None:
    choice = compare_mechanisms(equal_tables(count, epsilon))
    assert choice.narrower == narrower
    for table in choice.tables:
        assert table.laplace_sd == pytest.approx(laplace, rel=0.01)
        assert table.gaussian_sd == pytest.approx(gaussian, rel=0.01)
    assert choice.gaussian_from is not None
    assert (count >= choice.gaussian_from) is (narrower == "discrete Gaussian")


def test_the_table_of_the_planning_page_is_what_is_computed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "planning.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", page, flags=re.MULTILINE)
    assert [int(count) for count, _ in rows] == [1, 4, 10, 12]
    for count, said in rows:
        for epsilon, pair in zip((1, 2, 4), said.split(" | "), strict=True):
            noise = compare_mechanisms(equal_tables(int(count), epsilon)).tables[0]
            laplace, gaussian = map(float, pair.split(" / "))
            assert noise.laplace_sd == pytest.approx(laplace, abs=0.06)
            assert noise.gaussian_sd == pytest.approx(gaussian, abs=0.06)
    (narrower,) = re.findall(r"^\| Gaussian is narrower from \| (.+) \|$", page, flags=re.MULTILINE)
    for epsilon, words in zip((1, 2, 4), narrower.split(" | "), strict=True):
        choice = compare_mechanisms(equal_tables(1, epsilon))
        assert f"{choice.gaussian_from} tables" == words


def test_unequal_tables_share_the_gaussians_budget_and_spend_all_of_it() -> None:
    choice = compare_mechanisms([("joint", 65, 1_600_000_000), ("gates", 17, 400_000_000)])
    ratios = [table.gaussian_sd / table.laplace_sd for table in choice.tables]
    assert ratios == pytest.approx([choice.factor] * 2, rel=1e-3)
    spent = sum(1 / (2 * table.gaussian_sd**2) for table in choice.tables)
    assert spent == pytest.approx(choice.rho, rel=1e-3)
    assert choice.epsilon_nano == 2 * NANO


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(10_000_000, 8 * NANO), st.floats(1e-12, 0.01))
def test_a_larger_delta_never_widens_the_gaussian(count: int, nano: int, delta: float) -> None:
    tables = [(f"t{n}", 5, nano) for n in range(count)]
    near, far = compare_mechanisms(tables, delta=delta), compare_mechanisms(tables, delta=delta * 2)
    assert far.tables[0].gaussian_sd <= near.tables[0].gaussian_sd * (1 + 1e-9)
    assert far.tables[0].laplace_sd == near.tables[0].laplace_sd


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-6, math.nan, math.inf, float("1e-400")])
def test_a_delta_that_is_none_is_refused(delta: float) -> None:
    with pytest.raises(InputError):
        compare_mechanisms(equal_tables(1, 1), delta=delta)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.38, 3.99, 4.01, 40.0])
def test_the_discrete_gaussians_variance_is_that_of_its_own_probabilities(sigma: float) -> None:
    reach = range(-math.ceil(40 * sigma) - 2, math.ceil(40 * sigma) + 3)
    weights = {k: math.exp(-k * k / (2 * sigma * sigma)) for k in reach}
    exact = sum(k * k * w for k, w in weights.items()) / sum(weights.values())
    assert gaussian_variance(sigma) == pytest.approx(exact, rel=1e-9)


def test_a_secure_sum_has_one_laplace_and_a_little_more_for_each_colluder() -> None:
    one = noise_variance(NANO)
    assert distributed_variance(NANO, sites=20) == one
    assert distributed_variance(NANO, sites=20, colluders=2) == pytest.approx(one * 20 / 18)
    assert distributed_variance(NANO, sites=5, colluders=2) / one == pytest.approx(
        1.29**2, rel=0.01
    )
