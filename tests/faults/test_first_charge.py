"""A site that is killed in its very first charge: the ledger and its witness still agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from reidscope_protocols.privacy import PrivacyLoss
from reidscope_site import store
from reidscope_site.config import Policy
from reidscope_site.ledger import Ledger
from reidscope_site.witness import Witness

POLICY = Policy(declared_people=20)
LOSS = PrivacyLoss(1)


class KilledError(BaseException):
    """What a power cut looks like from inside."""


@pytest.mark.parametrize("point", ["announce", "confirm"])
def test_a_kill_on_either_side_of_the_first_commit_leaves_a_ledger_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def opened() -> Ledger:
        return Ledger(store.connect(tmp_path / "state.sqlite"), Witness(tmp_path / "witness"))

    original = getattr(Witness, point)

    def killed(self: Witness, *arguments: object) -> None:
        if point == "announce":
            original(self, *arguments)
        raise KilledError

    monkeypatch.setattr(Witness, point, killed)
    with pytest.raises(KilledError):
        opened().charge("1" * 64, "t", LOSS, POLICY)
    monkeypatch.undo()
    again = opened()
    again.check()
    assert again.spent() == (PrivacyLoss(0) if point == "announce" else LOSS)
    again.charge("2" * 64, "t", LOSS, POLICY)
    again.check()
