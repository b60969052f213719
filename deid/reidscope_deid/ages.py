"""Ages as DICOM writes them: three digits and D, W, M or Y."""

from __future__ import annotations

import re

_PADDING = b" \0"
_AGE = re.compile(rb"(\d{3})([DWMY])")
_YEARS = {b"D": 1 / 365.25, b"W": 7 / 365.25, b"M": 1 / 12, b"Y": 1.0}
_CAP = 90  # years: 45 CFR 164.514(b)(2)(i)(C) lets nobody over 89 be told apart by age


def age(value: bytes, *, cap_at_90: bool) -> bytes:
    """Say one age, or nothing where it is none.

    Parameters
    ----------
    value : bytes
        As in the file.
    cap_at_90 : bool
        Whether every age of 90 years or more is said as 090Y.
    """
    match = _AGE.fullmatch(value.strip(_PADDING))
    if match is None:
        return b""
    old = int(match[1]) * _YEARS[match[2]] >= _CAP
    return b"%03dY" % _CAP if cap_at_90 and old else match[0]


def is_age(value: bytes) -> bool:
    """Whether a value is one age."""
    return _AGE.fullmatch(value) is not None
