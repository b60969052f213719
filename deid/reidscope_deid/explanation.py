"""What a profile does, attribute by attribute: the table and the allow-list, resolved."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from reidscope_deid.actions import Action
from reidscope_deid.allowed import load_allow_list
from reidscope_deid.table import load_table

if TYPE_CHECKING:
    from reidscope_deid.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is done with one attribute, and why.

    Attributes
    ----------
    tag : str
        Eight hexadecimal digits, ``xx`` where a group repeats, or ``PRIVATE``.
    name : str
        As in the standard.
    action : str
        One of `Action`.
    why : str
        The standard's code, or what the element is needed for.
    """

    tag: str
    name: str
    action: str
    why: str

    def document(self) -> dict[str, str]:
        """Say the row as JSON takes it."""
        return asdict(self)


def summary(profile: Profile) -> tuple[str, ...]:
    """Say in sentences what no row of `explain` says."""
    calendar = profile.calendar
    if not (calendar.moves or profile.true_dates):
        dates = "Dates are removed."
    elif profile.true_dates:
        dates = "Dates stay as they are."
    elif calendar.year_only:
        dates = "Of dates the year stays."
    else:
        dates = f"Dates are moved by whole {'weeks' if profile.whole_weeks else 'days'}."
    private = (
        "Private elements are dropped unless the standard lists them as safe."
        if profile.retains_private
        else "Private elements are dropped."
    )
    ages = ("Ages over 89 become 090Y.",) if profile.cap_at_90 else ()
    risk: tuple[str, ...] = ()
    if profile.risk is not None:
        k, average = profile.risk.k, profile.risk.average
        risk = (f"A run is done only if k is {k} or more and the average risk {average} or less.",)
    uids = ("UIDs stay as they are.",) if profile.retains_uids else ()
    return (
        f"{profile.method}; codes {', '.join(code for code, _ in profile.method_codes)}.",
        dates,
        *ages,
        *uids,
        *risk,
        private,
        "Where the image class does not ask for a dummy or an empty value, it is dropped instead.",
        "Everything else is dropped at any depth.",
    )


def explain(profile: Profile) -> tuple[Explanation, ...]:
    """List the rows of the profile, by tag."""
    rows = []
    for row in load_table().rows:
        rule = profile.rules.get(row.number) if row.number is not None else None
        action = Action.DROP if rule is None else rule.action
        why = f"PS3.15 basic {row.basic}" if rule is None else rule.why
        rows.append(Explanation(tag=row.tag, name=row.name, action=action.value, why=why))
    for tag, kept in load_allow_list().attributes.items():
        kept_rule = profile.rules.get(tag)
        action = Action.DROP if kept_rule is None else kept_rule.action
        why = "the profile drops it" if kept_rule is None else kept_rule.why
        rows.append(Explanation(tag=f"{tag:08X}", name=kept.keyword, action=action.value, why=why))
    return tuple(sorted(rows, key=lambda row: row.tag))
