"""UIDs of instances, replaced so that what referred to each other still does.

The new UID is 2.25 followed by 128 bits of a keyed HMAC (PS3.5 B.2), so it is the same in every
file and on every run, and nobody without the key can tell which UID it stands for. UIDs that PS3.6
registers name kinds of things, not things, and stay.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from pydicom._uid_dict import UID_dictionary

if TYPE_CHECKING:
    from reidscope_deid.keys import SiteKey

_BRANCH = b"reidscope/deid/uid/v1"
_PADDING = b"\0 "
_LIMIT = 100_000  # remembered UIDs: bounds the memory of a long run

_FORM = re.compile(rb"[0-2](\.(0|[1-9][0-9]*))+")
_LONGEST = 64  # bytes, PS3.5 9.1

REGISTERED = frozenset(uid.encode("ascii") for uid in UID_dictionary)
"""UIDs of PS3.6: classes, transfer syntaxes, well-known instances."""


def is_uid(value: bytes) -> bool:
    """Whether a value has the form that PS3.5 asks of a UID."""
    return len(value) <= _LONGEST and _FORM.fullmatch(value) is not None


class UidMap:
    """Old UIDs to new ones, under one key.

    Parameters
    ----------
    key : SiteKey
        The site's.
    retain : bool
        Whether a UID that has the form of one stays; anything else is replaced all the same.
    """

    __slots__ = ("_known", "_retain", "_secret")

    def __init__(self, key: SiteKey, *, retain: bool = False) -> None:
        self._secret = key.branch(_BRANCH)
        self._retain = retain
        self._known: dict[bytes, bytes] = {}

    def __call__(self, value: bytes) -> bytes:
        """Make the new value for that of a UI element: one UID, several, or none.

        Parameters
        ----------
        value : bytes
            As in the file, padded or not.

        Returns
        -------
        bytes
            Unpadded; at most 44 characters a UID.
        """
        known = self._known.get(value)
        if known is not None:
            return known
        new = b"\\".join(self._one(uid.strip(_PADDING)) for uid in value.split(b"\\"))
        if len(self._known) >= _LIMIT:
            self._known.clear()
        self._known[value] = new
        return new

    def _one(self, uid: bytes) -> bytes:
        if not uid or uid in REGISTERED or (self._retain and is_uid(uid)):
            return uid
        digest = hmac.digest(self._secret, uid, "sha256")
        return b"2.25.%d" % int.from_bytes(digest[:16], "big")
