"""Private elements that the standard knows to hold no identity (PS3.15 Table E.3.10-1).

A private element is known by its creator, its group and the lower byte of its number; the upper
byte is whichever block the creator reserved in that data set. Text among them is not kept: only
numbers and codes have a form that leaves no room for a name.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reidscope_deid.allowed import JUDGED_VRS, KeptAttribute
from reidscope_deid.table import load_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    SafeList = Mapping[tuple[bytes, int, int], KeptAttribute]

_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF
_PADDING = b" \0"


@cache
def load_safe_private() -> SafeList:
    """Load the list: what may be kept, by creator, group and lower byte."""
    return {
        (row.creator.encode("ascii"), int(row.group, 16), int(row.element, 16)): KeptAttribute(
            tag=int(row.group, 16) << 16 | int(row.element, 16),
            keyword=row.meaning,
            vrs=frozenset({row.vr}),
            most=int(row.vm.split("-")[-1]) if row.vm.split("-")[-1].isdigit() else None,
            reason=f"safe private, {row.creator}",
            terms=frozenset(),
            codes=False,
            otherwise=b"",
        )
        for row in load_table().safe_private
        if row.vr in JUDGED_VRS
    }


@cache
def safe_creators() -> frozenset[bytes]:
    """Private creators that the list names."""
    return frozenset(creator for creator, _, _ in load_safe_private())


def is_creator(tag: int) -> bool:
    """Whether a tag reserves a block of private elements."""
    return bool(tag >> 16 & 1) and _FIRST_BLOCK <= tag & 0xFFFF <= _LAST_BLOCK


class Blocks:
    """Which creator reserved which block of one data set or item."""

    __slots__ = ("_creators",)

    def __init__(self) -> None:
        self._creators: dict[int, bytes] = {}

    def reserve(self, tag: int, creator: bytes) -> None:
        """Note what a private creator element says."""
        self._creators[tag >> 16 << 8 | tag & 0xFF] = creator.strip(_PADDING)

    def creator_tag(self, tag: int) -> int:
        """Tag of the element that reserves the block of a private element."""
        return tag & 0xFFFF0000 | tag >> 8 & 0xFF

    def find(self, tag: int) -> tuple[bytes, KeptAttribute] | None:
        """Creator and rule of a private element, None if it is not known to be safe."""
        creator = self._creators.get(tag >> 16 << 8 | tag >> 8 & 0xFF, b"")
        kept = load_safe_private().get((creator, tag >> 16, tag & 0xFF))
        return None if kept is None else (creator, kept)
