"""Subgroups: disjoint, public, listed in the signed study, and always one more for all the others.

The joint table is crossed with them: a person's cell says the group first,

    sex=F;unmodified=1000;blur=yes      ...      sex=F;not acquired      ...      sex=other;...

so that a person still falls into exactly one cell. Whoever is of no listed group, or of whom it is
not known, is `other`. Small groups are never merged: their intervals are wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from reidscope_protocols.cohort import OLDEST_AGE, AgeRange, Modality, Sex
from reidscope_protocols.statements import Parsed

OTHER = "other"
MOST_GROUPS = 12
GroupValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,31}$")]


class GroupedBy(StrEnum):
    """The attribute that tells groups apart."""

    SEX = "sex"
    AGE = "age"
    MODALITY = "modality"
    GROUP = "group"
    """A column of the site's own link file: words that the study lists."""


_OFFERED = {GroupedBy.SEX: frozenset(Sex), GroupedBy.MODALITY: frozenset(Modality)}


class Groups(Parsed):
    """One attribute and the values of it that are groups of their own.

    Attributes
    ----------
    by : GroupedBy
    values : tuple of str
        In the table's order; empty for ages.
    ages : tuple of AgeRange
        Ascending and disjoint; for ages alone.

    Privacy
    -------
    Which group a person is of follows from that person's own index and the study: crossing the
    table with groups moves no count but that person's own (docs/privacy.md, "Groups").
    """

    by: GroupedBy
    values: tuple[GroupValue, ...] = Field((), max_length=MOST_GROUPS)
    ages: tuple[AgeRange, ...] = Field((), max_length=MOST_GROUPS)

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        problem = self._problem()
        if problem:
            raise ValueError(problem)
        return self

    def _problem(self) -> str:
        listed, unused = (
            (self.ages, self.values) if self.by is GroupedBy.AGE else (self.values, self.ages)
        )
        if not listed or unused:
            return "groups must list values, or ranges where they are of ages"
        if any(_last(one) >= later.low for one, later in pairwise(self.ages)):
            return "ranges of ages must be ascending and share no age"
        if OTHER in self.values or len(set(self.values)) < len(self.values):
            return "groups must be different ones, and none of them other"
        if not set(self.values) <= _OFFERED.get(self.by, set(self.values)):
            return "groups must be values that the attribute has"
        return ""

    def __str__(self) -> str:
        said = self.values or tuple(map(str, self.ages))
        return f"The joint table is kept apart by {self.by}: {', '.join(said)} and {OTHER}."

    @property
    def labels(self) -> tuple[str, ...]:
        """Each group's label, such as `sex=F`; `other` is the last."""
        said = self.values or tuple(map(str, self.ages))
        return tuple(f"{self.by}={value}" for value in (*said, OTHER))

    def place(self, value: str | int | None) -> int:
        """Position of a person's group among `labels`: a total function.

        Parameters
        ----------
        value : str, int or None
            The person's attribute: years for ages, a word otherwise; None where not known.

        Privacy
        -------
        About one person: may not leave the site (docs/privacy.md, "Groups").
        """
        if self.by is GroupedBy.AGE:
            years = value if isinstance(value, int) else None
            held = [ages.holds(years) for ages in self.ages]
        else:
            held = [value == listed for listed in self.values]
        return held.index(True) if True in held else len(held)

    def crossed(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Cross a table's labels with the groups: group by group, each with every label."""
        return tuple(f"{group};{label}" for group in self.labels for label in labels)


def cells_of(labels: Sequence[str], group: str) -> tuple[int, ...]:
    """Positions of the cells of one group, by its label, in a crossed table."""
    return tuple(place for place, label in enumerate(labels) if label.startswith(f"{group};"))


def _last(ages: AgeRange) -> int:
    return OLDEST_AGE if ages.high is None else ages.high
