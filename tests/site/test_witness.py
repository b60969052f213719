"""An older ledger, an older witness, a copy: noticed before anything is sampled."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reidscope_protocols.errors import BudgetExhaustedError, LedgerError, ReidscopeError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_site import store
from reidscope_site.config import Policy
from reidscope_site.ledger import Ledger
from reidscope_site.witness import Witness

TABLE = "face-joint"
CAPS = Policy(declared_people=20, epsilon_per_study="2", epsilon_lifetime="4")
HALF = PrivacyLoss.from_decimal("0.5")


class Killed(BaseException):
    """What a power cut looks like from inside."""


class Site:
    """A database and its witness, which can be copied, restored and killed."""

    def __init__(self, folder: Path) -> None:
        self.database, self.file = folder / "home/state.sqlite", folder / "elsewhere/witness.json"
        for path in (self.database, self.file):
            path.parent.mkdir(parents=True)
        self.opened: list[sqlite3.Connection] = []
        self.number = 0

    def ledger(self) -> Ledger:
        self.opened.append(store.connect(self.database))
        return Ledger(self.opened[-1], Witness(self.file))

    def charge(self, ledger: Ledger | None = None) -> None:
        self.number += 1
        (ledger or self.ledger()).charge(f"{self.number:064x}", TABLE, HALF, CAPS)

    def close(self) -> None:
        for connection in self.opened:
            connection.close()
        self.opened.clear()

    def copy(self) -> dict[Path, bytes]:
        """Bytes of the database at rest, and of the witness."""
        self.close()
        connection = store.connect(self.database)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        found = [self.database, self.file]
        return {path: path.read_bytes() for path in found if path.exists()}

    def restore(self, kept: dict[Path, bytes], *paths: Path) -> None:
        """Put bytes back into the same files."""
        self.close()
        for path in paths:
            if path == self.database:
                for side in ("-wal", "-shm"):
                    Path(f"{path}{side}").unlink(missing_ok=True)
            path.write_bytes(kept[path])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_ledger_and_its_witness_walk_together(site: Site) -> None:
    for _ in range(3):
        site.charge()
    ledger = site.ledger()
    ledger.check()
    seen = Witness(site.file).read()
    assert seen is not None
    assert (seen.previous, seen.current) == (None, ledger.head())
    assert seen.spent_nano == ledger.spent().nano
    assert site.file.stat().st_mode & 0o077 == 0


def test_an_older_database_is_refused_and_costs_what_the_witness_knows(site: Site) -> None:
    site.charge()
    old = site.copy()
    site.charge()
    site.charge()
    site.restore(old, site.database)
    with pytest.raises(LedgerError, match="witness did not see"):
        site.charge()
    with pytest.raises(LedgerError):
        site.ledger().check()
    assert site.ledger().adopt(CAPS) == PrivacyLoss.from_decimal("1")
    ledger = site.ledger()
    ledger.check()
    assert ledger.spent() == PrivacyLoss.from_decimal("1.5")
    site.charge(ledger)


def test_an_older_witness_is_refused_and_costs_everything_that_is_left(site: Site) -> None:
    site.charge()
    old = site.copy()
    site.charge()
    site.restore(old, site.file)
    with pytest.raises(LedgerError, match="witness did not see"):
        site.charge()
    assert site.ledger().adopt(CAPS) == PrivacyLoss.from_decimal("3")
    with pytest.raises(BudgetExhaustedError):
        site.charge()


@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_text("{}")])
def test_a_witness_that_is_gone_or_spoiled_is_refused_and_costs_everything(
    site: Site, spoil: Callable[[Path], None]
) -> None:
    site.charge()
    spoil(site.file)
    with pytest.raises(LedgerError, match="witness file"):
        site.charge()
    assert site.ledger().adopt(CAPS) == PrivacyLoss.from_decimal("3.5")
    site.ledger().check()


def test_another_sites_witness_is_refused(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path / "other")
    other.charge()
    site.charge()
    shutil.copy(other.file, site.file)
    with pytest.raises(LedgerError, match="witness did not see"):
        site.charge()


def test_a_copy_of_the_database_is_refused_beside_a_witness_that_agrees(site: Site) -> None:
    site.charge()
    site.copy()
    copied = site.database.with_name("copy.sqlite")
    shutil.copy(site.database, copied)
    copied.replace(site.database)  # the same name, the same bytes, another file
    with pytest.raises(LedgerError, match="a copy"):
        site.charge()
    assert site.ledger().adopt(CAPS) == PrivacyLoss(0)  # the witness agrees: nothing was lost
    site.charge()


def test_the_site_that_restores_both_is_not_noticed_here(site: Site) -> None:
    # The residual that docs/privacy.md names: receipts and the heads of studies are left.
    site.charge()
    old = site.copy()
    site.charge()
    site.restore(old, site.database, site.file)
    site.ledger().check()


@pytest.mark.parametrize("point", ["announced", "committed"])
def test_a_kill_on_either_side_of_the_commit_costs_no_more_than_the_charge(
    site: Site, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    site.charge()
    name = "announce" if point == "announced" else "confirm"
    original = getattr(Witness, name)

    def killed(self: Witness, *arguments: object) -> None:
        if point == "announced":
            original(self, *arguments)
        raise Killed

    monkeypatch.setattr(Witness, name, killed)
    with pytest.raises(Killed):
        site.charge()
    monkeypatch.undo()
    site.close()
    ledger = site.ledger()
    ledger.check()
    spent = "0.5" if point == "announced" else "1"
    assert ledger.spent() == PrivacyLoss.from_decimal(spent)
    site.charge(ledger)
    assert Witness(site.file).read().previous is None  # type: ignore[union-attr]  # just written


def test_a_witness_that_cannot_be_written_charges_nothing(site: Site) -> None:
    site.charge()
    kept = site.file.read_bytes()
    shutil.rmtree(site.file.parent)
    with pytest.raises(LedgerError):
        site.charge()
    site.file.parent.mkdir()
    site.file.write_bytes(kept)
    assert site.ledger().spent() == HALF
    site.charge()


def test_eight_threads_leave_ledger_and_witness_at_one_place(site: Site) -> None:
    site.charge()
    start = threading.Barrier(8)
    ended: list[type[Exception] | None] = []

    def one(number: int) -> None:
        connection = store.connect(site.database)
        start.wait()
        try:
            Ledger(connection, Witness(site.file)).charge(f"{number + 50:064x}", TABLE, HALF, CAPS)
        except ReidscopeError as error:
            ended.append(type(error))
        else:
            ended.append(None)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended.count(None) == 7
    assert ended.count(BudgetExhaustedError) == 1
    ledger = site.ledger()
    ledger.check()
    seen = Witness(site.file).read()
    assert seen is not None
    assert (seen.previous, seen.current) == (None, ledger.head())


steps = st.lists(st.sampled_from(["charge", "kill before", "kill after", "keep", "restore"]))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps.filter(lambda taken: len(taken) <= 12))
def test_whatever_happens_nothing_is_charged_on_an_older_database(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    drawn = 0  # what a person would have lost: every charge after which noise could be drawn
    kept: dict[Path, bytes] = {}
    for step in steps:
        try:
            if step == "keep":
                kept = site.copy()
            elif step == "restore" and site.database in kept:
                site.restore(kept, site.database)
            elif step == "kill before":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(Witness, "announce", _kill)
                    site.charge()
            elif step == "kill after":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(Witness, "confirm", _kill)
                    site.charge()
            elif step == "charge":
                site.charge()
                drawn += HALF.nano
        except (LedgerError, BudgetExhaustedError, Killed):
            site.close()
    assert drawn <= CAPS.lifetime_cap.nano
    ledger = site.ledger()
    try:
        ledger.check()
    except LedgerError:
        return
    assert ledger.spent().nano >= drawn
    site.close()


def _kill(*_arguments: object) -> None:
    raise Killed
