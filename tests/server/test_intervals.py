"""Score sets: known answers, exactness, and coverage with the noise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.privacy import NANO
from reidscope_server.intervals import (
    Interval,
    Weighed,
    difference,
    difference_interval,
    people_interval,
    share,
    share_interval,
)
from reidscope_server.pooling import noise_variance

Z = 1.959963984540054
COUNTS = st.lists(st.integers(-20, 200), min_size=2, max_size=12)
NOISE = st.floats(0.001, 500)


def table(total: float, people: float, *, noise: float = 0.0, sd: float = 0.0) -> Weighed:
    return Weighed(
        total=total,
        people=people,
        weight_sum=1,
        weight_squares=1,
        cells=2,
        noise_variance=noise,
        gallery_sd=sd,
    )


def weighed(
    counts: list[int], choose: st.DataObject, signs: list[int], noise: float, sd: float = 0.0
) -> tuple[Weighed, list[int]]:
    row = choose.draw(st.lists(st.sampled_from(signs), min_size=len(counts), max_size=len(counts)))
    return Weighed.of(counts, row, noise_variance=noise, gallery_sd=sd), row


def test_without_noise_70_of_84_is_wilsons_interval() -> None:
    # Schwarz et al. 2019: 70 of 84 people; Wilson (1927) by hand
    interval = share_interval(table(70, 84))
    p, n = 70 / 84, 84
    middle = (p + Z * Z / 2 / n) / (1 + Z * Z / n)
    reach = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / 4 / n / n)
    assert interval.low == pytest.approx(middle - reach)
    assert interval.high == pytest.approx(middle + reach)
    assert (round(interval.low, 3), round(interval.high, 3)) == (0.739, 0.898)


def test_noise_variance_is_that_of_the_discrete_laplace() -> None:
    for epsilon in (0.25, 1.0, 4.0):
        a = math.exp(-epsilon)
        moments = sum(k * k * (1 - a) / (1 + a) * a ** abs(k) for k in range(-400, 401))
        assert noise_variance(round(epsilon * NANO)) == pytest.approx(moments, rel=1e-9)


def test_a_difference_without_noise_meets_the_definition_at_its_ends() -> None:
    w = Weighed(total=-30, people=100, weight_sum=0, weight_squares=2, cells=4, noise_variance=0.0)
    interval = difference_interval(w, discordant=34)
    for d in (interval.low, interval.high):
        variance = 100 * (max(0.34, abs(d)) - d * d)
        assert (-30 - d * 100) ** 2 == pytest.approx(Z * Z * variance)


@given(COUNTS, NOISE, st.floats(0, 0.05), st.data())
def test_an_interval_is_the_hull_of_the_shares_that_satisfy_its_definition(
    counts: list[int], noise: float, sd: float, data: st.DataObject
) -> None:
    w, row = weighed(counts, data, [0, 1], noise, sd)
    interval = share_interval(w)
    if w.people <= 0:
        assert interval == Interval(0.0, 1.0)
        return
    grid = np.linspace(0, 1, 401)
    spread = sum((weight - grid) ** 2 for weight in row)
    allowed = w.people * grid * (1 - grid) + noise * spread + (w.people * sd) ** 2
    kept = grid[(w.total - grid * w.people) ** 2 <= Z * Z * allowed]
    assert all(interval.low - 1e-9 <= p <= interval.high + 1e-9 for p in kept)
    if len(kept):
        point = share(w)
        assert interval.low >= min(kept[0], point) - 1 / 400
        assert interval.high <= max(kept[-1], point) + 1 / 400


@given(COUNTS, NOISE, st.data())
def test_an_interval_holds_the_published_share_and_stays_in_range(
    counts: list[int], noise: float, data: st.DataObject
) -> None:
    w, _ = weighed(counts, data, [0, 1], noise)
    interval = share_interval(w)
    assert 0 <= interval.low <= share(w) <= interval.high <= 1
    assert interval.low < interval.high


@given(COUNTS, NOISE, st.data())
def test_a_paired_interval_holds_the_published_difference_and_stays_in_range(
    counts: list[int], noise: float, data: st.DataObject
) -> None:
    w, row = weighed(counts, data, [-1, 0, 1], noise)
    discordant = sum(abs(r) * c for r, c in zip(row, counts, strict=True))
    interval = difference_interval(w, discordant=discordant)
    assert -1 <= interval.low <= difference(w) <= interval.high <= 1
    assert interval.low < interval.high


@given(
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(1, 60),
    st.floats(0.1, 4),
    st.floats(1.01, 8),
)
def test_less_epsilon_and_more_gallery_error_never_narrow_an_interval(
    hits: int, misses: int, ones: int, epsilon: float, factor: float
) -> None:
    def width(epsilon: float, sd: float) -> float:
        interval = share_interval(
            Weighed(
                total=hits,
                people=hits + misses,
                weight_sum=ones,
                weight_squares=ones,
                cells=65,
                noise_variance=noise_variance(round(epsilon * NANO)),
                gallery_sd=sd,
            )
        )
        return interval.high - interval.low

    assert width(epsilon / factor, 0.0) >= width(epsilon, 0.0) - 1e-12
    assert width(epsilon, 0.01 * factor) >= width(epsilon, 0.01) - 1e-12


@given(st.integers(1, 400), st.integers(0, 400), NOISE)
def test_found_and_lost_have_mirrored_intervals(hits: int, misses: int, noise: float) -> None:
    found = share_interval(table(hits, hits + misses, noise=noise))
    lost = share_interval(table(misses, hits + misses, noise=noise))
    assert lost.low == pytest.approx(1 - found.high, abs=1e-9)
    assert lost.high == pytest.approx(1 - found.low, abs=1e-9)


def test_a_table_that_noise_left_without_people_says_nothing() -> None:
    assert share_interval(table(5, 0, noise=9.0)) == Interval(0.0, 1.0)
    assert difference_interval(table(5, -3, noise=9.0), discordant=2) == Interval(-1.0, 1.0)


def test_a_sum_far_below_zero_gives_a_one_sided_bound_at_zero() -> None:
    w = table(-40, 100, noise=2.0)
    interval = share_interval(w)
    one_sided = share_interval(replace(w, total=0))
    assert interval.low == share(w) == 0
    assert 0 < interval.high < one_sided.high


def test_people_are_known_up_to_the_noise_alone() -> None:
    interval = people_interval(84, cells=65, noise_variance=0.362)
    assert interval.half_width == pytest.approx(Z * math.sqrt(65 * 0.362))
    assert people_interval(-30, cells=65, noise_variance=0.362) == Interval(0.0, 0.0)


def _laplace(rng: np.random.Generator, terms: int, epsilon: float, runs: int) -> np.ndarray:
    stop = -math.expm1(-epsilon)
    return rng.negative_binomial(terms, stop, runs) - rng.negative_binomial(terms, stop, runs)


@pytest.mark.parametrize(
    ("people", "epsilon", "rate", "ones"),
    [(84, 2.0, 0.83, 48), (84, 2.0, 0.3, 32), (84, 2.0, 0.05, 32), (500, 0.25, 0.5, 48)],
)
def test_shares_are_covered_95_times_in_100(
    people: int, epsilon: float, rate: float, ones: int
) -> None:
    """4,000 runs: below 92.5% by chance less than once in 10^9 if true coverage is 95%."""
    rng, runs = np.random.default_rng(7), 4000
    hits = rng.binomial(people, rate, runs)
    total = hits + _laplace(rng, ones, epsilon, runs)
    everyone = total - hits + people + _laplace(rng, 65 - ones, epsilon, runs)
    noise = noise_variance(round(epsilon * NANO))
    held = 0
    for s, n in zip(total.tolist(), everyone.tolist(), strict=True):
        interval = share_interval(
            Weighed(
                total=s,
                people=n,
                weight_sum=ones,
                weight_squares=ones,
                cells=65,
                noise_variance=noise,
            )
        )
        held += interval.low <= rate <= interval.high
    assert 0.925 <= held / runs <= 0.975


@pytest.mark.parametrize(
    ("people", "epsilon", "gained", "lost"),
    [(84, 2.0, 0.02, 0.5), (84, 2.0, 0.0, 0.05), (252, 1.0, 0.1, 0.1), (500, 0.25, 0.0, 0.8)],
)
def test_paired_differences_are_covered_95_times_in_100(
    people: int, epsilon: float, gained: float, lost: float
) -> None:
    """As above; a paired set is a little wide where hardly anybody changes."""
    rng, runs = np.random.default_rng(8), 4000
    drawn = rng.multinomial(people, [gained, lost, 1 - gained - lost], runs).T
    up = drawn[0] + _laplace(rng, 8, epsilon, runs)
    down = drawn[1] + _laplace(rng, 24, epsilon, runs)
    everyone = up + down + drawn[2] + _laplace(rng, 33, epsilon, runs)
    noise, truth, held = noise_variance(round(epsilon * NANO)), gained - lost, 0
    for u, d, n in zip(up.tolist(), down.tolist(), everyone.tolist(), strict=True):
        interval = difference_interval(
            Weighed(
                total=u - d,
                people=n,
                weight_sum=-16,
                weight_squares=32,
                cells=65,
                noise_variance=noise,
            ),
            discordant=u + d,
        )
        held += interval.low <= truth <= interval.high
    assert 0.925 <= held / runs <= 0.985


def test_intervals_that_forget_the_noise_would_fail_the_coverage_test() -> None:
    """The coverage test can fail: Wilson's own interval misses the truth far too often."""
    rng, runs = np.random.default_rng(9), 2000
    hits = rng.binomial(84, 0.83, runs)
    total = hits + _laplace(rng, 48, 0.5, runs)
    everyone = total - hits + 84 + _laplace(rng, 17, 0.5, runs)
    held = 0
    for s, n in zip(total.tolist(), everyone.tolist(), strict=True):
        interval = share_interval(table(s, n))
        held += interval.low <= 0.83 <= interval.high
    assert held / runs < 0.8
