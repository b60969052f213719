"""A world for each attack: an operator and two enrolled sites, copied from one that is at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.attacks.parties import Operator, SiteParty, World, public_constants

from reidscope_protocols.study import Study
from reidscope_site.agent import Agent


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, make_study: Callable[..., Study]) -> Path:
    root = tmp_path_factory.mktemp("template")
    operator = Operator.at(root / "coordinator", make_study)
    for name in ("north", "south"):
        home = SiteParty.made(root / name, operator, name)
        agent = Agent(home)
        for constant in public_constants():
            # What every installation brings along lies ready: it is not hashed for each attack.
            if constant.size_bytes is None:
                agent.constants.keep(agent.constants.read(constant), constant)
        agent.close()
    return root


@pytest.fixture
def world(template: Path, tmp_path: Path, make_study: Callable[..., Study]) -> Iterator[World]:
    made = World.copied(template, tmp_path / "world", make_study)
    yield made
    made.close()
