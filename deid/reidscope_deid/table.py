"""PS3.15 Table E.1-1 as data: what the standard does with each attribute, by option."""

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
class Table:
    """The table and the edition it is."""

    edition: str
    rows: tuple[TableRow, ...]


@cache
def load_table() -> Table:
    """Load the table that ships with this package."""
    text = files("reidscope_deid").joinpath("data/ps315_basic.json").read_text("utf-8")
    document = json.loads(text)
    return Table(
        edition=document["edition"],
        rows=tuple(TableRow(**row) for row in document["attributes"]),
    )
