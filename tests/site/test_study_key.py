"""A study's key, once destroyed: whatever bytes are left of the database open to nobody."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reidscope_deid.keys import SiteKey
from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import LedgerError, OutcomeMissingError, PolicyRefusalError
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site import store, study_key
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.handover import answer_for
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.release import release
from reidscope_site.store import connect
from reidscope_site.verbs import ask

ROLE = "data protection officer"
STUDY = "ab" * 32


def keys_within(content: bytes, site_key: SiteKey, study: str) -> Iterator[AESGCM]:
    """Every key of a study that somebody with the site key finds in any bytes, at any place."""
    wrap = AESGCM(site_key.branch(study_key._WRAP_DOMAIN))
    size = 12 + 32 + 16
    for start in range(len(content) - size + 1):
        piece = content[start : start + size]
        try:
            yield AESGCM(wrap.decrypt(piece[:12], piece[12:], f"study_key|{study}".encode()))
        except InvalidTag:
            continue


def files_of(home: Home) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.root.glob("state.sqlite*")))


def test_after_wiping_no_bytes_of_the_live_database_open_and_an_older_copy_of_it_does(
    agent: Agent, evaluated: Opened[Study], tmp_path: Path
) -> None:
    site_key = agent.site_key
    sealed = [row[0] for row in agent.connection.execute("SELECT sealed FROM outcome")]
    agent.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = files_of(agent.home)
    copy = tmp_path / "backup.sqlite"
    shutil.copy(agent.home.database, copy)
    assert len(list(keys_within(before, site_key, evaluated.sha256))) == 1

    agent.wipe(evaluated.sha256, ROLE)
    after = files_of(agent.home)
    assert list(keys_within(after, site_key, evaluated.sha256)) == []
    assert not any(each in after for each in sealed)
    # said in docs/threat-model.md: a copy from before holds the wrapped key
    backup = connect(copy)
    assert len(Outcomes(backup, site_key, evaluated.sha256).all()) == 5
    backup.close()


def test_rows_that_somebody_kept_do_not_open_once_the_key_is_gone(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    rows = agent.connection.execute("SELECT * FROM outcome").fetchall()
    agent.wipe(evaluated.sha256, ROLE)
    agent.connection.executemany("INSERT INTO outcome VALUES (?, ?, ?)", rows)
    with pytest.raises(OutcomeMissingError, match="destroyed"):
        Outcomes(agent.connection, agent.site_key, evaluated.sha256).all()


def test_the_key_is_destroyed_when_the_release_is_stored(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    site_key = agent.site_key
    release(
        evaluated,
        Outcomes(agent.connection, site_key, evaluated.sha256),
        ledger=agent.ledger, policy=agent.policy, site="north", key=agent.statement_key,
        versions={"reidscope": "test"},
    )  # fmt: skip
    assert study_key.is_destroyed(agent.connection, evaluated.sha256)
    assert list(keys_within(files_of(agent.home), site_key, evaluated.sha256)) == []


def test_two_studies_have_two_keys_and_one_does_not_open_the_other(agent: Agent) -> None:
    first = Outcomes(agent.connection, agent.site_key, STUDY)
    other = Outcomes(agent.connection, agent.site_key, "cd" * 32)
    for outcomes in (first, other):
        outcomes.keep("P-1", Outcome(cells=(1,)))
    agent.connection.execute(
        "UPDATE study_key SET wrapped = (SELECT wrapped FROM study_key s WHERE s.study_sha256 = ?)",
        (STUDY,),
    )
    assert len(first.all()) == 1
    with pytest.raises(LedgerError):
        other.all()


@pytest.mark.parametrize("wrapped", ["x''", "x'00'", "zeroblob(60)", "'text'"])
def test_an_altered_key_is_refused(agent: Agent, wrapped: str) -> None:
    outcomes = Outcomes(agent.connection, agent.site_key, STUDY)
    outcomes.keep("P-1", Outcome(cells=(1,)))
    agent.connection.execute(f"UPDATE study_key SET wrapped = {wrapped}")  # noqa: S608  # own words
    with pytest.raises(LedgerError):
        outcomes.all()


def test_a_wiped_study_is_neither_measured_nor_approved_nor_withdrawn_and_is_answered_lost(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    assert [study.sha256 for study in agent.studies.every()] == [evaluated.sha256]
    ask(agent.home.root, "wipe", {"study": evaluated.statement.study_id, "role": ROLE})
    assert agent.ready_to_run() == ()
    with pytest.raises(OutcomeMissingError):
        Outcomes(agent.connection, agent.site_key, evaluated.sha256).keep(
            "P-1", Outcome(cells=(0, 0))
        )
    with pytest.raises(OutcomeMissingError):
        Outcomes(agent.connection, agent.site_key, evaluated.sha256).all()
    for verdict in (Verdict.APPROVED, Verdict.WITHDRAWN):
        with pytest.raises(PolicyRefusalError):
            agent.decide(evaluated.sha256, verdict, role=ROLE, reason=DecisionReason.POLICY)
    assert answer_for(agent, evaluated.sha256) == b"Nlost"
    assert agent.ledger.spent().nano == 0
    assert [entry.event for entry in agent.journal.entries()][-1] == "study key destroyed"


def test_only_a_role_wipes(agent: Agent, evaluated: Opened[Study]) -> None:
    with pytest.raises(PolicyRefusalError):
        agent.wipe(evaluated.sha256, "somebody")
    assert not study_key.is_destroyed(agent.connection, evaluated.sha256)


def test_a_study_that_closed_without_a_release_loses_its_key_by_its_date_alone(
    agent: Agent, evaluated: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.retire()
    assert not study_key.is_destroyed(agent.connection, evaluated.sha256)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=31)

    monkeypatch.setattr("reidscope_site.agent.datetime", Later)
    agent.retire()
    assert study_key.is_destroyed(agent.connection, evaluated.sha256)
    assert agent.connection.execute("SELECT COUNT(*) FROM outcome").fetchone() == (0,)


def test_a_new_approval_after_a_change_starts_with_a_new_key(
    agent: Agent, evaluated: Opened[Study], people: Any
) -> None:
    before = agent.connection.execute("SELECT wrapped FROM study_key").fetchone()
    agent.snapshot.freeze(people[:4], agent.site_key)
    agent.decide(evaluated.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)
    assert agent.connection.execute("SELECT COUNT(*) FROM study_key").fetchone() == (0,)
    Outcomes(agent.connection, agent.site_key, evaluated.sha256).keep("P-0", Outcome(cells=(0, 0)))
    assert agent.connection.execute("SELECT wrapped FROM study_key").fetchone() != before


def test_a_home_from_before_study_keys_forgets_outcomes_that_it_could_not_open(
    home: Home,
) -> None:
    Agent(home).close()
    connection = sqlite3.connect(home.database)
    connection.execute("DROP TABLE study_key")
    connection.execute("DROP TABLE sum_attempt")
    connection.execute("ALTER TABLE ledger DROP COLUMN alone_nano")
    connection.execute("ALTER TABLE person DROP COLUMN others")
    connection.execute("INSERT INTO outcome VALUES ('ab', 'P-1', x'00')")
    connection.execute(f"PRAGMA user_version = {store._STEPS.index(store._STUDY_KEY)}")
    connection.commit()
    connection.close()
    agent = Agent(home)
    assert agent.connection.execute("SELECT COUNT(*) FROM outcome").fetchone() == (0,)
    agent.close()
