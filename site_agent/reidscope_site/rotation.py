"""The site's own keys follow one another: drawn, claimed, signed over, granted, put in place.

HOME/keys/statement.next.pem, transport.next.pem    the keys that follow
HOME/keys/asked.dsse.json                           the KeyChange, until its grant is there
HOME/keys/granted.dsse.json                         the grant, until the keys are in place

Whoever dies at any point goes on where it was: the same change is handed over again, and the
coordinator answers it with the same certificate.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from reidscope_protocols.durable import sync_folder, write_durably
from reidscope_protocols.enrolment import EnrolmentGrant, certificate_sha256
from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.errors import ConfigError, NotReadyError
from reidscope_protocols.key_change import KeyChange, sign_change
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.statements import COORDINATOR
from reidscope_protocols.vocabulary import KeyRole
from reidscope_site.config import Home
from reidscope_site.enrol import certificate_request, granted_certificate, transport_key
from reidscope_site.pinned import PinnedCoordinator

NEXT = ("statement.next.pem", "transport.next.pem", "asked.dsse.json", "granted.dsse.json")
_STATEMENT, _TRANSPORT, _ASKED, _GRANTED = NEXT
_LASTS = timedelta(days=30)
_PUBLIC = 0o644
_OWNER_ONLY = 0o600


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Let one process at a time change keys, and finish first what another left."""
    handle = os.open(home.root / "keys.lock", os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotReadyError(
                "keys", got="another command that changes them", expected="one at a time",
                do="wait for it",
            ) from None  # fmt: skip
        finish(home)
        yield
    finally:
        os.close(handle)


def prepare(home: Home, pinned: PinnedCoordinator, *, stolen: bool = False) -> bytes:
    """Draw the keys that follow, and sign the change; a change under way is returned again.

    Raises
    ------
    ConfigError
        The keys lie where nothing can be written.
    """
    asked = home.key(_ASKED)
    now = datetime.now(UTC)
    if asked.exists():
        under_way = asked.read_bytes()
        said = KeyChange.parse(peek_payload(under_way))
        if now < said.not_after and said.at_once is stolen:
            return under_way
    try:
        if not home.key(_STATEMENT).exists():
            StatementKey.generate().save(home.key(_STATEMENT))
        if not home.key(_TRANSPORT).exists():
            write_durably(home.key(_TRANSPORT), _new_transport())
        change = sign_change(
            StatementKey.load(home.key("statement.pem")),
            StatementKey.load(home.key(_STATEMENT)),
            role=KeyRole.SITE,
            site=pinned.site,
            audience=(COORDINATOR,),
            now=now,
            lasts=_LASTS,
            at_once=stolen,
            csr_pem=certificate_request(transport_key(home, _TRANSPORT), pinned.site),
            ca_sha256=certificate_sha256(pinned.newest_root_pem),
        )
        write_durably(asked, change)
    except OSError:
        raise ConfigError(
            "keys",
            got="a place where no new key can be written",
            expected="a folder of the site's own",
            do="name one on another volume with --into; then put its keys where the old ones were",
        ) from None
    return change


def is_under_way(home: Home) -> bool:
    """Whether a change was drawn and not granted yet: it may be on its way."""
    return home.key(_ASKED).exists()


def install(home: Home, pinned: PinnedCoordinator, grant: bytes) -> None:
    """Check the grant of the change that is under way, and put the keys that follow in place.

    Raises
    ------
    NotReadyError
        No change is under way.
    StatementError
        The grant is not the coordinator's, or answers something else.
    """
    if not home.key(_ASKED).exists():
        raise NotReadyError(
            "keys", got="no change under way", expected="one", do="make it: keys rotate"
        )
    granted_certificate(
        grant,
        ring=pinned.ring,
        site=pinned.site,
        own=transport_key(home, _TRANSPORT).public_key(),
        roots=(pinned.ca_pem, pinned.newest_root_pem),
        nonce=KeyChange.parse(peek_payload(home.key(_ASKED).read_bytes())).nonce,
    )
    write_durably(home.key(_GRANTED), grant)
    finish(home)


def finish(home: Home) -> bool:
    """Put keys in place whose grant is there; returns whether there were any."""
    granted = home.key(_GRANTED)
    if not granted.exists():
        return False
    # Checked before it was written; a grant file is this site's own.
    certificate = EnrolmentGrant.parse(peek_payload(granted.read_bytes())).certificate_pem
    for following, name in ((_STATEMENT, "statement.pem"), (_TRANSPORT, "transport.pem")):
        if home.key(following).exists():
            home.key(following).replace(home.key(name))
    write_durably(home.renewed_certificate, certificate.encode(), mode=_PUBLIC)
    home.key(_ASKED).unlink(missing_ok=True)
    granted.unlink()
    sync_folder(home.keys.resolve())
    return True


def _new_transport() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
