"""Each `Privacy` docstring names a section of docs/privacy.md; each section is named somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "privacy.md"
SECTIONS = set(re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
MODULES = [
    path
    for folder in ("protocols", "deid", "site_agent", "server", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "_pb2" not in path.name
]
NAMED = re.compile(r'docs/privacy\.md, "([^"]+)"')
HEADING = re.compile(r"^Privacy\n-+\n", flags=re.MULTILINE)
KINDS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Return (where, text) of every docstring of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, KINDS) and (text := ast.get_docstring(node)):
            yield f"{path.relative_to(ROOT)}: {getattr(node, 'name', 'module')}", text


def sections_of(text: str) -> list[str]:
    return NAMED.findall(" ".join(text.split()))


def privacy_parts(text: str) -> list[str]:
    """Return the `Privacy` sections of a docstring, each up to the next heading."""
    return [
        re.split(r"^\w[\w ]*\n-{3,}$", part, maxsplit=1, flags=re.MULTILINE)[0]
        for part in HEADING.split(text)[1:]
    ]


ALL = [found for path in MODULES for found in docstrings(path)]


def test_every_privacy_docstring_names_its_section() -> None:
    parts = [(where, part) for where, text in ALL for part in privacy_parts(text)]
    assert len(parts) > 100
    assert [where for where, part in parts if not sections_of(part)] == []


def test_every_section_that_is_named_exists() -> None:
    named = {(where, section) for where, text in ALL for section in sections_of(text)}
    assert [found for found in sorted(named) if found[1] not in SECTIONS] == []


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_every_section_is_what_some_code_rests_on(section: str) -> None:
    assert any(section in sections_of(text) for _, text in ALL)


def test_the_page_says_all_that_an_expert_asks_first() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    for said in (
        "add or remove one person",
        "frozen snapshots",
        "Crossed arms",
        "Repeated scans",
        "Failures",
        "Subgroups",
        "A person at s sites",
        "Population facts",
        "Members of the public reference gallery",
        "That a site takes part",
    ):
        assert said in text, said


def test_the_tables_that_the_page_explains_are_those_that_a_study_can_ask_for() -> None:
    from reidscope_protocols import face_experiment  # noqa: PLC0415  # for this test alone

    text = PAGE.read_text(encoding="utf-8")
    names = [getattr(face_experiment, name) for name in dir(face_experiment) if "_TABLE" in name]
    names = [name for name in names if isinstance(name, str)]
    names = [name for name in names if isinstance(name, str)]
    names = [name for name in names if isinstance(name, str)]
    names = [name for name in names if isinstance(name, str)]
    names = [name for name in names if isinstance(name, str)]
    assert [name for name in names if f"`{name}" not in text] == []
