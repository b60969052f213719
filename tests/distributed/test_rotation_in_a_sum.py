"""A site's key while it takes part in a secure sum: the roster that others approved binds it."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.distributed.federation import Federation
from typer.testing import CliRunner

from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.errors import BadSignatureError, ConfigError, NotReadyError
from reidscope_protocols.key_change import KeyChange, open_change
from reidscope_protocols.keys import KeyRing
from reidscope_protocols.secure_sum import open_sum_keys
from reidscope_protocols.statements import COORDINATOR
from reidscope_protocols.vocabulary import DecisionReason, KeyRole, Verdict
from reidscope_site import cli
from reidscope_site.rotation import install
from reidscope_site.taking_part import bound_to_key

ROLE = "data protection officer"


def rotate(federation: Federation, name: str, *words: object) -> Any:
    home = federation.sites[name].home.root
    arguments = ["keys", "rotate", "--home", home, *words]
    return CliRunner().invoke(cli.app, [str(word) for word in arguments])


def by_file(federation: Federation, name: str, folder: Path, *words: object) -> None:
    """Rotate as a site without a network does: ask, be granted, install."""
    asked = folder / f"{name}.change"
    done = rotate(federation, name, "--request", asked, *words)
    assert done.exit_code == 0, done.exception
    site = federation.sites[name]
    coordinator = federation.operator.coordinator()
    grant = coordinator.sites.keys.change(asked.read_bytes(), name)
    coordinator.close()
    install(site.home, site.agent.pinned, grant)


def hours_pass(federation: Federation) -> None:
    """Let the coordinator have waited long enough for whoever gave no key."""
    connection = sqlite3.connect(federation.operator.home.database)
    with connection:
        connection.execute("UPDATE sum_attempt SET since = '2026-01-01T00:00:00+00:00'")
    connection.close()


@pytest.mark.slow
def test_a_rotation_is_refused_while_a_sum_needs_the_key_and_nothing_is_drawn(
    federation: Federation, tmp_path: Path
) -> None:
    study = federation.approved()
    alpha = federation.sites["alpha"]
    before = alpha.agent.statement_key.public
    assert bound_to_key(alpha.agent) == (study.statement.study_id,)
    for given in (False, True):
        if given:
            federation.give_keys(study)
        done = rotate(federation, "alpha", "--request", tmp_path / "change")
        assert isinstance(done.exception, NotReadyError)
        assert study.statement.study_id in str(done.exception)
        assert "--force" in str(done.exception)
        assert not (tmp_path / "change").exists()
        assert not alpha.home.key("statement.next.pem").exists()
    assert alpha.agent.statement_key.public == before
    federation.advance(study)
    federation.hear()
    federation.send_masked(study)
    federation.advance(study)
    federation.hear()
    assert bound_to_key(alpha.agent) == ()
    by_file(federation, "alpha", tmp_path)
    assert alpha.agent.statement_key.public != before


def test_a_study_that_nobody_approved_or_that_was_declined_or_has_closed_holds_no_key(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = federation.opened()
    alpha, bravo = federation.sites["alpha"], federation.sites["bravo"]
    alpha.exchange()
    assert bound_to_key(alpha.agent) == ()
    for site in (alpha, bravo):
        site.exchange()
        site.index()
        site.approve(study.sha256)
        assert bound_to_key(site.agent) == (study.statement.study_id,)
    bravo.agent.decide(study.sha256, Verdict.WITHDRAWN, role=ROLE, reason=DecisionReason.REVIEWED)
    assert bound_to_key(bravo.agent) == ()

    closed = study.statement.closes_at + timedelta(seconds=1)

    class Later:
        @staticmethod
        def now(_: Any) -> Any:
            return closed

    monkeypatch.setattr("reidscope_site.taking_part.datetime", Later)
    assert bound_to_key(alpha.agent) == ()


@pytest.mark.slow
@pytest.mark.parametrize("way_out", ["--force", "--stolen"])
def test_a_site_that_goes_all_the_same_drops_out_and_the_others_add_up_without_it(
    federation: Federation, tmp_path: Path, way_out: str
) -> None:
    study = federation.approved(minimum_sites=2)
    alpha = federation.sites["alpha"]
    done = rotate(federation, "alpha", "--request", tmp_path / "first", way_out)
    assert done.exit_code == 0, done.exception
    assert f"drops out of: {study.statement.study_id}" in done.output
    # asked for again, as after a cut line: the same change, without the question
    again = rotate(federation, "alpha", "--request", tmp_path / "again",
                   *(["--stolen"] if way_out == "--stolen" else []))  # fmt: skip
    assert again.exit_code == 0, again.exception
    assert (tmp_path / "again").read_bytes() == (tmp_path / "first").read_bytes()
    by_file(federation, "alpha", tmp_path, way_out)
    with pytest.raises(ConfigError, match="another key for this site than its own"):
        alpha.measure(study)
    assert list(alpha.agent.ledger.entries()) == []
    others = ("bravo", "charlie")
    federation.give_keys(study, *others)
    hours_pass(federation)
    federation.advance(study)
    federation.hear(*others)
    federation.send_masked(study, *others)
    assert "alpha" not in federation.advance(study)
    coordinator = federation.operator.coordinator()
    finished = coordinator.studies.sums.finished(study.sha256)
    coordinator.close()
    assert finished is not None
    assert set(finished[1]) == set(others)


def test_a_change_that_all_could_verify_still_puts_no_key_into_the_roster(
    federation: Federation, tmp_path: Path
) -> None:
    """Why it is refused: the others approved these keys, and `peers` may pin them."""
    study = federation.approved()
    alpha = federation.sites["alpha"]
    record = next(r for r in federation.noise().roster if r.site == "alpha")
    by_file(federation, "alpha", tmp_path, "--force")
    change = (tmp_path / "alpha.change").read_bytes()
    issued = KeyChange.parse(peek_payload(change)).issued_at
    opened = open_change(change, KeyRing((record,)), role=KeyRole.SITE, site="alpha",
                         reader=COORDINATOR, now=issued)  # fmt: skip
    assert opened.said.new_key == alpha.agent.statement_key.public
    noise = study.statement.noise
    assert noise is not None
    signed = alpha.agent.sums.give_keys(
        study, site_key=alpha.agent.site_key, key=alpha.agent.statement_key
    )
    with pytest.raises(BadSignatureError):
        open_sum_keys(study, noise, 1, signed)
