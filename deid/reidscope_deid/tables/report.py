"""Every figure of one table, for the eyes of the site that holds it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.tables.classes import group, spread
from reidscope_deid.tables.diversity import (
    distinct_values,
    effective_values,
    largest_share,
    log_ratio,
    recursive_ratio,
    relative_gain,
)
from reidscope_deid.tables.plan import plan_error
from reidscope_deid.tables.reading import read_columns, read_header
from reidscope_deid.tables.reidentification import population_risk, sample_risk
from reidscope_deid.tables.sensitive import build_sensitive
from reidscope_deid.tables.uniqueness import estimate_uniques
from reidscope_protocols.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from reidscope_deid.tables.classes import Classes
    from reidscope_deid.tables.plan import TablePlan
    from reidscope_deid.tables.reidentification import PopulationRisk, SampleRisk
    from reidscope_deid.tables.sensitive import Sensitive
    from reidscope_deid.tables.uniqueness import Uniqueness

SCHEMA = "reidscope.table-risk/1"
SITE_ALONE = "Exact figures of this site's people: for the site alone, not for release."
_MOST_L = 8  # up to which recursive diversity is reported


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeRisk:
    """What the classes give away of one sensitive column: the worst class's figures.

    Attributes
    ----------
    name : str
        The column's.
    distance : str
        Of t: ``ordered``, ``hierarchical`` or ``equal``.
    distinct_l : int
        Fewest different values.
    entropy_l : float
        Smallest exponential of the entropy.
    recursive_c : mapping of int to float
        By l from 2 to `distinct_l` (at most 8): (c, l)-diverse for every c above it.
    t : float
        Largest distance from the table.
    alpha : float
        Largest share of one value.
    basic_beta : float
        Largest relative gain.
    log_ratio : float
        Largest |log(q / p)| over values that occur.

    Privacy
    -------
    Exact: for the site alone (docs/privacy.md, "De-identification").
    """

    name: str
    distance: str
    distinct_l: int
    entropy_l: float
    recursive_c: dict[int, float]
    t: float
    alpha: float
    basic_beta: float
    log_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRisk:
    """Every figure of one table.

    Attributes
    ----------
    sample : SampleRisk
        From the table alone.
    attributes : tuple of AttributeRisk
        One a sensitive column.
    population : PopulationRisk or None
        Against a population table.
    uniqueness : Uniqueness or None
        Estimated, where the sampling fraction is known (given, or from a population table).

    Privacy
    -------
    Exact: for the site alone. Holds no cell (docs/privacy.md, "De-identification").
    """

    sample: SampleRisk
    attributes: tuple[AttributeRisk, ...]
    population: PopulationRisk | None
    uniqueness: Uniqueness | None

    def document(self) -> dict[str, object]:
        """Say the figures as JSON takes them."""
        return {"schema": SCHEMA, "notice": SITE_ALONE, **asdict(self)}


def check_columns(header: Sequence[str], plan: TablePlan) -> None:
    """Refuse a table with a column that the plan does not name, or without one that it reads.

    Raises
    ------
    ConfigError
        Names columns of the plan, and only numbers of others: a file without a header line has
        cells where the names should be.
    """
    named = {column.name for column in plan.column}
    strange = [number for number, name in enumerate(header, start=1) if name not in named]
    if strange:
        shown = ", ".join(map(str, strange[:9]))
        raise plan_error(f"{len(strange)} columns that it does not name (number {shown})")
    lacking = [
        column.name
        for column in plan.column
        if column.role != "direct" and column.name not in header
    ]
    if lacking:
        raise plan_error(f"a table without its column {lacking[0]}")


def check_people(path: Path, plan: TablePlan) -> None:
    """Refuse a table with several rows of one person, where the plan says how to tell.

    Raises
    ------
    InputError
        Five rows of one person are no class of five.
    """
    if plan.person is None or plan.person not in read_header(path, delimiter=plan.delimiter):
        return
    (column,), _ = read_columns(path, [plan.person], delimiter=plan.delimiter)
    if len(column.values) != len(column.codes):
        raise InputError(
            "the table",
            got=f"{len(column.codes)} rows of {len(column.values)} people",
            expected="one row a person: every figure counts rows",
            do="join a person's rows, or keep one of them",
        )


def measure_table(
    path: Path, plan: TablePlan, *, folder: Path, population: Path | None = None
) -> TableRisk:
    """Measure a CSV file as it is.

    Parameters
    ----------
    path : Path
        The table.
    plan : TablePlan
        What its columns are.
    folder : Path
        Where the plan lies.
    population : Path, optional
        A table of the population with the same quasi-identifiers.

    Raises
    ------
    InputError, ConfigError
        A file that cannot be read, or that does not fit the plan.

    Privacy
    -------
    Reads people's cells; gives exact figures, for the site alone (docs/privacy.md,
    "De-identification").
    """
    check_columns(read_header(path, delimiter=plan.delimiter), plan)
    check_people(path, plan)
    names = [column.name for column in plan.of_role("quasi")]
    extra = plan.of_role("sensitive")
    # One pass each: with a population its own columns alone are read a second time.
    columns, _ = read_columns(
        path, [*names, *(column.name for column in extra)], delimiter=plan.delimiter
    )
    sensitive = [
        build_sensitive(column, own, missing=plan.missing, folder=folder)
        for column, own in zip(columns[len(names) :], extra, strict=True)
    ]
    quasi = [column.codes for column in columns[: len(names)]]
    if population is None:
        return measure_codes(quasi, sensitive, sampling_fraction=plan.sampling_fraction)
    mine, theirs = read_columns(path, names, delimiter=plan.delimiter, beside=population)
    return measure_codes(
        [column.codes for column in mine],
        sensitive,
        people=[column.codes for column in theirs],
        sampling_fraction=plan.sampling_fraction,
    )


def measure_codes(
    quasi: Sequence[NDArray[np.integer]],
    sensitive: Sequence[Sensitive] = (),
    *,
    people: Sequence[NDArray[np.integer]] | None = None,
    sampling_fraction: float | None = None,
) -> TableRisk:
    """Measure a table given as codes.

    Parameters
    ----------
    quasi : sequence of ndarray, each of shape (rows,)
        Codes of the quasi-identifiers; at least one, of at least one row.
    sensitive : sequence of Sensitive
        Sensitive columns of the same rows.
    people : sequence of ndarray, each of shape (people,), optional
        The quasi-identifiers of the population, in the same codes.
    sampling_fraction : float, optional
        Rows / people of the population; from `people` where they are given.
    """
    classes = group(quasi)
    known = None
    if people is not None:
        rows = len(quasi[0])
        both = group([np.concatenate(pair) for pair in zip(quasi, people, strict=True)])
        inside = np.bincount(both.of_row[:rows], minlength=len(both))
        known = population_risk(inside, both.sizes - inside)
        sampling_fraction = min(1.0, rows / known.people)
    return TableRisk(
        sample=sample_risk(classes.sizes),
        attributes=tuple(_attribute(one, classes) for one in sensitive),
        population=known,
        uniqueness=None
        if sampling_fraction is None
        else estimate_uniques(classes.sizes, sampling_fraction),
    )


def _attribute(sensitive: Sensitive, classes: Classes) -> AttributeRisk:
    held = spread(
        classes.of_row, sensitive.codes, classes=len(classes), kinds=len(sensitive.values)
    )
    distinct = int(distinct_values(held).min())
    return AttributeRisk(
        name=sensitive.name,
        distance=sensitive.distance,
        distinct_l=distinct,
        entropy_l=float(effective_values(held).min()),
        recursive_c={
            l: float(recursive_ratio(held, l).max())
            for l in range(2, min(distinct, _MOST_L) + 1)  # noqa: E741 - the literature's own name
        },
        t=float(sensitive.apart(held).max()),
        alpha=float(largest_share(held).max()),
        basic_beta=float(relative_gain(held).max()),
        log_ratio=float(log_ratio(held).max()),
    )
