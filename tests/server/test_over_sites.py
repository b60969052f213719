"""The mean of sites like these: known cases, and what noise and liars may not do to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from reidscope_server.intervals import Weighed, share_interval
from reidscope_server.over_sites import SampleOfSites, SiteShare, sample_of_sites


def a_site(
    hits: float, people: float, *, noise: float = 0.0, declared: int = 84, gallery_sd: float = 0.0
) -> SiteShare:
    weighed = Weighed(
        total=hits,
        people=people,
        weight_sum=48,
        weight_squares=48,
        cells=65,
        noise_variance=noise,
        gallery_sd=gallery_sd,
    )
    return SiteShare(weighed=weighed, declared_people=declared)


def of(*rates: float, people: int = 1000, **site: float) -> SampleOfSites:
    return sample_of_sites([a_site(rate * people, people, **site) for rate in rates])  # type: ignore[arg-type]  # floats and one int, by name


def test_at_sites_of_one_size_it_is_the_t_interval_over_their_rates() -> None:
    rates = (0.42, 0.5, 0.61, 0.47, 0.55)
    sample = of(*rates)
    reach = t.ppf(0.975, 4) * np.std(rates, ddof=1) / math.sqrt(5)
    assert sample.mean == pytest.approx(np.mean(rates))
    assert sample.interval.low == pytest.approx(np.mean(rates) - reach)
    assert sample.interval.high == pytest.approx(np.mean(rates) + reach)


def test_sites_that_differ_more_than_sampling_explains_show_it() -> None:
    assert of(0.2, 0.5, 0.8).between_sites == pytest.approx(0.3, abs=0.01)
    assert of(0.499, 0.5, 0.501).between_sites == 0


def test_the_galleries_error_does_not_shrink_with_the_sites() -> None:
    wide = of(*[0.5, 0.5001] * 200, gallery_sd=0.05).interval
    assert wide.half_width == pytest.approx(1.96 * 0.05, abs=0.002)


def test_a_site_that_noise_drowns_weighs_next_to_nothing() -> None:
    good = [a_site(40 + place, 84) for place in range(6)]
    drowned = [
        SiteShare(
            weighed=Weighed(
                total=hits,
                people=people,
                weight_sum=48,
                weight_squares=48,
                cells=65,
                noise_variance=1e5,
            ),
            declared_people=84,
        )
        for hits, people in ((-900.0, 3.0), (1500.0, -2.0))
    ]
    alone, together = sample_of_sites(good), sample_of_sites([*good, *drowned])
    assert together.mean == pytest.approx(alone.mean, abs=0.01)


def test_where_noise_leaves_no_people_nothing_is_said() -> None:
    sample = sample_of_sites([a_site(3, -40, noise=100), a_site(1, -2, noise=100)])
    assert (sample.interval.low, sample.interval.high, sample.between_sites) == (0, 1, 0)


def test_two_sites_alone_say_little_of_others() -> None:
    assert of(0.4, 0.6).interval.half_width == pytest.approx(0.5, abs=0.01)


counted = st.tuples(st.integers(-50, 500), st.integers(-50, 500), st.integers(1, 1000))


@settings(max_examples=60, deadline=None)
@given(st.lists(counted, min_size=2, max_size=8), st.sampled_from([0.0, 5.0, 100.0]))
def test_the_interval_is_within_the_scale_and_holds_the_mean_in_any_order(
    sites: list[tuple[int, int, int]], noise: float
) -> None:
    made = [a_site(hits, people, noise=noise, declared=size) for hits, people, size in sites]
    sample, turned = sample_of_sites(made), sample_of_sites(made[::-1])
    assert 0 <= sample.interval.low <= sample.mean <= sample.interval.high <= 1
    assert turned.mean == pytest.approx(sample.mean, abs=1e-6)
    assert turned.interval.low == pytest.approx(sample.interval.low, abs=1e-6)


def test_it_covers_where_sites_differ_and_the_pooled_interval_does_not() -> None:
    """Five sites of 1,000, sd of their shares .1: false alarm of each bound below 1e-3."""
    rng = np.random.default_rng(7)
    held, pooled_held = 0, 0
    for _ in range(300):
        rates = np.clip(0.5 + 0.1 * rng.standard_normal(5), 0, 1)
        hits = rng.binomial(1000, rates)
        interval = sample_of_sites([a_site(float(h), 1000) for h in hits]).interval
        held += interval.low <= 0.5 <= interval.high
        whole = share_interval(a_site(float(hits.sum()), 5000).weighed)
        pooled_held += whole.low <= 0.5 <= whole.high
    assert held / 300 > 0.90
    assert pooled_held / 300 < 0.6
