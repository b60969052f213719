"""Real processes on loopback, noise shared out: three sites, one of which dies after its charge."""

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


def open_sum(made: Consortium) -> None:
    draft, signed = made.root / "draft.json", made.root / "study.dsse.json"
    home = made.home("coordinator")
    ok(command("reidscope-server", "study", "new", "--id", "sum", "--sites", ",".join(SITES),
               "--constants", REFERENCE, "--out", draft, "--population", "synthetic people",
               "--arms", "quickshear", "--minimum-people", PEOPLE, "--minimum-sites", 3,
               "--epsilon", "1", "--noise", "distributed", "--colluders", 1, "--attempts", 2,
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
    for name in SITES:
        ok(consortium.site(name, "approve", "sum"))
    home = consortium.home("coordinator")
    assert (
        command("reidscope-server", "collect", "sum", "--timeout", "1", "--home", home).code == 75
    )
    wait_until("keys", lambda: "sum keys stored" in consortium.log("coordinator"), seconds=240)
    assert "gave keys" in said_of_sum(consortium)

    # the coordinator dies in between and goes on from its database
    consortium.kill("coordinator")
    consortium.up()
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
