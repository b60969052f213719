"""Ladders: what each step writes, what it costs, and which ones are refused."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_deid.tables.ladders import build_ladder
from reidscope_deid.tables.plan import ColumnPlan
from reidscope_deid.tables.reading import Column
from reidscope_protocols.errors import (
    ConfigError,
)

CANARY = "Zebulon"


@pytest.mark.parametrize(
    ("settings_of", "values", "labels"),
    [
        ({"kind": "number", "widths": [10], "top": 90, "bottom": 25},
         ["7", "25", "29.5", "84", "90", "101", ""],
         ["<25", "[25, 30)", "[25, 30)", "[80, 90)", ">=90", ">=90", ""]),
        ({"kind": "number", "widths": [0.1]}, ["0.05", "-0.05", "0.31"],
         ["[0, 0.1)", "[-0.1, 0)", "[0.3, 0.4)"]),
        ({"kind": "date", "steps": ["quarter"]}, ["2024-05-31", "20240401", "2024-12-31"],
         ["2024-Q2", "2024-Q2", "2024-Q4"]),
        ({"kind": "date", "steps": ["10 years"]}, ["1999-12-31", "2000-01-01"],
         ["1990..1999", "2000..2009"]),
        ({"kind": "postal", "drop": [2]}, ["12345", "SW1", "9"], ["123**", "S**", "*"]),
        ({"kind": "ordered", "order": ["low", "mid", "high"], "group_by": [2]},
         ["high", "low", "mid"], ["high", "low..mid", "low..mid"]),
        ({"groups": {"north": ["a", "b"], "south": ["c"]}}, ["a", "c", "b"],
         ["north", "south", "north"]),
    ],
)  # fmt: skip
def test_a_ladder_writes_what_its_kind_says(
    settings_of: dict[str, Any], values: list[str], labels: list[str], tmp_path: Path
) -> None:
    column = Column(name="x", values=tuple(values), codes=np.arange(len(values), dtype=np.int32))
    own = ColumnPlan.model_validate({"name": "x", "role": "quasi", **settings_of})
    ladder = build_ladder(column, own, missing=[""], folder=tmp_path)
    assert list(ladder.written(1, values).values()) == labels
    assert set(ladder.written(ladder.height, values).values()) == {"*"}


def test_the_penalty_of_a_step_is_the_share_of_the_column_that_it_hides(tmp_path: Path) -> None:
    values = ("a", "b", "c", "d", "e")
    column = Column(name="x", values=values, codes=np.arange(5, dtype=np.int32))
    own = ColumnPlan(name="x", role="quasi", groups={"few": ["a", "b"], "many": ["c", "d", "e"]})
    ladder = build_ladder(column, own, missing=[], folder=tmp_path)
    assert [list(step) for step in ladder.widths] == [
        [0, 0, 0, 0, 0],
        [1 / 4, 1 / 4, 2 / 4, 2 / 4, 2 / 4],
        [1, 1, 1, 1, 1],
    ]
    ages = Column(name="x", values=("20", "34", "70"), codes=np.arange(3, dtype=np.int32))
    own = ColumnPlan(name="x", role="quasi", kind="number", widths=[10])
    ladder = build_ladder(ages, own, missing=[], folder=tmp_path)
    # of the range 20 to 70: [20, 30), [30, 40), and of [70, 80) only where it begins
    assert ladder.widths[1] == pytest.approx([0.2, 0.2, 0.0])


@given(
    st.lists(st.integers(-50, 120), min_size=1, max_size=12, unique=True),
    st.integers(-60, 20),
    st.integers(21, 130),
    st.sampled_from([[1.0, 5.0, 10.0], [0.1, 0.2], [30.0], []]),
)
def test_no_cell_loses_more_than_all_nor_less_a_step_up(
    ages: list[int], bottom: int, top: int, widths: list[float]
) -> None:
    column = Column(
        name="x", values=tuple(map(str, ages)), codes=np.arange(len(ages), dtype=np.int32)
    )
    own = ColumnPlan(
        name="x", role="quasi", kind="number", widths=widths, bottom=float(bottom), top=float(top)
    )
    ladder = build_ladder(column, own, missing=[], folder=Path())
    for below, above in itertools.pairwise(ladder.widths):
        assert (below >= 0).all()
        assert (below <= above + 1e-12).all()


@pytest.mark.parametrize(
    ("tree", "values"),
    [
        ("a,x,top\nb,x,other\n", ["a", "b"]),
        ("a,x\na,y\n", ["a"]),
        ("a,x\n", ["a", CANARY]),
        ("a,x\nb\n", ["a", "b"]),
    ],
    ids=["a group with two parents", "a leaf twice", "a value that is no leaf", "ragged"],
)
def test_a_tree_that_is_none_is_refused(tree: str, values: list[str], tmp_path: Path) -> None:
    (tmp_path / "tree.csv").write_text(tree)
    column = Column(name="x", values=tuple(values), codes=np.arange(len(values), dtype=np.int32))
    own = ColumnPlan(name="x", role="quasi", tree="tree.csv")
    with pytest.raises(ConfigError) as caught:
        build_ladder(column, own, missing=[], folder=tmp_path)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "cell"), [("number", CANARY), ("number", "nan"), ("date", "31.12.2024"), ("date", "")]
)
def test_cells_of_another_kind_are_counted_not_shown(kind: str, cell: str, tmp_path: Path) -> None:
    column = Column(name="x", values=(cell,), codes=np.zeros(3, dtype=np.int32))
    own = ColumnPlan.model_validate({"name": "x", "role": "quasi", "kind": kind})
    with pytest.raises(ConfigError) as caught:
        build_ladder(column, own, missing=[], folder=tmp_path)
    assert "1 distinct cells" in str(caught.value)
    assert not cell or cell not in str(caught.value)
