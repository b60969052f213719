"""The README's commands, options and help texts are those of the programs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from reidscope_deid.cli import app as deid_app
from reidscope_server.cli import app as server_app
from reidscope_site.cli import app as site_app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS: dict[str, click.Command] = {
    "reidscope-deid": typer.main.get_command(deid_app),
    "reidscope-server": typer.main.get_command(server_app),
    "reidscope-site": typer.main.get_command(site_app),
}


def help_block(program: str) -> str:
    """Return what stands in the README for a program: each command and its first help line."""
    lines = [f"| `{program}` | |", "|---|---|"]
    for path, command in leaves(PROGRAMS[program], ()):
        first = (command.help or "").strip().splitlines()[0]
        lines.append(f"| `{' '.join(path)}` | {first} |")
    return "\n".join(lines)


def leaves(
    command: click.Command, path: tuple[str, ...]
) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    return [
        leaf
        for name, inner in sorted(command.commands.items())
        for leaf in leaves(inner, (*path, name))
    ]


def shown_commands() -> list[str]:
    blocks = re.findall(r"```\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.split("   #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("reidscope-")]


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_the_readme_shows_every_command_with_its_own_help_line(program: str) -> None:
    block = re.search(rf"<!-- help: {program} -->\n(.*?)<!-- /help -->", README, flags=re.DOTALL)
    assert block is not None
    assert block.group(1).strip() == help_block(program)


@pytest.mark.parametrize("line", shown_commands())
def test_every_command_of_the_readme_exists_with_every_option_it_uses(line: str) -> None:
    program, *words = shlex.split(line)
    command = PROGRAMS[program]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    given = {word for word in words if word.startswith("--")}
    required = {
        parameter.opts[0]
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.required
    }
    assert required <= given


def test_the_readme_names_both_make_targets_and_they_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "check"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_file_that_the_documentation_links_to_exists() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http:", "https:")):
                assert (page.parent / target).exists(), f"{page.name} -> {target}"
