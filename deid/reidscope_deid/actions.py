"""What can be done with an element, and how a code of the standard becomes one thing to do.

A compound code leaves the choice to the type that the object's definition gives the attribute. We
choose the one that keeps every object valid whatever the type: D where the code offers it, else Z;
both leave nothing of the value. An element that is absent is never added.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidscope_deid.allowed import KeptAttribute


class Action(StrEnum):
    """What is done with an element that is not dropped."""

    KEEP = "keep"
    WALK = "walk"
    CODES = "codes"
    SHIFT = "shift"
    EMPTY = "empty"
    DUMMY = "dummy"
    REMAP = "remap"
    PSEUDONYM = "pseudonym"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is done with one attribute.

    Attributes
    ----------
    tag : int
        Group in the upper, element in the lower 16 bits.
    action : Action
        Never DROP: an attribute without a rule is dropped.
    vr : bytes
        VR to write where the file does not say one.
    vrs : frozenset of bytes
        VRs in which the element is accepted; in any other it is dropped.
    kept : KeptAttribute or None
        Row of the allow-list, where there is one.
    why : str
        For `explain`.
    """

    tag: int
    action: Action
    vr: bytes
    vrs: frozenset[bytes]
    kept: KeptAttribute | None
    why: str


_DUMMIES = {
    "DA": b"19000101",
    "TM": b"000000",
    "DT": b"19000101000000",
    "AS": b"000Y",
    "DS": b"0",
    "IS": b"0",
    "UR": b"urn:removed",
    "SQ": b"",
    "OB": bytes(2),
    "OW": bytes(2),
    "UN": bytes(2),
    "US": bytes(2),
    "SS": bytes(2),
    "UL": bytes(4),
    "SL": bytes(4),
    "AT": bytes(4),
    "FL": bytes(4),
    "OF": bytes(4),
    "FD": bytes(8),
    "OD": bytes(8),
}
_TEXT_DUMMY = b"REMOVED"


def dummy(vr: bytes) -> bytes:
    """Value that stands where one must stand, the same for everybody."""
    return _DUMMIES.get(vr.decode("ascii"), _TEXT_DUMMY)


def resolve(code: str, vr: str) -> Action:
    """One action for one code of the Basic profile.

    Parameters
    ----------
    code : str
        Such as ``X``, ``Z/D`` or ``X/Z/U*``.
    vr : str
        VR of the attribute.

    Returns
    -------
    Action
        DROP only for a plain X.
    """
    choices = code.split("/")
    if "U*" in choices:
        return Action.WALK
    if vr == "UI" and ({"U", "D"} & set(choices)):
        return Action.REMAP
    if "D" in choices:
        # A sequence's dummy is no item: none of the classes taken asks for one where the table says
        # D.
        return Action.EMPTY if vr == "SQ" else Action.DUMMY
    if "Z" in choices:
        return Action.EMPTY
    return Action.DROP
