"""The public tail is recovered from samples whose tail is known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from reidscope_site.face.tails import gpd_share, normal_share, z_score
from reidscope_site.reference.figures import ladder
from reidscope_site.reference.tail import (
    FEWEST_PAIRS,
    FEWEST_PEOPLE,
    gpd_by_moments,
    pooled_tail,
    tail_of,
)


def pareto(shape: float, scale: float, number: int) -> NDArray[np.float64]:
    uniform = np.random.default_rng(7).random(number)
    if shape == 0:
        return np.asarray(-scale * np.log(uniform))
    return np.asarray(scale * (uniform**-shape - 1) / shape)


@pytest.mark.parametrize("shape", [-0.3, -0.1, 0.0, 0.2, 0.4])
@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_a_generalised_pareto_sample_gives_its_own_parameters(shape: float, scale: float) -> None:
    found = gpd_by_moments(np.sort(pareto(shape, scale, 200_000)))
    assert found == pytest.approx((shape, scale), rel=0.03, abs=0.012)


def test_normal_scores_leave_a_tail_that_is_as_light() -> None:
    scores = np.random.default_rng(3).standard_normal((60, 20_000))
    tail = tail_of(scores)
    assert tail is not None
    assert (tail.people, tail.pairs, tail.share) == (60, 1_200_000, 0.01)
    assert tail.threshold == pytest.approx(2.326, abs=0.01)
    for z in (3.0, 3.7, 4.3):
        truth = math.erfc(z / math.sqrt(2)) / 2
        assert normal_share(z, tail) == pytest.approx(truth, rel=0.03)
    assert gpd_share(3.0, tail) == pytest.approx(math.erfc(3 / math.sqrt(2)) / 2, rel=0.1)
    # four deviations out a Pareto tail of light-tailed scores is a guess: within a factor of three
    assert 1 / 3 < gpd_share(4.3, tail) / (math.erfc(4.3 / math.sqrt(2)) / 2) < 3


def test_heavy_scores_leave_a_heavy_tail_where_a_normal_one_is_wrong() -> None:
    scores = np.random.default_rng(4).logistic(size=(60, 20_000)) * math.sqrt(3) / math.pi
    tail = tail_of(scores)
    assert tail is not None
    truth = 1 / (1 + math.exp(6 * math.pi / math.sqrt(3)))
    assert gpd_share(6.0, tail) == pytest.approx(truth, rel=0.6)
    assert normal_share(6.0, tail) < truth / 1000


def test_a_tail_needs_a_hundred_thousand_public_pairs() -> None:
    draw = np.random.default_rng(0)
    gallery = draw.integers(-60, 61, (FEWEST_PAIRS // FEWEST_PEOPLE, 16)).astype(np.int8)
    probes, mates = draw.integers(-60, 61, (2, FEWEST_PEOPLE, 16)).astype(np.int8)
    tail = pooled_tail(probes, mates, gallery)
    assert tail is not None
    assert tail.pairs == FEWEST_PAIRS
    assert pooled_tail(probes[1:], mates[1:], np.tile(gallery, (2, 1))) is None
    assert pooled_tail(probes, mates, gallery[1:]) is None
    # the reference's standard deviations are those that a site will use
    own = [z_score(probe[None], gallery[:1], gallery) for probe in probes]
    scores = probes.astype(float) @ gallery.astype(float).T
    again = (scores[:, 0] - scores.mean(1)) / scores.std(1)
    assert own == pytest.approx(again)


def test_scores_that_are_all_alike_have_no_tail() -> None:
    assert pooled_tail(*np.ones((2, 20, 8), np.int8), np.ones((10_000, 8), np.int8)) is None


@pytest.mark.parametrize("size", [20, 30, 190, 10_000, 1_000_000])
def test_the_ladder_climbs_from_thirty_faces_to_all_but_one(size: int) -> None:
    steps = ladder(size)
    assert steps[-1] == size - 1
    assert steps[0] == min(30, size - 1)
    assert list(steps) == sorted(set(steps))
    assert all(b < 2 * a for a, b in pairwise(steps[:-1]))
