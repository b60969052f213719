"""Dates, moved by whole days: the same number for everything that belongs to one person.

So every interval between two dates of a person is kept to the day, and a DA and the DT that speaks
of the same moment still agree. The time of day is kept; a value that is no date is emptied.
"""

from __future__ import annotations

import re
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
_REMEMBERED = 4096


@lru_cache(maxsize=_REMEMBERED)
def shift_da(value: bytes, days: int) -> bytes:
    """Move a DA value by `days`, each of several; empty where it is no date."""
    return _each(value, lambda one: _shift_da(one, days))


@lru_cache(maxsize=_REMEMBERED)
def shift_dt(value: bytes, days: int) -> bytes:
    """Move a DT value by `days`, time and zone kept; empty where it names no day."""
    return _each(value, lambda one: _shift_dt(one, days))


def keep_tm(value: bytes) -> bytes:
    """Keep a TM value, which whole days do not move; empty where it is no time."""
    return _each(value, lambda one: one if _TM.fullmatch(one) else b"")


def _each(value: bytes, change: Callable[[bytes], bytes]) -> bytes:
    changed = [change(one.strip(_PADDING)) for one in value.split(b"\\")]
    return b"\\".join(changed) if all(changed) else b""


def _shift_da(value: bytes, days: int) -> bytes:
    match = _DA.fullmatch(value)
    return b"" if match is None else _moved(match[1], match[2], match[3], days)


def _shift_dt(value: bytes, days: int) -> bytes:
    match = _DT.fullmatch(value)
    if match is None:
        return b""
    moved = _moved(match[1], match[2], match[3], days)
    return moved + match[4] if moved else b""


def _moved(year: bytes, month: bytes, day: bytes, days: int) -> bytes:
    try:
        moved = date(int(year), int(month), int(day)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return b""
    return b"%04d%02d%02d" % (moved.year, moved.month, moved.day)
