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


def explain(profile: Profile) -> tuple[Explanation, ...]:
    """List the rows of the profile, by tag."""
    rows = []
    for row in load_table().rows:
        rule = profile.rules.get(row.number) if row.number is not None else None
        action = Action.DROP if rule is None else rule.action
        why = f"PS3.15 basic {row.basic}" if rule is None else rule.why
        rows.append(Explanation(tag=row.tag, name=row.name, action=action.value, why=why))
    rows.extend(
        Explanation(tag=f"{tag:08X}", name=kept.keyword, action=rule.action.value, why=rule.why)
        for tag, kept in load_allow_list().attributes.items()
        if (rule := profile.rules[tag]).kept is kept
    )
    return tuple(sorted(rows, key=lambda row: row.tag))
