"""What the opt-in tables will answer, as counts that would be expected: for the plan."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reidscope_protocols.study import Study, TableRequest
from reidscope_protocols.tail_tables import (
    ABOVE_PPM,
    BEYOND_TABLE,
    SCORE_TABLE,
    faces_above,
    faces_at_fmr,
    faces_at_fpir,
    weights_of_beyond,
    weights_of_scores,
)
from reidscope_server.estimates import gallery_sd
from reidscope_server.extrapolation import TAILS
from reidscope_server.open_set import beaten_sd

TailKind = Literal["TAR at FMR", "open set", "above a threshold", "extrapolated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TailQuestion:
    """One share that an opt-in table is asked for: a cell's weight, 0 or 1, in `row`."""

    table: str
    kind: TailKind
    column: str
    gallery_size: int | None
    row: tuple[int, ...]
    gallery_sd: float


def is_tail(table: TableRequest) -> bool:
    """Whether it is an opt-in table of u or beyond the reference."""
    return table.table.partition("/")[0] in {SCORE_TABLE, BEYOND_TABLE}


def tail_questions(study: Study) -> Iterator[TailQuestion]:
    """Say every share of the opt-in tables.

    Thresholds and models that share a column and a gallery size are shown once, by the widest
    table row: the plan is of widths, and theirs hardly differ.
    """
    for table in filter(is_tail, study.tables):
        name, _, column = table.table.partition("/")
        of_u = name == SCORE_TABLE
        for kind, size, row, sd in _scores(study, table) if of_u else _beyond(study, table):
            yield TailQuestion(
                table=table.table,
                kind=kind,
                column=column,
                gallery_size=size,
                row=row,
                gallery_sd=sd,
            )


_Row = tuple[TailKind, int | None, tuple[int, ...], float]


def _scores(study: Study, table: TableRequest) -> Iterator[_Row]:
    asked, size = study.experiment.scores, study.experiment.reference_size
    if asked is None:
        return
    for fmr in asked.fmr_ppm:
        faces = faces_at_fmr(fmr, reference_size=size)
        row = weights_of_scores(table.cells, at_most=faces)
        yield "TAR at FMR", None, row, beaten_sd(study, faces)
    for at in asked.open_set:
        n = at.gallery_size
        faces = faces_at_fpir(at.fpir_ppm, n, reference_size=size)
        row = weights_of_scores(table.cells, at_most=faces, gallery_size=n)
        yield "open set", n, row, beaten_sd(study, faces, gallery_size=n)
    for n in asked.above:
        faces = faces_above(ABOVE_PPM[0], n, reference_size=size)
        row = weights_of_scores(table.cells, at_most=faces)
        yield "above a threshold", n, row, beaten_sd(study, faces)


def _beyond(study: Study, table: TableRequest) -> Iterator[_Row]:
    asked, column = study.experiment.beyond, table.table.partition("/")[2]
    gallery = gallery_sd(study, study.experiment.anchors[-1])
    for tail in asked.tails if asked else ():
        for error in tail.error if tail.column == column else ():
            n = error.gallery_size
            row = weights_of_beyond(table.cells, tail=TAILS[0], gallery_size=n)
            yield "extrapolated", n, row, math.hypot(gallery, tail.sigma(n, TAILS[0]))
