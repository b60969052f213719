"""What can be done with an element, and how a code of the standard becomes one thing to do.

A compound code leaves the choice to the type that the object's definition gives the attribute.
Where types.json knows the type, the least that the type asks for is kept: nothing for 3, an empty
value for 2, a dummy for 1. Where it does not, D if the code offers it, else Z, which keeps every
object valid. An element that is absent is never added.
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
    CONTENT = "content"
    TEXT = "text"
    CLEAN = "clean"
    AGE = "age"
    ZONE = "zone"
    UID = "uid"
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
    otherwise : Action
        DROP, EMPTY or DUMMY: for a value that may not stay.
    local_codes : bool
        Whether codes that are not public stay, if their words name nobody.
    """

    tag: int
    action: Action
    vr: bytes
    vrs: frozenset[bytes]
    kept: KeptAttribute | None
    why: str
    otherwise: Action = Action.DROP
    local_codes: bool = False


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


def resolve(code: str, vr: str, needed: int | None = None) -> Action:
    """One action for one code of the Basic profile.

    Parameters
    ----------
    code : str
        Such as ``X``, ``Z/D`` or ``X/Z/U*``.
    vr : str
        VR of the attribute.
    needed : int, optional
        Its type in the object: 1, 2 or 3; not known if not given.

    Returns
    -------
    Action
        DROP for X, alone or where the object does not ask for the attribute. References to
        instances (U*) are always walked, so that what referred to each other still does.
    """
    choices = code.split("/")
    if needed is not None and len(choices) > 1 and "U*" not in choices:
        return _resolve(_least(choices, needed), vr)
    return _resolve(choices, vr)


def _least(choices: list[str], needed: int) -> list[str]:
    """Say which of the choices does no more than the type asks for; the next stricter if none."""
    order = {1: "DZX", 2: "ZDX", 3: "XZD"}[needed]
    return [next(choice for choice in order if choice in choices)]


def _resolve(choices: list[str], vr: str) -> Action:
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
