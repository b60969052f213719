"""Noisy tables of all sites -> one table, and how much noise it carries.

Counts are added as they were signed: a negative count stays negative here and in every estimate,
because clamping counts before the intervals would bias them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reidscope_protocols.privacy import laplace_variance
from reidscope_protocols.statements import Release, ReleasedTable
from reidscope_protocols.study import Study, TableRequest
from reidscope_server.summed import SummedTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """One table, added up over one or more sites.

    Attributes
    ----------
    cells : tuple of str
        Labels, in the study's order.
    counts : tuple of int
        Noisy counts, one a cell, summed over the sites.
    sites : int
        Tables that were added.
    noise_variance : float
        Of each count, people squared: the sum over the sites of V(epsilon).
    """

    cells: tuple[str, ...]
    counts: tuple[int, ...]
    sites: int
    noise_variance: float

    @property
    def people(self) -> int:
        """All noisy counts together; not clamped."""
        return sum(self.counts)


def noise_variance(epsilon_nano: int) -> float:
    """Variance of discrete Laplace noise at sensitivity 1.

    Parameters
    ----------
    epsilon_nano : int
        Nano-epsilon of the table, at least 1.

    Returns
    -------
    float
        V = 2 a / (1 - a)^2 with a = e^-epsilon, people squared.
    """
    return laplace_variance(epsilon_nano)


def table_of(release: Release, request: TableRequest) -> ReleasedTable:
    """Return one table of a release: `admission.AsAsked` has checked that it is there."""
    return next(table for table in release.tables if table.table == request.table)


def pool(study: Study, releases: Sequence[Release], request: TableRequest | None = None) -> Pooled:
    """Add one table of all sites up.

    Parameters
    ----------
    study : Study
        Whose cells the tables have.
    releases : sequence of Release
        Admitted, one a site, at least one.
    request : TableRequest, optional
        Of the study; the joint table without it.

    Privacy
    -------
    Post-processing of noisy counts: free (docs/privacy.md, "What a report may say").
    """
    asked = request or study.joint_table
    tables = [table_of(release, asked) for release in releases]
    return Pooled(
        cells=asked.cells,
        counts=tuple(map(sum, zip(*(table.counts for table in tables), strict=True))),
        sites=len(tables),
        noise_variance=math.fsum(
            table.noise_variance
            if isinstance(table, SummedTable)
            else noise_variance(table.epsilon_nano)
            for table in tables
        ),
    )
