"""CSV files and plans: what is read, and what is refused without saying what stood there."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_deid.tables.plan import TablePlan, load_plan
from reidscope_deid.tables.reading import LONGEST_LINE, read_columns, read_header
from reidscope_deid.tables.report import measure_table
from reidscope_deid.tables.starter import starter_plan
from reidscope_protocols.errors import ConfigError, InputError

CANARY = "Zebulon"
PLAN = """
schema = "reidscope.table-plan/1"
[[column]]
name = "age"
role = "quasi"
kind = "number"
widths = [5, 10]
[[column]]
name = "disease"
role = "sensitive"
"""

cells = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(cells, cells), min_size=1, max_size=20),
    st.sampled_from([",", ";", "\t", "|"]),
    st.booleans(),
)
def test_whatever_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    delimiter: str,
    marked: bool,  # noqa: FBT001 - drawn
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes((b"\xef\xbb\xbf" if marked else b"") + text.getvalue().encode())
    columns, _ = read_columns(path, ["b", "a"], delimiter=delimiter)
    read = [[column.values[code] for code in column.codes] for column in columns]
    assert read == [[row[1] for row in rows], [row[0] for row in rows]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"age,disease\n",
        b"age,disease,age\n1,2,1\n",
        b"age,\n1,2\n",
        f"age,disease\n1,{CANARY},3\n".encode(),
        f"age,disease\n{CANARY}\n".encode(),
        f"age,disease\n1,{CANARY}\0\n".encode(),
        f"age,disease\n1,{CANARY}\xff\n".encode("latin-1"),
        f'age,disease\n1,"{CANARY}\n'.encode(),
        f'age,disease\n1,"{CANARY}"x\n'.encode(),
        f"age,disease\n1,{CANARY * 20_000}\n".encode(),
        f"age,disease\n1,{CANARY}".encode() + b"x" * LONGEST_LINE,
        f"age,{CANARY}\n1,2\n".encode(),
        f"age,disease,{CANARY}\n1,2,3\n".encode(),
        f"age,disease\n{CANARY},2\n".encode("utf-16"),
    ],
    ids=[
        "nothing", "no row", "a name twice", "no name", "too wide", "too narrow", "NUL",
        "no UTF-8", "an open quote", "a stray quote", "a huge field", "a huge line",
        "a column missing", "a column more", "UTF-16",
    ],
)  # fmt: skip
def test_a_file_that_is_no_such_table_is_refused_in_one_line_without_its_cells(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    path = tmp_path / "secret-name.csv"
    path.write_bytes(content)
    plan = load_plan(tmp_path / "plan.toml")
    with pytest.raises(InputError) as caught:
        measure_table(path, plan, folder=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert CANARY not in message
    assert "secret" not in message


def test_a_missing_file_is_refused_without_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_header(tmp_path / CANARY)
    assert CANARY not in str(caught.value)


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\r\n1,2\r\n\r\n3,4\r\n\r\n")
    columns, _ = read_columns(path, ["a"])
    assert len(columns[0].codes) == 2


@pytest.mark.parametrize(
    "change",
    [
        ("", "\nsurprise = 1"),
        ('role = "quasi"', 'role = "qusai"'),
        ('name = "disease"', 'name = "age"'),
        ('role = "quasi"', 'role = "other"'),
        ("widths = [5, 10]", "widths = [5, 12]"),
        ("widths = [5, 10]", "widths = [10, 5]"),
        ("widths = [5, 10]", "widths = [0]"),
        ("widths = [5, 10]", "drop = [1]"),
        ("widths = [5, 10]", "top = 10\nbottom = 20"),
        ("widths = [5, 10]", "top = nan"),
        ("table-plan/1", "table-plan/2"),
        ('schema = "reidscope', "= = ="),
        ("[[column]]", "[targets]\nk = 0\n[[column]]"),
        ("[[column]]", '[targets]\nl = 2\nl_kind = "recursive"\n[[column]]'),
        ('role = "sensitive"', 'role = "other"\n[targets]\nt = 0.2'),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(change: tuple[str, str], tmp_path: Path) -> None:
    old, new = change
    text = PLAN.replace(old, new, 1) if old else PLAN + new
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_plan(tmp_path / "plan.toml")
    assert "\n" not in str(caught.value)


def test_a_starter_plan_loads_fits_its_table_and_holds_no_cell(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [
        f"P{n},{CANARY} {n},{20 + n % 60},2024-0{1 + n % 9}-11,{10000 + n % 7},m,"
        f"{CANARY}itis,{n % 3}.5"
        for n in range(100)
    ]
    header = "patient_id,full name,Age,scan date,ZIP,sex,diagnosis,height"
    path.write_text("\n".join([header, *rows]))
    text = starter_plan(path)
    assert CANARY not in text
    assert "10000" not in text
    (tmp_path / "plan.toml").write_text(text)
    plan = load_plan(tmp_path / "plan.toml")
    roles = {column.name: (column.role, column.kind) for column in plan.column}
    assert roles == {
        "patient_id": ("direct", "category"),
        "full name": ("direct", "category"),
        "Age": ("quasi", "number"),
        "scan date": ("quasi", "date"),
        "ZIP": ("quasi", "postal"),
        "sex": ("quasi", "category"),
        "diagnosis": ("sensitive", "category"),
        "height": ("quasi", "number"),
    }
    assert measure_table(path, plan, folder=tmp_path).sample.rows == 100


def test_a_table_without_a_header_gets_no_starter_plan(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{CANARY},1961-02-03,m\nother,1971-02-03,f\n")
    with pytest.raises(InputError) as caught:
        starter_plan(path)
    assert CANARY not in str(caught.value)


def test_a_column_name_with_quotes_survives_the_starter_plan(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('"a ""b"" \\ c",d\n1,2\n')
    (tmp_path / "plan.toml").write_text(starter_plan(path))
    assert load_plan(tmp_path / "plan.toml").column[0].name == 'a "b" \\ c'


def test_a_plan_says_what_is_wrong_in_its_own_words() -> None:
    with pytest.raises(ValueError, match="no quasi-identifier"):
        TablePlan.model_validate({"schema": "reidscope.table-plan/1", "column": [
            {"name": "a", "role": "other"},
        ]})  # fmt: skip


def test_several_rows_of_one_person_are_refused_where_the_plan_says_who_is_who(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"id,age,disease\n{CANARY},1,2\n{CANARY},1,2\nother,1,2\n")
    text = PLAN.replace(
        "[[column]]", 'person = "id"\n[[column]]\nname = "id"\nrole = "direct"\n[[column]]', 1
    )
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(InputError, match="3 rows of 2 people") as caught:
        measure_table(path, load_plan(tmp_path / "plan.toml"), folder=tmp_path)
    assert CANARY not in str(caught.value)
    path.write_text("id,age,disease\na,1,2\nb,1,2\nc,1,2\n")
    found = measure_table(path, load_plan(tmp_path / "plan.toml"), folder=tmp_path)
    assert found.sample.k == 3


def test_who_is_who_must_be_a_column_that_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN.replace("[[column]]", 'person = "age"\n[[column]]', 1))
    with pytest.raises(ConfigError, match="no direct column"):
        load_plan(tmp_path / "plan.toml")
