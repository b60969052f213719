"""A table generalised to its plan's targets: written aside, read again, and only then named."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.tables.cells import placed
from reidscope_deid.tables.ladders import build_ladder
from reidscope_deid.tables.leaves import gather_leaves
from reidscope_deid.tables.local import full_domain, recode_locally
from reidscope_deid.tables.loss import measure_loss
from reidscope_deid.tables.plan import plan_error
from reidscope_deid.tables.reading import read_columns, read_header, rows_of
from reidscope_deid.tables.recheck import Axis, shortfalls
from reidscope_deid.tables.report import (
    SITE_ALONE,
    TableRisk,
    check_columns,
    check_people,
    measure_table,
)
from reidscope_deid.tables.search import search
from reidscope_deid.tables.sensitive import build_sensitive
from reidscope_protocols.durable import sync_folder, write_durably
from reidscope_protocols.errors import (
    ConfigError,
    InputError,
    InvariantError,
    OutcomeMissingError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reidscope_deid.tables.classes import Ints
    from reidscope_deid.tables.ladders import Ladder
    from reidscope_deid.tables.leaves import Leaves
    from reidscope_deid.tables.local import Recoding
    from reidscope_deid.tables.loss import Loss
    from reidscope_deid.tables.plan import ColumnPlan, TablePlan
    from reidscope_deid.tables.reading import Column
    from reidscope_deid.tables.search import Found
    from reidscope_deid.tables.sensitive import Sensitive

SCHEMA = "reidscope.table-record/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """What one generalisation did.

    Attributes
    ----------
    rows : int
        Of the table; `loss.suppressed` of them are left out.
    recoding : str
        ``global`` or ``local``.
    steps : mapping of str to mapping of str to int
        What was done to each quasi-identifier, from its ladder's first step: cells kept a step.
    dropped : int
        Columns that identify alone.
    measure : str
        What was minimised.
    loss : Loss
        What it cost.
    reached : TableRisk
        Figures of the output.
    nodes, checked : int
        Combinations of steps, and how many were looked at.
    targets : mapping
        As in the plan.

    Privacy
    -------
    Exact counts, names of columns, no cell: for the site alone (docs/privacy.md,
    "De-identification").
    """

    rows: int
    recoding: str
    steps: Mapping[str, Mapping[str, int]]
    dropped: int
    measure: str
    loss: Loss
    reached: TableRisk
    nodes: int
    checked: int
    targets: Mapping[str, object]

    def document(self) -> dict[str, object]:
        """Say the record as JSON takes it."""
        return {
            "schema": SCHEMA,
            "notice": SITE_ALONE,
            **asdict(self),
            "reached": self.reached.document(),
        }


def generalise(
    path: Path,
    out: Path,
    plan: TablePlan,
    *,
    folder: Path,
    population: Path | None = None,
    record: Path | None = None,
) -> TableRecord:
    """Write the cheapest generalisation of a table that reaches the plan's targets.

    Columns that identify alone are left out, quasi-identifiers are coarsened, everything else is
    passed on as it is, in the order in which it stood. The file appears under its name only after
    `recheck` has found every target in it.

    Parameters
    ----------
    path, out : Path
        The table, and a file that does not exist yet.
    plan : TablePlan
        What its columns are, and the targets.
    folder : Path
        Where the plan lies.
    population : Path, optional
        A table of the population with the same quasi-identifiers.
    record : Path, optional
        JSON to write; `out` with ``.json`` behind it if not given.

    Raises
    ------
    OutcomeMissingError
        No combination of steps reaches the targets within the rows that may be left out.
    InputError, ConfigError
        A file that cannot be read, that changed meanwhile, or that does not fit the plan.
    InvariantError
        The second reading found a target missed: nothing is left behind.

    Privacy
    -------
    Reads people's cells, writes generalised ones with owner-only rights. What it writes is only as
    safe as the plan's roles are right (docs/privacy.md, "De-identification").
    """
    record = out.with_name(f"{out.name}.json") if record is None else record
    _check_places(out, record)
    header = read_header(path, delimiter=plan.delimiter)
    check_columns(header, plan)
    check_people(path, plan)
    if population is None and (plan.targets.k_map or plan.targets.delta_max):
        raise plan_error("k_map or delta_max without a population table")
    quasi, extra = plan.of_role("quasi"), plan.of_role("sensitive")
    columns, sensitive, people = _read(path, plan, folder, population)
    ladders = [
        build_ladder(column, own, missing=plan.missing, folder=folder)
        for column, own in zip(columns, quasi, strict=True)
    ]
    leaves = gather_leaves(ladders, columns, people, [one for one, _ in sensitive])
    rows = len(leaves.of_row)
    found = search(
        leaves, plan.targets, allowance=int(plan.suppress_at_most * rows), measure=plan.loss
    )
    if (outcome := found.outcome) is None:
        raise _unreachable(found, rows, plan)
    recoding = (
        full_domain(leaves, outcome)
        if plan.recoding == "global"
        else recode_locally(leaves, outcome, plan.targets, measure=plan.loss)
    )
    written = {
        ladder.name: [ladder.written(step, column.values) for step in range(ladder.height + 1)]
        for ladder, column in zip(ladders, columns, strict=True)
    }
    temporary = _aside(out)
    try:
        _write(temporary, path, plan, written=written, recoding=recoding)
        axes = [
            _axis(one, column, own) for (one, column), own in zip(sensitive, extra, strict=True)
        ]
        crowd = None
        if population is not None:
            steps = zip(written, outcome.node, strict=True)
            crowd = _people(population, plan, {name: written[name][step] for name, step in steps})
        _recheck(temporary, plan, axes, crowd)
        done = TableRecord(
            rows=rows,
            recoding=plan.recoding,
            steps={
                ladder.name: _by_step(ladder, taken[recoding.kept])
                for ladder, taken in zip(ladders, recoding.steps, strict=True)
            },
            dropped=sum(own.name in header for own in plan.of_role("direct")),
            measure=plan.loss,
            loss=_loss(leaves, recoding, plan.targets.k),
            reached=measure_table(temporary, plan, folder=folder),
            nodes=found.nodes,
            checked=found.checked,
            targets=plan.targets.model_dump(exclude_none=True),
        )
        write_durably(record, json.dumps(done.document(), indent=1).encode())
        temporary.replace(out)
    except BaseException:
        # Broad on purpose: whatever stopped it (Ctrl-C too), no unchecked table stays behind.
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(out.parent)
    return done


def _check_places(out: Path, record: Path) -> None:
    for file in (out, record):
        if not file.parent.is_dir() or file.exists():
            raise ConfigError(
                "the output",
                got="a file that exists" if file.exists() else "no such folder",
                expected="a new file in a folder",
                do="name another",
            )


def _read(
    path: Path, plan: TablePlan, folder: Path, population: Path | None
) -> tuple[tuple[Column, ...], list[tuple[Sensitive, Column]], tuple[Column, ...]]:
    names = [column.name for column in plan.of_role("quasi")]
    extra = plan.of_role("sensitive")
    columns, people = read_columns(path, names, delimiter=plan.delimiter, beside=population)
    held: tuple[Column, ...] = ()
    if extra:
        held, _ = read_columns(path, [own.name for own in extra], delimiter=plan.delimiter)
    sensitive = [
        (build_sensitive(column, own, missing=plan.missing, folder=folder), column)
        for column, own in zip(held, extra, strict=True)
    ]
    return columns, sensitive, people


def _recheck(
    temporary: Path, plan: TablePlan, axes: list[Axis], people: Counter[tuple[str, ...]] | None
) -> None:
    missed = shortfalls(
        temporary,
        plan.targets,
        quasi=[own.name for own in plan.of_role("quasi")],
        axes=axes,
        delimiter=plan.delimiter,
        population=people,
    )
    if missed:
        raise InvariantError(
            "the generalised table",
            got=f"{', '.join(missed)} missed on a second reading",
            expected="every target",
            do="report this; nothing was written",
        )


def _axis(one: Sensitive, column: Column, own: ColumnPlan) -> Axis:
    place = None
    if one.distance == "ordered":
        ranks = zip(column.values, placed(column.values, own), strict=True)
        place = {value: rank for value, rank in ranks if rank is not None}
    levels = [
        dict(zip(column.values, map(str, groups.tolist()), strict=True)) for groups in one.levels
    ] or [{value: value for value in column.values}]
    return Axis(name=one.name, place=place, levels=levels)


def _people(
    population: Path, plan: TablePlan, written: Mapping[str, Mapping[str, str]]
) -> Counter[tuple[str, ...]]:
    with rows_of(population, delimiter=plan.delimiter) as (header, rows):
        places = [(header.index(name), cells) for name, cells in written.items()]
        return Counter(tuple(cells[row[place]] for place, cells in places) for row in rows)


def _aside(out: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    os.close(handle)
    return Path(name)


def _write(
    temporary: Path,
    path: Path,
    plan: TablePlan,
    *,
    written: Mapping[str, Sequence[Mapping[str, str]]],
    recoding: Recoding,
) -> None:
    direct = {column.name for column in plan.of_role("direct")}
    with (
        rows_of(path, delimiter=plan.delimiter) as (header, rows),
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        places = [place for place, name in enumerate(header) if name not in direct]
        coarse = [(header.index(name), said) for name, said in written.items()]
        writer = csv.writer(stream, delimiter=plan.delimiter, lineterminator="\n")
        writer.writerow(header[place] for place in places)
        try:
            writer.writerows(_generalised(rows, recoding, places, coarse))
        except (KeyError, ValueError):
            raise InputError(
                "the table",
                got="other content than a moment ago",
                expected="a file that nobody writes to",
                do="run again when it is still",
            ) from None
        stream.flush()
        os.fsync(stream.fileno())


def _generalised(
    rows: Iterator[list[str]],
    recoding: Recoding,
    places: Sequence[int],
    coarse: Sequence[tuple[int, Sequence[Mapping[str, str]]]],
) -> Iterator[list[str]]:
    taken = zip(*(steps.tolist() for steps in recoding.steps), strict=True)
    for row, keep, steps in zip(rows, recoding.kept.tolist(), taken, strict=True):
        if keep:
            for (place, said), step in zip(coarse, steps, strict=True):
                row[place] = said[step][row[place]]
            yield [row[place] for place in places]


def _by_step(ladder: Ladder, taken: Ints) -> dict[str, int]:
    counts = np.bincount(taken, minlength=ladder.height + 1)
    return {name: int(n) for name, n in zip(ladder.steps, counts, strict=True) if n}


def _loss(leaves: Leaves, recoding: Recoding, k: int) -> Loss:
    ones = np.ones(len(leaves.of_row), dtype=np.int64)
    return measure_loss(
        leaves.ladders,
        [codes[leaves.of_row] for codes in leaves.codes],
        node=list(recoding.steps),
        rows=ones,
        kept=recoding.kept.astype(np.int64),
        sizes=recoding.sizes,
        k=k,
    )


def _unreachable(found: Found, rows: int, plan: TablePlan) -> OutcomeMissingError:
    return OutcomeMissingError(
        "the generalised table",
        got=f"none of {found.nodes} combinations of steps that reaches the targets",
        expected=f"one that leaves out at most {int(plan.suppress_at_most * rows)} of {rows} rows",
        do="allow more suppression, give longer ladders, or lower the targets",
    )
