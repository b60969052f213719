"""`table risk`, `table generalise`, `table plan`, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reidscope_deid.tables.cli import app
from reidscope_protocols.errors import ConfigError, InputError, OutcomeMissingError

CANARY = "Zebulon"
PLAN = """
schema = "reidscope.table-plan/1"
delimiter = ";"
suppress_at_most = 0.1
[targets]
k = 3
[[column]]
name = "id"
role = "direct"
[[column]]
name = "age"
role = "quasi"
kind = "number"
widths = [10, 20]
[[column]]
name = "town"
role = "quasi"
[[column]]
name = "disease"
role = "sensitive"
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{n};{20 + n % 30};{CANARY}{n % 2};{CANARY}itis {n % 3}" for n in range(60)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["id;age;town;disease", *rows]) + "\n")
    (tmp_path / "plan.toml").write_text(PLAN)
    return path


def run(*words: str | Path) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_risk_prints_figures_and_that_they_are_the_sites_alone(table: Path) -> None:
    said = run("risk", table, "--plan", table.parent / "plan.toml")
    assert "site alone" in said
    assert "prosecutor risk, largest" in said
    assert CANARY not in said


def test_risk_prints_json_with_the_same_figures(table: Path) -> None:
    said = json.loads(
        run("risk", table, "--plan", table.parent / "plan.toml", "--population", table, "--json")
    )
    assert (said["sample"]["k"], said["sample"]["rows"], said["sample"]["classes"]) == (2, 60, 30)
    assert said["population"]["k_map"] == 2
    assert said["population"]["delta_max"] == 1.0
    assert said["uniqueness"]["sampling_fraction"] == 1.0
    assert said["attributes"][0]["distinct_l"] == 1
    assert "site alone" in said["notice"]
    assert CANARY not in json.dumps(said)


def test_generalise_writes_the_table_and_its_record_and_shows_no_cell(table: Path) -> None:
    out = table.parent / "out.csv"
    said = run("generalise", table, out, "--plan", table.parent / "plan.toml")
    assert CANARY not in said
    assert "width 10" in said
    assert "second reading" in said
    assert out.read_text().startswith("age;town;disease\n")
    record = json.loads((table.parent / "out.csv.json").read_text())
    assert record["reached"]["sample"]["k"] >= 3
    assert CANARY not in json.dumps(record)


def test_plan_prints_columns_and_no_cell(table: Path) -> None:
    said = run("plan", table, "--delimiter", ";")
    assert 'name = "town"' in said
    assert CANARY not in said


def test_plan_never_overwrites(table: Path) -> None:
    with pytest.raises(ConfigError):
        run("plan", table, "--delimiter", ";", "--out", table)
    assert CANARY in table.read_text()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (("k = 3", "k = 61"), OutcomeMissingError),
        (('name = "town"', 'name = "city"'), ConfigError),
        (('delimiter = ";"', 'delimiter = ","'), ConfigError),
        (('kind = "number"', 'kind = "date"'), ConfigError),
        (("widths = [10, 20]", "widths = [10, 20]\nsteps = []"), ConfigError),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_number_and_no_cell(
    change: tuple[str, str], kind: type[InputError], table: Path
) -> None:
    plan = table.parent / "plan.toml"
    plan.write_text(PLAN.replace(*change))
    with pytest.raises(kind) as caught:
        run("generalise", table, table.parent / "out.csv", "--plan", plan)
    assert caught.value.exit_code in {14, 34}
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)
    assert not (table.parent / "out.csv").exists()


def test_a_column_in_which_nobody_shares_a_value_is_taken_for_a_name(tmp_path: Path) -> None:
    rows = [f"{CANARY}{n},{n % 3},x{n % 2}" for n in range(40)]
    (tmp_path / "table.csv").write_text("\n".join(["who,grade,hand", *rows]) + "\n")
    said = run("plan", tmp_path / "table.csv")
    roles = [line for line in said.splitlines() if line.startswith("role")]
    assert roles == ['role = "direct"', 'role = "quasi"', 'role = "quasi"']
