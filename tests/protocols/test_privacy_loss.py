"""Epsilon is an integer of nano-epsilon, rounded against whoever spends it."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reidscope_protocols.errors import ConfigError
from reidscope_protocols.privacy import NANO, PrivacyLoss


@given(st.floats(0, 999, allow_nan=False))
@example(0.1 + 0.2)
@example(1 / 0.7)
@example(math.nextafter(0.0, 1.0))
@example(math.nextafter(2.0, 3.0))
def test_a_charge_is_the_least_integer_that_is_not_below_the_map(epsilon: float) -> None:
    charged = PrivacyLoss.charged_for(epsilon).nano
    assert Fraction(charged) >= Fraction(epsilon) * NANO
    assert Fraction(charged - 1) < Fraction(epsilon) * NANO or charged == 0


@given(st.decimals(0, 999, allow_nan=False, allow_infinity=False))
@example(Decimal("1.0000000000000000000000000000000000000000001"))
@example(Decimal("1e-999999"))
def test_a_written_epsilon_is_never_rounded_down(value: Decimal) -> None:
    loss = PrivacyLoss.from_decimal(str(value))
    assert loss.nano == 1 if 0 < value < Decimal("1e-9") else loss.nano >= value * NANO - 1
    if value.adjusted() > -50:
        assert loss.nano == math.ceil(Fraction(value) * NANO)


@given(st.integers(0, 10**12))
def test_writing_and_reading_a_loss_gives_it_back(nano: int) -> None:
    assert PrivacyLoss.from_decimal(str(PrivacyLoss(nano))) == PrivacyLoss(nano)


@given(st.lists(st.integers(0, 10**9), max_size=30))
def test_losses_add_up_exactly(nanos: list[int]) -> None:
    total = PrivacyLoss(0)
    for nano in nanos:
        total += PrivacyLoss(nano)
    assert total.nano == sum(nanos)


def test_three_tenths_fit_under_a_cap_of_three_tenths() -> None:
    tenth = PrivacyLoss.from_decimal("0.1")
    assert tenth + tenth + tenth <= PrivacyLoss.from_decimal("0.3")


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_losses_are_ordered_as_their_integers_are(a: int, b: int) -> None:
    assert (PrivacyLoss(a) < PrivacyLoss(b)) == (a < b)
    assert (PrivacyLoss(a) >= PrivacyLoss(b)) == (a >= b)


@pytest.mark.parametrize(
    "text", ["", "two", "-1", "NaN", "sNaN", "inf", "-inf", "1e999999", "1001", "1e400", "0x2"]
)
def test_what_is_no_epsilon_is_refused_as_a_configuration(text: str) -> None:
    with pytest.raises(ConfigError):
        PrivacyLoss.from_decimal(text)


@pytest.mark.parametrize("nano", [-1, 10**12 + 1])
def test_an_integer_out_of_range_is_refused(nano: int) -> None:
    with pytest.raises(ConfigError):
        PrivacyLoss(nano)


def test_an_integer_too_long_to_print_is_refused_all_the_same() -> None:
    with pytest.raises(ConfigError):
        PrivacyLoss(1 << 20_000)


@pytest.mark.parametrize("epsilon", [math.inf, math.nan, -math.inf])
def test_a_mechanism_without_a_finite_price_is_never_charged(epsilon: float) -> None:
    with pytest.raises(ConfigError):
        PrivacyLoss.charged_for(epsilon)


@given(st.integers(0, 10**12))
def test_the_odds_can_be_shown_whatever_a_study_asks_for(nano: int) -> None:
    assert PrivacyLoss(nano).odds >= 1
