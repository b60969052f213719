"""Dates: one shift a person, every interval kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_deid.dates import keep_tm, shift_da, shift_dt
from reidscope_deid.keys import SiteKey
from reidscope_deid.pseudonyms import Namer

DAYS = st.dates(date(1920, 1, 1), date(2100, 1, 1))
SHIFTS = st.integers(-3652, -365)


def written(day: date) -> bytes:
    return day.strftime("%Y%m%d").encode()


def read(value: bytes) -> date:
    return datetime.strptime(value.decode(), "%Y%m%d").replace(tzinfo=UTC).date()


@given(DAYS, DAYS, SHIFTS)
def test_the_days_between_two_dates_are_kept_and_neither_date_is(
    first: date, second: date, days: int
) -> None:
    moved = [read(shift_da(written(day), days)) for day in (first, second)]
    assert moved[1] - moved[0] == second - first
    assert moved[0] == first + timedelta(days=days) != first


@given(DAYS, SHIFTS, st.sampled_from(["", "14", "1430", "143015", "143015.25", "143015.25+0100"]))
def test_a_date_and_time_moves_as_its_date_does_and_keeps_its_time_and_zone(
    day: date, days: int, time: str
) -> None:
    moved = shift_dt(written(day) + time.encode(), days)
    assert moved == shift_da(written(day), days) + time.encode()


@given(st.lists(DAYS, min_size=2, max_size=4), SHIFTS)
def test_each_of_several_dates_is_moved(several: list[date], days: int) -> None:
    value = b"\\".join(written(day) for day in several)
    assert shift_da(value, days) == b"\\".join(shift_da(written(day), days) for day in several)


@pytest.mark.parametrize(
    "value",
    [b"Doe^Jane", b"2020", b"20201301", b"20200230", b"2020031", b"20200317\\Doe", b"0001\0101"],
)
def test_what_is_no_date_is_emptied(value: bytes) -> None:
    assert shift_da(value, -400) == b""


@pytest.mark.parametrize("value", [b"2020", b"202003", b"20200317Doe", b"20200317143015.1234567"])
def test_a_date_and_time_without_a_day_or_with_more_in_it_is_emptied(value: bytes) -> None:
    assert shift_dt(value, -400) == b""


@pytest.mark.parametrize("value", [b"", b"0001", b"00010101"])
def test_a_date_before_the_calendar_is_emptied(value: bytes) -> None:
    assert shift_da(value, -400) == b""


def test_the_old_form_with_dots_and_padding_are_understood() -> None:
    assert shift_da(b"2020.03.17 ", -366) == b"20190317"
    assert shift_dt(b"20200317 \0", -366) == b"20190317"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"143015.25 ", b"143015.25"),
        (b"14:30:15", b"14:30:15"),
        (b"14", b"14"),
        (b"2430", b""),
        (b"ZQ", b""),
    ],
)
def test_a_time_is_kept_if_it_is_one(value: bytes, kept: bytes) -> None:
    assert keep_tm(value) == kept


@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(
        lambda t: t.strip(" \0\t\r\n")
    )
)
def test_a_person_is_moved_by_one_to_ten_years_and_always_by_the_same(patient_id: str) -> None:
    namer = Namer.of(SiteKey(b"k" * 32))
    shift = namer.patient(patient_id).shift_days
    assert -3652 <= shift <= -365
    assert Namer.of(SiteKey(b"k" * 32)).patient(patient_id).shift_days == shift


def test_people_are_moved_by_different_days_under_one_key() -> None:
    namer = Namer.of(SiteKey(b"k" * 32))
    assert len({namer.patient(f"p{n}").shift_days for n in range(200)}) > 150
