"""Every key and the root change in the middle of a study, and the study ends as if none had."""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.federation.consortium import SITES, Consortium, command, ok, open_study, wait_until

pytestmark = pytest.mark.slow


def sites_of(made: Consortium) -> dict[str, dict[str, str]]:
    return {row["site"]: row for row in json.loads(ok(made.server("sites", "--json")))}


def shown_issuer_is(made: Consortium, root: Path) -> bool:
    """Whether the control port shows a certificate of this root."""
    context = ssl.create_default_context(cafile=str(root))
    try:
        pem = ssl.get_server_certificate(("127.0.0.1", made.ports[1]), ca_certs=str(root))
    except OSError:
        return False
    return bool(context) and "BEGIN CERTIFICATE" in pem


@pytest.fixture
def sealed(consortium: Consortium) -> Iterator[Consortium]:
    """A coordinator that ran with open keys, was stopped, and goes on with sealed ones."""
    memory = Path("/dev/shm")  # noqa: S108  # memory is the point
    if not memory.is_dir() or memory.stat().st_dev == consortium.root.stat().st_dev:
        pytest.skip("no other volume here for a secret")
    secret = memory / f"reidscope-test-{secrets.token_hex(4)}"
    secret.write_text("five words out of hats\n")
    consortium.kill("coordinator")
    ok(consortium.server("keys", "seal", f"file:{secret}"))
    consortium.up()
    yield consortium
    secret.unlink()
    files = [path for path in consortium.home("coordinator").rglob("*") if path.is_file()]
    assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]


def test_keys_and_root_change_in_the_middle_of_a_study_which_ends_with_a_verified_report(
    sealed: Consortium,
) -> None:
    consortium = sealed
    open_study(consortium)
    for name in SITES:
        consortium.serve(name)
    for name in SITES:
        wait_until("study", lambda name=name: "calibration kept" in consortium.log(name))
    ok(consortium.site("charlie", "decline", "faces", "--reason", "ethics"))
    for name in ("alpha", "bravo"):
        ok(consortium.site(name, "approve", "faces"))
    wait_until("start", lambda: "measuring" in consortium.log("alpha"))

    # while people are being evaluated: alpha's keys, the coordinator's two keys, and the root
    before = sites_of(consortium)
    said = ok(consortium.site("alpha", "keys", "rotate"))
    after = sites_of(consortium)
    assert after["alpha"]["statement key"] in said
    assert after["alpha"]["statement key"] != before["alpha"]["statement key"]
    assert before["alpha"]["statement key"] == after["alpha"]["former keys"]
    ok(consortium.server("keys", "rotate", "study"))
    ok(consortium.server("keys", "rotate", "coordinator"))
    first_root = consortium.root / "first-root.crt"
    first_root.write_bytes((consortium.home("coordinator") / "keys" / "ca.crt").read_bytes())
    ok(consortium.server("ca", "rotate"))
    root = json.loads(ok(consortium.server("ca", "status", "--json")))["new"]
    wait_until(
        "renewed certificates",
        lambda: {row["root"] for row in sites_of(consortium).values()} == {root},
    )
    assert shown_issuer_is(consortium, first_root)
    ok(consortium.server("ca", "end"))
    wait_until("new root", lambda: not shown_issuer_is(consortium, first_root))

    collect = ("reidscope-server", "collect", "faces", "--timeout", "1")
    command(*collect, "--home", consortium.home("coordinator"))
    wait_until(
        "releases",
        lambda: all(row["finished"] for row in consortium.status("faces").values()),
        seconds=240,
    )
    status = consortium.status("faces")
    assert [name for name in SITES if status[name]["released"]] == ["alpha", "bravo"]

    report = consortium.root / "report"
    ok(consortium.server("report", "faces", "--out", report))
    assert "all equal" in ok(command("reidscope-server", "verify", report))
    keys = json.loads((report / "report.json").read_text())["evidence"]["keys"]
    of_alpha = {key["public"] for key in keys if key["site"] == "alpha"}
    assert of_alpha == {row["alpha"]["statement key"] for row in (before, after)}
    for name in ("alpha", "bravo"):
        assert "byte for byte" in ok(consortium.site(name, "verify", report))
        journal = ok(consortium.site(name, "journal", "--json"))
        assert "coordinator root new" in journal
        assert journal.count("coordinator key new") == 2
        wait_until(
            "receipt",
            lambda name=name: "receipt received" in ok(consortium.site(name, "journal", "--json")),
        )

    # what the new study key signs reaches the sites; an agent started anew comes through the root
    consortium.kill("bravo")
    open_study(consortium, "faces-2")
    consortium.serve("bravo")
    for name in ("alpha", "bravo"):
        wait_until(
            "next study",
            lambda name=name: "faces-2" in ok(consortium.site(name, "studies", "--json")),
        )
    doctor = json.loads(command("reidscope-site", "doctor", "--json", "--home",
                                consortium.home("alpha")).out)  # fmt: skip
    fine = {found["what"] for found in doctor if found["fine"]}
    assert {
        "coordinator's control port",
        "coordinator's fleet port",
        "clock, against the coordinator's",
        "versions, agreed with the coordinator",
        "pinned coordinator's keys",
        "transport certificate",
    } <= fine

    # a revoked site's old key hands over to nobody
    ok(consortium.server("revoke", "alpha"))
    refused = consortium.site("alpha", "keys", "rotate")
    assert refused.code == 41
    assert "not know or has revoked" in refused.err
