"""A profile: which rule each attribute falls under. What no rule keeps is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidscope_deid.actions import Action, Rule, resolve
from reidscope_deid.allowed import KeptAttribute, load_allow_list
from reidscope_deid.table import OPTIONS, TableRow, load_table
from reidscope_protocols.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

MODIFIED_DATES = "retain_longitudinal_modified_dates"

_SHIFTED = frozenset({"DA", "DT", "TM"})
_NAMES_OF_PERSON = frozenset({"Patient's Name", "Patient ID"})
_LAST_COMMAND_GROUP = 0x0004
"""Groups 0000, 0002 and 0004 are messages, file meta information and media directories."""
_PROFILES: Mapping[str, tuple[str, ...]] = {"basic": (MODIFIED_DATES,), "basic-undated": ()}
CODE_MEANINGS = {
    "113100": "Basic Application Confidentiality Profile",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
}
"""CID 7050: what a data set can declare that was done to it."""

_OFFERED = {MODIFIED_DATES: "113107"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is done, and what the output says was done.

    Attributes
    ----------
    name : str
        As given on the command line.
    options : frozenset of str
        Options of PS3.15 that are applied.
    edition : str
        Edition of the table.
    rules : mapping
        Rule by tag; an attribute without one is dropped.
    listed : frozenset of int
        Tags that the table names, dropped or not.
    method_codes : tuple of (str, str)
        Code value and meaning (CID 7050) of the profile and its options.
    """

    name: str
    options: frozenset[str]
    edition: str
    rules: Mapping[int, Rule]
    listed: frozenset[int]
    method_codes: tuple[tuple[str, str], ...]

    @property
    def method(self) -> str:
        """Value of DeidentificationMethod."""
        return f"reidscope {self.name}, PS3.15 {self.edition}"

    @property
    def dates(self) -> str:
        """Value of LongitudinalTemporalInformationModified."""
        return "MODIFIED" if MODIFIED_DATES in self.options else "REMOVED"


def profile_names() -> tuple[str, ...]:
    """Name the profiles offered."""
    return tuple(_PROFILES)


def load_profile(name: str, options: tuple[str, ...] = ()) -> Profile:
    """Resolve the rules of a profile.

    Parameters
    ----------
    name : str
        One of `profile_names`.
    options : tuple of str
        Further options of PS3.15, with underscores or hyphens.

    Raises
    ------
    UnsupportedError
        The profile or an option is not offered.
    """
    if name not in _PROFILES:
        raise UnsupportedError(
            "the profile", got="another name", expected=" or ".join(_PROFILES), do="choose one"
        )
    asked = tuple(option.replace("-", "_") for option in options)
    for option in asked:
        if option not in _OFFERED:
            known = "an option of a later version" if option in OPTIONS else "another name"
            raise UnsupportedError(
                "the option", got=known, expected=" or ".join(_OFFERED), do="leave it out"
            )
    chosen = frozenset((*_PROFILES[name], *asked))
    table = load_table()
    rules = {kept.tag: _keep_rule(kept) for kept in load_allow_list().attributes.values()}
    listed: set[int] = set()
    for row in table.rows:
        if row.number is None:
            continue
        listed.add(row.number)
        rules.pop(row.number, None)
        rule = _table_rule(row, row.number, chosen)
        if rule is not None:
            rules[row.number] = rule
    codes = ("113100", *(_OFFERED[option] for option in sorted(chosen)))
    return Profile(
        name=name,
        options=chosen,
        edition=table.edition,
        rules=rules,
        listed=frozenset(listed),
        method_codes=tuple((code, CODE_MEANINGS[code]) for code in codes),
    )


def _keep_rule(kept: KeptAttribute) -> Rule:
    action = Action.KEEP
    if kept.is_sequence:
        action = Action.CODES if kept.codes else Action.WALK
    vrs = frozenset(vr.encode("ascii") for vr in kept.vrs)
    return Rule(
        tag=kept.tag,
        action=action,
        vr=b"OW" if b"OW" in vrs else min(vrs, key=lambda vr: vr != b"US"),
        vrs=vrs,
        kept=kept,
        why=kept.reason,
    )


def _table_rule(row: TableRow, tag: int, options: frozenset[str]) -> Rule | None:
    if row.vr is None or tag >> 16 <= _LAST_COMMAND_GROUP:
        return None
    why = f"PS3.15 basic {row.basic}"
    if MODIFIED_DATES in options and row.options.get(MODIFIED_DATES) and row.vr in _SHIFTED:
        action, why = Action.SHIFT, "PS3.15 modified dates C"
    elif row.name in _NAMES_OF_PERSON:
        action = Action.PSEUDONYM
    else:
        action = resolve(row.basic, row.vr)
    if action is Action.DROP:
        return None
    vr = row.vr.split(" or ")[0].encode("ascii")
    return Rule(tag=tag, action=action, vr=vr, vrs=frozenset({vr}), kept=None, why=why)
