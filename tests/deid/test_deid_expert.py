"""Under expert-determination a run is done only if its people are exposed no more than allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.deid.conftest import EXPLICIT, ROOT, as_bytes, mr_slice
from typer.testing import CliRunner

from reidscope_deid.cli import app
from reidscope_deid.keys import generate_key
from reidscope_deid.profile import load_profile
from reidscope_protocols.errors import ConfigError, ResidualIdentifierError

PROFILE = """
schema = "reidscope.deid-profile/1"
name = "ours"
about = "A site's own."
options = ["retain_patient_characteristics"]
[risk]
k = {k}
average = {average}
"""


def people(folder: Path, ages: list[str]) -> None:
    folder.mkdir()
    for number, age in enumerate(ages):
        data_set = mr_slice(EXPLICIT, number=number)
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = (
            f"{ROOT}.55.{number}"
        )
        data_set.PatientID = f"MRN-{number:04}"
        data_set.PatientAge = age
        (folder / f"{number}.dcm").write_bytes(as_bytes(data_set, EXPLICIT))


def run(tmp_path: Path, k: int, average: float) -> tuple[object, dict[str, object]]:
    profile, report = tmp_path / "ours.toml", tmp_path / "report.json"
    profile.write_text(PROFILE.format(k=k, average=average))
    generate_key(tmp_path / "key")
    arguments = ["run", tmp_path / "in", tmp_path / "out", "--key", tmp_path / "key"]
    arguments += ["--profile", profile, "--report", report]
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    return done.exception, json.loads(report.read_text())


def test_a_folder_whose_people_are_alike_is_done(tmp_path: Path) -> None:
    people(tmp_path / "in", ["048Y"] * 6)
    error, report = run(tmp_path, 6, 0.17)
    assert error is None
    assert report["risk"]["sample"]["k"] == 6  # type: ignore[index]  # JSON
    assert "MRN" not in json.dumps(report)
    assert "048Y" not in json.dumps(report)


@pytest.mark.parametrize(("k", "average"), [(6, 0.9), (1, 0.3)])
def test_one_person_who_stands_out_keeps_the_folder_from_being_done(
    tmp_path: Path, k: int, average: float
) -> None:
    people(tmp_path / "in", ["048Y"] * 5 + ["071Y"])
    error, report = run(tmp_path, k, average)
    assert isinstance(error, ResidualIdentifierError)
    assert "do not pass it on" in str(error)
    assert report["risk"]["sample"]["k"] == 1  # type: ignore[index]  # JSON


def test_the_shipped_profile_has_limits_and_others_have_none() -> None:
    limits = load_profile("expert-determination").risk
    assert limits is not None
    assert (limits.k, limits.average) == (11, 0.09)
    assert load_profile("safe-harbor").risk is None


@pytest.mark.parametrize(("k", "average"), [(0, 0.5), (2, 0.0), (2, 1.5)])
def test_limits_that_limit_nothing_or_everything_are_refused(
    tmp_path: Path, k: int, average: float
) -> None:
    (tmp_path / "ours.toml").write_text(PROFILE.format(k=k, average=average))
    with pytest.raises(ConfigError, match="risk"):
        load_profile(str(tmp_path / "ours.toml"))
