"""A sensitive column: its codes in their order, and the distance that its kind calls for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.tables.cells import placed
from reidscope_deid.tables.closeness import (
    equal_distance,
    hierarchical_distance,
    ordered_distance,
)
from reidscope_deid.tables.ladders import build_ladder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reidscope_deid.tables.classes import Floats, Ints, Spread
    from reidscope_deid.tables.plan import ColumnPlan
    from reidscope_deid.tables.reading import Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitive:
    """One sensitive column.

    Attributes
    ----------
    name : str
        The column's.
    distance : str
        ``ordered``, ``hierarchical`` or ``equal``.
    values : tuple of str
        Distinct cells, in their order where there is one.
    codes : ndarray of int64, shape (rows,)
        Index into `values`.
    levels : tuple of ndarray, each of shape (values,)
        hierarchical: the group of every value, from itself up, without the root.
    """

    name: str
    distance: str
    values: tuple[str, ...]
    codes: Ints
    levels: tuple[Ints, ...]

    def apart(self, spread: Spread) -> Floats:
        """How far each class of a spread of this column is from the whole, shape (classes,)."""
        if self.distance == "ordered":
            return ordered_distance(spread)
        if self.distance == "hierarchical":
            return hierarchical_distance(spread, self.levels)
        return equal_distance(spread)


def build_sensitive(
    column: Column, plan: ColumnPlan, *, missing: Sequence[str], folder: Path
) -> Sensitive:
    """Put a sensitive column's values in order.

    Values that lie at one place (``1`` and ``1.0``) are one value. A missing cell of an ordered
    column lies nowhere, so it is refused: declare the column a category.

    Raises
    ------
    ConfigError
        Cells that are not of the kind.
    """
    if plan.kind in {"number", "date", "ordered"}:
        places = np.array(placed(column.values, plan))
        distinct, rank = np.unique(places, return_inverse=True)
        first = {int(place): column.values[code] for code, place in reversed(list(enumerate(rank)))}
        return Sensitive(
            name=plan.name,
            distance="ordered",
            values=tuple(first[place] for place in range(len(distinct))),
            codes=rank.astype(np.int64)[column.codes],
            levels=(),
        )
    levels: tuple[Ints, ...] = ()
    if plan.tree is not None or plan.groups:
        ladder = build_ladder(column, plan, missing=missing, folder=folder)
        top = ladder.groups[-2]
        levels = ladder.groups[: -2 if not top.any() else -1]
    return Sensitive(
        name=plan.name,
        distance="hierarchical" if len(levels) > 1 else "equal",
        values=column.values,
        codes=column.codes.astype(np.int64),
        levels=levels,
    )
