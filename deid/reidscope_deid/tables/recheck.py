"""A second, plain reading of a generalised file, before it gets its name.

Nothing of the search is used: rows are grouped by their text in dictionaries, and every measure is
written out from its definition. Slower than the search by far, and short enough to be read.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.tables.reading import rows_of
from reidscope_deid.tables.targets import SLACK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reidscope_deid.tables.plan import Targets

_Class = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How far values of a sensitive column are apart.

    Attributes
    ----------
    name : str
        The column's.
    place : mapping of str to float, or None
        Where every cell lies, where the column is ordered.
    levels : sequence of mapping of str to str
        Group of every cell at each height of a tree, from the cell itself, without the root; for
        an unordered column without a tree only the cells themselves.
    """

    name: str
    place: Mapping[str, float] | None
    levels: Sequence[Mapping[str, str]]


def shortfalls(
    path: Path,
    targets: Targets,
    *,
    quasi: Sequence[str],
    axes: Sequence[Axis],
    delimiter: str,
    population: Mapping[_Class, int] | None = None,
) -> list[str]:
    """Name the targets that a file misses; none is what is hoped for.

    Parameters
    ----------
    path : Path
        The generalised file.
    targets : Targets
        What it must reach.
    quasi : sequence of str
        Its quasi-identifiers.
    axes : sequence of Axis
        Its sensitive columns.
    delimiter : str
        Between its fields.
    population : mapping of tuple of str to int, optional
        People of every generalised class of the population.
    """
    sizes: Counter[_Class] = Counter()
    held: list[dict[_Class, Counter[str]]] = [defaultdict(Counter) for _ in axes]
    with rows_of(path, delimiter=delimiter) as (header, rows):
        places = [header.index(name) for name in quasi]
        looked = [header.index(axis.name) for axis in axes]
        for row in rows:
            one = tuple(row[place] for place in places)
            sizes[one] += 1
            for counters, place in zip(held, looked, strict=True):
                counters[one][row[place]] += 1
    missed = []
    if not sizes or min(sizes.values()) < targets.k:
        missed.append("k")
    if targets.average_risk is not None and len(sizes) > (
        (targets.average_risk + SLACK) * sizes.total()
    ):
        missed.append("average_risk")
    if population is not None:
        missed += _against(population, sizes, targets)
    for axis, counters in zip(axes, held, strict=True):
        if targets.l is not None and not all(
            _diverse(sorted(counts.values(), reverse=True), targets) for counts in counters.values()
        ):
            missed.append("l")
        if targets.t is not None and _farthest(axis, counters) > targets.t + 2 * SLACK:
            missed.append("t")
    return missed


def _against(
    population: Mapping[_Class, int], sizes: Counter[_Class], targets: Targets
) -> list[str]:
    missed = []
    if targets.k_map is not None and any(population.get(one, 0) < targets.k_map for one in sizes):
        missed.append("k_map")
    if targets.delta_max is not None and any(
        count > targets.delta_max * population.get(one, 0) * (1 + 2 * SLACK)
        for one, count in sizes.items()
    ):
        missed.append("delta_max")
    return missed


def _diverse(counts: list[int], targets: Targets) -> bool:
    wanted = targets.l if targets.l is not None else 1.0
    if targets.l_kind == "distinct":
        return len(counts) >= wanted
    if targets.l_kind == "recursive":
        c = targets.c if targets.c is not None else 0.0
        return counts[0] < c * sum(counts[int(wanted) - 1 :])
    total = sum(counts)
    entropy = -sum(count / total * math.log(count / total) for count in counts)
    return entropy >= math.log(wanted) - 2 * SLACK


def _farthest(axis: Axis, counters: Mapping[_Class, Counter[str]]) -> float:
    whole: Counter[str] = Counter()
    for counts in counters.values():
        whole.update(counts)
    if axis.place is not None:
        ranks = {cell: axis.place[cell] for cell in whole}
        dense = {rank: number for number, rank in enumerate(sorted(set(ranks.values())))}
        number = {cell: dense[rank] for cell, rank in ranks.items()}
        steps = max(len(dense) - 1, 1)
        table = _shares(whole, number, len(dense))
        return max(
            float(np.abs(np.cumsum(_shares(counts, number, len(dense)) - table)).sum()) / steps
            for counts in counters.values()
        )
    farthest = dict.fromkeys(counters, 0.0)
    for level in axis.levels:
        groups = {name: number for number, name in enumerate(sorted({level[c] for c in whole}))}
        number = {cell: groups[level[cell]] for cell in whole}
        table = _shares(whole, number, len(groups))
        for one, counts in counters.items():
            apart = float(np.abs(_shares(counts, number, len(groups)) - table).sum()) / 2
            farthest[one] += apart / len(axis.levels)
    return max(farthest.values())


def _shares(counts: Counter[str], number: Mapping[str, int], kinds: int) -> np.ndarray:
    shares = np.zeros(kinds)
    for cell, count in counts.items():
        shares[number[cell]] += count
    return np.asarray(shares / counts.total())
