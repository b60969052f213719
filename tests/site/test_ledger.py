"""Charged before sampling, never refunded, one stored release a table, chained."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reidscope_protocols.errors import (
    BudgetExhaustedError,
    LedgerError,
    OutcomeMissingError,
    ReidscopeError,
)
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import LedgerHead
from reidscope_site import store
from reidscope_site.config import Policy
from reidscope_site.ledger import Ledger

TABLE = "face-joint"


def digest(number: int) -> str:
    return f"{number:064x}"


def loss(text: str) -> PrivacyLoss:
    return PrivacyLoss.from_decimal(text)


def policy(study: str = "2", lifetime: str = "4") -> Policy:
    return Policy(declared_people=20, epsilon_per_study=study, epsilon_lifetime=lifetime)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "state.sqlite"
    store.connect(path).close()
    return path


@pytest.fixture
def ledger(database: Path) -> Ledger:
    return Ledger(store.connect(database))


def together(
    database: Path, count: int, charge: Callable[[Ledger, int], object]
) -> list[type[Exception] | None]:
    """Run `charge` in `count` threads at once, each with its own connection."""
    ended: list[type[Exception] | None] = [None] * count
    start = threading.Barrier(count)

    def one(number: int) -> None:
        connection = store.connect(database)
        start.wait()
        try:
            charge(Ledger(connection), number)
        except ReidscopeError as error:
            ended[number] = type(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def test_a_charge_stays_when_nothing_follows_it(ledger: Ledger, database: Path) -> None:
    ledger.charge(digest(1), TABLE, loss("1.5"), policy())
    again = Ledger(store.connect(database))
    assert again.spent() == loss("1.5")
    assert again.stored(digest(1)) is None


def test_a_table_that_was_charged_and_not_stored_is_lost_and_never_charged_again(
    ledger: Ledger,
) -> None:
    ledger.charge(digest(1), TABLE, loss("1"), policy())
    with pytest.raises(OutcomeMissingError):
        ledger.charge(digest(1), TABLE, loss("1"), policy())
    assert ledger.spent() == loss("1")


def test_a_renamed_table_or_a_new_study_draws_on_the_same_account(ledger: Ledger) -> None:
    ledger.charge(digest(1), TABLE, loss("2"), policy())
    ledger.charge(digest(2), "renamed", loss("2"), policy())
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(digest(3), "again", loss("0.000000001"), policy())
    assert ledger.spent() == loss("4")


def test_a_study_over_the_cap_of_one_study_is_refused_and_costs_nothing(ledger: Ledger) -> None:
    with pytest.raises(BudgetExhaustedError, match=r"2\.000000001"):
        ledger.charge(digest(1), TABLE, loss("2.000000001"), policy())
    assert ledger.spent() == loss("0")
    assert list(ledger.entries()) == []


def test_a_cap_that_was_lowered_below_what_is_spent_leaves_nothing(ledger: Ledger) -> None:
    ledger.charge(digest(1), TABLE, loss("2"), policy())
    with pytest.raises(BudgetExhaustedError, match="at most 0 "):
        ledger.charge(digest(2), TABLE, loss("1"), policy(lifetime="1"))


def test_eight_threads_cannot_overspend(database: Path) -> None:
    caps = policy(lifetime="1")
    ended = together(
        database, 8, lambda held, number: held.charge(digest(number), TABLE, loss("0.4"), caps)
    )
    assert ended.count(None) == 2
    assert ended.count(BudgetExhaustedError) == 6
    held = Ledger(store.connect(database))
    held.check()
    assert held.spent() == loss("0.8")


def test_eight_threads_charge_one_table_once(database: Path) -> None:
    ended = together(
        database, 8, lambda held, _: held.charge(digest(1), TABLE, loss("0.1"), policy())
    )
    assert ended.count(None) == 1
    assert ended.count(OutcomeMissingError) == 7
    assert Ledger(store.connect(database)).spent() == loss("0.1")


CHARGE = """
import sys
from pathlib import Path
from reidscope_protocols.errors import BudgetExhaustedError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_site import store
from reidscope_site.config import Policy
from reidscope_site.ledger import Ledger

ledger = Ledger(store.connect(Path(sys.argv[1])))
policy = Policy(declared_people=20, epsilon_per_study="2", epsilon_lifetime="1")
for number in range(6):
    try:
        ledger.charge(f"{sys.argv[2]}{number:063x}", "t", PrivacyLoss.from_decimal("0.15"), policy)
    except BudgetExhaustedError:
        pass
"""


def test_four_processes_cannot_overspend(database: Path) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", CHARGE, database, str(number)])
        for number in range(4)
    ]
    assert [child.wait(60) for child in children] == [0] * 4
    held = Ledger(store.connect(database))
    held.check()
    assert held.spent() == loss("0.9")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    asked=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 2_500_000_000)), max_size=12),
    study=st.integers(1, 3_000_000_000),
    lifetime=st.integers(1, 5_000_000_000),
)
def test_whatever_is_asked_in_whatever_order_the_account_stays_under_its_caps(
    asked: list[tuple[int, int]], study: int, lifetime: int
) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in (*store._SCHEMA.split(";"), *store._SUMS.split(";")):
        connection.execute(statement)
    held = Ledger(connection)
    caps = policy(str(PrivacyLoss(study)), str(PrivacyLoss(lifetime)))
    expected, spent = set(), 0
    for number, nano in asked:
        try:
            held.charge(digest(number), TABLE, PrivacyLoss(nano), caps)
        except (BudgetExhaustedError, OutcomeMissingError):
            assert number in expected or nano > study or spent + nano > lifetime
        else:
            assert number not in expected
            expected.add(number)
            spent += nano
        assert held.spent().nano == spent <= lifetime
    held.check()


def filled(database: Path) -> sqlite3.Connection:
    connection = store.connect(database)
    held = Ledger(connection)
    for number in (1, 2):
        held.charge(digest(number), TABLE, loss("1"), policy())
        held.store(digest(number), TABLE, b"release %d" % number)
    held.check()
    return connection


@pytest.mark.parametrize("entry", [1, 2, 4])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kind", "'refund'"),
        ("study_sha256", f"'{digest(9)}'"),
        ("table_name", "'other'"),
        ("nano", "1"),
        ("nano", "-1000000000"),
        ("nano", "'nothing'"),
        ("nano", "9223372036854775807"),
        ("nano", "0.5"),
        ("digest", "'00'"),
        ("salt", "zeroblob(32)"),
        ("salt", "'text'"),
        ("written_at", "'2020-01-01T00:00:00+00:00'"),
        ("head", f"'{digest(7)}'"),
        ("sequence", "77"),
    ],
)
def test_any_edited_column_breaks_the_chain(
    database: Path, entry: int, column: str, value: str
) -> None:
    connection = filled(database)
    connection.execute(f"UPDATE ledger SET {column} = {value} WHERE sequence = {entry}")  # noqa: S608  # the test's own words
    held = Ledger(connection)
    with pytest.raises(LedgerError):
        held.check()
    with pytest.raises(LedgerError):
        held.charge(digest(3), TABLE, loss("0.1"), policy())


@pytest.mark.parametrize("entry", [1, 2, 3])
def test_a_removed_entry_breaks_the_chain(database: Path, entry: int) -> None:
    connection = filled(database)
    connection.execute("DELETE FROM ledger WHERE sequence = ?", (entry,))
    with pytest.raises(LedgerError):
        Ledger(connection).check()


def test_a_recomputed_chain_is_caught_by_the_heads_that_were_sent(database: Path) -> None:
    connection = filled(database)
    held = Ledger(connection)
    seen = held.head()
    held.check_holds(seen)
    connection.execute("DELETE FROM ledger WHERE sequence > 2")
    held.check()
    with pytest.raises(LedgerError):
        held.check_holds(seen)
    held.charge(digest(5), TABLE, loss("1"), policy())
    held.store(digest(5), TABLE, b"another")
    held.check()
    with pytest.raises(LedgerError):
        held.check_holds(seen)


def test_an_altered_stored_release_is_never_sent(database: Path) -> None:
    connection = filled(database)
    connection.execute("UPDATE released SET envelope = ? WHERE study_sha256 = ?", (b"x", digest(1)))
    connection.execute("INSERT INTO released VALUES (?, ?)", (digest(8), b"never charged"))
    held = Ledger(connection)
    for number in (1, 8):
        with pytest.raises(LedgerError):
            held.stored(digest(number))
    assert held.stored(digest(2)) == b"release 2"


def test_a_release_is_stored_once(database: Path) -> None:
    held = Ledger(filled(database))
    before = held.head()
    with pytest.raises(sqlite3.IntegrityError):
        held.store(digest(1), TABLE, b"another")
    assert held.stored(digest(1)) == b"release 1"
    assert held.head() == before


def test_two_ledgers_of_the_same_charges_have_unrelated_heads(tmp_path: Path) -> None:
    """A head leaves the site: it must not let anybody test a guess."""
    heads = set()
    for number in range(4):
        held = Ledger(store.connect(tmp_path / f"{number}.sqlite"))
        heads.add(held.charge(digest(1), TABLE, loss("1"), policy()).head)
        (entry,) = held.entries()
        assert len(entry.salt) == 32
    assert len(heads) == 4


def test_an_empty_ledger_has_a_head_that_everybody_knows(ledger: Ledger) -> None:
    assert ledger.head() == LedgerHead(sequence=0, head="0" * 64)


def test_a_young_charge_is_in_hand_and_an_old_one_is_not(ledger: Ledger) -> None:
    ledger.charge(digest(1), TABLE, loss("1"), policy())
    now = datetime.now(UTC)
    assert ledger.in_hand(digest(1), now)
    assert not ledger.in_hand(digest(1), now + timedelta(minutes=2))
    assert not ledger.in_hand(digest(2), now)


def test_the_database_syncs_fully_and_is_its_owners_alone(database: Path) -> None:
    connection = store.connect(database)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    assert database.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounted = tmp_path / "a share"
    mounted.mkdir()
    table = f"proc / ext4 rw 0 0\nhost {str(mounted).replace(' ', chr(92) + '040')} {kind} rw 0 0\n"

    def mounts(self: Path, **_: object) -> str:
        assert str(self) == "/proc/self/mounts"
        return table

    monkeypatch.setattr(Path, "read_text", mounts)
    with pytest.raises(LedgerError, match="network"):
        store.connect(mounted / "state.sqlite")
    assert not (mounted / "state.sqlite").exists()
