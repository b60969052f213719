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
from typing import TYPE_CHECKING, Any

from reidscope_deid.reasons import Reason
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
class Kind:
    """What classes of one kind (reports, presentation states ...) keep besides, and keep not.

    Attributes
    ----------
    attributes : mapping
        By tag.
    content : frozenset of int
        Sequences of content items, judged item by item.
    cleaned : frozenset of int
        Texts, kept only where descriptors are cleaned.
    dropped : frozenset of int
        What goes whatever the table leaves of it.
    """

    attributes: Mapping[int, KeptAttribute]
    content: frozenset[int]
    cleaned: frozenset[int]
    dropped: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """What is kept.

    Attributes
    ----------
    attributes : mapping
        By tag.
    sop_classes : mapping
        Whether burned-in text is likely, by UID of the classes that are taken.
    kinds : mapping
        By name.
    kind_of : mapping
        Kind by UID of the class; images have none.
    left_out : mapping
        Why a class is left out, by UID; of those that are not, and not taken, nobody has said.
    """

    attributes: Mapping[int, KeptAttribute]
    sop_classes: Mapping[bytes, bool]
    kinds: Mapping[str, Kind]
    kind_of: Mapping[bytes, str]
    left_out: Mapping[bytes, Reason]


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
        kinds={name: _kind(row) for name, row in document["kinds"].items()},
        kind_of={
            row["uid"].encode("ascii"): row["kind"]
            for row in document["sop_classes"]
            if "kind" in row
        },
        left_out={
            uid.encode("ascii"): Reason(reason)
            for reason, uids in document["left_out"].items()
            for uid in uids
        },
    )


def _kind(row: dict[str, Any]) -> Kind:
    tags = {
        name: frozenset(int(tag, 16) for tag in row[name])
        for name in ("content", "cleaned", "dropped")
    }
    attributes = {one.tag: one for one in map(_kept, row["attributes"])}
    return Kind(attributes=attributes, **tags)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueType:
    """One type of content item that reports may keep (PS3.3 C.17.3).

    Attributes
    ----------
    value : int
        Tag that holds its value, or what belongs to it.
    named : bool
        Whether it needs a concept name.
    reference : bool
        Whether its value is a UID, which is replaced.
    room : bool
        Whether its value has room for what a concept of another type could say.
    """

    value: int
    named: bool
    reference: bool
    room: bool


@cache
def load_value_types() -> Mapping[bytes, ValueType]:
    """Load the types of content item that reports may keep; of others, none stays."""
    document = json.loads(files("reidscope_deid").joinpath("data/keep.json").read_text("utf-8"))
    return {
        name.encode("ascii"): ValueType(
            value=int(row["value"], 16),
            named=row["named"],
            reference=row.get("reference", False),
            room=row.get("room", False),
        )
        for name, row in document["value_types"].items()
    }


@cache
def load_codes() -> Mapping[tuple[bytes, bytes], bytes]:
    """Load the meaning of each public code, by scheme and value."""
    document = json.loads(files("reidscope_deid").joinpath("data/codes.json").read_text("utf-8"))
    return {
        (scheme.encode("ascii"), value.encode("ascii")): meaning.encode("ascii", "replace")
        for scheme, codes in document["codes"].items()
        for value, meaning in codes.items()
    }


@cache
def load_replaced_codes() -> Mapping[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Load retired codes and what they are written as."""
    document = json.loads(files("reidscope_deid").joinpath("data/codes.json").read_text("utf-8"))
    pairs = (
        (old.encode("ascii").split(b" "), new.encode("ascii").split(b" "))
        for old, new in document["replaced"].items()
    )
    return {(old[0], old[1]): (new[0], new[1]) for old, new in pairs}


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
