"""Studies that must not be taken in: their epsilon, their cells, their anchors, their sites."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from reidscope_protocols.errors import ConfigError, MalformedError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.study import Study

REFERENCE = 100_000
"""M of the studies that tests make."""
Payload = dict[str, Any]


def bent(make_study: Callable[..., Study], bend: Callable[[Payload], None]) -> bytes:
    said = json.loads(make_study(anchors=(100, 1000)).payload())
    bend(said)
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    "text", ["0", "-0", "0.0", "-1", "NaN", "1e-400", "1e-10", "0.0000000009", "1000.1", "inf", ""]
)
def test_an_epsilon_that_nobody_can_ask_for_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        PrivacyLoss.asked_for(text)
    assert refused.value.exit_code == 14


@pytest.mark.parametrize(("text", "nano"), [("2", 2 * 10**9), ("1e-9", 1), ("0.0000000015", 2)])
def test_an_epsilon_that_can_be_charged_is_asked_for_as_typed(text: str, nano: int) -> None:
    assert PrivacyLoss.asked_for(text).nano == nano


@pytest.mark.parametrize(
    "epsilon", [0, -1, -(10**9), 10**12 + 1, 10**400, 1.6e9, 0.5, "1600000000", True, None]
)
def test_a_tables_price_is_a_positive_integer_below_a_thousand(
    make_study: Callable[..., Study], epsilon: object
) -> None:
    def bend(said: Payload) -> None:
        said["tables"][0]["epsilon_nano"] = epsilon

    with pytest.raises(MalformedError):
        Study.parse(bent(make_study, bend))


@pytest.mark.parametrize("literal", ["NaN", "1e-400", "Infinity", "-0", "1e9"])
def test_a_price_that_json_has_no_integer_for_is_refused(
    make_study: Callable[..., Study], literal: str
) -> None:
    payload = make_study().payload()
    price = f'"epsilon_nano":{json.loads(payload)["tables"][0]["epsilon_nano"]}'.encode()
    assert price in payload
    with pytest.raises(MalformedError):
        Study.parse(payload.replace(price, f'"epsilon_nano":{literal}'.encode(), 1))


def overlapping(cells: list[str]) -> list[str]:
    return [f"{cells[0]} or {cells[1]}", *cells[1:]]


def repeating(cells: list[str]) -> list[str]:
    return [cells[0], *cells[:-1]]


def one_twice_and_one_more(cells: list[str]) -> list[str]:
    return [*cells, cells[0]]


def missing_a_case(cells: list[str]) -> list[str]:
    return cells[1:]


def without_not_acquired(cells: list[str]) -> list[str]:
    return cells[:-1]


def with_a_case_of_its_own(cells: list[str]) -> list[str]:
    return [*cells, "born before 1950"]


def in_another_order(cells: list[str]) -> list[str]:
    return cells[::-1]


@pytest.mark.parametrize("table", [0, 1])
@pytest.mark.parametrize(
    "bend_cells",
    [
        overlapping,
        repeating,
        one_twice_and_one_more,
        missing_a_case,
        without_not_acquired,
        with_a_case_of_its_own,
        in_another_order,
        lambda cells: [],  # noqa: ARG005  # no cell at all
        lambda cells: cells[:1],
    ],
)
def test_cells_that_overlap_repeat_or_miss_a_case_are_refused(
    make_study: Callable[..., Study], bend_cells: Callable[[list[str]], list[str]], table: int
) -> None:
    def bend(said: Payload) -> None:
        said["tables"][table]["cells"] = bend_cells(said["tables"][table]["cells"])

    with pytest.raises(MalformedError):
        Study.parse(bent(make_study, bend))


@pytest.mark.parametrize(
    "anchors",
    [
        [],
        [1],
        [0, 100],
        [-100],
        [100, 100],
        [1000, 100],
        [REFERENCE + 2],
        [REFERENCE + 1],
        [REFERENCE // 10 + 1],
        [100.5],
        ["100"],
        [10**400],
    ],
)
def test_anchors_below_two_beyond_the_reference_or_out_of_order_are_refused(
    make_study: Callable[..., Study], anchors: list[Any]
) -> None:
    def bend(said: Payload) -> None:
        said["experiment"]["anchors"] = anchors
        said["experiment"]["gallery_error"] = [
            {"gallery_size": size, "sigma_ppm": 1} for size in anchors
        ]

    with pytest.raises(MalformedError):
        Study.parse(bent(make_study, bend))


@pytest.mark.parametrize(
    ("field", "value"),
    [("audience", []), ("minimum_sites", 0), ("minimum_declared_people", 0), ("tables", [])],
)
def test_a_study_of_no_site_no_people_or_no_table_is_refused(
    make_study: Callable[..., Study], field: str, value: object
) -> None:
    with pytest.raises(MalformedError):
        Study.parse(bent(make_study, lambda said: said.update({field: value})))
