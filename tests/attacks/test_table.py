"""docs/attacks.md names every attack once, with the refusal and a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.attacks import by_coordinator, by_insider, by_site, by_thief

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" | "))
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| name ")
]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_row_has_a_name_of_its_own_and_a_test_that_exists() -> None:
    names = [row[0] for row in ROWS]
    assert len(names) == len(set(names)) > 100
    assert {len(row) for row in ROWS} == {4}
    named = {row[3].strip("`| ") for row in ROWS}
    named |= set(re.findall(r"`(tests/[^`]+::[^`]+)`", PAGE))
    for name in named:
        file, function = name.split("::")
        assert function.startswith("test_")
        assert function in functions_of(ROOT / file), name


def test_every_attack_that_the_tests_try_stands_in_the_table_with_its_refusal() -> None:
    refusals = {row[0]: row[2] for row in ROWS}
    tried = {
        name: attack
        for module in (by_coordinator, by_site, by_insider, by_thief)
        for name, attack in module.CATALOGUE.attacks.items()
    }
    assert len(tried) >= 40
    for name, attack in tried.items():
        assert refusals[name] == f"{attack.refused.__name__} ({attack.refused.exit_code})"
