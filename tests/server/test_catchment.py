"""What an attacker gains who knows where a scan comes from: anchors and bounds, no assumption."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reidscope_protocols.errors import InputError, MalformedError
from reidscope_protocols.reach import Reach, SiteCatchment
from reidscope_protocols.report import Acquired, Identification
from reidscope_protocols.statements import Catchment
from reidscope_server.catchment import places, read_curve
from reidscope_server.named_risks import named_risks
from reidscope_server.reaching import reach_of, share_of

ACQUIRED = Acquired(experiment="e", rate=0.9, low=0.85, high=0.95)


def a_row(size: int, rate: float, low: float, high: float) -> Identification:
    return Identification(
        experiment="e",
        arm="unmodified",
        attacker="calibrated",
        gallery_size=size,
        rank=1,
        rate=rate,
        low=low,
        high=high,
        basis="measured",
    )


CURVE = (a_row(100, 0.8, 0.7, 0.9), a_row(1000, 0.6, 0.5, 0.7), a_row(10_000, 0.4, 0.3, 0.5))


@pytest.mark.parametrize(
    ("people", "basis", "at_least", "at_most", "low", "high"),
    [
        (1, "below the anchors", 0.8, 0.9, 0.7, 0.95),
        (99, "below the anchors", 0.8, 0.9, 0.7, 0.95),
        (100, "measured", 0.8, 0.8, 0.7, 0.9),
        (101, "between anchors", 0.6, 0.8, 0.5, 0.9),
        (1000, "measured", 0.6, 0.6, 0.5, 0.7),
        (9999, "between anchors", 0.4, 0.6, 0.3, 0.7),
        (10_000, "measured", 0.4, 0.4, 0.3, 0.5),
        (10_001, "beyond the anchors", 0.0, 0.4, 0.0, 0.5),
        (10**9, "beyond the anchors", 0.0, 0.4, 0.0, 0.5),
    ],
)
def test_a_curve_is_read_at_its_anchors_and_bounded_elsewhere(
    *, people: int, basis: str, at_least: float, at_most: float, low: float, high: float
) -> None:
    read = read_curve(CURVE, ACQUIRED, people)
    assert (read.basis, read.at_least, read.at_most) == (basis, at_least, at_most)
    assert (read.low, read.high) == (low, high)


shares = st.floats(0, 1)


@given(st.lists(st.tuples(shares, shares, shares), min_size=1, max_size=4), st.integers(1, 10**6))
def test_bounds_stay_in_order_whatever_noise_did_to_the_curve(
    rates: list[tuple[float, float, float]], people: int
) -> None:
    curve = [
        a_row(10 ** (k + 2), *sorted(each)[1:2], min(each), max(each))
        for k, each in enumerate(rates)
    ]
    read = read_curve(curve, ACQUIRED, people)
    assert 0 <= read.low <= read.at_least <= read.at_most <= read.high <= 1


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_fewer_people_never_lower_the_attackers_bounds(one: int, other: int) -> None:
    near, far = (read_curve(CURVE, ACQUIRED, n) for n in sorted((one, other)))
    assert near.at_most >= far.at_most
    assert near.at_least >= far.at_least


def test_regions_and_everybody_are_sums_unless_the_study_states_everybody(
    make_study: Any,
) -> None:
    catchments = {
        "a": Catchment(population_reached=1000, region="North"),
        "b": Catchment(population_reached=500, region="North"),
        "c": Catchment(population_reached=70),
    }
    found = [(p.scope, p.name, p.people) for p in places(make_study(), catchments, 3)]
    assert found == [
        ("site", "a", 1000),
        ("site", "b", 500),
        ("site", "c", 70),
        ("region", "North", 1500),
        ("unknown", "all sites", 1570),
    ]
    stated = make_study(reach=Reach(everywhere=80_000_000))
    assert places(stated, catchments, 3)[-1].people == 80_000_000
    # one site that says nothing leaves everybody unknown
    assert "unknown" not in {p.scope for p in places(make_study(), catchments, 4)}


def test_a_study_speaks_of_its_own_sites_alone_and_of_each_once(make_study: Any) -> None:
    stated = SiteCatchment(site="north", population_reached=5)
    assert make_study(reach=Reach(sites=(stated,))).reach.sites == (stated,)
    other = SiteCatchment(site="south", population_reached=5)
    for wrong in ((other,), (stated, stated)):
        with pytest.raises(ValidationError):
            make_study(reach=Reach(sites=wrong))


def test_what_a_coordinator_types_becomes_a_reach() -> None:
    reach = reach_of(["north=250000:Lower Saxony", "south=9"], 80_000_000, "0.3")
    assert reach is not None
    assert [(s.site, s.population_reached, s.region) for s in reach.sites] == [
        ("north", 250_000, "Lower Saxony"),
        ("south", 9, None),
    ]
    assert (reach.everywhere, reach.enrolled_ppm) == (80_000_000, 300_000)
    assert reach_of([], None, None) is None


@pytest.mark.parametrize(
    "typed", ["north", "north=", "north=-5", "north=1e6", "=5", "north=5:", "north=5.5"]
)
def test_a_catchment_of_another_form_is_refused(typed: str) -> None:
    with pytest.raises(InputError, match="SITE=PEOPLE"):
        reach_of([typed], None, None)


@pytest.mark.parametrize("typed", ["north=0", "No!=5", "north=5:=cmd()", "north=5:@x"])
def test_a_catchment_that_no_study_may_hold_is_refused(typed: str) -> None:
    with pytest.raises(MalformedError) as caught:
        reach_of([typed], None, None)
    assert "cmd" not in str(caught.value)


@pytest.mark.parametrize("typed", ["nan", "-0.1", "1.1", "1e-3", "", "inf", "0.1234567", "one"])
def test_a_share_that_is_none_is_refused(typed: str) -> None:
    with pytest.raises(InputError, match="share"):
        share_of(typed)


def test_risks_by_name_are_the_rate_and_the_rate_times_the_chance_of_being_there() -> None:
    prosecutor, journalist, marketer = named_risks(CURVE[:1], 0.25)
    assert (prosecutor.risk, prosecutor.rate, prosecutor.enrolled_share) == ("prosecutor", 0.8, 1)
    assert (journalist.rate, journalist.low, journalist.high) == (0.2, 0.175, 0.225)
    assert (marketer.risk, marketer.rate) == ("marketer", journalist.rate)


def test_without_a_stated_chance_the_risks_that_need_it_are_left_open() -> None:
    prosecutor, *others = named_risks(CURVE[:1], None)
    assert prosecutor.rate == 0.8
    assert {(row.rate, row.low, row.high, row.enrolled_share) for row in others} == {
        (None, None, None, None)
    }
