"""Keys that follow keys: a signed change of a statement key, and of the coordinator's root.

A KeyChange is signed by the OLD key around a KeyClaim that is signed by the NEW one: whoever reads
it knows that the holder of the first hands over to a holder of the second, and to nobody else. The
claim names the old key, so that it cannot be lifted into another change. Both keys hold for an
overlap; where the old one may be in somebody's hands there is none, and nothing new by it is
believed from then on, whatever date stands on it.

A RootChange says which certificate authority comes after the pinned one, and until when both hold.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from reidscope_protocols.enrolment import Pem
from reidscope_protocols.envelope import Opened, open_envelope, sign
from reidscope_protocols.errors import BadSignatureError, MalformedError, StaleError
from reidscope_protocols.keys import KeyRecord, KeyRing, StatementKey
from reidscope_protocols.statements import Nonce, Statement
from reidscope_protocols.vocabulary import KeyRole, Moment, Sha256, SiteName

OVERLAP = timedelta(days=30)
KEY_LIFE = timedelta(days=730)
KEY_SKEW = timedelta(days=1)
"""A Release is dated to its day: a key is believed from the day before it was made."""
_LONGEST_OVERLAP = timedelta(days=31)
_EnvelopeText = Annotated[str, StringConstraints(min_length=50, max_length=40_000)]


class _Change(Statement):
    """What a claim and the change around it both say."""

    role: KeyRole
    site: SiteName | None
    old_key: Sha256
    new_key: Sha256
    nonce: Nonce


class KeyClaim(_Change):
    """A new key takes over from an old one; signed by the new one, which proves it.

    Attributes
    ----------
    csr_pem : str or None
        Request for a certificate around a new transport key, signed by that key.
    ca_sha256 : str or None
        The root that the certificate is wanted from: the last one that the site knows.
    """

    payload_type = "application/vnd.reidscope.key-claim+json"
    schema_: Literal["reidscope.key-claim/1.0"] = Field("reidscope.key-claim/1.0", alias="schema")
    csr_pem: Pem | None
    ca_sha256: Sha256 | None


class KeyChange(_Change):
    """An old key hands over to a new one; signed by the old one.

    Attributes
    ----------
    overlap_ends : datetime
        Until when the old key holds beside the new one; `issued_at` where it may be stolen.
    claim : str
        Envelope of the KeyClaim.
    """

    payload_type = "application/vnd.reidscope.key-change+json"
    schema_: Literal["reidscope.key-change/1.0"] = Field("reidscope.key-change/1.0", alias="schema")
    overlap_ends: Moment
    claim: _EnvelopeText

    @property
    def at_once(self) -> bool:
        """Whether the old key ends with the change itself."""
        return self.overlap_ends <= self.issued_at


class RootChange(Statement):
    """Another certificate authority follows the pinned one; signed by the coordinator's key.

    Attributes
    ----------
    old_ca_sha256 : str
        The root that ends.
    new_ca_pem : str
        The root that follows.
    overlap_ends : datetime
        Until when both are to be trusted.
    """

    payload_type = "application/vnd.reidscope.root-change+json"
    schema_: Literal["reidscope.root-change/1.0"] = Field(
        "reidscope.root-change/1.0", alias="schema"
    )
    old_ca_sha256: Sha256
    new_ca_pem: Pem
    overlap_ends: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedChange:
    """A change of which both signatures, and that they speak of the same, were checked."""

    change: Opened[KeyChange]
    claim: KeyClaim

    @property
    def said(self) -> KeyChange:
        """Return the change's own words."""
        return self.change.statement

    def old_record(self) -> KeyRecord:
        """Return the old key's record as it is from now on."""
        before, said = self.change.signer, self.said
        return before.model_copy(
            update={
                "not_after": min(before.not_after, max(said.overlap_ends, before.not_before)),
                "ended_at": said.issued_at if said.at_once else before.ended_at,
            }
        )

    def new_record(self) -> KeyRecord:
        """Return the new key's record."""
        said = self.said
        return KeyRecord(
            role=said.role,
            site=said.site,
            public=said.new_key,
            not_before=said.issued_at - KEY_SKEW,
            not_after=said.issued_at + KEY_LIFE,
        )


def sign_change(
    old: StatementKey,
    new: StatementKey,
    *,
    role: KeyRole,
    site: str | None,
    audience: tuple[str, ...],
    now: datetime,
    lasts: timedelta,
    at_once: bool = False,
    csr_pem: str | None = None,
    ca_sha256: str | None = None,
) -> bytes:
    """Let the new key claim, and the old key hand over.

    Parameters
    ----------
    lasts : timedelta
        How long the change may travel before it is taken.
    at_once : bool
        Whether the old key ends now: it may be in somebody else's hands.
    """
    claim = KeyClaim(
        audience=audience,
        issued_at=now,
        not_after=now + lasts,
        role=role,
        site=site,
        old_key=old.public,
        new_key=new.public,
        nonce=secrets.token_hex(16),
        csr_pem=csr_pem,
        ca_sha256=ca_sha256,
    )
    change = KeyChange(
        audience=audience,
        issued_at=now,
        not_after=now + lasts,
        role=role,
        site=site,
        old_key=old.public,
        new_key=new.public,
        nonce=claim.nonce,
        overlap_ends=now if at_once else now + OVERLAP,
        claim=sign(claim, new).decode(),
    )
    return sign(change, old)


def open_change(
    data: bytes,
    ring: KeyRing,
    *,
    role: KeyRole,
    site: str | None = None,
    reader: str,
    now: datetime,
) -> OpenedChange:
    """Check both signatures of a change, its time and its audience.

    Parameters
    ----------
    ring : KeyRing
        The reader's pinned keys: the old one must be among them, and hold now.

    Raises
    ------
    MalformedError
        No change, or a claim that speaks of something else.
    BadSignatureError
        The old key is not pinned for this voice or has ended, or the new key did not sign.
    StaleError, WrongAudienceError
        Not now, or not for this reader.
    """
    change = open_envelope(data, KeyChange, ring, role=role, site=site)
    said = change.statement
    said.check_time(now)
    said.check_audience(reader)
    if said.old_key != change.signer.public or (said.role, said.site) != (role, site):
        raise BadSignatureError(
            "key change",
            got="one that speaks of another key, role or site than its signer's",
            expected="the old key's own",
            do="refuse it, and ask its owner",
        )
    if change.signer.ended_at is not None or now > change.signer.not_after:
        raise StaleError(
            "key change",
            got="one by a key that has ended",
            expected="one by the key that holds now",
            do="enrol again: an ended key hands over to nobody",
        )
    longest = said.issued_at + _LONGEST_OVERLAP
    if said.old_key == said.new_key or not said.issued_at <= said.overlap_ends <= longest:
        raise MalformedError(
            "key change",
            got="the same key twice, or an overlap that is negative or too long",
            expected="another key, and both together for at most 31 days",
            do="make it again",
        )
    return OpenedChange(change=change, claim=_opened_claim(said))


def _opened_claim(said: KeyChange) -> KeyClaim:
    itself = KeyRecord(
        role=said.role,
        site=said.site,
        public=said.new_key,
        not_before=said.issued_at,
        not_after=said.not_after,
    )
    claim = open_envelope(
        said.claim.encode(), KeyClaim, KeyRing((itself,)), role=said.role, site=said.site
    ).statement
    shared = ("role", "site", "old_key", "new_key", "nonce", "audience")
    if any(getattr(claim, name) != getattr(said, name) for name in shared):
        raise MalformedError(
            "key change",
            got="a claim of the new key that is about something else",
            expected="one about this very change",
            do="refuse it, and ask its owner",
        )
    return claim
