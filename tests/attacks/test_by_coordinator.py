"""Each thing that a malicious coordinator tries on a site, and the refusal that it meets."""

from __future__ import annotations

import pytest
from tests.attacks.by_coordinator import CATALOGUE
from tests.attacks.catalogue import nothing_came_of_it
from tests.attacks.parties import World


@pytest.mark.parametrize("name", CATALOGUE.attacks)
def test_a_coordinator_is_refused(world: World, name: str) -> None:
    attack = CATALOGUE.attacks[name]
    with pytest.raises(attack.refused) as caught:
        attack.act(world)
    assert type(caught.value) is attack.refused
    text = str(caught.value)
    assert ": got " in text
    assert text.isprintable()
    assert str(world.north.home.root) not in text
    nothing_came_of_it(world, attack)
