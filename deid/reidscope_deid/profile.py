"""A profile: which rule each attribute falls under. What no rule keeps is dropped.

    profile file -> options -> a rule for each row of the standard's table, else of the allow-list

A row that an option cleans (C) is cleaned even where another option would keep it (K).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_VR

from reidscope_deid.actions import Action, Rule, resolve
from reidscope_deid.allowed import (
    JUDGED_VRS,
    KeptAttribute,
    Kind,
    load_allow_list,
    load_content_attributes,
)
from reidscope_deid.dates import Calendar
from reidscope_deid.options import (
    CODE_MEANINGS,
    DESCRIPTORS,
    FULL_DATES,
    MODIFIED_DATES,
    OPTIONS,
    PIXEL_CODES,
    RETAIN_UIDS,
    SAFE_PRIVATE,
    STRUCTURED_CONTENT,
    chosen_options,
    method_codes,
)
from reidscope_deid.profile_file import ProfileFile, profile_names, read_profile
from reidscope_deid.table import TableRow, load_table, load_types
from reidscope_deid.words import LENGTHS
from reidscope_protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reidscope_deid.tables.limits import RiskLimits

    Rules = Mapping[int, Rule]

__all__ = ["Profile", "load_profile", "profile_names"]

_MOMENTS = frozenset({"DA", "DT", "TM"})
_NAMES_OF_PERSON = frozenset({"Patient's Name", "Patient ID"})
_LAST_COMMAND_GROUP = 0x0004
"""Groups 0000, 0002 and 0004 are messages, file meta information and media directories."""
_UNDROPPABLE = frozenset({Action.REMAP, Action.PSEUDONYM})
_TYPES = (1, 2, 3)
_IMAGE = frozenset({0x0028, 0x7FE0})
"""Groups without which there is no image."""


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
        Rule by tag, whatever the class; an attribute without one is dropped.
    by_class : mapping
        Rules by UID of the SOP class, at the top level and in sequences: compound codes resolved,
        and those of the kind of class (a report's, a waveform's).
    content : mapping
        Rules that sequences have besides where content items are cleaned; else empty.
    listed : frozenset of int
        Tags that the table names, dropped or not.
    identifying : frozenset of int
        Tags of the table that no option ever keeps.
    method_codes : tuple of (str, str)
        Code value and meaning (CID 7050) of the profile and its options, in order; those of samples
        (113101, 113102) stand in each file for itself.
    calendar : Calendar
        How dates are written.
    whole_weeks : bool
        Whether people are moved by whole weeks.
    cap_at_90 : bool
        Whether ages over 89 become 090Y.
    judges_words : bool
        Whether text is kept that has to be compared with the file's own identifiers.
    sop_classes : mapping
        Whether burned-in text is likely, by UID of the classes that are taken.
    risk : RiskLimits or None
        How exposed the people of an output folder may be.
    """

    name: str
    options: frozenset[str]
    edition: str
    rules: Rules
    by_class: Mapping[bytes, tuple[Rules, Rules]]
    content: Rules
    listed: frozenset[int]
    identifying: frozenset[int]
    method_codes: tuple[tuple[str, str], ...]
    calendar: Calendar
    whole_weeks: bool
    cap_at_90: bool
    judges_words: bool
    sop_classes: Mapping[bytes, bool]
    risk: RiskLimits | None

    @property
    def method(self) -> str:
        """Value of DeidentificationMethod."""
        return f"reidscope {self.name}, PS3.15 {self.edition}"

    @property
    def dates(self) -> str:
        """Value of LongitudinalTemporalInformationModified."""
        if FULL_DATES in self.options:
            return "UNMODIFIED"
        return "MODIFIED" if MODIFIED_DATES in self.options else "REMOVED"

    @property
    def pixel_codes(self) -> frozenset[str]:
        """Codes of samples that a file may declare."""
        return frozenset(OPTIONS[name].code for name in self.options) & PIXEL_CODES

    def codes_with(self, done: frozenset[str]) -> tuple[tuple[str, str], ...]:
        """Code value and meaning of everything that was done with a file, in order.

        Parameters
        ----------
        done : frozenset of str
            Codes of what was done with its samples.
        """
        if not done:
            return self.method_codes
        return tuple(sorted((*self.method_codes, *((one, CODE_MEANINGS[one]) for one in done))))

    @property
    def true_dates(self) -> bool:
        """Whether dates are written as they are."""
        return FULL_DATES in self.options

    @property
    def retains_uids(self) -> bool:
        """Whether instance UIDs are written as they are."""
        return RETAIN_UIDS in self.options

    @property
    def retains_private(self) -> bool:
        """Whether private elements that are known to be safe stay."""
        return SAFE_PRIVATE in self.options

    def rules_of(self, sop_class: bytes, *, nested: bool) -> Rules:
        """Rules for one class, at the top level or in its sequences."""
        found = self.by_class.get(sop_class)
        return self.rules if found is None else found[nested]


def load_profile(name: str, options: tuple[str, ...] = ()) -> Profile:
    """Resolve the rules of a profile.

    Parameters
    ----------
    name : str
        One of `profile_names`, or the path of a profile file.
    options : tuple of str
        Further options of PS3.15, with underscores or hyphens.

    Raises
    ------
    UnsupportedError
        The profile or an option is not offered.
    ConfigError
        A profile file that cannot be used, or options that contradict each other.
    """
    file = read_profile(name)
    chosen = chosen_options((*file.options, *options))
    _check_dates(file, chosen)
    table = load_table()
    rules = {kept.tag: _keep_rule(kept) for kept in load_allow_list().attributes.values()}
    compound: dict[int, TableRow] = {}
    for row in table.rows:
        if row.number is None:
            continue
        rules.pop(row.number, None)
        rule = _table_rule(row, row.number, chosen, None)
        if rule is not None:
            rules[row.number] = rule
        if "/" in row.basic:
            compound[row.number] = row
    if not (file.dates.time_zone or FULL_DATES in chosen):
        rules = {tag: rule for tag, rule in rules.items() if rule.action is not Action.ZONE}
    dropped = _dropped(file, rules)
    for tag in dropped:
        del rules[tag]
    content = _content_rules() if STRUCTURED_CONTENT in chosen else {}
    allowed = load_allow_list()
    kinds = {name: _rules_of_kind(kind, dropped, chosen) for name, kind in allowed.kinds.items()}
    by_type = [
        {
            tag: rule
            for tag, row in compound.items()
            if tag not in dropped and (rule := _table_rule(row, tag, chosen, needed)) is not None
        }
        for needed in _TYPES
    ]
    base = {tag: rule for tag, rule in rules.items() if tag not in compound}
    return Profile(
        name=file.name,
        options=chosen,
        edition=table.edition,
        rules=_whatever_class(rules, kinds.values()),
        by_class={
            uid: (
                _of_class(base, by_type, types.top, kinds.get(allowed.kind_of.get(uid, ""), {})),
                _of_class(
                    base | content,
                    by_type,
                    types.nested,
                    kinds.get(allowed.kind_of.get(uid, ""), {}),
                ),
            )
            for uid, types in load_types().items()
        },
        content=content,
        listed=frozenset(row.number for row in table.rows if row.number is not None),
        identifying=frozenset(
            row.number for row in table.rows if row.number is not None and not row.options
        ),
        method_codes=method_codes(chosen),
        calendar=Calendar(
            moves=MODIFIED_DATES in chosen,
            year_only=file.dates.year_only,
            zone=file.dates.time_zone or FULL_DATES in chosen,
        ),
        whole_weeks=file.dates.whole_weeks,
        cap_at_90=file.ages.cap_at_90,
        judges_words=SAFE_PRIVATE in chosen
        or any(
            rule.action in (Action.TEXT, Action.CLEAN) or rule.local_codes
            for rule in rules.values()
        ),
        sop_classes={
            uid: likely
            for uid, likely in allowed.sop_classes.items()
            if not file.sop_classes or uid.decode("ascii") in file.sop_classes
        },
        risk=file.risk,
    )


def _rules_of_kind(
    kind: Kind, dropped: frozenset[int], options: frozenset[str]
) -> dict[int, Rule | None]:
    """Rules of one kind of class by tag, None where one goes."""
    rules: dict[int, Rule | None] = dict.fromkeys(kind.dropped)
    rules |= {tag: _keep_rule(kept) for tag, kept in kind.attributes.items()}
    for tag in kind.content:
        rules[tag] = _plain_rule(tag, Action.CONTENT, b"SQ", "PS3.15 Table E.3.4-1")
    if DESCRIPTORS in options:
        for tag in kind.cleaned:
            vr = dictionary_VR(tag).encode("ascii")
            rules[tag] = _plain_rule(tag, Action.CLEAN, vr, "PS3.15 clean descriptors C")
    elif kind.cleaned:
        rules |= dict.fromkeys(kind.cleaned)
    return {tag: rule for tag, rule in rules.items() if tag not in dropped}


def _plain_rule(tag: int, action: Action, vr: bytes, why: str) -> Rule:
    return Rule(tag=tag, action=action, vr=vr, vrs=frozenset({vr}), kept=None, why=why)


def _of_class(
    rules: dict[int, Rule],
    by_type: Sequence[Mapping[int, Rule]],
    types: Mapping[int, int],
    own: Mapping[int, Rule | None],
) -> Rules:
    """Rules of one class: of all, of its types where a code is compound, and of its kind."""
    absent = by_type[-1]  # as type 3
    typed = {
        tag: rule
        for tag, needed in types.items()
        if (rule := by_type[needed - 1].get(tag)) is not None
    }
    resolved = rules | {tag: rule for tag, rule in absent.items() if tag not in types} | typed
    for tag, rule in own.items():
        if rule is None:
            resolved.pop(tag, None)
        else:
            resolved[tag] = rule
    return resolved


def _whatever_class(rules: Rules, kinds: Iterable[Mapping[int, Rule | None]]) -> dict[int, Rule]:
    """Rules of images, and those that other kinds of class have besides."""
    every = dict(rules)
    for own in kinds:
        for tag, rule in own.items():
            if rule is not None and (tag not in every or rule.action is Action.CONTENT):
                every[tag] = rule
    return every


def _check_dates(file: ProfileFile, options: frozenset[str]) -> None:
    dates = file.dates
    wrong = ""
    if (dates.whole_weeks or dates.year_only) and MODIFIED_DATES not in options:
        wrong = "dates to be modified without the option that modifies them"
    elif dates.whole_weeks and dates.year_only:
        wrong = "dates that are moved by weeks and cut to their year"
    elif dates.year_only and dates.time_zone:
        wrong = "a time zone without a time"
    if wrong:
        raise ConfigError(
            "the profile's dates",
            got=wrong,
            expected=f"one way of writing dates, under {MODIFIED_DATES}",
            do="change [dates] or the options",
        )


def _dropped(file: ProfileFile, rules: Rules) -> frozenset[int]:
    wanted = {int(tag, 16) for tag in file.drop}
    found = {tag for tag in wanted if tag in rules}
    for tag in found:
        if rules[tag].action in _UNDROPPABLE or tag >> 16 in _IMAGE:
            raise ConfigError(
                "the profile's drop",
                got=f"{tag:08X}",
                expected="attributes that an image can do without",
                do="take it off the list",
            )
    return frozenset(found)


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


def _content_rules() -> dict[int, Rule]:
    return {kept.tag: _keep_rule(kept) for kept in load_content_attributes().values()}


def _table_rule(
    row: TableRow, tag: int, options: frozenset[str], needed: int | None
) -> Rule | None:
    if row.vr is None or tag >> 16 <= _LAST_COMMAND_GROUP:
        return None
    vr = row.vr.split(" or ")[0]
    basic = resolve(row.basic, row.vr, needed)
    action, why = basic, f"PS3.15 basic {row.basic}"
    code, asked = "", sorted(name for name in row.options if name in options)
    if row.name in _NAMES_OF_PERSON:
        action = Action.PSEUDONYM
    elif asked:
        # C before K: what one option would keep and another cleans is cleaned.
        name = min(asked, key=lambda one: (row.options[one], one))
        code = row.options[name]
        action = _optional(row, vr, code, name, options) or basic
        if action is not basic:
            why = f"PS3.15 {name.replace('_', ' ')} {code}"
    if action is Action.DROP:
        return None
    raw = vr.encode("ascii")
    return Rule(
        tag=tag,
        action=action,
        vr=raw,
        vrs=frozenset({raw}),
        kept=_judged(row, tag, vr) if action is Action.KEEP else None,
        why=why,
        otherwise=basic if basic in (Action.EMPTY, Action.DUMMY) else Action.DROP,
        local_codes=action is Action.CODES and code == "K",
    )


def _optional(  # noqa: PLR0911 - one return a VR: a table, not a flow
    row: TableRow, vr: str, code: str, name: str, options: frozenset[str]
) -> Action | None:
    """Say what an option does with an attribute; None where we do no more than the Basic profile.

    Dates of devices are no dates of the person, but a calibration is often of the day of the scan:
    they are written as the person's dates are, and only if those are.
    """
    if vr in _MOMENTS:
        return Action.SHIFT if options & {FULL_DATES, MODIFIED_DATES} else None
    if name in (FULL_DATES, MODIFIED_DATES):
        return Action.ZONE if vr == "SH" else None
    if vr == "SQ":
        if name == STRUCTURED_CONTENT:
            return Action.CONTENT
        if name == "clean_graphics":
            return None
        return Action.CODES if row.name.endswith("Code Sequence") else Action.WALK
    if vr == "UI":
        return Action.REMAP if name == RETAIN_UIDS else Action.UID
    if vr == "AS":
        return Action.AGE
    if vr in JUDGED_VRS and vr != "CS":  # a code can be a word
        return Action.KEEP
    if vr.encode("ascii") in LENGTHS:
        return Action.CLEAN if code == "C" else Action.TEXT
    return None


def _judged(row: TableRow, tag: int, vr: str) -> KeptAttribute:
    return KeptAttribute(
        tag=tag,
        keyword=row.name,
        vrs=frozenset({vr}),
        most=None,
        reason="",
        terms=frozenset(),
        codes=False,
        otherwise=b"",
    )
