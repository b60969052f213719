"""The cheapest full-domain generalisation that reaches the targets, of all there are.

The nodes of the lattice are one step for each quasi-identifier. First every node is told whether
it reaches k, which is monotone: chains from fine to coarse are bisected, and what is known of one
node is known of all finer or all coarser ones (Flash: Kohlmayer, Prasser, Eckert, Kemper, Kuhn,
PASSAT 2012; OLA: El Emam et al., JAMIA 16(5), 2009). Then those nodes are judged in full in the
order of a lower bound of their loss, until no other can be cheaper: l and t need not be monotone.
Ties go to the lower sum of steps, then to the plan's order of columns: deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.tables.loss import step_costs
from reidscope_deid.tables.plan import plan_error
from reidscope_deid.tables.targets import judge, reaches_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reidscope_deid.tables.classes import Floats, Ints
    from reidscope_deid.tables.leaves import Leaves
    from reidscope_deid.tables.plan import Targets
    from reidscope_deid.tables.targets import Outcome

MOST_NODES = 1 << 18
_UNKNOWN, _PASSES, _FAILS = 0, 1, -1
_TIE = 1e-12  # of a loss, that two ways of adding may differ by

Node = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found.

    Attributes
    ----------
    outcome : Outcome or None
        The cheapest node that reaches the targets; None if none does.
    nodes : int
        Of the lattice.
    checked : int
        Nodes looked at, for k or in full.
    """

    outcome: Outcome | None
    nodes: int
    checked: int


def search(leaves: Leaves, targets: Targets, *, allowance: int, measure: str) -> Found:
    """Find the node of least loss that reaches the targets.

    Parameters
    ----------
    leaves : Leaves
        The table.
    targets : Targets
        What to reach.
    allowance : int
        Rows that may be left out.
    measure : str
        ``ncp`` or ``entropy``.

    Raises
    ------
    ConfigError
        Too many combinations of steps.
    """
    shape = tuple(ladder.height + 1 for ladder in leaves.ladders)
    nodes = 1
    for height in shape:
        nodes *= height
    if nodes > MOST_NODES:
        raise plan_error(f"{nodes} combinations of steps, more than {MOST_NODES}")
    costs = [_leaf_costs(leaves, place, measure=measure) for place in range(len(leaves.ladders))]
    bound = _bounds(costs, leaves.rows, shape)
    state = np.zeros(shape, dtype=np.int8)
    checked = 0
    for node in _bottom_up(shape):
        if state[node] == _UNKNOWN:
            checked += _bisect(_chain(node, state, bound), leaves, targets, state, allowance)
    best: Outcome | None = None
    least = np.inf
    for node in _cheapest_first(state, bound):
        if bound[node] > least - _TIE:
            break
        checked += 1
        outcome = judge(leaves, node, targets, allowance=allowance)
        if outcome is None:
            continue
        loss = _loss(outcome, costs, leaves.rows)
        if loss < least - _TIE:
            best, least = outcome, loss
    return Found(outcome=best, nodes=nodes, checked=checked)


def _leaf_costs(leaves: Leaves, place: int, *, measure: str) -> list[Floats]:
    """Cost of a row of every leaf at every step of one ladder, weighted; shape (leaves,) each."""
    ladder, codes = leaves.ladders[place], leaves.codes[place]
    counts = np.bincount(codes, weights=leaves.rows, minlength=len(ladder.groups[0]))
    weight = ladder.weight / sum(one.weight for one in leaves.ladders)
    steps = step_costs(ladder, counts.astype(np.int64), measure=measure)
    return [cost[codes] * weight for cost in steps]


def _bounds(costs: list[list[Floats]], rows: Ints, shape: tuple[int, ...]) -> Floats:
    """Loss of every node if no row were left out: below the loss with some left out."""
    bound = np.zeros(shape)
    for axis, steps in enumerate(costs):
        means = np.array([float((cost * rows).sum()) for cost in steps]) / rows.sum()
        bound += means.reshape([-1 if axis == other else 1 for other in range(len(shape))])
    return bound


def _loss(outcome: Outcome, costs: list[list[Floats]], rows: Ints) -> float:
    spent = sum(
        float((np.where(outcome.kept, steps[step], steps[-1]) * rows).sum())
        for steps, step in zip(costs, outcome.node, strict=True)
    )
    return spent / int(rows.sum())


def _bottom_up(shape: tuple[int, ...]) -> Iterator[Node]:
    places = np.indices(shape).reshape(len(shape), -1)
    for number in np.argsort(places.sum(axis=0), kind="stable"):
        yield tuple(int(step) for step in places[:, number])


def _chain(node: Node, state: np.ndarray, bound: Floats) -> list[Node]:
    """Walk up through nodes of which nothing is known, to the cheapest next one each time."""
    chain = [node]
    while True:
        above = [
            (*chain[-1][:axis], step + 1, *chain[-1][axis + 1 :])
            for axis, step in enumerate(chain[-1])
            if step + 1 < state.shape[axis]
        ]
        unknown = [one for one in above if state[one] == _UNKNOWN]
        if not unknown:
            return chain
        chain.append(min(unknown, key=lambda one: (bound[one], one)))


def _bisect(
    chain: list[Node], leaves: Leaves, targets: Targets, state: np.ndarray, allowance: int
) -> int:
    """Find where a chain begins to reach k, and mark what follows from it; count the looks."""
    low, high, looks = 0, len(chain), 0
    while low < high:
        middle = (low + high) // 2
        node = chain[middle]
        looks += 1
        if reaches_size(leaves, node, targets, allowance=allowance):
            state[tuple(slice(step, None) for step in node)] = _PASSES
            high = middle
        else:
            state[tuple(slice(None, step + 1) for step in node)] = _FAILS
            low = middle + 1
    return looks


def _cheapest_first(state: np.ndarray, bound: Floats) -> Iterator[Node]:
    nodes = np.argwhere(state == _PASSES)
    keys = (*nodes.T[::-1], nodes.sum(axis=1), bound[tuple(nodes.T)])
    for number in np.lexsort(keys):
        yield tuple(int(step) for step in nodes[number])
