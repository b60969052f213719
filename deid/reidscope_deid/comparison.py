"""Outputs and their originals, side by side, over a whole set.

What must hold, whoever wrote the outputs:

- UIDs: one for one, over all places of all files (the graph of references keeps its shape), none
  as it was, and no output refers to what was among the originals and is not among the outputs;
- dates: none as it was, one number of days for everything of one person, times as they were;
- people: one new ID for each, and no two with the same.

Where a profile keeps UIDs or dates, or writes years alone, what it asks for is asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from reidscope_deid.verification import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reidscope_deid.identifiers import Original
    from reidscope_deid.profile import Profile

    Found = Counter[tuple[int | None, Finding]]

_PATIENT_ID = 0x00100020
_DAY = re.compile(rb"(\d{4})\.?(\d{2})\.?(\d{2})([0-9.]*)([+-]\d{4})?")
_FIRST = b"0101"
_PADDING = b" \0"
_FROM_YEAR = 4


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison:
    """Grows with each output.

    Attributes
    ----------
    profile : Profile
        What is asked for.
    defined : frozenset of bytes
        UIDs of the originals' instances, series, studies and frames of reference.

    Privacy
    -------
    Holds old and new UIDs and patient IDs: has no repr and no serialiser (docs/privacy.md,
    "De-identification").
    """

    profile: Profile
    defined: frozenset[bytes]
    _forward: dict[bytes, bytes] = field(default_factory=dict)
    _people: dict[bytes, bytes] = field(default_factory=dict)
    _days: dict[bytes, Counter[tuple[int, int]]] = field(default_factory=dict)
    _references: Counter[tuple[int, bytes]] = field(default_factory=Counter)
    _there: set[bytes] = field(default_factory=set)

    def add(self, old: Original | None, new: Original, found: Found) -> None:
        """Compare one output with its original; without one, it is only there to be referred to."""
        self._there.update(new.defined)
        if old is None:
            return
        self._uids(old, new, found)
        self._dates(old, new, found)
        if not self.profile.calendar.year_only:
            for place, value in new.times.items():
                if value and value != old.times.get(place, value):
                    found[place[-1], Finding.TIME_CHANGED] += 1
        if new.pseudonym and self._people.setdefault(old.person, new.pseudonym) != new.pseudonym:
            found[_PATIENT_ID, Finding.PERSON_INCONSISTENT] += 1

    def of_the_set(self) -> Iterator[tuple[int | None, Finding]]:
        """Say what is wrong with the outputs as a set."""
        yield from _shared(self._forward, None, Finding.UID_INCONSISTENT)
        yield from _shared(self._people, _PATIENT_ID, Finding.PERSON_INCONSISTENT)
        for (tag, uid), count in self._references.items():
            if uid not in self._there:
                yield from ((tag, Finding.DANGLING_REFERENCE) for _ in range(count))
        for of_person in self._days.values():
            usual = 0 if self.profile.true_dates else _usual(of_person)
            for (days, tag), count in of_person.items():
                if days != usual:
                    yield from ((tag, Finding.INTERVAL_CHANGED) for _ in range(count))

    def _uids(self, old: Original, new: Original, found: Found) -> None:
        for place, values in new.uids.items():
            pairs = old.uids.get(place, b"").split(b"\\"), values.split(b"\\")
            for before, uid in zip(*pairs, strict=False):
                if not before or not uid:
                    continue
                if uid == before and not self.profile.retains_uids:
                    found[place[-1], Finding.UID_UNCHANGED] += 1
                elif self._forward.setdefault(before, uid) != uid:
                    found[place[-1], Finding.UID_INCONSISTENT] += 1
                if before in self.defined:
                    self._references[place[-1], uid] += 1

    def _dates(self, old: Original, new: Original, found: Found) -> None:
        calendar = self.profile.calendar
        for place, value in new.dates.items():
            before = old.dates.get(place, b"")
            if not value or not before:
                continue
            # A first of January may be as it was where only years are written.
            first = calendar.year_only and value[_FROM_YEAR:] == _FIRST
            if calendar.moves and not first and before == value:
                found[place[-1], Finding.DATE_UNCHANGED] += 1
            if calendar.year_only:
                continue
            for one, other in zip(before.split(b"\\"), value.split(b"\\"), strict=False):
                self._moment(old.person, place[-1], one, other, found)

    def _moment(self, person: bytes, tag: int, before: bytes, after: bytes, found: Found) -> None:
        one, other = _read(before), _read(after)
        if one is None:
            return
        if other is None:
            found[tag, Finding.INTERVAL_CHANGED] += 1
            return
        days = (other.day - one.day).days
        self._days.setdefault(person, Counter())[days, tag] += 1
        if other.time != one.time or other.zone not in {b"", one.zone}:
            found[tag, Finding.TIME_CHANGED] += 1


@dataclass(frozen=True, slots=True, repr=False)
class _Moment:
    day: date
    time: bytes
    zone: bytes


def _read(value: bytes) -> _Moment | None:
    match = _DAY.fullmatch(value.strip(_PADDING))
    if match is None:
        return None
    try:
        day = date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
    return _Moment(day, match[4], match[5] or b"")


def _usual(of_person: Counter[tuple[int, int]]) -> int:
    """Find the number of days that most dates of a person were moved by."""
    by_days: Counter[int] = Counter()
    for (days, _), count in of_person.items():
        by_days[days] += count
    return by_days.most_common(1)[0][0]


def _shared(
    mapped: dict[bytes, bytes], tag: int | None, what: Finding
) -> Iterator[tuple[int | None, Finding]]:
    """Give one finding for each that became the same as another."""
    yield from ((tag, what) for _ in range(len(mapped) - len(set(mapped.values()))))
