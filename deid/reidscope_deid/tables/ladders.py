"""Ladders: how a column's values are coarsened, step by step, from the cell itself to ``*``.

Each step's groups are unions of the groups of the step below; a ladder that breaks this is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.tables.cells import placed
from reidscope_deid.tables.plan import plan_error
from reidscope_deid.tables.reading import rows_of
from reidscope_protocols.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reidscope_deid.tables.classes import Floats, Ints
    from reidscope_deid.tables.plan import ColumnPlan
    from reidscope_deid.tables.reading import Column

ROOT = "*"
_MONTHS = {"month": 1, "quarter": 3, "year": 12, "5 years": 60, "10 years": 120}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """A column's steps, from 0 (the cell) to the height (``*``).

    Attributes
    ----------
    name : str
        The column's.
    weight : float
        Of its loss.
    steps : tuple of str
        What each step does.
    groups : tuple of ndarray, each of shape (values,)
        Group of every value at each step.
    labels : tuple of tuple of str
        What is written for each group at each step.
    widths : tuple of ndarray, each of shape (values,)
        Normalised certainty penalty of every value at each step, in [0, 1]: for numbers and dates
        the length of the interval written, within the column's own range, over that range; else
        (values in the group - 1) / (values - 1).

    References
    ----------
    Xu, Wang, Pei, Wang, Shi, Fu, Utility-based anonymization using local recoding, KDD 2006 (NCP).
    """

    name: str
    weight: float
    steps: tuple[str, ...]
    groups: tuple[Ints, ...]
    labels: tuple[tuple[str, ...], ...]
    widths: tuple[Floats, ...]

    @property
    def height(self) -> int:
        """The highest step."""
        return len(self.steps) - 1

    def written(self, step: int, values: Sequence[str]) -> dict[str, str]:
        """Say what stands for each value at a step."""
        labels = self.labels[step]
        return {
            value: labels[group] for value, group in zip(values, self.groups[step], strict=True)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Interval:
    label: str
    begin: float = 0.0
    end: float = 0.0


def build_ladder(
    column: Column, plan: ColumnPlan, *, missing: Sequence[str], folder: Path
) -> Ladder:
    """Build a column's ladder over the values that occur.

    Parameters
    ----------
    column : Column
        Encoded.
    plan : ColumnPlan
        Its own.
    missing : sequence of str
        Cells that stand for nothing: a group of their own below ``*``.
    folder : Path
        Where the plan lies, and a tree beside it.

    Raises
    ------
    ConfigError
        Cells that are not of the kind, a tree that lacks some, or groups that do not nest.
    """
    absent = frozenset(missing)
    rungs = _RUNGS[plan.kind](column.values, plan, absent, folder)
    steps = tuple(name for name, _ in rungs)
    coded = [_coded([cell.label for cell in cells]) for _, cells in rungs]
    for (below, _), (above, _) in pairwise(coded):
        if len(set(zip(below.tolist(), above.tolist(), strict=True))) != int(below.max()) + 1:
            raise plan_error(f"column {plan.name}: one group in two groups of the next step")
    return Ladder(
        name=plan.name,
        weight=plan.weight,
        steps=(*steps, ROOT),
        groups=(*(groups for groups, _ in coded), np.zeros(len(column.values), dtype=np.int64)),
        labels=(*(labels for _, labels in coded), (ROOT,)),
        widths=(*(_penalty(cells) for _, cells in rungs), np.ones(len(column.values))),
    )


def _numbers(
    values: Sequence[str], plan: ColumnPlan, missing: frozenset[str], _folder: Path
) -> list[tuple[str, list[_Interval]]]:
    places = placed(values, plan, missing=missing)
    known = [place for place in places if place is not None]
    least, most = min(known, default=0.0), max(known, default=0.0)
    low = -math.inf if plan.bottom is None else plan.bottom
    high = math.inf if plan.top is None else plan.top

    def rung(cell: Callable[[str, float], _Interval]) -> list[_Interval]:
        told = []
        for value, place in zip(values, places, strict=True):
            if place is None:
                told.append(_Interval(label=value))
            elif place >= high:
                told.append(_Interval(label=f">={_shown(high)}", begin=max(high, least), end=most))
            elif place < low:
                told.append(_Interval(label=f"<{_shown(low)}", begin=least, end=min(low, most)))
            else:
                told.append(cell(value, place))
        return told

    rungs = [("exact", rung(lambda value, _: _Interval(label=value)))]
    for width in plan.widths:
        finest = plan.widths[0]
        times = round(width / finest)

        def interval(
            _: str, place: float, *, times: int = times, finest: float = finest
        ) -> _Interval:
            # Coarser bounds from finer ones in whole numbers: they nest whatever floats do.
            begin = math.floor(place / finest) // times * times
            begins, ends = max(begin * finest, low), min((begin + times) * finest, high)
            label = f"[{_shown(begins)}, {_shown(ends)})"
            return _Interval(label=label, begin=max(begins, least), end=min(ends, most))

        rungs.append((f"width {_shown(width)}", rung(interval)))
    return [(name, _spanned(cells, most - least)) for name, cells in rungs]


def _dates(
    values: Sequence[str], plan: ColumnPlan, missing: frozenset[str], _folder: Path
) -> list[tuple[str, list[_Interval]]]:
    places = placed(values, plan, missing=missing)
    known = [place for place in places if place is not None]
    least, most = min(known, default=0.0), max(known, default=0.0)
    rungs = [("exact", [_Interval(label=value) for value in values])]
    for step in plan.steps:
        cells = []
        for value, place in zip(values, places, strict=True):
            if place is None:
                cells.append(_Interval(label=value))
                continue
            begin, end = _period(date.fromordinal(int(place)), _MONTHS[step])
            cells.append(
                _Interval(
                    label=_period_label(begin, step),
                    begin=max(float(begin.toordinal()), least),
                    end=min(float(end), most),
                )
            )
        rungs.append((step, _spanned(cells, most - least)))
    return rungs


def _postal(
    values: Sequence[str], plan: ColumnPlan, missing: frozenset[str], _folder: Path
) -> list[tuple[str, list[_Interval]]]:
    def cut(value: str, drop: int) -> str:
        return value if value in missing else value[:-drop] + ROOT * min(drop, len(value))

    rungs = [("exact", list(values))]
    rungs += [(f"drop {drop}", [cut(value, drop) for value in values]) for drop in plan.drop]
    return [(name, _counted(labels)) for name, labels in rungs]


def _ordered(
    values: Sequence[str], plan: ColumnPlan, missing: frozenset[str], _folder: Path
) -> list[tuple[str, list[_Interval]]]:
    places = placed(values, plan, missing=missing)
    order = plan.order or sorted((value for value in values if value not in missing), key=float)
    rank = {value: place for place, value in enumerate(order)}
    rungs = [("exact", list(values))]
    for size in plan.group_by:
        labels = []
        for value, place in zip(values, places, strict=True):
            first = 0 if place is None else rank[value] // size * size
            last = min(first + size, len(order)) - 1
            group = order[first] if first == last else f"{order[first]}..{order[last]}"
            labels.append(value if place is None else group)
        rungs.append((f"by {size}", labels))
    return [(name, _counted(labels)) for name, labels in rungs]


def _categories(
    values: Sequence[str], plan: ColumnPlan, missing: frozenset[str], folder: Path
) -> list[tuple[str, list[_Interval]]]:
    if plan.tree is not None:
        parents = _tree(folder / plan.tree, plan.name)
    else:
        parents = {leaf: [group] for group, leaves in plan.groups.items() for leaf in leaves}
        if len(parents) != sum(map(len, plan.groups.values())):
            raise plan_error(f"column {plan.name}: a value in two groups")
    height = max((len(above) for above in parents.values()), default=0)
    lacking = sum(value not in parents and value not in missing for value in values)
    if height and lacking:
        raise plan_error(f"column {plan.name}: {lacking} distinct cells that no group holds")
    rungs = [("exact", list(values))]
    for step in range(height):
        labels = [
            value if value in missing and value not in parents else parents[value][step]
            for value in values
        ]
        rungs.append((f"tree {step + 1}", labels))
    return [(name, _counted(labels)) for name, labels in rungs]


def _tree(path: Path, name: str) -> dict[str, list[str]]:
    try:
        with rows_of(path) as (first, rest):
            lines = [list(first), *rest]
    except InputError:
        raise plan_error(f"column {name}: a tree that is no CSV file of equal rows") from None
    parents = {leaf: above for leaf, *above in lines}
    if len(parents) != len(lines):
        raise plan_error(f"column {name}: a leaf twice in its tree")
    return parents


_RUNGS: dict[
    str,
    Callable[[Sequence[str], ColumnPlan, frozenset[str], Path], list[tuple[str, list[_Interval]]]],
] = {
    "number": _numbers,
    "date": _dates,
    "postal": _postal,
    "ordered": _ordered,
    "category": _categories,
}


def _period(day: date, months: int) -> tuple[date, int]:
    """First day of the period, and the ordinal of the day behind it."""
    count = ((day.year * 12) + day.month - 1) // months * months
    behind = count + months
    last_year = behind // 12 > date.max.year
    end = date.max.toordinal() if last_year else date(behind // 12, behind % 12 + 1, 1).toordinal()
    return date(max(count // 12, 1), count % 12 + 1, 1), end


def _period_label(begin: date, step: str) -> str:
    if step == "month":
        return f"{begin.year:04}-{begin.month:02}"
    if step == "quarter":
        return f"{begin.year:04}-Q{(begin.month + 2) // 3}"
    if step == "year":
        return f"{begin.year:04}"
    return f"{begin.year:04}..{begin.year + _MONTHS[step] // 12 - 1:04}"


def _spanned(cells: list[_Interval], span: float) -> list[_Interval]:
    """Scale bounds to shares of the column's range."""
    if span <= 0:
        return [_Interval(label=cell.label) for cell in cells]
    return [
        _Interval(label=cell.label, end=max(0.0, (cell.end - cell.begin) / span)) for cell in cells
    ]


def _counted(labels: Sequence[str]) -> list[_Interval]:
    members = Counter(labels)
    others = max(len(labels) - 1, 1)
    return [_Interval(label=label, end=(members[label] - 1) / others) for label in labels]


def _penalty(cells: list[_Interval]) -> Floats:
    return np.array([cell.end - cell.begin for cell in cells])


def _coded(labels: Sequence[str]) -> tuple[Ints, tuple[str, ...]]:
    register: dict[str, int] = {}
    codes = [register.setdefault(label, len(register)) for label in labels]
    return np.array(codes, dtype=np.int64), tuple(register)


def _shown(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:.12g}"
