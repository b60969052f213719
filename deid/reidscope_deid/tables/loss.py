"""What generalising costs, in the measures of the literature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidscope_deid.tables.classes import Floats, Ints
    from reidscope_deid.tables.ladders import Ladder


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A generalised table's loss; rows left out count as wholly lost.

    Attributes
    ----------
    ncp : float
        Normalised certainty penalty, mean over cells, in [0, 1] (Xu et al. 2006).
    entropy : float
        Non-uniform entropy: bits lost over bits that ``*`` would lose, in [0, 1] (Gionis, Tassa,
        k-Anonymization with minimal loss of information, IEEE TKDE 21(2), 2009).
    precision : float
        Prec = 1 - mean over cells of step / height, in [0, 1] (Sweeney, Achieving k-anonymity
        privacy protection using generalization and suppression, IJUFKS 10(5), 2002).
    discernibility : int
        Sum of squared class sizes + rows left out x rows (Bayardo, Agrawal, ICDE 2005).
    class_size : float
        Mean rows of a class over k: C_avg (LeFevre, DeWitt, Ramakrishnan, Mondrian, ICDE 2006).
    suppressed : int
        Rows left out.
    """

    ncp: float
    entropy: float
    precision: float
    discernibility: int
    class_size: float
    suppressed: int


def step_costs(ladder: Ladder, counts: Ints, *, measure: str) -> list[Floats]:
    """Cost of every value at every step of a ladder, each of shape (values,).

    The last step's is what leaving the row out costs; none costs more.

    Parameters
    ----------
    ladder : Ladder
        A column's.
    counts : ndarray of int64, shape (values,)
        Rows of every value.
    measure : str
        ``ncp`` or ``entropy``.
    """
    if measure == "ncp":
        return list(ladder.widths)
    bits = [
        np.log2(np.maximum(np.bincount(groups, weights=counts)[groups], 1) / np.maximum(counts, 1))
        for groups in ladder.groups
    ]
    bits = [np.where(counts > 0, bit, 0.0) for bit in bits]
    whole = float((bits[-1] * counts).sum() / counts.sum())
    return [bit / whole if whole > 0 else np.zeros(len(counts)) for bit in bits]


def measure_loss(
    ladders: Sequence[Ladder],
    codes: Sequence[Ints],
    *,
    node: Sequence[int | Ints],
    rows: Ints,
    kept: Ints,
    sizes: Ints,
    k: int,
) -> Loss:
    """Measure a generalised table.

    Parameters
    ----------
    ladders, codes, node : sequences, one entry a quasi-identifier
        Ladder, code of every leaf, step: one for all leaves, or one a leaf.
    rows, kept : ndarray of int64, shape (leaves,)
        Rows of every leaf, and how many of them are kept.
    sizes : ndarray of int64, shape (classes,)
        Rows of every class that is kept.
    k : int
        The target.
    """
    total, left = int(rows.sum()), int(kept.sum())
    precision = 1 - sum(
        float((kept * step).sum()) / max(ladder.height, 1) + (total - left)
        for ladder, step in zip(ladders, node, strict=True)
    ) / (total * len(ladders))
    return Loss(
        ncp=mean_cost(ladders, codes, node=node, rows=rows, kept=kept, measure="ncp"),
        entropy=mean_cost(ladders, codes, node=node, rows=rows, kept=kept, measure="entropy"),
        precision=precision,
        discernibility=int((sizes * sizes).sum()) + (total - left) * total,
        class_size=left / (len(sizes) * k),
        suppressed=total - left,
    )


def mean_cost(
    ladders: Sequence[Ladder],
    codes: Sequence[Ints],
    *,
    node: Sequence[int | Ints],
    rows: Ints,
    kept: Ints,
    measure: str,
) -> float:
    """Weighted mean cost over cells; see `measure_loss`."""
    lost = rows - kept
    sums = []
    for ladder, code, step in zip(ladders, codes, node, strict=True):
        counts = np.bincount(code, weights=rows, minlength=len(ladder.groups[0])).astype(np.int64)
        costs = step_costs(ladder, counts, measure=measure)
        table = np.array(costs)
        spent = (table[step, code] * kept).sum() + (table[-1, code] * lost).sum()
        sums.append(ladder.weight * float(spent))
    weight = sum(ladder.weight for ladder in ladders)
    return sum(sums) / (weight * int(rows.sum()))
