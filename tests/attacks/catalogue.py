"""What an attack is: a name, what is tried, the refusal it must meet, and the act itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.attacks.parties import SiteParty, World

from reidscope_protocols.errors import ReidscopeError
from reidscope_protocols.privacy import PrivacyLoss

Act = Callable[[World], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One named attack.

    Attributes
    ----------
    name : str
        Also the test's id, and the row's in docs/attacks.md.
    refused : type of ReidscopeError
        The exact class; its exit code is what a person's command ends with.
    spent : str
        Epsilon that north has spent afterwards: nothing, unless it released honestly before.
    ledger : tuple of str
        Kinds of the entries of north's ledger afterwards.
    releases : int
        Releases that the coordinator holds afterwards.
    """

    name: str
    refused: type[ReidscopeError]
    act: Act
    spent: str = "0"
    ledger: tuple[str, ...] = ()
    releases: int = 0


class Catalogue:
    """The attacks of one adversary, in the order in which they are written down."""

    def __init__(self) -> None:
        self.attacks: dict[str, Attack] = {}

    def attack(
        self, name: str, refused: type[ReidscopeError], **after: Any
    ) -> Callable[[Act], Act]:
        def noted(act: Act) -> Act:
            assert name not in self.attacks
            self.attacks[name] = Attack(name=name, refused=refused, act=act, **after)
            return act

        return noted


def nothing_came_of_it(world: World, attack: Attack) -> None:
    """Nothing more was spent, stored or sent than an honest release before the attack."""
    for party, spent, ledger in (
        (world.north, attack.spent, attack.ledger),
        (world.south, "0", ()),
    ):
        assert party.spent() == PrivacyLoss.from_decimal(spent)
        party.agent.ledger.check()
        assert tuple(entry.kind for entry in party.agent.ledger.entries()) == ledger
        assert party.sent().count("release") == ledger.count("stored")
    assert world.operator.rows("release") == attack.releases
    assert world.operator.rows("receipt") == attack.releases
    assert not list(world.north.home.work.iterdir())


def files_of(party: SiteParty) -> dict[str, bytes]:
    """Every file of a home by its name, but for the database's own side files."""
    root = party.home.root
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("state.sqlite")
    }
