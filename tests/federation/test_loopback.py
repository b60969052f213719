"""One real federation: three sites, one coordinator that dies in the middle, one report."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pydicom
import pytest
from tests.federation.consortium import (
    PEOPLE,
    SITES,
    Consortium,
    command,
    ok,
    open_study,
    wait_until,
)

pytestmark = pytest.mark.slow


def identifiers(data: Path) -> set[bytes]:
    """Collect what identifies a site's people: header values, folder, file and photo names."""
    found = set()
    for person in sorted((data / "dicom").iterdir()):
        header = pydicom.dcmread(next(person.rglob("*.dcm")), stop_before_pixels=True)
        found |= {
            str(header[tag].value).encode()
            for tag in ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID")
        }
        found.add(person.name.encode())
    found |= {photo.name.encode() for photo in (data / "photos").iterdir()}
    return found


def test_three_sites_answer_a_coordinator_that_is_killed_in_the_middle_of_the_round(
    consortium: Consortium, people_of: dict[str, Path]
) -> None:
    digest = open_study(consortium)
    for name in SITES:
        consortium.serve(name)
    for name in SITES:
        wait_until(
            "study",
            lambda name=name: "calibration kept" in consortium.log(name),
        )
        assert digest in ok(consortium.site(name, "show", "faces"))

    # bravo's and charlie's people say yes; alpha's say no
    ok(consortium.site("alpha", "decline", "faces", "--reason", "ethics"))
    for name in ("bravo", "charlie"):
        ok(consortium.site(name, "approve", "faces"))

    collect = ("reidscope-server", "collect", "faces", "--timeout", "1")
    assert command(*collect, "--home", consortium.home("coordinator")).code == 75
    wait_until("first answers", lambda: "measuring" in consortium.log("bravo"))
    consortium.kill("coordinator")
    consortium.up()

    # the round goes on by itself: what it was doing is in the coordinator's database
    wait_until(
        "releases",
        lambda: all(row["finished"] for row in consortium.status("faces").values()),
        seconds=240,
    )
    status = consortium.status("faces")
    assert {name: row["released"] for name, row in status.items()} == {
        "alpha": False,
        "bravo": True,
        "charlie": True,
    }
    assert status["alpha"]["decision"] == "declined"

    report = consortium.root / "report"
    ok(consortium.server("report", "faces", "--out", report))
    assert "all equal" in ok(command("reidscope-server", "verify", report))
    said = json.loads((report / "report.json").read_text())
    assert [len(table["cells"]) for table in said["tables"]] == [13, 5]
    assert set(said["tables"][0]["counts"]) == {"bravo", "charlie"}
    assert said["privacy"]["epsilon_total"] == 2

    for name in ("bravo", "charlie"):
        assert "byte for byte" in ok(consortium.site(name, "verify", report))
        ledger = json.loads(ok(consortium.site(name, "ledger", "--json")))
        assert ledger["spent"] == "2"
        assert [entry["kind"] for entry in ledger["entries"]] == ["charged", "stored"]
        wait_until(
            "receipt",
            lambda name=name: "receipt received" in ok(consortium.site(name, "journal", "--json")),
        )
        with sqlite3.connect(consortium.home(name) / "state.sqlite") as database:
            assert database.execute("SELECT COUNT(*) FROM outcome").fetchone() == (0,)
        assert list((consortium.home(name) / "work").iterdir()) == []
    assert "none was made" in ok(consortium.site("alpha", "verify", report))

    held = [path for path in consortium.home("coordinator").rglob("*") if path.is_file()]
    held += [path for path in report.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in held)
    for name in SITES:
        names = identifiers(people_of[name])
        assert len(names) > 4 * PEOPLE
        assert not [len(word) for word in names if word in content]
        assert str(people_of[name]).encode() not in content


def test_a_site_whose_agent_is_killed_resumes_and_spends_once(consortium: Consortium) -> None:
    open_study(consortium)
    consortium.serve("alpha")
    wait_until("study", lambda: "calibration kept" in consortium.log("alpha"))
    ok(consortium.site("alpha", "approve", "faces"))
    wait_until("one person", lambda: "50 % of the people" in consortium.log("alpha"), seconds=120)
    consortium.kill("alpha")
    consortium.serve("alpha")
    wait_until("release", lambda: "released after" in consortium.log("alpha"), seconds=120)
    home = consortium.home("coordinator")
    command("reidscope-server", "collect", "faces", "--timeout", "1", "--home", home)
    wait_until("release", lambda: consortium.status("faces")["alpha"]["released"], seconds=60)
    ledger = json.loads(ok(consortium.site("alpha", "ledger", "--json")))
    assert [entry["kind"] for entry in ledger["entries"]] == ["charged", "stored"]

    ok(consortium.server("revoke", "alpha"))
    wait_until("refusal", lambda: "not know or has revoked" in consortium.log("alpha"))
    ok(consortium.site("alpha", "stop"))
    wait_until("end", lambda: consortium.processes["alpha"].poll() is not None, seconds=60)
    assert consortium.processes["alpha"].returncode == 0
