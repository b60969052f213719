"""The coordinator's own statement keys, and how one followed another.

HOME/keys/study.pem, coordinator.pem    the keys that sign now
HOME/keys/changes/NNNN-*.dsse.json      every KeyChange and RootChange, as sites are told of them

A change's file is what makes it so: the next key is written before it, and put in place after it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from reidscope_protocols.durable import write_durably
from reidscope_protocols.envelope import peek_payload, peek_type
from reidscope_protocols.errors import InputError
from reidscope_protocols.key_change import KEY_LIFE, KeyChange, open_change, sign_change
from reidscope_protocols.keys import KeyRecord, KeyRing, StatementKey
from reidscope_protocols.statements import WORLD
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.config import ServerHome
from reidscope_server.key_files import (
    has_key,
    keep_signing_key,
    public_key,
    remove_key,
    signing_key,
)

_FILES = {KeyRole.STUDY: "study", KeyRole.COORDINATOR: "coordinator"}
_TRAVELS = timedelta(days=730)
_PUBLIC = 0o644


def own_keys(home: ServerHome) -> tuple[KeyRecord, ...]:
    """Return the coordinator's public statement keys, as sites pin them; those that ended too."""
    return tuple(record for role in _FILES for record in _lineage(home, role))


def believed_keys(home: ServerHome) -> tuple[KeyRecord, ...]:
    """Return the keys that a new site is to pin: none that may be in somebody else's hands."""
    return tuple(record for record in own_keys(home) if record.ended_at is None)


def rotate_own(home: ServerHome, role: KeyRole, *, at_once: bool = False) -> bytes:
    """Draw a new study or coordinator key; the old one signs it.

    Parameters
    ----------
    at_once : bool
        Whether the old key ends now: it may be in somebody else's hands.

    Returns
    -------
    bytes
        The KeyChange, which sites fetch, or get as a file.

    Raises
    ------
    InputError
        A role that the coordinator has no key of.
    """
    if role not in _FILES:
        raise InputError(
            "key", got=f"{role}", expected=" or ".join(_FILES), do="name one of these two"
        )
    _settle(home, role)
    old = signing_key(home, _FILES[role])
    new = StatementKey.generate()
    keep_signing_key(home, f"{_FILES[role]}.next", new)
    change = sign_change(
        old,
        new,
        role=role,
        site=None,
        audience=(WORLD,),
        now=datetime.now(UTC),
        lasts=_TRAVELS,
        at_once=at_once,
    )
    keep_change(home, change, _FILES[role])
    _settle(home, role)
    return change


def changes(home: ServerHome) -> tuple[bytes, ...]:
    """Return every change of a key or a root, oldest first."""
    return tuple(path.read_bytes() for path in sorted(_folder(home).glob("*.dsse.json")))


def keep_change(home: ServerHome, envelope: bytes, name: str) -> None:
    """Make a change so: sites are told of it from now on."""
    folder = _folder(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    number = len(list(folder.glob("*.dsse.json"))) + 1
    write_durably(folder / f"{number:04d}-{name}.dsse.json", envelope, mode=_PUBLIC)


def first_day(home: ServerHome) -> datetime:
    """When this coordinator was made: its first root says so, whatever followed it."""
    roots = [home.key("ca.crt"), *home.key("former").glob("ca-*.crt")]
    return min(x509.load_pem_x509_certificate(path.read_bytes()).not_valid_before_utc
               for path in roots)  # fmt: skip


def _folder(home: ServerHome) -> Path:
    return home.key("changes")


def _lineage(home: ServerHome, role: KeyRole) -> tuple[KeyRecord, ...]:
    """Follow the changes of one role from its first key to the one that signs now."""
    _settle(home, role)
    of_role = _changes_of(home, role)
    first = (
        KeyChange.parse(peek_payload(of_role[0])).old_key
        if of_role
        else public_key(home, _FILES[role])
    )
    created = first_day(home)
    records = [
        KeyRecord(
            role=role, site=None, public=first, not_before=created, not_after=created + KEY_LIFE
        )
    ]
    for envelope in of_role:
        issued = KeyChange.parse(peek_payload(envelope)).issued_at
        opened = open_change(envelope, KeyRing((records[-1],)), role=role, reader=WORLD, now=issued)
        records[-1:] = [opened.old_record(), opened.new_record()]
    return tuple(records)


def _changes_of(home: ServerHome, role: KeyRole) -> list[bytes]:
    key_changes = [each for each in changes(home) if peek_type(each) == KeyChange.payload_type]
    return [each for each in key_changes if KeyChange.parse(peek_payload(each)).role is role]


def _settle(home: ServerHome, role: KeyRole) -> None:
    """Put a next key in place whose change was kept; a process may have died in between."""
    voice = _FILES[role]
    if not has_key(home, f"{voice}.next.pem"):
        return
    of_role = _changes_of(home, role)
    public = public_key(home, f"{voice}.next")
    if of_role and KeyChange.parse(peek_payload(of_role[-1])).new_key == public:
        # Sealed under its name, it is sealed anew; whoever dies in between does this again.
        keep_signing_key(home, voice, signing_key(home, f"{voice}.next"))
        remove_key(home, f"{voice}.next.pem")
