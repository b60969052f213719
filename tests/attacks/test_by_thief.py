"""Each thing that a thief of keys tries, and the refusal that it meets."""

from __future__ import annotations

import pytest
from tests.attacks.by_thief import CATALOGUE
from tests.attacks.catalogue import nothing_came_of_it
from tests.attacks.parties import World


@pytest.mark.parametrize("name", CATALOGUE.attacks)
def test_a_thief_of_keys_is_refused(world: World, name: str) -> None:
    attack = CATALOGUE.attacks[name]
    with pytest.raises(attack.refused) as caught:
        attack.act(world)
    assert type(caught.value) is attack.refused
    assert ": got " in str(caught.value)
    assert str(caught.value).isprintable()
    nothing_came_of_it(world, attack)
