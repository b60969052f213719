"""A study that was opened before is not checked again: the same bytes, under the same keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from reidscope_protocols.envelope import sign
from reidscope_protocols.errors import StatementError
from reidscope_protocols.keys import KeyRecord, KeyRing, StatementKey
from reidscope_protocols.reopened import reopened
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole


def ring_of(key: StatementKey) -> KeyRing:
    now = datetime.now(UTC)
    record = KeyRecord(
        role=KeyRole.STUDY,
        site=None,
        public=key.public,
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=1),
    )
    return KeyRing((record,))


def test_other_keys_and_other_bytes_are_checked_anew(make_study: Callable[..., Study]) -> None:
    key = StatementKey.generate()
    envelope, ring = sign(make_study(), key), ring_of(key)
    first = reopened(envelope, ring)
    assert reopened(bytes(bytearray(envelope)), ring) is first
    for _ in range(2):
        with pytest.raises(StatementError):
            reopened(envelope, ring_of(StatementKey.generate()))
        with pytest.raises(StatementError):
            reopened(envelope[:-9], ring)
