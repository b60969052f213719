"""Attempts of a secure sum, from keys to the report, over the shipped code on both sides."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.distributed.conftest import NAMES
from tests.distributed.federation import Federation

from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.errors import (
    BudgetExhaustedError,
    ConfigError,
    InputError,
    LedgerError,
    MalformedError,
    NotReadyError,
    OutcomeMissingError,
    PolicyRefusalError,
)
from reidscope_protocols.keys import KeyRecord, StatementKey
from reidscope_protocols.secure_sum import MaskedRelease, SumKeys
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.publish import publish
from reidscope_server.report.verify import verify_report
from reidscope_site import masked_release
from reidscope_site.audit import find_own_bytes
from reidscope_site.plainwords import explain
from reidscope_site.portable import export_statements, import_file
from reidscope_site.taking_part import queue_again, settle_sums
from reidscope_site.verbs import carry_out

CERTAIN = "100"
"""At this epsilon a share is other than 0 with probability below 1e-8: sums must be exact."""


def charges(federation: Federation, name: str) -> list[tuple[str, str]]:
    entries = federation.sites[name].agent.ledger.entries()
    return [(e.kind, e.table.rpartition(", ")[2]) for e in entries]


def change_policy(federation: Federation, **keys: Any) -> None:
    for site in federation.sites.values():
        path = site.home.policy_file
        kept = [line for line in path.read_text().splitlines() if line.split(" = ")[0] not in keys]
        said = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
        path.write_text("\n".join([*kept, *said]) + "\n")


@pytest.mark.slow  # draws a report twice
def test_the_sum_over_all_sites_is_exact_and_the_report_says_so(
    federation: Federation, tmp_path: Path
) -> None:
    change_policy(
        federation,
        epsilon_per_study=CERTAIN,
        epsilon_lifetime=CERTAIN,
        epsilon_alone_per_study="1000",
        epsilon_alone_lifetime="1000",
    )
    study = federation.approved(epsilon=CERTAIN)
    federation.give_keys(study)
    exact = federation.exact(study)
    assert sum(exact[0]) == 15
    assert federation.advance(study).startswith("attempt 1 of 1, sum: 0 of 3")
    federation.hear()
    federation.send_masked(study)
    assert federation.advance(study) == "attempt 1 of 1, done: added up over 3 sites"

    coordinator = federation.operator.coordinator()
    published = publish(coordinator, "faces-1", tmp_path / "report", notices=()).report
    assert [table.counts for table in published.tables] == [
        {"all-sites": tuple(counts)} for counts in exact
    ]
    assert published.privacy.mode == "distributed"
    assert (published.by_site, published.influence) == ((), ())
    assert {site.status for site in published.sites} == {"released"}
    assert {site.subjects for site in published.sites} == {None}
    verified = verify_report(tmp_path / "report")
    assert verified.releases == 3
    page = (tmp_path / "report" / "index.html").read_text()
    assert "nobody, the coordinator included" in page
    assert "participants collude with the coordinator" in page
    for site in federation.sites.values():
        assert "own release   found, byte for byte" in list(
            find_own_bytes(site.home, tmp_path / "report")
        )
    coordinator.close()


def test_no_table_of_one_site_can_be_read_where_the_coordinator_keeps_them(
    federation: Federation,
) -> None:
    study = federation.approved()
    federation.summed(study)
    coordinator = federation.operator.coordinator()
    for envelope in coordinator.studies.sums.masked(study.sha256).values():
        said = MaskedRelease.parse(peek_payload(envelope))
        # a count below 2^40 under a mask: once in 16 million cells
        assert all(min(word, 2**64 - word) > 2**40 for t in said.tables for word in t.cells())
    coordinator.close()


def test_both_epsilons_stand_in_the_ledger_and_the_smaller_is_charged(
    federation: Federation,
) -> None:
    study = federation.approved(epsilon="2")
    federation.summed(study)
    for site in federation.sites.values():
        assert str(site.spent()) == "2"
        charged, stored = site.agent.ledger.entries()
        assert charged.alone > charged.loss
        assert site.agent.ledger.spent_alone() == charged.alone
        assert (stored.loss.nano, stored.alone.nano) == (0, 0)
        site.agent.ledger.check()
        shown = carry_out(site.agent, "ledger", {})
        assert shown["spent_if_others_collude"] == str(charged.alone)
        assert shown["entries"][0]["epsilon_alone"] == str(charged.alone)
        site.agent.connection.execute("UPDATE ledger SET alone_nano = 1 WHERE sequence = 1")
        with pytest.raises(LedgerError, match="broken chain"):
            site.agent.ledger.check()


def test_what_was_masked_is_sent_again_byte_for_byte_and_never_drawn_again(
    federation: Federation,
) -> None:
    study = federation.approved()
    federation.summed(study)
    for name, site in federation.sites.items():
        first = site.answer(study.sha256)
        assert first[:1] == b"M"
        site.exchange()
        assert site.measure(study) == first[1:]
        assert site.answer(study.sha256) == first
        federation.take(study, name)
        assert charges(federation, name) == [("charged", "attempt 1"), ("stored", "attempt 1")]
    assert federation.operator.rows("masked") == 3
    assert federation.operator.rows("receipt") == 3


def test_outcomes_and_mask_keys_are_gone_once_they_have_no_further_use(
    federation: Federation,
) -> None:
    study = federation.approved()
    federation.summed(study)
    for site in federation.sites.values():
        rows = site.agent.connection.execute("SELECT COUNT(*) FROM outcome").fetchone()
        kept = site.agent.connection.execute("SELECT sealed FROM sum_attempt").fetchall()
        assert (rows, kept) == ((0,), [(None,)])


@pytest.mark.slow  # draws a report twice
def test_a_drop_out_costs_everybody_the_attempt_and_the_next_is_charged_anew(
    federation: Federation, tmp_path: Path
) -> None:
    noise = federation.noise(attempts=2)
    study = federation.approved(noise, minimum_sites=2)
    federation.give_keys(study)
    federation.advance(study)
    federation.hear()
    federation.send_masked(study, "alpha", "bravo")
    before = {name: federation.sites[name].answer(study.sha256) for name in ("alpha", "bravo")}
    # charlie is revoked before its tables are in
    coordinator = federation.operator.coordinator()
    coordinator.sites.revoke("charlie")
    coordinator.close()
    assert federation.advance(study) == "attempt 2 of 2, keys: 0 of 3 sites gave keys"
    federation.hear("alpha", "bravo")
    federation.give_keys(study, "alpha", "bravo")
    assert federation.advance(study).startswith("attempt 2 of 2, sum: 0 of 2")
    federation.hear("alpha", "bravo")
    federation.send_masked(study, "alpha", "bravo")
    assert federation.advance(study).startswith("attempt 2 of 2, done")
    for name in ("alpha", "bravo"):
        assert charges(federation, name) == [
            ("charged", "attempt 1"),
            ("stored", "attempt 1"),
            ("charged", "attempt 2"),
            ("stored", "attempt 2"),
        ]
        assert str(federation.sites[name].spent()) == "2"
        again = federation.sites[name].answer(study.sha256)
        first, second = (
            MaskedRelease.parse(peek_payload(said[1:])) for said in (before[name], again)
        )
        assert first.round_sha256 != second.round_sha256
        assert not set(first.tables[0].cells()) & set(second.tables[0].cells())
    coordinator = federation.operator.coordinator()
    report = publish(coordinator, "faces-1", tmp_path / "report", notices=()).report
    coordinator.close()
    assert (report.privacy.attempts, report.privacy.epsilon_total) == (2, 2.0)
    assert report.privacy.participants == 2
    verify_report(tmp_path / "report")


def test_after_the_last_attempt_nothing_is_learnt(federation: Federation, tmp_path: Path) -> None:
    study = federation.approved()
    federation.give_keys(study)
    federation.advance(study)
    federation.hear()
    federation.send_masked(study, "alpha", "bravo")
    coordinator = federation.operator.coordinator()
    coordinator.sites.revoke("charlie")
    coordinator.close()
    assert "failed" in federation.advance(study)
    coordinator = federation.operator.coordinator()
    with pytest.raises(NotReadyError, match="no finished secure sum"):
        publish(coordinator, "faces-1", tmp_path / "report", notices=())
    assert all(s.finished for s in coordinator.studies.standings(study))
    coordinator.close()


def test_a_kill_between_charge_and_store_loses_the_attempt_and_nothing_is_drawn_for_it_again(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = federation.approved(federation.noise(attempts=2))
    federation.give_keys(study)
    federation.advance(study)
    federation.hear()
    federation.send_masked(study, "alpha", "bravo")
    charlie = federation.sites["charlie"]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(masked_release, "draw", killed)
        with pytest.raises(KeyboardInterrupt):
            charlie.measure(study)
    assert charges(federation, "charlie") == [("charged", "attempt 1")]
    assert charlie.answer(study.sha256) == b"Nworking"
    with pytest.raises(OutcomeMissingError):
        charlie.measure(study)
    assert not charlie.agent.ready_to_run()
    # a minute later the charge is lost, and the coordinator is told so
    monkeypatch.setattr("reidscope_site.ledger._IN_HAND", timedelta(minutes=-1))
    assert charlie.answer(study.sha256) == b"Nlost"
    federation.take(study, "charlie")
    assert federation.advance(study).startswith("attempt 2 of 2, keys")
    federation.hear()
    federation.summed(study)
    assert charges(federation, "charlie") == [
        ("charged", "attempt 1"),
        ("charged", "attempt 2"),
        ("stored", "attempt 2"),
    ]
    coordinator = federation.operator.coordinator()
    assert "done" in coordinator.studies.sums.said(study)
    coordinator.close()


def test_outcomes_are_kept_for_another_attempt_until_the_sum_is_known(
    federation: Federation,
) -> None:
    study = federation.approved(federation.noise(attempts=2))
    federation.summed(study)
    alpha = federation.sites["alpha"]
    count = "SELECT COUNT(*) FROM outcome"
    assert alpha.agent.connection.execute(count).fetchone() == (5,)
    federation.hear()  # done
    assert alpha.agent.connection.execute(count).fetchone() == (0,)
    assert not alpha.agent.ready_to_run()


def test_an_agent_that_starts_again_goes_on_with_the_key_that_it_made(
    federation: Federation,
) -> None:
    study = federation.approved()
    federation.give_keys(study)
    federation.advance(study)
    federation.hear()
    for name, site in list(federation.sites.items()):
        site.agent.close()
        federation.sites[name] = type(site).at(site.home, federation.operator)
        federation.sites[name].agent.settle()
        queue_again(federation.sites[name].agent)
        settle_sums(federation.sites[name].agent)
        assert federation.sites[name].agent.ready_to_run()
    federation.send_masked(study)
    assert "done" in federation.advance(study)


def test_the_whole_of_it_travels_as_files_too(federation: Federation, tmp_path: Path) -> None:
    study = federation.approved()
    for step in ("keys", "masked"):
        coordinator = federation.operator.coordinator()
        for name, site in federation.sites.items():
            site.measure(study)
            for path in export_statements(site.agent, tmp_path / step / name):
                if ("sum-keys" if step == "keys" else "masked") in path.name:
                    assert name in coordinator.import_statement(path.read_bytes())
        coordinator.close()
        federation.advance(study)
        coordinator = federation.operator.coordinator()
        word = coordinator.portable("faces-1")["faces-1.sum-round.dsse.json"]
        coordinator.close()
        (tmp_path / "round.json").write_bytes(word)
        for site in federation.sites.values():
            assert import_file(site.agent, tmp_path / "round.json").kind.startswith("round")
    coordinator = federation.operator.coordinator()
    assert "done" in coordinator.studies.sums.said(study)
    coordinator.close()


def test_status_says_who_waits_for_whom(federation: Federation) -> None:
    study = federation.approved()

    def waits() -> dict[str, str]:
        coordinator = federation.operator.coordinator()
        said = {s.site: s.waits_for for s in coordinator.studies.standings(study)}
        coordinator.close()
        return said

    federation.give_keys(study, "alpha")
    assert waits()["alpha"] == "the other sites: this one gave its keys"
    assert waits()["bravo"] == "the agent: approved, no keys yet"
    federation.give_keys(study, "bravo", "charlie")
    federation.advance(study)
    assert waits()["alpha"] == "the agent: participant, no masked tables yet"
    federation.hear()
    federation.send_masked(study, "alpha")
    assert waits()["alpha"] == "the other participants: this one's masked tables are here"
    federation.send_masked(study, "bravo", "charlie")
    federation.advance(study)
    assert set(waits().values()) == {""}


@pytest.mark.parametrize(
    ("keys", "refusal", "says"),
    [
        ({"distributed": False}, PolicyRefusalError, "noise shared out"),
        ({"distributed_colluders": 1}, PolicyRefusalError, "tolerates 0"),
        ({"distributed_sites": 4}, PolicyRefusalError, "3 sites"),
        ({"epsilon_per_study": "0.5"}, BudgetExhaustedError, "epsilon of this study"),
        ({"epsilon_alone_per_study": "2"}, BudgetExhaustedError, "everybody else colludes"),
        ({"epsilon_alone_lifetime": "2"}, BudgetExhaustedError, "everybody else colludes"),
    ],
)
def test_a_policy_that_does_not_opt_in_refuses_before_anything_is_said(
    federation: Federation, keys: dict[str, Any], refusal: type[Exception], says: str
) -> None:
    change_policy(federation, **keys)
    with pytest.raises(refusal, match=says):
        federation.approved()
    assert not any(list(site.agent.ledger.entries()) for site in federation.sites.values())


def test_a_yes_covers_every_attempt_so_all_of_them_must_fit(federation: Federation) -> None:
    with pytest.raises(BudgetExhaustedError, match="got 5, expected at most 4"):
        federation.approved(federation.noise(attempts=5))


def test_pinned_peers_are_the_only_ones_that_a_site_adds_up_with(federation: Federation) -> None:
    keys = {name: site.agent.statement_key.public for name, site in federation.sites.items()}
    alpha = federation.sites["alpha"]
    policy = alpha.home.policy_file
    text = policy.read_text()

    def pin(**peers: str) -> None:
        said = ", ".join(f'"{name}" = "{key}"' for name, key in peers.items())
        kept = [line for line in text.splitlines() if not line.startswith("peers")]
        policy.write_text("\n".join(kept) + f"\npeers = {{{said}}}\n")

    study = federation.opened()
    alpha.exchange()
    alpha.index()
    pin(bravo=keys["bravo"])
    with pytest.raises(PolicyRefusalError, match="for charlie"):
        alpha.approve(study.sha256)
    pin(bravo=keys["charlie"], charlie=keys["bravo"])
    with pytest.raises(PolicyRefusalError, match="for bravo"):
        alpha.approve(study.sha256)
    pin(bravo=keys["bravo"], charlie=keys["charlie"])
    alpha.approve(study.sha256)


def test_a_site_whose_key_is_not_the_rosters_says_nothing(federation: Federation) -> None:
    noise = federation.noise()
    record = noise.roster[0]
    other = StatementKey.generate().public
    bent = noise.model_copy(
        update={"roster": (record.model_copy(update={"public": other}), *noise.roster[1:])}
    )
    with pytest.raises(InputError, match="enrolled one, of alpha"):
        federation.opened(bent)
    # A coordinator who skips its own check meets the site's.
    alpha, fields = federation.sites["alpha"], {"sites": NAMES, "minimum_sites": len(NAMES)}
    envelope = federation.operator.study(noise=bent, **fields)
    sha256 = federation.operator.put(envelope)
    alpha.exchange()
    alpha.index()
    alpha.approve(sha256)
    alpha.exchange()
    with pytest.raises(ConfigError, match="another key for this site"):
        alpha.measure(alpha.opened(envelope))
    assert alpha.answer(sha256) == b"Nworking"


def test_a_preview_has_the_shape_of_what_leaves_and_no_coordinator_takes_it(
    federation: Federation,
) -> None:
    study = federation.opened(sites=NAMES)
    alpha = federation.sites["alpha"]
    alpha.exchange()
    shown = carry_out(alpha.agent, "preview", {"study": "faces-1"})["bytes"]
    said = MaskedRelease.parse(peek_payload(shown.encode()))
    assert [len(t.cells()) for t in said.tables] == [len(t.cells) for t in study.statement.tables]
    federation.operator.take("alpha", study.sha256, b"M" + shown.encode())
    assert "refused" in federation.operator.said[-1]


def test_show_says_whom_the_site_trusts_and_the_keys_to_compare(federation: Federation) -> None:
    study = federation.opened(federation.noise(colluders=1, attempts=2))
    alpha = federation.sites["alpha"]
    alpha.exchange()
    said = "\n".join(explain(study, alpha.agent.policy, alpha.spent()))
    assert "at most 1 colludes" in said
    assert "up to 2, each charged in full: at most 2 together" in said
    for site in federation.sites.values():
        assert site.agent.statement_key.public[:16] in said


def test_keys_say_nothing_but_a_key_and_come_in_one_size(federation: Federation) -> None:
    study = federation.approved()
    federation.give_keys(study)
    said = [
        SumKeys.parse(peek_payload(site.answer(study.sha256)[1:]))
        for site in federation.sites.values()
    ]
    assert len({each.x25519 for each in said}) == 3
    assert {each.issued_at.hour + each.issued_at.minute for each in said} <= {
        0,
        study.statement.opens_at.hour + study.statement.opens_at.minute,
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"minimum_sites": 1}, "colluders_tolerated"),
        ({"sites": ("alpha", "bravo"), "minimum_sites": 2}, "roster"),
        ({"epsilon": "0.01"}, "0.01 to 100"),
        ({"epsilon": "200"}, "0.01 to 100"),
        ({"anchors": (2, 100), "arms": ("unmodified", "blur"), "sites": NAMES[::-1]}, ""),
    ],
)
def test_a_study_whose_noise_cannot_be_shared_out_is_no_study(
    federation: Federation, changes: dict[str, Any], says: str
) -> None:
    if not says:
        federation.opened(**changes)  # the order of the audience is free
        return
    with pytest.raises((ValueError, MalformedError), match=says):
        federation.opened(**changes)


def test_a_roster_holds_one_key_of_each_site(federation: Federation) -> None:
    noise = federation.noise()
    for roster in (
        (noise.roster[0], noise.roster[0]),
        (noise.roster[0], noise.roster[1].model_copy(update={"public": noise.roster[0].public})),
        (noise.roster[0], noise.roster[1].model_copy(update={"role": KeyRole.STUDY})),
    ):
        with pytest.raises(ValueError, match=r"roster|key"):
            type(noise)(colluders_tolerated=0, roster=roster)
    assert isinstance(noise.roster[0], KeyRecord)
