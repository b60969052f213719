"""Chances of putting a name to a row: k, prosecutor, journalist and marketer, k-map, presence.

f is the size of a class in the table, F in the population. A prosecutor knows that somebody is in
the table and looks for them; a journalist does not, and looks for anybody; a marketer wants as many
as possible and does not mind being wrong about some.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reidscope_deid.tables.classes import Ints

CELL_SIZES: Mapping[str, int] = {"0.05": 20, "0.09": 11, "0.2": 5, "0.33": 3}
"""Thresholds in use, and the class size that each stands for: 1/11 is the 0.09 of EMA and Health
Canada. Compared as integers, so that a class of exactly that size is never above.

References: El Emam, Guide to the De-Identification of Personal Health Information, CRC 2013.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRisk:
    """What the table alone says.

    Attributes
    ----------
    rows, classes : int
        Of the table.
    k : int
        Rows in the smallest class (Sweeney, k-anonymity, IJUFKS 10(5), 2002).
    uniques : int
        Classes of one row.
    prosecutor_max : float
        1 / k.
    average : float
        classes / rows: the average prosecutor risk, and the marketer's where the table is all the
        marketer knows.
    above : mapping
        Share of rows whose 1 / f is above each threshold of `CELL_SIZES`.
    histogram : mapping
        Classes by size.

    Privacy
    -------
    Exact counts of people: for the site alone (docs/privacy.md, "De-identification").
    """

    rows: int
    classes: int
    k: int
    uniques: int
    prosecutor_max: float
    average: float
    above: Mapping[str, float]
    histogram: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationRisk:
    """What a population table adds.

    Attributes
    ----------
    people : int
        Rows of the population table.
    k_map : int
        Smallest F of a class that is in the table; 0 if one is not in the population.
    unmatched_rows : int
        Rows whose class the population lacks; their F counts as f in the risks below.
    exceeding_classes : int
        Classes with f > F: the population table does not cover this one.
    population_uniques : int
        Rows of the table with F = 1.
    journalist_max : float
        max 1 / F.
    journalist_average : float
        max(classes / sum F, marketer); over the table's classes.
    marketer : float
        (1 / rows) sum f / F: expected share put to the right name.
    above : mapping
        Share of rows whose 1 / F is above each threshold.
    delta_min, delta_max : float or None
        Smallest and largest f / F over the population's classes; None if `exceeding_classes`.

    References
    ----------
    El Emam 2013 (above); Sweeney, k-map, 2001; Nergiz, Atzori, Clifton, Hiding the presence of
    individuals from shared databases, SIGMOD 2007 (delta-presence).

    Privacy
    -------
    Exact counts of people: for the site alone (docs/privacy.md, "De-identification").
    """

    people: int
    k_map: int
    unmatched_rows: int
    exceeding_classes: int
    population_uniques: int
    journalist_max: float
    journalist_average: float
    marketer: float
    above: Mapping[str, float]
    delta_min: float | None
    delta_max: float | None


def sample_risk(sizes: Ints) -> SampleRisk:
    """Measure the table alone.

    Parameters
    ----------
    sizes : ndarray of int64, shape (classes,)
        Rows of each class; all positive, at least one.
    """
    rows, smallest = int(sizes.sum()), int(sizes.min())
    kinds, counts = np.unique(sizes, return_counts=True)
    return SampleRisk(
        rows=rows,
        classes=len(sizes),
        k=smallest,
        uniques=int((sizes == 1).sum()),
        prosecutor_max=1 / smallest,
        average=len(sizes) / rows,
        above=_above(sizes, sizes),
        histogram={int(size): int(count) for size, count in zip(kinds, counts, strict=True)},
    )


def population_risk(sizes: Ints, people: Ints) -> PopulationRisk:
    """Measure the table against a population.

    Parameters
    ----------
    sizes, people : ndarray of int64, shape (classes,)
        f and F of every class of either; one of the two is positive.
    """
    inside = sizes > 0
    f, found = sizes[inside], people[inside]
    counted = np.where(found > 0, found, f)
    rows = int(f.sum())
    marketer = float((f / np.maximum(counted, f)).sum() / rows)
    exceeding = int((sizes > people).sum())
    share = sizes[people > 0] / people[people > 0]
    return PopulationRisk(
        people=int(people.sum()),
        k_map=int(found.min()),
        unmatched_rows=int(f[found == 0].sum()),
        exceeding_classes=exceeding,
        population_uniques=int(f[found == 1].sum()),
        journalist_max=1 / int(counted.min()),
        journalist_average=max(len(f) / int(counted.sum()), marketer),
        marketer=marketer,
        above=_above(f, counted),
        delta_min=None if exceeding else float(share.min()),
        delta_max=None if exceeding else float(share.max()),
    )


def _above(rows: Ints, sizes: Ints) -> dict[str, float]:
    total = int(rows.sum())
    return {name: int(rows[sizes < cell].sum()) / total for name, cell in CELL_SIZES.items()}
