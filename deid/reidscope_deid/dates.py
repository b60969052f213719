"""Dates, moved by whole days: the same number for everything that belongs to one person.

So every interval between two dates of a person is kept to the day, and a DA and the DT that speaks
of the same moment still agree. The time of day is kept; a value that is no date is emptied. Where a
profile says so, dates are kept as they are, or only their year is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PADDING = b" \0"
_DA = re.compile(rb"(\d{4})\.?(\d{2})\.?(\d{2})")
_TM = re.compile(rb"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?")
_DT = re.compile(
    rb"(\d{4})(\d{2})(\d{2})"
    rb"((?:([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?)?(?:[+-]\d{4})?)"
)
_ZONE = re.compile(rb"[+-](0\d|1[0-4])[0-5]\d")
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """How the dates of a profile are written.

    Attributes
    ----------
    moves : bool
        Whether by the person's number of days; if not, dates stay.
    year_only : bool
        Whether only the year is written, as its first of January, at midnight.
    zone : bool
        Whether time zones stay.
    """

    moves: bool
    year_only: bool
    zone: bool

    def written(self, value: bytes, vr: bytes, days: int) -> bytes:
        """Write one value of VR DA, TM or DT; empty where it is none.

        Parameters
        ----------
        value : bytes
            As in the file; one, or several.
        vr : bytes
            Its VR.
        days : int
            The person's.
        """
        if not self.moves:
            days = 0
        if vr == b"TM":
            return keep_tm(value) if not self.year_only else midnight(value)
        if vr == b"DA":
            moved = shift_da(value, 0 if self.year_only else days)
        else:
            moved = shift_dt(value, 0 if self.year_only else days, zone=self.zone)
        if not self.year_only or not moved:
            return moved
        return _each(moved, lambda one: one[:4] + b"0101")


def is_zone(value: bytes) -> bool:
    """Whether a value is an offset from UTC."""
    return _ZONE.fullmatch(value.strip(_PADDING)) is not None


def is_year_only(value: bytes) -> bool:
    """Whether a value of VR DA, TM or DT could have been written with the year alone."""
    return all(one == b"000000" or one[4:] == b"0101" for one in value.split(b"\\") if one)


def midnight(value: bytes) -> bytes:
    """Write midnight in place of each time; empty where it is none."""
    return _each(value, lambda one: b"000000" if _TM.fullmatch(one) else b"")


@lru_cache(maxsize=_REMEMBERED)
def shift_da(value: bytes, days: int) -> bytes:
    """Move a DA value by `days`, each of several; empty where it is no date."""
    return _each(value, lambda one: _shift_da(one, days))


@lru_cache(maxsize=_REMEMBERED)
def shift_dt(value: bytes, days: int, *, zone: bool = True) -> bytes:
    """Move a DT value by `days`, time kept, and zone if so said; empty where it names no day."""
    return _each(value, lambda one: _shift_dt(one, days, zone=zone))


def keep_tm(value: bytes) -> bytes:
    """Keep a TM value, which whole days do not move; empty where it is no time."""
    return _each(value, lambda one: one if _TM.fullmatch(one) else b"")


def _each(value: bytes, change: Callable[[bytes], bytes]) -> bytes:
    changed = [change(one.strip(_PADDING)) for one in value.split(b"\\")]
    return b"\\".join(changed) if all(changed) else b""


def _shift_da(value: bytes, days: int) -> bytes:
    match = _DA.fullmatch(value)
    return b"" if match is None else _moved(match[1], match[2], match[3], days)


def _shift_dt(value: bytes, days: int, *, zone: bool) -> bytes:
    match = _DT.fullmatch(value)
    if match is None:
        return b""
    moved = _moved(match[1], match[2], match[3], days)
    time = match[4] if zone else re.split(rb"[+-]", match[4])[0]
    return moved + time if moved else b""


def _moved(year: bytes, month: bytes, day: bytes, days: int) -> bytes:
    try:
        moved = date(int(year), int(month), int(day)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return b""
    return b"%04d%02d%02d" % (moved.year, moved.month, moved.day)
