"""What the cells of a column say: numbers, dates, places in an order. Refused where they do not."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING

from reidscope_deid.tables.plan import plan_error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from reidscope_deid.tables.plan import ColumnPlan


def placed(
    values: Sequence[str], plan: ColumnPlan, *, missing: Collection[str] = ()
) -> list[float | None]:
    """Where each value lies on its column's axis: the number, the day, the rank.

    Parameters
    ----------
    values : sequence of str
        Distinct cells.
    plan : ColumnPlan
        Of kind number, date or ordered.
    missing : collection of str
        Cells that lie nowhere: None.

    Raises
    ------
    ConfigError
        Cells that are neither missing nor of the kind; says how many, not which.
    """
    ranks = {value: float(rank) for rank, value in enumerate(plan.order)}
    readers: dict[str, Callable[[str], float]] = {
        "number": _number,
        "date": lambda cell: float(date.fromisoformat(cell).toordinal()),
        "ordered": ranks.__getitem__ if ranks else _number,
    }
    read = readers[plan.kind]
    places: list[float | None] = []
    wrong = 0
    for value in values:
        if value in missing:
            places.append(None)
            continue
        try:
            places.append(read(value))
        except (ValueError, KeyError):
            wrong += 1
    if wrong:
        raise plan_error(f"column {plan.name}: {wrong} distinct cells that are no {plan.kind}")
    return places


def _number(cell: str) -> float:
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError
    return number
