"""Shares of noise: they add up to one discrete Laplace, to the last digit that a test can see."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from decimal import Context, Decimal, localcontext
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from reidscope_protocols.errors import ConfigError
from reidscope_protocols.polya import UNIFORM_BITS, PolyaShare, cumulative
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_site import noise_shares
from reidscope_site.noise_shares import draw

FALSE_ALARM = 1e-6
SIZES = [(2, 0), (5, 0), (5, 2), (20, 0), (20, 10), (100, 0)]


def share(epsilon: str, parties: int, tolerated: int = 0) -> PolyaShare:
    return PolyaShare(loss=PrivacyLoss.from_decimal(epsilon), parties=parties, tolerated=tolerated)


def law(of: PolyaShare) -> np.ndarray:
    """P(X - Y = k), k from -n to n, from the very table that is drawn from."""
    steps = (0, *cumulative(of))
    half = np.array([(b - a) / (1 << UNIFORM_BITS) for a, b in pairwise(steps)])
    return np.convolve(half, half[::-1])


def discrete_laplace(epsilon: float, reach: int) -> np.ndarray:
    k = np.abs(np.arange(-reach, reach + 1))
    return np.tanh(epsilon / 2) * np.exp(-epsilon * k)


def summed(of: PolyaShare, shares: int) -> np.ndarray:
    """Law of the sum of so many shares, by convolution: no transform, no approximation."""
    total, power, left = np.array([1.0]), law(of), shares
    while left:
        if left & 1:
            total = np.convolve(total, power)
        power, left = (np.convolve(power, power) if left > 1 else power), left >> 1
    return total


@pytest.mark.parametrize(("parties", "tolerated"), SIZES)
@pytest.mark.parametrize("epsilon", ["0.4", "1", "2"])
def test_as_many_shares_as_must_be_honest_add_up_to_exactly_one_discrete_laplace(
    epsilon: str, parties: int, tolerated: int
) -> None:
    of = share(epsilon, parties, tolerated)
    total = summed(of, of.honest)
    expected = discrete_laplace(float(epsilon), len(total) // 2)
    assert np.abs(total - expected).max() < 1e-13  # double precision, added up 100 times
    middle = len(total) // 2
    near = total[middle : middle + math.ceil(20 / float(epsilon))]
    ratios = np.log(near[:-1] / near[1:])
    assert np.abs(ratios - float(epsilon)).max() < 1e-6


@pytest.mark.parametrize(("parties", "tolerated"), SIZES)
@pytest.mark.parametrize("epsilon", ["0.05", "1", "4"])
def test_the_halves_add_up_to_a_geometric_law_to_70_digits(
    epsilon: str, parties: int, tolerated: int
) -> None:
    """(1 - a) a^k is half of a discrete Laplace; series cut at 40 terms lose none of these."""
    of, terms = share(epsilon, parties, tolerated), 40
    with localcontext(Context(prec=80)):
        power, total, left = list(of.weights()[:terms]), [Decimal(1)], of.honest
        while left:
            total = times(total, power, terms) if left & 1 else total
            power, left = times(power, power, terms), left >> 1
        a = (-Decimal(epsilon)).exp()
        for k, coefficient in enumerate(total[: len(of.weights())]):
            assert abs(coefficient / ((1 - a) * a**k) - 1) < Decimal("1e-70")


def times(left: list[Decimal], right: list[Decimal], terms: int) -> list[Decimal]:
    """Multiply two power series and keep the first terms."""
    product = [Decimal(0)] * min(terms, len(left) + len(right) - 1)
    for i, a in enumerate(left):
        for j, b in enumerate(right[: terms - i]):
            product[i + j] += a * b
    return product


@pytest.mark.parametrize(("parties", "tolerated"), [(5, 2), (20, 2), (4, 2)])
def test_more_honest_shares_than_needed_hide_no_less(parties: int, tolerated: int) -> None:
    of = share("1", parties, tolerated)
    total = summed(of, parties)
    middle = len(total) // 2
    near = total[middle : middle + 20]
    assert np.log(near[:-1] / near[1:]).max() <= 1 + 1e-6
    variance = float((total * (np.arange(len(total)) - middle) ** 2).sum())
    assert math.isclose(variance, of.variance(), rel_tol=1e-9)
    assert math.isclose(of.variance(), 2 * math.exp(-1) / math.expm1(-1) ** 2 * parties / of.honest)


@pytest.mark.parametrize(
    ("parties", "tolerated", "epsilon"),
    [(5, 0, 2.60), (10, 0, 3.30), (20, 0, 3.99), (100, 0, 5.60), (20, 10, 3.30)],
)
def test_what_a_share_gives_alone_is_the_published_number(
    parties: int, tolerated: int, epsilon: float
) -> None:
    """Against the simulations that the design rests on, which had two digits."""
    assert round(float(share("1", parties, tolerated).alone().epsilon), 2) == epsilon


@settings(max_examples=30, deadline=None)
@given(st.integers(100_000_000, 4 * NANO), st.integers(0, 30), st.integers(2, 60))
def test_what_a_share_gives_alone_bounds_every_ratio_of_neighbours(
    nano: int, tolerated: int, honest: int
) -> None:
    of = PolyaShare(loss=PrivacyLoss(nano), parties=tolerated + honest, tolerated=tolerated)
    pmf = law(of)
    middle = len(pmf) // 2
    seen = pmf[middle:][pmf[middle:] > 1e-250]
    largest = float(np.log(seen[:-1] / seen[1:]).max())
    alone = of.alone().nano / NANO
    assert largest <= alone + 1e-9
    assert alone - largest < 1e-6
    assert of.alone() > of.loss
    # it is the first ratio: the pmf is log-convex on either side of 0
    assert math.isclose(largest, math.log(seen[0] / seen[1]), rel_tol=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(200_000_000, 100 * NANO), st.integers(0, 50), st.integers(2, 500))
@example(10_000_000, 1, 2)
@example(100 * NANO, 0, 500)
def test_the_table_is_drawn_from_as_it_says(nano: int, tolerated: int, honest: int) -> None:
    of = PolyaShare(loss=PrivacyLoss(nano), parties=tolerated + honest, tolerated=tolerated)
    table = cumulative(of)
    assert all(0 < a <= b for a, b in pairwise(table))
    assert table[-1] == 1 << UNIFORM_BITS
    # what was cut off is below 2^-145: the last step of the table took it in
    last = int(of.weights()[-1] * Decimal(2) ** UNIFORM_BITS)
    assert abs(table[-1] - table[-2] - last) < 1 << (UNIFORM_BITS - 145)
    assert 2 <= len(table) < 12_000


def test_a_draw_is_the_first_entry_above_a_uniform_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = share("1", 5)
    table = cumulative(of)
    said: list[int] = []
    monkeypatch.setattr(noise_shares.secrets, "randbits", lambda _: said.pop(0))

    def drawn(first: int, second: int) -> int:
        said[:] = [first, second]
        return draw(of, 1)[0]

    assert drawn(0, 0) == 0
    assert drawn(table[0] - 1, 0) == 0
    assert drawn(table[0], 0) == 1
    assert drawn(0, table[3]) == -4
    assert drawn((1 << UNIFORM_BITS) - 1, 0) == len(table) - 1


def test_every_draw_is_new_and_nothing_can_seed_it() -> None:
    of = share("0.1", 5)
    assert draw(of, 64) != draw(of, 64)
    assert list(inspect.signature(draw).parameters) == ["share", "count"]
    source = inspect.getsource(noise_shares)
    assert "random" not in source.replace("randomness", "")
    assert "numpy" not in source


@pytest.mark.parametrize(("parties", "tolerated"), [(4, 0), (10, 0), (6, 2)])
def test_drawn_sums_are_discrete_laplace(parties: int, tolerated: int) -> None:
    """Chi-square of 12,000 sums of drawn shares; false alarms: one in a million."""
    of, count = share("1", parties, tolerated), 12_000
    sums = np.sum([draw(of, count) for _ in range(of.honest)], axis=0)
    reach = 6
    held = np.clip(sums, -reach, reach)
    observed = np.array([(held == k).sum() for k in range(-reach, reach + 1)])
    pmf = discrete_laplace(1.0, 400)
    expected = pmf[400 - reach : 400 + reach + 1].copy()
    expected[[0, -1]] += (1 - expected.sum()) / 2
    assert stats.chisquare(observed, count * expected).pvalue > FALSE_ALARM


def rmse(noise: Sequence[int] | np.ndarray) -> float:
    return math.sqrt(float(np.mean(np.square(noise))))


def test_at_20_sites_the_pooled_error_is_that_of_central_noise() -> None:
    """At most 1.05 times, over 10,000 cells; false alarms: 5 in a million (4.5 sd of the RMSE)."""
    of, cells = share("1", 20), 10_000
    pooled = rmse(np.sum([draw(of, cells) for _ in range(20)], axis=0))
    central = math.sqrt(2 * math.exp(-1)) / (1 - math.exp(-1))
    assert 0.95 * central < pooled < 1.05 * central
    # full noise at every site would be sqrt(20) times as far off
    assert pooled < math.sqrt(20) * central / 4
    assert math.isclose(math.sqrt(of.variance()), central, rel_tol=1e-12)
    # one more site that may collude costs sqrt(20/19), two cost sqrt(20/18)
    assert math.sqrt(share("1", 20, 1).variance()) / central < 1.03


@pytest.mark.parametrize(
    ("nano", "parties", "tolerated"),
    [
        (0, 5, 0),
        (9_999_999, 5, 0),
        (100 * NANO + 1, 5, 0),
        (NANO, 1, 0),
        (NANO, 3, 2),
        (NANO, 2, 3),
        (NANO, 5, -1),
    ],
)
def test_noise_that_cannot_be_shared_out_is_refused(
    nano: int, parties: int, tolerated: int
) -> None:
    with pytest.raises(ConfigError):
        PolyaShare(loss=PrivacyLoss(nano), parties=parties, tolerated=tolerated)
