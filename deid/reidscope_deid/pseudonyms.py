"""Who a person is called in the output: a name that only the holder of the key can compute.

A keyed HMAC, not a hash: patient IDs are few enough to be tried one by one, so an unkeyed hash of
one hides nothing.
"""

from __future__ import annotations

import base64
import hmac
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType

from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from reidscope_deid.keys import SiteKey

Pseudonym = NewType("Pseudonym", str)

_BRANCH = b"reidscope/deid/pseudonym/v1"
_DATE_BRANCH = b"reidscope/deid/dates/v1"
_CHARACTERS = 16  # of base32: 80 bits, so that a million people collide with chance 4e-13
_SHORTEST_SHIFT = 365  # days
_LONGEST_SHIFT = 3652  # days
_WEEK = 7  # days


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What the engine needs of a person.

    Attributes
    ----------
    pseudonym : Pseudonym
        Stands for patient ID and patient name.
    shift_days : int
        Added to each date; between -3652 and -365.
    identity : str
        Patient ID, or study UID where there is none: what a vault keeps. Never shown.
    """

    pseudonym: Pseudonym
    shift_days: int
    identity: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class Namer:
    """Names people under one key; the branches are derived once."""

    _names: bytes
    _dates: bytes
    _whole_weeks: bool

    @classmethod
    def of(cls, key: SiteKey, *, whole_weeks: bool = False) -> Namer:
        """Namer of a site, or of one of its studies; `whole_weeks` so that weekdays stay."""
        return cls(key.branch(_BRANCH), key.branch(_DATE_BRANCH), whole_weeks)

    def patient(self, patient_id: str) -> Person:
        """Person with this patient ID.

        Raises
        ------
        QuarantinedError
            The ID is empty: everyone without one would become a single person.
        """
        plain = unicodedata.normalize("NFC", patient_id).strip(" \0\t\r\n")
        if not plain:
            raise QuarantinedError(Reason.NO_IDENTITY)
        return self._person(b"patient\0", plain)

    def study(self, study_uid: str) -> Person:
        """Person of a study whose files hold no patient ID: each such study is somebody else.

        Raises
        ------
        QuarantinedError
            The UID is empty too.
        """
        plain = study_uid.strip(" \0")
        if not plain:
            raise QuarantinedError(Reason.NO_IDENTITY)
        return self._person(b"study\0", plain)

    def _person(self, kind: bytes, plain: str) -> Person:
        identity = kind + plain.encode("utf-8", "surrogateescape")
        name = base64.b32encode(hmac.digest(self._names, identity, "sha256"))[:_CHARACTERS]
        draw = int.from_bytes(hmac.digest(self._dates, identity, "sha256")[:8], "big")
        days = _SHORTEST_SHIFT + draw % (_LONGEST_SHIFT - _SHORTEST_SHIFT + 1)
        if self._whole_weeks:
            # Up to whole weeks, back into range where that left it: never fewer than 365 days.
            days = min(days + -days % _WEEK, _LONGEST_SHIFT // _WEEK * _WEEK)
        return Person(
            pseudonym=Pseudonym(f"P-{name.decode('ascii')}"), shift_days=-days, identity=plain
        )


def pseudonym(key: SiteKey, patient_id: str) -> Pseudonym:
    """Pseudonym of the person with this patient ID: the same on every run under the same key.

    Parameters
    ----------
    key : SiteKey
        The site's.
    patient_id : str
        As in (0010,0020); spaces around it do not count, and composed and decomposed letters are
        one.

    Returns
    -------
    Pseudonym
        ``P-`` and 16 base32 characters.

    Raises
    ------
    QuarantinedError
        The ID is empty.

    Privacy
    -------
    Cannot be computed, nor tried out, without the key; two sites' pseudonyms of one person are
    unrelated (docs/privacy.md, "De-identification").
    """
    return Namer.of(key).patient(patient_id).pseudonym
