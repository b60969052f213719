"""What must hold of a whole set: any renaming and any shift is sound, any exception is found."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reidscope_deid.comparison import Comparison
from reidscope_deid.identifiers import Original
from reidscope_deid.profile import load_profile
from reidscope_deid.verification import Finding

INSTANCE, STUDY, REFERENCE = 0x00080018, 0x0020000D, (0x00081140, 0, 0x00081155)
DATE, TIME = (0x00080020,), (0x00080030,)
PROFILE = load_profile("basic")


def original(person: int, number: int, day: date, refers: int) -> Original:
    return Original(
        uids={
            (INSTANCE,): b"1.2.%d.%d" % (person, number),
            (STUDY,): b"1.2.%d" % person,
            REFERENCE: b"1.2.%d.%d" % (person, refers),
        },
        dates={DATE: day.strftime("%Y%m%d").encode()},
        times={TIME: b"1015"},
        pixels=b"",
        number=b"%d" % number,
        geometry=(),
        person=b"MRN%d" % person,
        pseudonym=b"MRN%d" % person,
        path=Path("none"),
    )


def output(old: Original, days: int) -> Original:
    moved = date.fromisoformat(old.dates[DATE].decode()) + timedelta(days=days)
    return Original(
        uids={place: b"2.25." + uid.replace(b".", b"0") for place, uid in old.uids.items()},
        dates={DATE: moved.strftime("%Y%m%d").encode()},
        times=dict(old.times),
        pixels=b"",
        number=old.number,
        geometry=(),
        person=b"",
        pseudonym=b"P-" + old.person,
        path=old.path,
    )


def compared(pairs: list[tuple[Original, Original]]) -> set[Finding]:
    defined = frozenset(uid for old, _ in pairs for uid in old.defined)
    comparison = Comparison(profile=PROFILE, defined=defined)
    found: Counter[tuple[int | None, Finding]] = Counter()
    for old, new in pairs:
        comparison.add(old, new, found)
    found.update(comparison.of_the_set())
    return {finding for (_, finding), count in found.items() if count}


@st.composite
def sets(draw: st.DrawFn) -> list[tuple[Original, Original]]:
    pairs = []
    for person in range(draw(st.integers(1, 4))):
        days = draw(st.integers(-3652, -365))
        count = draw(st.integers(1, 5))
        for number in range(count):
            day = draw(st.dates(date(1990, 1, 1), date(2025, 12, 31)))
            old = original(person, number, day, draw(st.integers(0, count - 1)))
            pairs.append((old, output(old, days)))
    return draw(st.permutations(pairs))


@given(sets())
def test_a_renaming_one_for_one_and_a_number_of_days_for_each_person_is_sound(
    pairs: list[tuple[Original, Original]],
) -> None:
    assert compared(pairs) == set()


@given(sets(), st.data())
def test_one_exception_among_any_files_is_found(
    pairs: list[tuple[Original, Original]], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(pairs) - 1))
    old, new = pairs[index]
    same_person = sum(one.person == old.person for one, _ in pairs)
    new.times[TIME] = b"1016"
    assert compared(pairs) == {Finding.TIME_CHANGED}
    new.times[TIME] = b"1015"
    if same_person > 1:
        right = new.dates[DATE]
        new.dates[DATE] = b"19200202"
        assert compared(pairs) == {Finding.INTERVAL_CHANGED}
        new.dates[DATE] = right
        pairs[index] = (old, output(old, 0))
        assert Finding.DATE_UNCHANGED in compared(pairs)
        new.uids[(STUDY,)] = b"2.25.77"
        pairs[index] = (old, new)
        assert Finding.UID_INCONSISTENT in compared(pairs)


@given(sets(), st.data())
def test_a_file_that_others_refer_to_cannot_be_left_out_unseen(
    pairs: list[tuple[Original, Original]], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(pairs) - 1))
    gone = pairs[index][0].uids[(INSTANCE,)]
    rest = pairs[:index] + pairs[index + 1 :]
    defined = frozenset(uid for old, _ in pairs for uid in old.defined)
    comparison = Comparison(profile=PROFILE, defined=defined)
    found: Counter[tuple[int | None, Finding]] = Counter()
    for old, new in rest:
        comparison.add(old, new, found)
    dangling = {tag for tag, what in comparison.of_the_set() if what is Finding.DANGLING_REFERENCE}
    referred = any(old.uids[REFERENCE] == gone for old, _ in rest)
    assert dangling == ({REFERENCE[-1]} if referred else set())
