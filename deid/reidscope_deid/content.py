"""Which content items of structured content may stay (PS3.15 Table E.3.4-1).

An item of an image's stays whole or not at all: if its concept is public, if the table does not
remove it under the options chosen, and if it still has its value; text and person names never do. A
report's item goes with all that it holds, or loses what it may not keep; text stays if it is
cleaned.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reidscope_deid.allowed import (
    load_codes,
    load_content_attributes,
    load_content_values,
    load_value_types,
)
from reidscope_deid.table import load_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reidscope_deid.table import ContentItem


@cache
def concept_names() -> frozenset[int]:
    """Tags whose code names the concept of an item."""
    rows = load_content_attributes()
    return frozenset(tag for tag, row in rows.items() if row.codes) - load_content_values()


def item_may_stay(
    value_type: bytes, concept: tuple[bytes, bytes] | None, options: frozenset[str]
) -> bool:
    """Whether an item of a report may stay, as far as its type and its concept go.

    Parameters
    ----------
    value_type : bytes
        Such as ``NUM``.
    concept : tuple of (bytes, bytes), optional
        Scheme and value of the code that names it.
    options : frozenset of str
        Options of PS3.15 that are applied.
    """
    kind = load_value_types().get(value_type)
    if kind is None:
        return False
    if concept is None or concept not in load_codes():
        # A name of the site's own goes, and with it what has to have one.
        return not kind.named
    rows = [row for row in _rows().get(concept, ()) if row.value_type.encode() == value_type]
    if not rows:
        # Of another type in the table: what a public code or a place says, it cannot.
        return not kind.room or may_stay(concept, options)
    if kind.reference:
        return all("D" in row.basic or options & row.options.keys() for row in rows)
    return may_stay(concept, options)


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
def _rows() -> Mapping[tuple[bytes, bytes], list[ContentItem]]:
    found: dict[tuple[bytes, bytes], list[ContentItem]] = {}
    for row in load_table().content_items:
        found.setdefault((row.scheme.encode("ascii"), row.code.encode("ascii")), []).append(row)
    return found


@cache
def _asked() -> Mapping[tuple[bytes, bytes], frozenset[str]]:
    """Options that let a concept of the table stay; where it has several rows, those of all."""
    found: dict[tuple[bytes, bytes], frozenset[str]] = {}
    for row in load_table().content_items:
        concept = row.scheme.encode("ascii"), row.code.encode("ascii")
        found[concept] = found.get(concept, frozenset(row.options)) & frozenset(row.options)
    return found
