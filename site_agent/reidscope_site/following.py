"""What became of the coordinator's keys: a change is believed where the pinned key signed it.

A statement key hands over once, to a key that proves itself; a root is followed by the one that the
coordinator's key names. What was taken before changes nothing. Everything else is refused, said
here, and asks for people: an enrolment with a new invitation pins anew.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from reidscope_protocols.enrolment import certificate_sha256
from reidscope_protocols.envelope import Opened, open_envelope, peek_payload, peek_type
from reidscope_protocols.errors import (
    BadSignatureError,
    MalformedError,
    ReplayedError,
    StaleError,
    WrongAudienceError,
)
from reidscope_protocols.key_change import KeyChange, RootChange, open_change
from reidscope_protocols.statements import WORLD, Statement
from reidscope_protocols.vocabulary import KeyRole
from reidscope_site.pinned import PinnedCoordinator

S = TypeVar("S", bound=Statement)
CHANGES = frozenset({KeyChange.payload_type, RootChange.payload_type})


def follow(pinned: PinnedCoordinator, envelope: bytes) -> PinnedCoordinator:
    """Return the pin after a change; the same pin where it was taken before.

    Raises
    ------
    StatementError
        Not signed by the key that is pinned and holds, malformed, or out of date.
    ReplayedError
        The key that signs has handed over before.
    """
    if peek_type(envelope) == RootChange.payload_type:
        return _follow_root(pinned, envelope)
    return _follow_key(pinned, envelope)


def refuse_ended(opened: Opened[S], now: datetime) -> None:
    """Raise BadSignatureError where a key that may be stolen signed what was never seen before."""
    ended = opened.signer.ended_at
    if ended is not None and now >= ended:
        raise BadSignatureError(
            f"{opened.statement.name()} statement",
            got="a signature by a key that the coordinator has ended",
            expected="one by the key that followed it",
            do="tell the coordinator: somebody may have the old key",
        )


def _follow_key(pinned: PinnedCoordinator, envelope: bytes) -> PinnedCoordinator:
    claimed = KeyChange.parse(peek_payload(envelope))
    if claimed.new_key in {record.public for record in pinned.keys}:
        return pinned
    if claimed.role is KeyRole.SITE:
        raise MalformedError(
            "key change",
            got="a site's",
            expected="the coordinator's study or coordinator key",
            do="tell the coordinator",
        )
    opened = open_change(
        envelope, pinned.ring, role=claimed.role, reader=WORLD, now=datetime.now(UTC)
    )
    if opened.said.old_key in pinned.lineage:
        raise ReplayedError(
            "key change",
            got="one by a key that has handed over before",
            expected="one by the key that followed it",
            do="tell the coordinator: somebody may have the old key",
        )
    old, new = opened.old_record(), opened.new_record()
    kept = tuple(old if record.public == old.public else record for record in pinned.keys)
    return pinned.model_copy(
        update={"keys": (*kept, new), "lineage": (*pinned.lineage, old.public)}
    )


def _follow_root(pinned: PinnedCoordinator, envelope: bytes) -> PinnedCoordinator:
    now = datetime.now(UTC)
    claimed = certificate_sha256(RootChange.parse(peek_payload(envelope)).new_ca_pem)
    known = {pinned.ca_sha256, certificate_sha256(pinned.newest_root_pem), *pinned.lineage}
    if claimed in known:
        return pinned
    opened = open_envelope(envelope, RootChange, pinned.ring, role=KeyRole.COORDINATOR)
    said = opened.statement
    said.check_time(now)
    said.check_audience(WORLD)
    refuse_ended(opened, now)
    if said.old_ca_sha256 != pinned.ca_sha256 or pinned.next_ca_pem is not None:
        raise WrongAudienceError(
            "root change",
            got="one that follows another root than the pinned one",
            expected=f"one that follows {pinned.ca_sha256[:16]}...",
            do="take the changes in their order, or enrol again",
        )
    if said.overlap_ends < said.issued_at:
        raise StaleError(
            "root change",
            got="an overlap that ends before it begins",
            expected="a window in which both roots hold",
            do="tell the coordinator",
        )
    return pinned.model_copy(
        update={"next_ca_pem": said.new_ca_pem, "ca_ends": said.overlap_ends}
    ).settled(now)
