"""One pooled table crossed with groups -> each group's estimates, by the same score sets.

A group's denominator is its own noisy people: its part of the table is a table like any other, with
fewer people and the same noise a cell. Groups are never merged, whatever their counts.
"""

from __future__ import annotations

from dataclasses import replace

from reidscope_protocols.groups import cells_of
from reidscope_protocols.report import GroupEstimates
from reidscope_protocols.study import Study
from reidscope_server.estimates import acquired, comparisons, identification, people
from reidscope_server.pooling import Pooled


def by_group(study: Study, pooled: Pooled) -> tuple[GroupEstimates, ...]:
    """Estimate everything for each group, in the study's order; nothing without groups."""
    groups = study.experiment.groups
    if groups is None:
        return ()
    return tuple(
        GroupEstimates(
            group=group,
            people=people(alone),
            acquired=acquired(alone),
            identification=identification(study, alone),
            comparisons=comparisons(study, alone),
        )
        for group, alone in ((group, part_of(pooled, group)) for group in groups.labels)
    )


def part_of(pooled: Pooled, group: str) -> Pooled:
    """Return one group's part of a crossed table, as a table of its own.

    Privacy
    -------
    Post-processing of noisy counts: free (docs/privacy.md, "What a report may say").
    """
    places = cells_of(pooled.cells, group)
    return replace(
        pooled,
        cells=tuple(pooled.cells[place] for place in places),
        counts=tuple(pooled.counts[place] for place in places),
    )
