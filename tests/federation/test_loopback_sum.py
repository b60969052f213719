"""Real processes on loopback, noise shared out among three sites; once, one of them drops out."""

from __future__ import annotations

import json

import pytest
from tests.federation.consortium import (
    PEOPLE,
    REFERENCE,
    SITES,
    Consortium,
    command,
    ok,
    wait_until,
)

pytestmark = pytest.mark.slow

POLICY = """
distributed = true
distributed_colluders = 1
epsilon_alone_per_study = "20"
epsilon_alone_lifetime = "20"
"""


def allow_sums(made: Consortium, name: str) -> None:
    policy = made.home(name) / "policy.toml"
    kept = [
        line
        for line in policy.read_text().splitlines()
        if not line.startswith(("distributed", "epsilon_alone", "peers"))
    ]
    policy.write_text("\n".join(kept) + POLICY)


def open_sum(made: Consortium, *, minimum: int = 3, colluders: int = 1) -> None:
    draft, signed = made.root / "draft.json", made.root / "study.dsse.json"
    home = made.home("coordinator")
    ok(command("reidscope-server", "study", "new", "--id", "sum", "--sites", ",".join(SITES),
               "--constants", REFERENCE, "--out", draft, "--population", "synthetic people",
               "--arms", "quickshear", "--minimum-people", PEOPLE, "--minimum-sites", minimum,
               "--epsilon", "1", "--noise", "distributed", "--colluders", colluders,
               "--attempts", 2,
               "--home", home))  # fmt: skip
    ok(command("reidscope-server", "study", "sign", draft, "--out", signed, "--home", home))
    ok(command("reidscope-server", "study", "open", signed, "--constants", REFERENCE,
               "--home", home))  # fmt: skip


def said_of_sum(made: Consortium) -> str:
    done = made.server("study", "status", "sum", "--json")
    return str(json.loads(ok(done))["secure_sum"])


def test_three_real_sites_add_up_and_nobody_else_learns_a_count(consortium: Consortium) -> None:
    for name in SITES:
        allow_sums(consortium, name)
        consortium.serve(name)
    open_sum(consortium)
    for name in SITES:
        wait_until("study", lambda name=name: "calibration kept" in consortium.log(name))
    shown = ok(consortium.site("alpha", "show", "sum"))
    assert "at most 1 colludes" in shown
    assert "compare these keys" in shown
    # the list of keys waits for charlie, who is undecided
    for name in ("alpha", "bravo"):
        ok(consortium.site(name, "approve", "sum"))
    home = consortium.home("coordinator")
    assert (
        command("reidscope-server", "collect", "sum", "--timeout", "1", "--home", home).code == 75
    )
    wait_until("keys", lambda: "sum keys stored" in consortium.log("coordinator"), seconds=240)
    assert "of 3 sites gave keys" in said_of_sum(consortium)

    # the coordinator dies in between and goes on from its database
    consortium.kill("coordinator")
    consortium.up()
    ok(consortium.site("charlie", "approve", "sum"))
    wait_until("sum", lambda: "done" in said_of_sum(consortium), seconds=240)
    assert "attempt 1 of 2" in said_of_sum(consortium)

    report = consortium.root / "report"
    ok(consortium.server("report", "sum", "--out", report))
    assert "all equal" in ok(command("reidscope-server", "verify", report))
    said = json.loads((report / "report.json").read_text())
    assert [list(table["counts"]) for table in said["tables"]] == [["all-sites"], ["all-sites"]]
    assert (said["by_site"], said["influence"]) == ([], [])
    assert said["privacy"]["mode"] == "distributed"
    assert (said["privacy"]["participants"], said["privacy"]["colluders_tolerated"]) == (3, 1)
    assert said["privacy"]["epsilon_alone"] > said["privacy"]["epsilon_total"] == 1
    for name in SITES:
        assert "byte for byte" in ok(consortium.site(name, "verify", report))
        ledger = json.loads(ok(consortium.site(name, "ledger", "--json")))
        assert ledger["spent"] == "1"
        assert float(ledger["spent_if_others_collude"]) == said["privacy"]["epsilon_alone"]
        assert [entry["kind"] for entry in ledger["entries"]] == ["charged", "stored"]


def test_a_site_that_drops_out_ends_the_attempt_and_the_others_pay_for_the_next(
    consortium: Consortium,
) -> None:
    home = consortium.home("coordinator")
    for name in SITES:
        allow_sums(consortium, name)
        policy = consortium.home(name) / "policy.toml"
        policy.write_text(policy.read_text().replace("distributed_colluders = 1", ""))
        policy.write_text(policy.read_text() + "distributed_sites = 2\n")
        consortium.serve(name)
    open_sum(consortium, minimum=2, colluders=0)
    for name in SITES:
        wait_until("study", lambda name=name: "calibration kept" in consortium.log(name))
    # charlie gives its key, and is heard of no more; the list waits for bravo, who is undecided
    for name in ("alpha", "charlie"):
        ok(consortium.site(name, "approve", "sum"))
    command("reidscope-server", "collect", "sum", "--timeout", "1", "--home", home)
    said = "charlie: sum keys stored"
    wait_until("charlie's keys", lambda: said in consortium.log("coordinator"), seconds=240)
    ok(consortium.site("charlie", "stop", "--hold"))
    ok(consortium.site("bravo", "approve", "sum"))
    wait_until("list", lambda: ", sum:" in said_of_sum(consortium), seconds=240)
    ok(consortium.server("revoke", "charlie"))
    wait_until("sum", lambda: "done" in said_of_sum(consortium), seconds=240)
    assert said_of_sum(consortium) == "attempt 2 of 2, done: added up over 2 sites"

    report = consortium.root / "report"
    ok(consortium.server("report", "sum", "--out", report))
    assert "all equal" in ok(command("reidscope-server", "verify", report))
    privacy = json.loads((report / "report.json").read_text())["privacy"]
    assert (privacy["attempts"], privacy["epsilon_total"], privacy["participants"]) == (2, 2, 2)
    for name in ("alpha", "bravo"):
        entries = json.loads(ok(consortium.site(name, "ledger", "--json")))["entries"]
        charged = [e["table"] for e in entries if e["kind"] == "charged"]
        assert [table.rpartition(", ")[2] for table in charged] == ["attempt 1", "attempt 2"]
