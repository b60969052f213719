"""A site as tests/site has it, with room for four audited studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.audit.released_canaries import CanarySite
from tests.site.conftest import Coordinator, MakeHome, ca_pem, coordinator, make_home

from reidscope_protocols.study import Study
from reidscope_site.agent import Agent

__all__ = ["ca_pem", "coordinator", "make_home"]


@pytest.fixture
def canary_site(
    make_home: MakeHome, coordinator: Coordinator, make_study: Callable[..., Study]
) -> Iterator[CanarySite]:
    agent = Agent(make_home(epsilon_per_study="2", epsilon_lifetime="100"))
    yield CanarySite(agent, coordinator, make_study)
    agent.close()
