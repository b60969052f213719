"""What a defacer means to do with the skin of a face: its gates depend on it."""

from __future__ import annotations

from enum import StrEnum


class Intent(StrEnum):
    """What becomes of the skin."""

    REMOVED = "removed"
    """It is cut away: what is seen from the front afterwards lies deeper."""
    AVERAGED = "averaged"
    """The registered average head's skin lies in its place."""
    REPLACED = "replaced"
    """Another skin lies in its place, of a face that only the defacer knows."""
    KEPT = "kept"
    """It stays where it is, less sharp: no defacing, a comparison."""
