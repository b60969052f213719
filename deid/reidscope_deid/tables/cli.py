"""`reidscope-deid table`: risk, generalise, plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from reidscope_deid.tables.generalising import TableRecord, generalise
from reidscope_deid.tables.plan import load_plan
from reidscope_deid.tables.report import SITE_ALONE, TableRisk, measure_table
from reidscope_deid.tables.starter import starter_plan
from reidscope_protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    help="Tables that travel with images: risk, and generalising to a target.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console()

Csv = Annotated[Path, typer.Argument(metavar="CSV", help="Table in UTF-8, with a header line.")]
Plan = Annotated[Path, typer.Option("--plan", help="Table plan (.toml), from plan.")]
People = Annotated[
    Path | None,
    typer.Option("--population", help="Table of the population, same quasi-identifiers."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def risk(
    table: Csv,
    plan: Plan,
    population: People = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Measure how exposed the people of a table are; for the site alone."""
    figures = measure_table(table, load_plan(plan), folder=plan.parent, population=population)
    if as_json:
        _out.print_json(json.dumps(figures.document()))
    else:
        _show_risk(figures)


@app.command(name="generalise")
def generalise_command(  # noqa: PLR0917 - typer reads the options off the signature
    table: Csv,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New file.")],
    plan: Plan,
    population: People = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="JSON record to write; OUT.json if not given.")
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Coarsen a table until it reaches the plan's targets, at the least loss."""
    done = generalise(
        table, out, load_plan(plan), folder=plan.parent, population=population, record=record
    )
    if as_json:
        _out.print_json(json.dumps(done.document()))
    else:
        _show_record(done)


@app.command(name="plan")
def plan_command(
    table: Csv,
    out: Annotated[
        Path | None, typer.Option("--out", help="New file; printed if not given.")
    ] = None,
    delimiter: Annotated[str, typer.Option("--delimiter", help="Between fields.")] = ",",
) -> None:
    """Write a plan to start from: the columns, and guesses at what they are."""
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ConfigError(
            "--delimiter", got="no delimiter", expected="one character", do="name another"
        )
    text = starter_plan(table, delimiter=delimiter)
    if out is None:
        _out.print(text, markup=False, highlight=False, soft_wrap=True, end="")
        return
    if out.exists() or not out.parent.is_dir():
        raise ConfigError(
            "--out",
            got="a file that exists" if out.exists() else "no such folder",
            expected="a new file in a folder",
            do="name another",
        )
    out.write_text(text, encoding="utf-8")


def _show_risk(figures: TableRisk) -> None:
    grid = Grid("measure", "figure", title=f"{figures.sample.rows} rows")
    for name, figure in _lines(figures):
        grid.add_row(name, figure)
    _out.print(grid)
    _out.print(SITE_ALONE, soft_wrap=True)


def _lines(figures: TableRisk) -> Iterator[tuple[str, str]]:
    sample = figures.sample
    yield "k", str(sample.k)
    yield "classes", str(sample.classes)
    yield "rows alone in their class", str(sample.uniques)
    yield "prosecutor risk, largest", f"{sample.prosecutor_max:.4f}"
    yield "prosecutor and marketer risk, average", f"{sample.average:.4f}"
    for threshold, share in sample.above.items():
        yield f"share of rows above {threshold}", f"{share:.4f}"
    if (known := figures.population) is not None:
        yield "k-map", str(known.k_map)
        yield "rows the population lacks", str(known.unmatched_rows)
        yield "journalist risk, largest", f"{known.journalist_max:.4f}"
        yield "journalist risk, average", f"{known.journalist_average:.4f}"
        yield "marketer risk", f"{known.marketer:.4f}"
        yield "rows unique in the population", str(known.population_uniques)
        if known.delta_min is not None and known.delta_max is not None:
            yield "delta-presence", f"{known.delta_min:.4f} to {known.delta_max:.4f}"
        else:
            yield "delta-presence", f"none: {known.exceeding_classes} classes exceed the population"
    if (guess := figures.uniqueness) is not None:
        yield (
            f"population uniques, estimated ({guess.method})",
            f"{guess.population_uniques:.0f} ({guess.share:.4%} of the population)",
        )
    for one in figures.attributes:
        yield f"{one.name}: distinct l", str(one.distinct_l)
        yield f"{one.name}: entropy l", f"{one.entropy_l:.3f}"
        for l, c in one.recursive_c.items():  # noqa: E741 - the literature's own name
            yield f"{one.name}: recursive, l = {l}", f"c > {c:.3f}"
        yield f"{one.name}: t ({one.distance})", f"{one.t:.4f}"
        yield f"{one.name}: alpha, beta", f"{one.alpha:.4f}, {one.basic_beta:.4f}"


def _show_record(done: TableRecord) -> None:
    grid = Grid("column", "done", "rows", title=f"{done.recoding} recoding")
    for name, steps in done.steps.items():
        for step, count in steps.items():
            grid.add_row(name, step, str(count))
    _out.print(grid)
    loss = done.loss
    _out.print(
        f"{done.rows - loss.suppressed} of {done.rows} rows written, k = {done.reached.sample.k}; "
        f"loss: NCP {loss.ncp:.4f}, entropy {loss.entropy:.4f}, Prec {loss.precision:.4f}, "
        f"discernibility {loss.discernibility}, class size {loss.class_size:.2f} x k. "
        f"Targets found again on a second reading. {SITE_ALONE}",
        soft_wrap=True,
    )
