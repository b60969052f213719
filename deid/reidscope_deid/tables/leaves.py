"""A table reduced to its distinct combinations of quasi-identifiers: all that a search looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.tables.classes import group, spread, summed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidscope_deid.tables.classes import Ints, Spread
    from reidscope_deid.tables.ladders import Ladder
    from reidscope_deid.tables.reading import Column
    from reidscope_deid.tables.sensitive import Sensitive


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaves:
    """Distinct combinations of the table and, where there is one, of the population.

    Attributes
    ----------
    ladders : tuple of Ladder
        One a quasi-identifier.
    codes : tuple of ndarray, each of shape (leaves,)
        Code of every combination in each quasi-identifier.
    of_row : ndarray of int64, shape (rows,)
        Combination of every row of the table.
    rows : ndarray of int64, shape (leaves,)
        Rows of the table; 0 where only the population has the combination.
    people : ndarray of int64, shape (leaves,), or None
        Rows of the population.
    sensitive : tuple of (Sensitive, Spread)
        Sensitive columns and how their values spread over the combinations.
    """

    ladders: tuple[Ladder, ...]
    codes: tuple[Ints, ...]
    of_row: Ints
    rows: Ints
    people: Ints | None
    sensitive: tuple[tuple[Sensitive, Spread], ...]


def gather_leaves(
    ladders: Sequence[Ladder],
    columns: Sequence[Column],
    population: Sequence[Column],
    sensitive: Sequence[Sensitive],
) -> Leaves:
    """Reduce a table.

    Parameters
    ----------
    ladders, columns : sequences
        One entry a quasi-identifier.
    population : sequence of Column
        The same columns of the population; empty without one.
    sensitive : sequence of Sensitive
        Sensitive columns of the table.
    """
    count = len(columns[0].codes)
    both = (
        [
            np.concatenate((table.codes, people.codes))
            for table, people in zip(columns, population, strict=True)
        ]
        if population
        else [column.codes for column in columns]
    )
    found = group(both)
    number = len(found)
    example = np.empty(number, dtype=np.int64)
    example[found.of_row] = np.arange(len(found.of_row))
    inside = found.of_row[:count]
    rows = np.bincount(inside, minlength=number)
    return Leaves(
        ladders=tuple(ladders),
        codes=tuple(codes[example].astype(np.int64) for codes in both),
        of_row=inside,
        rows=rows,
        people=found.sizes - rows if population else None,
        sensitive=tuple(
            (one, spread(inside, one.codes, classes=number, kinds=len(one.values)))
            for one in sensitive
        ),
    )


def classes_at(leaves: Leaves, node: Sequence[int]) -> tuple[Ints, Ints, Ints | None]:
    """Class of every leaf at a node of the lattice, the table's class sizes, the population's."""
    steps = zip(leaves.ladders, leaves.codes, node, strict=True)
    found = group([ladder.groups[step][codes] for ladder, codes, step in steps], leaves.rows)
    people = None
    if leaves.people is not None:
        people = summed(found.of_row, leaves.people, len(found))
    return found.of_row, found.sizes, people
