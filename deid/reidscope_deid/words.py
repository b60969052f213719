"""Words of the person's identifiers, and whether a text that an option retains holds one.

A retained text (a station's name, an institution's) stays whole if no word of it is a word of the
identifiers in the person's files. What a cleaned text keeps is `cleaning`'s business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from reidscope_deid.cleaning import foreign_words
from reidscope_deid.elements import read_items
from reidscope_deid.vocabulary import WORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reidscope_deid.elements import Buffer, Element
    from reidscope_deid.encoding import Encoding
    from reidscope_deid.profile import Profile

__all__ = ["foreign_words", "is_plain", "is_read_for_names", "known_words", "retained"]

_CODE = re.compile(rb"[A-Z0-9_ ]*")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_DATES = frozenset({b"DA", b"DT"})
_DATE = 8  # bytes of a DT that are its date
_TEXTS = frozenset({b"LO", b"SH", b"LT", b"ST", b"UT", b"UC"})
_SHORTEST = 3  # bytes
_LONG = 6  # bytes: looked for across spaces and punctuation too
_SHORTEST_OF_NAME = 2  # bytes
_PADDING = b" \0"
LENGTHS = {
    b"AE": 16,
    b"CS": 16,
    b"SH": 16,
    b"LO": 64,
    b"ST": 1024,
    b"LT": 10240,
    b"UT": 10240,
    b"UC": 10240,
}
"""VRs of text, and the bytes a value of each may have here."""


def is_plain(value: bytes, vr: bytes) -> bool:
    """Whether a text is printable and as long as its VR allows, and a code what a code may be."""
    values = [value] if vr in (b"ST", b"LT", b"UT") else value.split(b"\\")
    if vr == b"CS" and not all(_CODE.fullmatch(one) for one in values):
        return False
    return not _CONTROL.search(value) and all(len(one) <= LENGTHS.get(vr, 0) for one in values)


def retained(value: bytes, vr: bytes, known: frozenset[bytes]) -> bytes:
    """Say the text as it was, or nothing if a word of it is the person's own.

    Parameters
    ----------
    value : bytes
        As in the file.
    vr : bytes
        Its VR.
    known : frozenset of bytes
        From `known_words`.
    """
    plain = value.strip(_PADDING)
    words = WORD.findall(plain.upper())
    run = b"".join(words)
    named = any(word in known for word in words) or any(
        len(word) >= _LONG and word in run for word in known
    )
    return b"" if named or not is_plain(plain, vr) else plain


def known_words(
    data: Buffer, elements: list[Element], encoding: Encoding, profile: Profile
) -> frozenset[bytes]:
    """Words, in upper case, of what identifies somebody in this file, at any depth.

    Parameters
    ----------
    data : bytes or mmap
        The data set.
    elements : list of Element
        Its top level.
    encoding : Encoding
        How it is written.
    profile : Profile
        Says which attributes name somebody, and whether dates are as they were.

    Returns
    -------
    frozenset of bytes
        Words of every person name, of every attribute that no option of the standard ever keeps,
        and, unless dates are kept, every date.

    Privacy
    -------
    Identifiers: for comparison in memory alone (docs/privacy.md, "De-identification").
    """
    found: set[bytes] = set()
    for tag, vr, value in _leaves(data, elements, encoding, depth=0):
        if vr == b"PN":
            words = WORD.findall(value.upper())
            found.update(word for word in words if len(word) >= _SHORTEST_OF_NAME)
        elif vr in _TEXTS and tag in profile.identifying:
            words = WORD.findall(value.upper())
            found.update(word for word in words if len(word) >= _SHORTEST)
            found.add(b"".join(words))
        elif vr in _DATES and not profile.true_dates:
            for one in value.split(b"\\"):
                day = one.strip(_PADDING)[:_DATE]
                year, month, day_of_month = day[:4], day[4:6], day[6:]
                found |= {day, day_of_month + month + year, month + day_of_month + year, year}
    return frozenset(found - {b""})


def is_read_for_names(tag: int, vr: bytes, profile: Profile) -> bool:
    """Whether `known_words` looks into such an element: its value then decides about others.

    Parameters
    ----------
    tag : int
        Group in the upper, element in the lower 16 bits.
    vr : bytes
        As written; empty when the encoding is implicit.
    profile : Profile
        As in `known_words`.
    """
    if not vr or vr == b"UN":
        vr = dictionary_VR(tag).encode("ascii") if dictionary_has_tag(tag) else b"UN"
    text = vr in _TEXTS and tag in profile.identifying
    return text or vr in (b"SQ", b"PN", b"UN") or (vr in _DATES and not profile.true_dates)


def _leaves(
    data: Buffer, elements: list[Element], encoding: Encoding, *, depth: int
) -> Iterator[tuple[int, bytes, bytes]]:
    for element in elements:
        vr = element.vr
        if (not vr or vr == b"UN") and dictionary_has_tag(element.tag):
            vr = dictionary_VR(element.tag).encode("ascii")
        if vr == b"SQ" and element.vr != b"UN":
            for item in read_items(data, element, encoding, depth=depth + 1):
                yield from _leaves(data, item, encoding, depth=depth + 1)
        elif vr in _TEXTS or vr in _DATES or vr == b"PN":
            yield element.tag, vr, data[element.value : element.stop]
