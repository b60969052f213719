"""docs/ledger.md names a module and a test for every rule; both exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| rule ")
]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_rule_has_a_module_and_a_test_that_exist() -> None:
    assert len(ROWS) > 30
    for rule, module, tried in ROWS:
        for file in re.findall(r"`([^`]+)`", module):
            assert (ROOT / file).is_file(), rule
        tests = TEST.findall(tried)
        assert tests, rule
        for file, function in tests:
            assert function.startswith("test_")
            assert function in functions_of(file), f"{rule}: {function}"


def test_what_the_issue_names_is_all_there() -> None:
    rules = " ".join(row[0] for row in ROWS).lower()
    for named in (
        "kill -9", "eight at once", "old copy of the database", "old copy of the witness",
        "old copies of both", "clock turned back", "full disk", "renamed table or study",
        "added patient", "changed package",
    ):  # fmt: skip
        assert named in rules, named
