"""The allow-list as data: what is kept for the image's use, and which values of it.

No free text is kept. A text attribute has terms, and a value that is none of them is emptied or
replaced by a dummy; CS, DS, IS and UI must have the form that their VR asks for; binary values must
be as long as their multiplicity says. So a kept element is not a place to hide a name in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from reidscope_deid.uids import REGISTERED

if TYPE_CHECKING:
    from collections.abc import Mapping

_PADDING = b" \0"
_FORMS = {
    "CS": re.compile(rb"[A-Z0-9_ \-]{0,16}"),
    "DS": re.compile(rb" *[0-9+\-.eE]{0,16} *"),
    "IS": re.compile(rb" *[+\-]?[0-9]{0,11} *"),
}
_SIZES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "UV": 8, "SV": 8}
_BULK = frozenset({"OB", "OW", "OF", "OD", "OL", "OV"})
JUDGED_VRS = frozenset(_FORMS) | frozenset(_SIZES)
"""VRs whose values have a form that leaves no room for a name."""
_TEXT = frozenset({"LO", "SH", "ST", "LT", "UT", "UC", "PN", "UR", "AE", "AS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAttribute:
    """One attribute of the allow-list.

    Attributes
    ----------
    tag : int
        Group in the upper, element in the lower 16 bits.
    keyword : str
        As in PS3.6.
    vrs : frozenset of str
        The VRs that PS3.6 allows.
    most : int or None
        Largest number of values, None where it is open.
    reason : str
        What it is needed for.
    terms : frozenset of bytes
        The values that are kept; empty where any value of the VR's form is.
    codes : bool
        Whether it is a sequence of codes: rewritten from codes.json.
    otherwise : bytes
        What stands in place of a value that is not kept; mostly nothing.
    """

    tag: int
    keyword: str
    vrs: frozenset[str]
    most: int | None
    reason: str
    terms: frozenset[bytes]
    codes: bool
    otherwise: bytes

    @property
    def is_sequence(self) -> bool:
        """Whether it holds items."""
        return "SQ" in self.vrs

    @property
    def is_bulk(self) -> bool:
        """Whether its value is samples, whose form says nothing."""
        return bool(self.vrs & _BULK)

    def keeps(self, value: bytes) -> bool:
        """Whether this value may stay.

        Parameters
        ----------
        value : bytes
            As in the file, padded or not.
        """
        size = next((_SIZES[vr] for vr in self.vrs if vr in _SIZES), None)
        if size is not None:
            return len(value) % size == 0 and self._holds(len(value) // size)
        values = [one.strip(_PADDING) for one in value.split(b"\\")]
        if not self._holds(len(values)):
            return False
        if self.terms:
            return all(one in self.terms or not one for one in values)
        if "UI" in self.vrs:
            return all(one in REGISTERED or not one for one in values)
        forms = [_FORMS[vr] for vr in self.vrs if vr in _FORMS]
        return bool(forms) and all(any(form.fullmatch(one) for form in forms) for one in values)

    def _holds(self, values: int) -> bool:
        return self.most is None or values <= self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """What is kept.

    Attributes
    ----------
    attributes : mapping
        By tag.
    sop_classes : mapping
        Whether burned-in text is likely, by UID of the classes that are taken.
    """

    attributes: Mapping[int, KeptAttribute]
    sop_classes: Mapping[bytes, bool]


@cache
def load_allow_list() -> AllowList:
    """Load the allow-list that ships with this package."""
    document = json.loads(files("reidscope_deid").joinpath("data/keep.json").read_text("utf-8"))
    attributes = [_kept(row) for row in document["attributes"]]
    return AllowList(
        attributes={one.tag: one for one in attributes},
        sop_classes={
            row["uid"].encode("ascii"): row["burned_in_text_likely"]
            for row in document["sop_classes"]
        },
    )


@cache
def load_content_attributes() -> Mapping[int, KeptAttribute]:
    """Load what is kept in content items besides, where structured content is cleaned; by tag."""
    document = json.loads(files("reidscope_deid").joinpath("data/keep.json").read_text("utf-8"))
    return {one.tag: one for one in map(_kept, document["content_attributes"])}


@cache
def load_content_values() -> frozenset[int]:
    """Load the tags that hold the value of a content item."""
    document = json.loads(files("reidscope_deid").joinpath("data/keep.json").read_text("utf-8"))
    marked = [row["tag"] for row in document["content_attributes"] if row.get("value")]
    return frozenset(int(tag, 16) for tag in (*document["content_values"], *marked))


@cache
def load_codes() -> Mapping[tuple[bytes, bytes], bytes]:
    """Load the meaning of each public code, by scheme and value."""
    document = json.loads(files("reidscope_deid").joinpath("data/codes.json").read_text("utf-8"))
    return {
        (scheme.encode("ascii"), value.encode("ascii")): meaning.encode("ascii", "replace")
        for scheme, codes in document["codes"].items()
        for value, meaning in codes.items()
    }


def _kept(row: dict[str, str]) -> KeptAttribute:
    vrs = frozenset(row["vr"].split(" or "))
    terms = frozenset(term.encode("ascii") for term in row.get("terms", ()))
    if vrs & _TEXT and not terms:
        # Safety: a row of our own data file; a test walks every one of them.
        msg = f"{row['tag']} is free text and has no terms"
        raise ValueError(msg)
    most = row["vm"].split("-")[-1]
    return KeptAttribute(
        tag=int(row["tag"], 16),
        keyword=row["keyword"],
        vrs=vrs,
        most=int(most) if most.isdigit() else None,
        reason=row["reason"],
        terms=terms,
        codes=bool(row.get("codes")),
        otherwise=row.get("otherwise", "").encode("ascii"),
    )
