"""What a newcomer's mistakes look like: one line, an exit code of their own, nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.federation.consortium import REFERENCE, Run, command, ok

pytestmark = pytest.mark.slow


def one_line(done: Run, code: int) -> str:
    assert done.code == code, done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert ", expected " in done.err
    return done.err


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site's home over an empty data folder."""
    (tmp_path / "dicom").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "links.csv").write_text("patient_id,photo\n")
    home = tmp_path / "home"
    ok(command("reidscope-site", "init", "--name", "alpha", "--dicom", tmp_path / "dicom",
               "--photos", tmp_path / "photos", "--links", tmp_path / "links.csv",
               "--declared-people", 20, "--home", home))  # fmt: skip
    return home


def test_a_site_that_was_never_enrolled_is_told_to_enrol(site: Path) -> None:
    for verb in ("serve", "studies"):
        assert "enroll" in one_line(command("reidscope-site", verb, "--home", site), 41)


def test_a_folder_without_dicom_is_said_at_index_without_its_name(
    site: Path, tmp_path: Path
) -> None:
    (tmp_path / "dicom" / "SECRET^NAME.txt").write_text("not a scan")
    said = one_line(command("reidscope-site", "index", "--home", site), 11)
    assert "SECRET" not in said


def test_a_second_init_never_overwrites_a_site(site: Path, tmp_path: Path) -> None:
    again = command("reidscope-site", "init", "--name", "beta", "--dicom", tmp_path,
                    "--photos", tmp_path, "--links", tmp_path / "links.csv",
                    "--declared-people", 3, "--home", site)  # fmt: skip
    one_line(again, 14)
    assert 'name = "alpha"' in (site / "site.toml").read_text()


def test_a_policy_with_a_wrong_line_is_refused_by_its_key(site: Path) -> None:
    policy = site / "policy.toml"
    policy.write_text(policy.read_text() + "epsilon_per_moon = 3\n")
    assert "epsilon_per_moon" in one_line(command("reidscope-site", "ledger", "--home", site), 14)


def test_an_invitation_for_another_site_or_with_another_fingerprint_is_refused(
    site: Path, tmp_path: Path
) -> None:
    home = tmp_path / "coordinator"
    ok(command("reidscope-server", "init", "--home", home))
    for name in ("alpha", "bravo"):
        ok(command("reidscope-server", "token", name, "--out", tmp_path / name, "--home", home))
    enrol = ("reidscope-site", "enroll")
    request = tmp_path / "request"
    one_line(command(*enrol, tmp_path / "bravo", "--request", request, "--home", site), 24)
    wrong = ("--ca-sha256", "0" * 64)
    one_line(command(*enrol, tmp_path / "alpha", *wrong, "--home", site), 24)
    assert not request.exists()
    # nobody listens: the coordinator is not up
    one_line(command(*enrol, tmp_path / "alpha", "--home", site), 51)

    ok(command(*enrol, tmp_path / "alpha", "--request", request, "--home", site))
    admit = ("reidscope-server", "admit", request, tmp_path / "alpha", "--home", home)
    ok(command(*admit, "--out", tmp_path / "grant"))
    # the token was used: a second time it is refused
    one_line(command(*admit, "--out", tmp_path / "grant2"), 42)
    assert not (tmp_path / "grant2").exists()
    ok(command(*enrol, tmp_path / "alpha", "--install", tmp_path / "grant", "--home", site))
    # and the enrolled site does not even ask again
    one_line(command(*enrol, tmp_path / "alpha", "--home", site), 42)


def test_a_draft_with_an_unknown_field_is_never_signed(tmp_path: Path) -> None:
    home, draft = tmp_path / "coordinator", tmp_path / "draft.json"
    ok(command("reidscope-server", "init", "--home", home))
    new = ("reidscope-server", "study", "new", "--id", "one", "--sites", "alpha",
           "--constants", REFERENCE, "--out", draft)  # fmt: skip
    ok(command(*new))
    draft.write_text(draft.read_text()[:-1] + ',"surprise":1}')
    sign = ("reidscope-server", "study", "sign", draft, "--out", tmp_path / "signed")
    assert "surprise" in one_line(command(*sign, "--home", home), 21)
    assert not (tmp_path / "signed").exists()


def test_a_study_that_would_answer_nothing_is_refused_at_planning(tmp_path: Path) -> None:
    draft = tmp_path / "draft.json"
    ok(command("reidscope-server", "study", "new", "--id", "one", "--sites", "alpha",
               "--constants", REFERENCE, "--out", draft, "--arms", "facemask,quickshear",
               "--epsilon", "0.1"))  # fmt: skip
    plan = ("reidscope-server", "study", "plan", draft, "--people", "20")
    assert "--force" in one_line(command(*plan), 30)
    ok(command(*plan, "--force"))


def test_an_arm_without_public_calibration_is_refused(tmp_path: Path) -> None:
    done = command("reidscope-server", "study", "new", "--id", "one", "--sites", "alpha",
                   "--constants", REFERENCE, "--out", tmp_path / "draft.json",
                   "--arms", "magic")  # fmt: skip
    assert "magic" in one_line(done, 10)
