"""Changes of keys as bytes, and the list of versions that may talk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.errors import ReidscopeError, UnsupportedError
from reidscope_protocols.key_change import OVERLAP, open_change, sign_change
from reidscope_protocols.keys import KeyRecord, KeyRing, StatementKey
from reidscope_protocols.statements import WORLD
from reidscope_protocols.versions import (
    TESTED_FLOWER,
    TESTED_PROTOCOLS,
    TESTED_REIDSCOPE,
    Versions,
    check_versions,
)
from reidscope_protocols.vocabulary import KeyRole

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
OLD, NEW = StatementKey.generate(), StatementKey.generate()


def record(key: StatementKey) -> KeyRecord:
    return KeyRecord(
        role=KeyRole.STUDY, site=None, public=key.public,
        not_before=NOW - timedelta(days=30), not_after=NOW + timedelta(days=700),
    )  # fmt: skip


def signed(old: StatementKey, new: StatementKey, *, at_once: bool = False) -> bytes:
    return sign_change(
        old, new, role=KeyRole.STUDY, site=None, audience=(WORLD,), now=NOW,
        lasts=timedelta(days=30), at_once=at_once,
    )  # fmt: skip


GOOD = signed(OLD, NEW)


def opens(data: bytes, ring: KeyRing) -> bool:
    try:
        open_change(data, ring, role=KeyRole.STUDY, reader=WORLD, now=NOW)
    except ReidscopeError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_a_change_with_any_one_byte_altered_is_refused(place: int, byte: int) -> None:
    altered = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
    assert opens(altered, KeyRing((record(OLD),))) == (altered == GOOD)


@pytest.mark.parametrize("at_once", [False, True])
def test_the_old_key_speaks_until_the_overlap_ends_and_the_new_one_from_its_day(
    *, at_once: bool
) -> None:
    opened = open_change(
        signed(OLD, NEW, at_once=at_once), KeyRing((record(OLD),)),
        role=KeyRole.STUDY, reader=WORLD, now=NOW,
    )  # fmt: skip
    old, new = opened.old_record(), opened.new_record()
    assert old.not_after == (NOW if at_once else NOW + OVERLAP)
    assert old.ended_at == (NOW if at_once else None)
    assert new.speaks_at(NOW.replace(hour=0))
    assert not new.speaks_at(NOW - timedelta(days=2))


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 5), skipped=st.integers(0, 4))
def test_a_chain_of_keys_is_followed_link_by_link_and_never_past_a_missing_one(
    length: int, skipped: int
) -> None:
    keys = [StatementKey.generate() for _ in range(length + 1)]
    ring = [record(keys[0])]
    for number, (old, new) in enumerate(pairwise(keys)):
        change = signed(old, new)
        if number == skipped:
            continue
        reachable = number < skipped
        assert opens(change, KeyRing(tuple(ring))) == reachable
        if reachable:
            ring.append(record(new))


numbers = st.integers(0, 3)
words = st.sampled_from(["0.1.0", "0.1.7", "0.2.0", "1.41.0", "1.41.9", "1.42.0", "", "x", "1"])


@given(major=numbers, minor=numbers, reidscope=words, flower=words)
def test_versions_may_talk_exactly_if_each_is_on_the_list(
    major: int, minor: int, reidscope: str, flower: str
) -> None:
    tested = (
        (major, minor) in TESTED_PROTOCOLS
        and ".".join(reidscope.split(".")[:2]) in TESTED_REIDSCOPE
        and ".".join(flower.split(".")[:2]) in TESTED_FLOWER
    )
    theirs = Versions(reidscope=reidscope, protocol=(major, minor), flower=flower)
    if tested:
        check_versions(theirs, whose="site")
        return
    with pytest.raises(UnsupportedError) as caught:
        check_versions(theirs, whose="site")
    assert "got " in str(caught.value)
    assert "expected " in str(caught.value)


def test_what_is_installed_here_is_on_the_list() -> None:
    check_versions(Versions.of_this_process(), whose="site")
