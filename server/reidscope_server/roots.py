"""One certificate authority after another: two roots for a window, then the new one alone.

HOME/keys/ca.crt, ca.pem              the root of the doors and of enrolments
HOME/keys/ca.next.crt, ca.next.pem    the root that follows, while both are trusted
HOME/keys/former/ca-SHA.crt           roots that ended

While two roots overlap the doors go on with a certificate of the old one, which every site trusts;
sites are told of the new one in a signed RootChange and have their own certificates renewed under
it. When the window ends, the doors change over and certificates of the old root open nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509

from reidscope_protocols.durable import sync_folder, write_durably
from reidscope_protocols.enrolment import certificate_sha256
from reidscope_protocols.envelope import peek_payload, peek_type, sign
from reidscope_protocols.errors import InputError
from reidscope_protocols.key_change import RootChange
from reidscope_protocols.statements import WORLD
from reidscope_server.ca import certify_doors, new_authority
from reidscope_server.config import ServerHome
from reidscope_server.key_files import read_key, remove_key, signing_key, write_key
from reidscope_server.own_keys import changes, keep_change

WINDOW_DAYS = 30
_LONGEST_DAYS = 365
_TRAVELS = timedelta(days=730)
_SHOWN = 16  # digits of a digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two roots that are both trusted.

    Attributes
    ----------
    old_sha256, new_sha256 : str
        SHA-256 of the two certificates.
    ends : datetime
        From then on the new one is trusted alone.
    """

    old_sha256: str
    new_sha256: str
    ends: datetime


def rotate_root(home: ServerHome, *, days: int = WINDOW_DAYS) -> Overlap:
    """Make another root and tell the sites, signed by the coordinator's key.

    Raises
    ------
    InputError
        Two roots overlap already, or the window is no number of days that makes sense.
    """
    if overlap(home) is not None or not 0 <= days <= _LONGEST_DAYS:
        raise InputError(
            "root",
            got="two roots that overlap already, or a window of another length",
            expected=f"one root, and a window of 0 to {_LONGEST_DAYS} days",
            do="wait, or end the overlap: reidscope-server ca end",
        )
    pem, private = new_authority()
    write_key(home, "ca.next.pem", private)
    write_durably(home.key("ca.next.crt"), pem)
    now = datetime.now(UTC)
    change = RootChange(
        audience=(WORLD,),
        issued_at=now,
        not_after=now + _TRAVELS,
        old_ca_sha256=certificate_sha256(home.key("ca.crt").read_text()),
        new_ca_pem=pem.decode(),
        overlap_ends=now + timedelta(days=days),
    )
    keep_change(home, sign(change, signing_key(home, "coordinator")), "root")
    made = overlap(home)
    # Safety: the change was just kept, and names the two roots that lie there.
    assert made is not None
    return made


def overlap(home: ServerHome) -> Overlap | None:
    """Return the two roots that are both trusted, None where there is one."""
    following = home.key("ca.next.crt")
    if not following.exists():
        return None
    told = [each for each in changes(home) if peek_type(each) == RootChange.payload_type]
    new_sha256 = certificate_sha256(following.read_text())
    last = RootChange.parse(peek_payload(told[-1])) if told else None
    if last is None or certificate_sha256(last.new_ca_pem) != new_sha256:
        # A process died before anybody was told of it: the next rotation draws another.
        return None
    return Overlap(old_sha256=last.old_ca_sha256, new_sha256=new_sha256, ends=last.overlap_ends)


def end_overlap(home: ServerHome, *, now: datetime | None = None) -> bool:
    """Trust the new root alone once the window is over; with no `now`, whatever the time.

    Returns whether something changed.
    """
    both = overlap(home)
    if both is None or (now is not None and now < both.ends):
        return False
    home.key("former").mkdir(mode=0o700, exist_ok=True)
    old, new = home.key("ca.crt").read_bytes(), home.key("ca.next.crt").read_bytes()
    if certificate_sha256(old.decode()) == both.old_sha256:
        write_durably(home.key("former") / f"ca-{both.old_sha256[:_SHOWN]}.crt", old)
    private = read_key(home, "ca.next.pem")
    certify_doors(home, x509.load_pem_x509_certificate(new), private)
    write_key(home, "ca.pem", private)
    write_durably(home.key("ca.crt"), new)
    # The next root goes last: whoever dies before it does all of this again.
    remove_key(home, "ca.next.pem")
    home.key("ca.next.crt").unlink()
    sync_folder(home.key("ca.crt").parent)
    return True


def trusted_pem(home: ServerHome) -> bytes:
    """Return the roots of sites' certificates that the doors take now, as PEM."""
    both = overlap(home)
    following = b"" if both is None else home.key("ca.next.crt").read_bytes()
    return home.key("ca.crt").read_bytes() + following


def is_trusted(home: ServerHome, root_sha256: str | None) -> bool:
    """Tell whether certificates of a root open the doors; None names this home's first root."""
    former = {path.stem.removeprefix("ca-") for path in home.key("former").glob("ca-*.crt")}
    return not former if root_sha256 is None else root_sha256[:_SHOWN] not in former
