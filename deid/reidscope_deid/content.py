"""Which content items of structured content may stay (PS3.15 Table E.3.4-1).

An item stays whole or not at all: if its concept is public, if the table does not remove it under
the options chosen, and if it still has its value. Text and person names never do.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reidscope_deid.allowed import load_codes, load_content_attributes, load_content_values
from reidscope_deid.table import load_table

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def concept_names() -> frozenset[int]:
    """Tags whose code names the concept of an item."""
    rows = load_content_attributes()
    return frozenset(tag for tag, row in rows.items() if row.codes) - load_content_values()


def may_stay(concept: tuple[bytes, bytes], options: frozenset[str]) -> bool:
    """Whether items of a concept may stay.

    Parameters
    ----------
    concept : tuple of (bytes, bytes)
        Scheme and value of its code.
    options : frozenset of str
        Options of PS3.15 that are applied.
    """
    if concept not in load_codes():
        return False
    asked = _asked().get(concept)
    return asked is None or bool(asked & options)


@cache
def _asked() -> Mapping[tuple[bytes, bytes], frozenset[str]]:
    """Options that let a concept of the table stay; where it has several rows, those of all."""
    found: dict[tuple[bytes, bytes], frozenset[str]] = {}
    for row in load_table().content_items:
        concept = row.scheme.encode("ascii"), row.code.encode("ascii")
        found[concept] = found.get(concept, frozenset(row.options)) & frozenset(row.options)
    return found
