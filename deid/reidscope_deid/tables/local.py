"""Local recoding: rows keep as much detail as their own class allows, not the whole table's.

Classes are refined from the top: a class takes one step down the ladder of one column, the one that
regains most, wherever the parts that this makes reach the targets by themselves; rows of parts that
do not stay together as they are, if they reach them together. In the spirit of Mondrian (LeFevre,
DeWitt, Ramakrishnan, ICDE 2006), on the plan's own ladders. It begins once from ``*`` everywhere
and once from the cheapest full-domain generalisation, and keeps the cheaper end: greedy, so not the
cheapest of all, but never dearer than full-domain. Deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.tables.classes import spread
from reidscope_deid.tables.leaves import classes_at
from reidscope_deid.tables.loss import step_costs
from reidscope_deid.tables.targets import SLACK, judge, too_uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidscope_deid.tables.classes import Floats, Ints
    from reidscope_deid.tables.leaves import Leaves
    from reidscope_deid.tables.plan import Targets
    from reidscope_deid.tables.targets import Outcome

_GAIN = 1e-12  # of cost, below which a step regains nothing

Part = tuple["Ints", tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recoding:
    """Which step every row's cells take.

    Attributes
    ----------
    steps : ndarray of int64, shape (quasi-identifiers, rows)
        Of rows that are left out too, where it means nothing.
    kept : ndarray of bool, shape (rows,)
        Which rows are kept.
    sizes : ndarray of int64, shape (classes,)
        Rows of every class.
    """

    steps: Ints
    kept: np.ndarray
    sizes: Ints


def full_domain(leaves: Leaves, outcome: Outcome) -> Recoding:
    """Give every row the steps of one node."""
    rows = len(leaves.of_row)
    return Recoding(
        steps=np.repeat(np.array(outcome.node, dtype=np.int64)[:, None], rows, axis=1),
        kept=outcome.kept[leaves.of_row],
        sizes=outcome.sizes,
    )


def recode_locally(leaves: Leaves, outcome: Outcome, targets: Targets, *, measure: str) -> Recoding:
    """Refine the cheapest full-domain generalisation, and ``*`` everywhere; keep the cheaper.

    Parameters
    ----------
    leaves : Leaves
        The table, without a population.
    outcome : Outcome
        The full-domain generalisation.
    targets : Targets
        What every class, and all together, must reach.
    measure : str
        ``ncp`` or ``entropy``.
    """
    top = judge(leaves, tuple(ladder.height for ladder in leaves.ladders), targets, allowance=0)
    starts = [outcome] if top is None else [outcome, top]
    ends = [_Refinement(leaves, start, targets, measure).run() for start in starts]
    return min(ends, key=lambda end: end[0])[1]


class _Refinement:
    """One refinement: what stays fixed during it."""

    def __init__(self, leaves: Leaves, start: Outcome, targets: Targets, measure: str) -> None:
        self.targets = targets
        self.start = start
        self.of_leaf, _, _ = classes_at(leaves, start.node)
        self.of_row = leaves.of_row
        self.kept = start.kept[leaves.of_row]
        self.codes = [codes[leaves.of_row] for codes in leaves.codes]
        self.groups = [ladder.groups for ladder in leaves.ladders]
        weight = sum(ladder.weight for ladder in leaves.ladders)
        self.costs: list[Sequence[Floats]] = []
        for ladder, codes in zip(leaves.ladders, self.codes, strict=True):
            counts = np.bincount(codes, minlength=len(ladder.groups[0]))
            steps = step_costs(ladder, counts, measure=measure)
            self.costs.append([cost * ladder.weight / weight for cost in steps])
        self.sensitive = [
            (one, np.bincount(one.codes[self.kept], minlength=len(one.values)))
            for one, _ in leaves.sensitive
        ]
        room = np.inf if targets.average_risk is None else targets.average_risk * self.kept.sum()
        self.room = room - len(start.sizes)  # classes that may still be added

    def run(self) -> tuple[float, Recoding]:
        """Refine until nothing regains anything; the mean cost, and the recoding."""
        steps = np.repeat(np.array(self.start.node, dtype=np.int64)[:, None], len(self.kept), 1)
        kept_rows = np.flatnonzero(self.kept)
        order = np.argsort(self.of_leaf[self.of_row[kept_rows]], kind="stable")
        ends = np.cumsum(self.start.sizes)[:-1]
        open_parts: list[Part] = [
            (rows, self.start.node) for rows in np.split(kept_rows[order], ends)
        ]
        sizes = []
        while open_parts:
            rows, node = open_parts.pop()
            parts = self._best_split(rows, node)
            if parts:
                self.room -= len(parts) - 1
                open_parts += parts
                continue
            sizes.append(len(rows))
            steps[:, rows] = np.array(node)[:, None]
        spent = 0.0
        for cost, codes, taken in zip(self.costs, self.codes, steps, strict=True):
            table = np.array(cost)
            spent += float(np.where(self.kept, table[taken, codes], table[-1, codes]).sum())
        recoding = Recoding(steps=steps, kept=self.kept, sizes=np.array(sizes, dtype=np.int64))
        return spent / len(self.kept), recoding

    def _best_split(self, rows: Ints, node: tuple[int, ...]) -> list[Part]:
        best: list[Part] = []
        most = _GAIN
        for axis, step in enumerate(node):
            if not step:
                continue
            codes = self.codes[axis][rows]
            kinds, part = np.unique(self.groups[axis][step - 1][codes], return_inverse=True)
            good = self._reach(rows, part, len(kinds))
            moved = good[part]
            stay = rows[~moved]
            if not good.any() or int(good.sum()) + (len(stay) > 0) - 1 > self.room:
                continue
            if len(stay) and not self._reach(stay, np.zeros(len(stay), dtype=np.int64), 1)[0]:
                continue
            gain = self.costs[axis][step][codes] - self.costs[axis][step - 1][codes]
            regained = float(gain[moved].sum())
            # A step that parts nobody is free: what it says more may be regained further down.
            if regained > most or (len(kinds) == 1 and not best):
                most = max(regained, most)
                finer = (*node[:axis], step - 1, *node[axis + 1 :])
                best = [(rows[part == number], finer) for number in np.flatnonzero(good)]
                best += [(stay, node)] if len(stay) else []
        return best

    def _reach(self, rows: Ints, part: Ints, parts: int) -> np.ndarray:
        """Tell which parts reach every target of a class."""
        good = np.bincount(part, minlength=parts) >= self.targets.k
        for one, overall in self.sensitive:
            if not good.any():
                break
            held = spread(part, one.codes[rows], classes=parts, kinds=len(one.values))
            held = replace(held, overall=overall)
            good &= ~too_uniform(held, self.targets)
            if self.targets.t is not None:
                good &= one.apart(held) <= self.targets.t + SLACK
        return np.asarray(good)
