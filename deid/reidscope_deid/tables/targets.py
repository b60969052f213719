"""Whether a generalised table reaches its targets, and which rows are left out for that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.tables.classes import spread as spread_of
from reidscope_deid.tables.classes import summed
from reidscope_deid.tables.diversity import distinct_values, effective_values, recursive_ratio
from reidscope_deid.tables.leaves import classes_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidscope_deid.tables.classes import Floats, Ints, Spread
    from reidscope_deid.tables.leaves import Leaves
    from reidscope_deid.tables.plan import Targets

SLACK = 1e-9  # by which a float may miss a target


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A node that reaches the targets.

    Attributes
    ----------
    node : tuple of int
        Step of every quasi-identifier.
    kept : ndarray of bool, shape (leaves,)
        Which combinations are kept.
    sizes : ndarray of int64, shape (classes kept,)
        Their classes.
    suppressed : int
        Rows left out.
    """

    node: tuple[int, ...]
    kept: np.ndarray
    sizes: Ints
    suppressed: int


def reaches_size(leaves: Leaves, node: Sequence[int], targets: Targets, *, allowance: int) -> bool:
    """Tell whether few enough rows lie in classes below k (and k-map).

    Coarsening merges classes, so a node that does so is above only such nodes.
    """
    _, sizes, people = classes_at(leaves, node)
    small = _too_small(sizes, people, targets)
    return int(sizes[small].sum()) <= allowance and not small.all()


def judge(
    leaves: Leaves, node: tuple[int, ...], targets: Targets, *, allowance: int
) -> Outcome | None:
    """Leave out the classes that miss a target; None if those are more rows than allowed.

    t-closeness is measured against the rows that are kept, so leaving a class out can make
    another one miss: repeated until none does.

    Parameters
    ----------
    leaves : Leaves
        The table.
    node : tuple of int
        Step of every quasi-identifier.
    targets : Targets
        What to reach.
    allowance : int
        Rows that may be left out.
    """
    of_leaf, sizes, people = classes_at(leaves, node)
    bad = _too_small(sizes, people, targets)
    if people is not None and targets.delta_max is not None:
        bad |= sizes > targets.delta_max * people * (1 + SLACK)
    spreads = [
        (
            sensitive,
            spread_of(
                of_leaf[pairs.classes],
                pairs.values,
                classes=len(sizes),
                kinds=len(sensitive.values),
                weights=pairs.counts,
            ),
        )
        for sensitive, pairs in leaves.sensitive
    ]
    for _, spread in spreads:
        bad |= too_uniform(spread, targets)
    bad &= sizes > 0
    while int(sizes[bad].sum()) <= allowance:
        worse = bad.copy()
        if targets.t is not None:
            for sensitive, spread in spreads:
                held = _without(spread, bad)
                worse |= (sensitive.apart(held) > targets.t + SLACK) & (held.sizes > 0)
        if (worse == bad).all():
            return _outcome(node, of_leaf, sizes, bad, targets)
        bad = worse
    return None


def _outcome(
    node: tuple[int, ...], of_leaf: Ints, sizes: Ints, bad: np.ndarray, targets: Targets
) -> Outcome | None:
    kept = sizes[~bad & (sizes > 0)]
    if not len(kept):
        return None
    if targets.average_risk is not None and len(kept) / kept.sum() > targets.average_risk + SLACK:
        return None
    return Outcome(
        node=node, kept=~bad[of_leaf], sizes=kept, suppressed=int(sizes.sum() - kept.sum())
    )


def _too_small(sizes: Ints, people: Ints | None, targets: Targets) -> np.ndarray:
    small = sizes < targets.k
    if people is not None and targets.k_map is not None:
        small |= people < targets.k_map
    return np.asarray(small & (sizes > 0))


def too_uniform(spread: Spread, targets: Targets) -> np.ndarray:
    """Tell which classes miss l-diversity, shape (classes,)."""
    if targets.l is None:
        return np.zeros(len(spread.sizes), dtype=bool)
    if targets.l_kind == "recursive":
        # Strict, by definition; a ratio without a class is 0 / 0.
        c = targets.c if targets.c is not None else 0.0
        return np.asarray(~(recursive_ratio(spread, int(targets.l)) < c))
    reached: Floats | Ints = (
        distinct_values(spread) if targets.l_kind == "distinct" else effective_values(spread)
    )
    return np.asarray(reached < targets.l * (1 - SLACK))


def _without(spread: Spread, bad: np.ndarray) -> Spread:
    """Empty the classes that are left out."""
    keep = ~bad[spread.classes]
    values, counts = spread.values[keep], spread.counts[keep]
    return replace(
        spread,
        classes=spread.classes[keep],
        values=values,
        counts=counts,
        sizes=np.where(bad, 0, spread.sizes),
        overall=summed(values, counts, len(spread.overall)),
    )
