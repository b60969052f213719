"""PS3.15 Annex E as data: what the standard does with each attribute, by option.

Table E.1-1 (attributes), E.3.4-1 (content items) and E.3.10-1 (safe private attributes); and, of
PS3.3, the types that resolve a compound code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTIONS = (
    "retain_safe_private",
    "retain_uids",
    "retain_device_identity",
    "retain_institution_identity",
    "retain_patient_characteristics",
    "retain_longitudinal_full_dates",
    "retain_longitudinal_modified_dates",
    "clean_descriptors",
    "clean_structured_content",
    "clean_graphics",
)
"""The options of PS3.15 that change an attribute's action, as the table's columns name them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row of the table.

    Attributes
    ----------
    tag : str
        Eight hexadecimal digits; ``xx`` where a group repeats, ``PRIVATE`` for private attributes.
    name : str
        As in the standard.
    vr : str or None
        As in PS3.6; None where the edition that this was read from has none.
    basic : str
        Action code of the Basic profile, such as ``X/Z/D``.
    options : mapping
        Action code by option.
    """

    tag: str
    name: str
    vr: str | None
    basic: str
    options: Mapping[str, str]

    @property
    def number(self) -> int | None:
        """The tag as a number, None where it stands for many."""
        try:
            return int(self.tag, 16)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentItem:
    """One row of Table E.3.4-1: what the standard does with a content item.

    Attributes
    ----------
    scheme, code, meaning : str
        Concept name.
    value_type : str
        Such as ``TEXT``.
    basic : str
        Action code of the Basic profile.
    options : mapping
        Action code by option.
    """

    scheme: str
    code: str
    meaning: str
    value_type: str
    basic: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SafePrivate:
    """One row of Table E.3.10-1: a private attribute known to hold no identity.

    Attributes
    ----------
    creator : str
        Private creator that reserves the block.
    group, element : str
        Four and two hexadecimal digits.
    vr, vm, meaning : str
        As in the table.
    """

    creator: str
    group: str
    element: str
    vr: str
    vm: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The tables and the edition they are."""

    edition: str
    rows: tuple[TableRow, ...]
    content_items: tuple[ContentItem, ...]
    safe_private: tuple[SafePrivate, ...]


@cache
def load_table() -> Table:
    """Load the table that ships with this package."""
    text = files("reidscope_deid").joinpath("data/ps315_basic.json").read_text("utf-8")
    document = json.loads(text)
    return Table(
        edition=document["edition"],
        rows=tuple(TableRow(**row) for row in document["attributes"]),
        content_items=tuple(ContentItem(**row) for row in document["content_items"]["items"]),
        safe_private=tuple(SafePrivate(**row) for row in document["safe_private"]["elements"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Types:
    """How strictly one SOP class asks for the attributes whose code is compound.

    Attributes
    ----------
    top, nested : mapping
        Type by tag: 1, 2 or 3; conditional ones count as their condition met.
    """

    top: Mapping[int, int]
    nested: Mapping[int, int]


@cache
def load_types() -> Mapping[bytes, Types]:
    """Load the types that ship with this package, by UID of the SOP class."""
    text = files("reidscope_deid").joinpath("data/types.json").read_text("utf-8")
    return {
        row["uid"].encode("ascii"): Types(top=_by_tag(row["top"]), nested=_by_tag(row["nested"]))
        for row in json.loads(text)["sop_classes"]
    }


def _by_tag(types: Mapping[str, list[str]]) -> Mapping[int, int]:
    return {int(tag, 16): int(kind[0]) for kind, tags in types.items() for tag in tags}
