"""The table plan: which column is what, how it may be coarsened, what must be reached.

A column that the plan does not name is refused, and so is one that it names and the file lacks.
"""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reidscope_protocols.errors import ConfigError

SCHEMA = "reidscope.table-plan/1"
_LIMIT = 1 << 20  # bytes
_MULTIPLE = 1e-9  # of a quotient of widths from a whole number

Kind = Literal["category", "number", "date", "postal", "ordered"]
Role = Literal["direct", "quasi", "sensitive", "other"]
_Text = Annotated[str, Field(min_length=1, max_length=1 << 12)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class ColumnPlan(_Strict):
    """One column.

    Attributes
    ----------
    name : str
        As in the header.
    role : str
        ``direct`` identifies alone: never read, dropped from the output. ``quasi`` is what others
        may know. ``sensitive`` is what must not be learnt. ``other`` is passed on as it is.
    kind : str
        What the cells are; decides the ladder and, for a sensitive column, the distance of
        t-closeness: ordered for numbers, dates and ordered values, hierarchical for a category
        with a tree, equal otherwise.
    widths : list of float
        number: widths of the intervals, ascending, each a multiple of the one before; from 0.
    bottom, top : float, optional
        number: cells below `bottom`, and of at least `top`, are one value each at every step.
    steps : list of str
        date: of ``month``, ``quarter``, ``year``, ``5 years``, ``10 years``; ascending.
    drop : list of int
        postal: characters replaced from the right, ascending.
    order : list of str
        ordered: every value, least first; empty where they are numbers.
    group_by : list of int
        ordered: how many neighbours are one, ascending, each a multiple of the one before.
    tree : str, optional
        category: a CSV file beside the plan, no header; leaf, parent, its parent, ... a line.
    groups : mapping of str to list of str
        category: one step, written out; instead of a tree.
    weight : float
        How much this column's loss counts.
    """

    name: _Text
    role: Role
    kind: Kind = "category"
    widths: list[Annotated[float, Field(gt=0)]] = []
    bottom: float | None = None
    top: float | None = None
    steps: list[Literal["month", "quarter", "year", "5 years", "10 years"]] = []
    drop: list[Annotated[int, Field(ge=1, le=64)]] = []
    order: list[str] = []
    group_by: list[Annotated[int, Field(ge=2)]] = []
    tree: _Text | None = None
    groups: dict[_Text, list[str]] = {}
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        belongs = {
            "number": {"widths", "bottom", "top"},
            "date": {"steps"},
            "postal": {"drop"},
            "ordered": {"order", "group_by"},
            "category": {"tree", "groups"},
        }
        ladder = set().union(*belongs.values())
        if (self.model_fields_set & ladder) - belongs[self.kind]:
            raise ValueError("a setting of another kind")
        for numbers in (self.widths, self.group_by):
            if any(b <= a or abs(b / a - round(b / a)) > _MULTIPLE for a, b in pairwise(numbers)):
                raise ValueError("each must be a larger multiple of the one before")
        if self.drop != sorted(set(self.drop)):
            raise ValueError("must ascend")
        rank = ["month", "quarter", "year", "5 years", "10 years"]
        if [rank.index(step) for step in self.steps] != sorted(
            {rank.index(step) for step in self.steps}
        ):
            raise ValueError("must ascend")
        if self.tree is not None and self.groups:
            raise ValueError("a tree or groups, not both")
        if self.bottom is not None and self.top is not None and self.bottom >= self.top:
            raise ValueError("bottom must lie below top")
        if len(set(self.order)) != len(self.order):
            raise ValueError("a value twice")
        return self


class Targets(_Strict):
    """What a generalised table must reach; None asks for nothing.

    Attributes
    ----------
    k : int
        Rows in the smallest class.
    l, l_kind, c : optional
        l-diversity of every sensitive column: ``distinct``, ``entropy`` or ``recursive`` (with c).
    t : float, optional
        t-closeness of every sensitive column.
    average_risk : float, optional
        Average prosecutor risk, classes / rows.
    k_map : int, optional
        People of the population in the smallest class; needs a population table.
    delta_max : float, optional
        Share of a population class that may be in the table; needs a population table.
    """

    k: Annotated[int, Field(ge=1)] = 5
    l: Annotated[float, Field(ge=1)] | None = None  # noqa: E741 - the literature's own name
    l_kind: Literal["distinct", "entropy", "recursive"] = "distinct"
    c: Annotated[float, Field(gt=0)] | None = None
    t: Annotated[float, Field(ge=0, le=1)] | None = None
    average_risk: Annotated[float, Field(gt=0, le=1)] | None = None
    k_map: Annotated[int, Field(ge=1)] | None = None
    delta_max: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.l_kind == "recursive" and (self.c is None or self.l is None or self.l % 1):
            raise ValueError("recursive needs a whole l and c")
        return self


class TablePlan(_Strict):
    """What stands in a plan file.

    Attributes
    ----------
    schema_name : str
        Names the shape of the file.
    delimiter : str
        Between fields of the table.
    missing : list of str
        Cells that stand for nothing; they stay so until the top of the ladder.
    person : str, optional
        A direct column that tells people apart: a table with several rows of one is refused, as
        every figure counts rows. Without it rows are taken for people.
    sampling_fraction : float, optional
        Rows / people of the population; for estimates of uniqueness.
    suppress_at_most : float
        Share of rows that may be left out.
    recoding : str
        ``global``: one step a column for all rows; ``local``: each class takes its own steps.
    loss : str
        What generalising minimises: ``ncp`` or ``entropy`` (see `loss`).
    targets : Targets
        What must be reached.
    column : list of ColumnPlan
        Every column of the table.
    """

    schema_name: Literal["reidscope.table-plan/1"] = Field(alias="schema")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    missing: list[str] = [""]
    person: _Text | None = None
    sampling_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    suppress_at_most: Annotated[float, Field(ge=0, lt=1)] = 0.0
    recoding: Literal["global", "local"] = "global"
    loss: Literal["ncp", "entropy"] = "ncp"
    targets: Targets = Targets()
    column: Annotated[list[ColumnPlan], Field(min_length=1, max_length=4096)]

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len({column.name for column in self.column}) != len(self.column):
            raise ValueError("a column twice")
        if not self.of_role("quasi"):
            raise ValueError("no quasi-identifier")
        if self.person is not None and self.person not in {
            column.name for column in self.of_role("direct")
        }:
            raise ValueError("person is no direct column")
        if self.delimiter in '"\r\n\0':
            raise ValueError("no delimiter")
        if self.recoding == "local" and (self.targets.k_map or self.targets.delta_max):
            raise ValueError("local recoding cannot be held against a population")
        if (self.targets.l is not None or self.targets.t is not None) and not self.of_role(
            "sensitive"
        ):
            raise ValueError("l or t without a sensitive column")
        return self

    def of_role(self, role: Role) -> tuple[ColumnPlan, ...]:
        """Columns of one role, in the plan's order."""
        return tuple(column for column in self.column if column.role == role)


def load_plan(path: Path) -> TablePlan:
    """Read a plan file.

    Raises
    ------
    ConfigError
        No file, no TOML, or no plan; names where, never what.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_LIMIT + 1)
        if len(content) > _LIMIT:
            raise plan_error(f"more than {_LIMIT} bytes")
        return TablePlan.model_validate(tomllib.loads(content.decode("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:3]) or "the plan"
        said = first["type"]
        if said == "value_error":
            said = first["msg"].removeprefix("Value error, ")
        raise plan_error(f"{where}: {said}") from None
    except OSError:
        raise plan_error("no file that can be read") from None
    except ValueError:
        raise plan_error("something that is no TOML") from None


def plan_error(got: str) -> ConfigError:
    """Say what is wrong with a plan."""
    return ConfigError(
        "the table plan",
        got=got,
        expected=f"a TOML file of the schema {SCHEMA} that fits the table",
        do="start from: reidscope-deid table plan CSV",
    )
