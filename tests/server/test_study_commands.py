"""`study new`, `plan` and what they say of attackers, gates and damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reidscope_protocols.errors import InputError, RefusalError, UnsupportedError
from reidscope_protocols.groups import GroupedBy, Groups
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Attacker, FailedGate, ScanRule
from reidscope_server.cli_study import study_app

BOTH = (Attacker.CALIBRATED, Attacker.REPAIRING)


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(study_app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def drafted(tmp_path: Path, make_study: Callable[..., Study]) -> Callable[..., Path]:
    def write(**asked: Any) -> Path:
        path = tmp_path / "draft.json"
        path.write_bytes(make_study(epsilon="2", anchors=(100,), asked=asked).payload())
        return path

    return write


@pytest.fixture
def constants(tmp_path: Path) -> Path:
    """A public reference, as far as the coordinator reads it."""
    readings = ("identified", "unmodified/calibrated", "blur/calibrated", "blur/repairing")
    said = {
        "mate": "photo",
        "direction": "sample-to-population",
        "renders": {"views": 1, "lights": 1, "fusion": "mean", "grey": False},
        "recogniser": SFACE.model_dump(mode="json"),
        "detector_sha256": SFACE.detector.sha256,
        "template_sha256": "4" * 64,
        "means": {reading: [0.0] for reading in readings},
        "galleries": ["identified"],
        "gallery_faces": 2000,
        "sigma_gallery": {"100": 0.003},
        "figures": {"strangers_found": {}},
    }
    (tmp_path / "gallery.npy").write_bytes(b"gallery")
    (tmp_path / "calibration.json").write_text(json.dumps(said))
    return tmp_path


def test_a_plan_shows_every_attacker_and_the_tables_beside(drafted: Callable[..., Path]) -> None:
    draft = drafted(attackers=BOTH, damage_arms=("blur",))
    shown = json.loads(run("plan", draft, "--people", "300,300", "--json").stdout)
    assert [(row["kind"], row["arm"], row["gallery"]) for row in shown] == [
        ("rate", "unmodified", 100),
        ("rate", "blur", 100),
        ("rate", "blur/repairing", 100),
        ("difference", "blur", 100),
        ("difference", "blur/repairing", 100),
        ("failed gates", "blur", None),
        ("damage", "blur", None),
    ]
    assert all(0 < row["half_width_points"] < 15 for row in shown)
    table = run("plan", draft, "--people", "300,300").stdout
    assert "failed gates" in table
    assert "None" not in table


def test_a_plan_is_refused_for_its_rates_and_never_for_the_tables_beside(
    drafted: Callable[..., Path],
) -> None:
    draft = drafted(damage_arms=("blur",))
    shown = json.loads(run("plan", draft, "--people", "100", "--json").stdout)
    widths = {row["kind"]: row["half_width_points"] for row in shown}
    assert widths["damage"] > 15 > max(widths["rate"], widths["difference"])
    with pytest.raises(RefusalError, match="--force"):
        run("plan", draft, "--people", "20")
    assert run("plan", draft, "--people", "20", "--force").exit_code == 0


def test_a_new_study_asks_for_what_was_typed(constants: Path) -> None:
    out = constants / "draft.json"
    said = run(
        "new", "--id", "faces-2", "--sites", "north", "--constants", constants, "--out", out,
        "--arms", "blur", "--anchors", "100", "--attackers", "calibrated,repairing",
        "--damage", "blur", "--damage-epsilon", "0.25", "--scan-cap", "3",
        "--failed-gate", "released",
    )  # fmt: skip
    study = Study.parse(out.read_bytes())
    assert study.experiment.attackers == BOTH
    assert study.experiment.scan_rule is ScanRule.MOST_EXPOSED
    assert study.experiment.failed_gate is FailedGate.RELEASED
    assert str(study.loss) == "2.25"
    for table in study.tables:
        assert f"{table.table} of {len(table.cells)} cells" in said.stdout + said.stderr


@pytest.mark.parametrize("attackers", ["", "clever", "calibrated,clever"])
def test_an_unknown_attacker_is_refused_with_the_known_ones(
    constants: Path, attackers: str
) -> None:
    with pytest.raises(InputError, match="raw, calibrated, repairing"):
        run("new", "--id", "x", "--sites", "north", "--constants", constants,
            "--out", constants / "draft.json", "--attackers", attackers)  # fmt: skip


def test_a_cohort_a_sample_and_groups_are_written_down_and_said_in_the_five_safes(
    constants: Path,
) -> None:
    out = constants / "draft.json"
    said = run(
        "new", "--id", "women", "--sites", "north", "--constants", constants, "--out", out,
        "--arms", "blur", "--anchors", "100", "--cohort", "age 18-89, sex F",
        "--sample", "50%", "--groups", "age 18-39,40-64,65+",
    )  # fmt: skip
    study = Study.parse(out.read_bytes())
    assert study.cohort.sample is not None
    assert study.cohort.sample.salt == "women"
    assert study.experiment.groups is not None
    assert len(study.joint_table.cells) == 4 * len(study.experiment.cells())
    assert "sex F, aged 18 to 89" in study.five_safes.data
    assert "kept apart by age: 18-39, 40-64, 65+ and other" in study.five_safes.outputs
    assert "--answers-after" in said.stdout + said.stderr


@pytest.mark.parametrize(
    ("option", "typed"),
    [("--cohort", "latest 84"), ("--sample", "84"), ("--groups", "pseudonym")],
)
def test_a_rule_that_looks_at_more_than_one_person_writes_nothing(
    constants: Path, option: str, typed: str
) -> None:
    with pytest.raises(UnsupportedError):
        run("new", "--id", "x", "--sites", "north", "--constants", constants,
            "--out", constants / "no.json", option, typed)  # fmt: skip
    assert not (constants / "no.json").exists()


def test_a_plan_shows_each_groups_widths_and_refuses_only_for_everybodys(
    drafted: Callable[..., Path],
) -> None:
    draft = drafted(groups=Groups(by=GroupedBy.SEX, values=("F", "M")))
    plan = ("plan", draft, "--people", "150,150", "--group-shares", "90%,2%")
    rows = json.loads(run(*plan, "--json").stdout)
    widths = {row.get("group"): row["half_width_points"] for row in rows if row["kind"] == "rate"}
    assert set(widths) == {None, "sex=F", "sex=M", "sex=other"}
    assert widths[None] < 15 < widths["sex=M"]
    assert widths["sex=F"] < widths["sex=M"]
    assert "sex=other" in run(*plan).stdout
