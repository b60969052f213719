"""What the agent does for its line by itself: agree on versions, follow keys, renew in time.

Before anything else on a new line both sides say what they run. Changes of the coordinator's keys
are taken where the pinned key signed them. The site's certificate is renewed before it ends, and
when the root that it came from is followed by another.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import (
    DeclinedCallError,
    ReplayedError,
    StatementError,
    UnsupportedError,
)
from reidscope_protocols.versions import Versions, check_versions
from reidscope_site.agent import Agent
from reidscope_site.enrol import granted_certificate, signed_request, transport_key
from reidscope_site.journal import Event

_RENEW_BEFORE = timedelta(days=60)
_PUBLIC = 0o644

Say = Callable[[str], None]


class UpkeepLine(Protocol):
    """The calls of the control service that upkeep makes."""

    def hello(self, own: Versions) -> tuple[Versions, bool]:
        """Say versions; return the coordinator's, and whether it accepts ours."""

    def changes(self) -> tuple[bytes, ...]:
        """Fetch every change of the coordinator's keys and roots."""

    def renew(self, envelope: bytes) -> bytes:
        """Ask for another certificate; return the grant."""


def agree(line: UpkeepLine) -> Versions:
    """Agree on versions before anything else is said; returns the coordinator's.

    Raises
    ------
    UnsupportedError
        One side was never tested with the other.
    """
    own = Versions.of_this_process()
    theirs, accepted = line.hello(own)
    check_versions(theirs, whose="coordinator")
    if not accepted:
        raise UnsupportedError(
            "this site's versions",
            got=str(own),
            expected=f"versions that the coordinator was tested with; it runs {theirs}",
            do="install versions on both sides that were tested together",
        )
    return theirs


def keep_up(agent: Agent, line: UpkeepLine, say: Say, refused: Say) -> None:
    """Follow the coordinator's keys and roots, then renew this site's certificate if it is due."""
    for envelope in line.changes():
        try:
            if agent.follow(envelope):
                say("the coordinator changed a key or a root, signed by the pinned one: followed")
        except (StatementError, ReplayedError) as error:
            refused(f"change refused: {error}")
    if is_renewal_due(agent):
        try:
            renew(agent, line)
        except (StatementError, DeclinedCallError) as error:
            # The certificate that is there still holds: studies go on meanwhile.
            refused(f"certificate not renewed: {error}")
        else:
            say("this site's certificate was renewed")


def is_renewal_due(agent: Agent, now: datetime | None = None) -> bool:
    """Tell whether the certificate ends soon, or came from a root that is followed by another."""
    certificate = x509.load_pem_x509_certificate(agent.home.certificate.read_bytes())
    newest = x509.load_pem_x509_certificate(agent.pinned.newest_root_pem.encode())
    try:
        certificate.verify_directly_issued_by(newest)
    except (ValueError, TypeError, InvalidSignature):
        return True
    return (now or datetime.now(UTC)) > certificate.not_valid_after_utc - _RENEW_BEFORE


def renew(agent: Agent, line: UpkeepLine) -> None:
    """Have another certificate signed around the transport key that is there.

    Raises
    ------
    StatementError, TransportError
        The coordinator did not grant it, or granted something else.
    """
    own = transport_key(agent.home)
    pinned = agent.pinned
    asked, nonce = signed_request(agent.home, own, root_pem=pinned.newest_root_pem)
    agent.sent.keep("certificate-request", asked)
    pem = granted_certificate(
        line.renew(asked),
        ring=pinned.ring,
        site=agent.config.name,
        own=own.public_key(),
        roots=(pinned.ca_pem, pinned.newest_root_pem),
        nonce=nonce,
    )
    write_durably(agent.home.renewed_certificate, pem.encode(), mode=_PUBLIC)
    agent.journal.write(Event.RENEWED)
