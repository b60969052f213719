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
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Study
from reidscope_protocols.terminal import run_as_command
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
        "seeds": {"source": "synthetic"},
        "sigma_gallery": {"100": 0.003},
        "figures": {"strangers_found": {}},
    }
    (tmp_path / "gallery.npy").write_bytes(b"gallery")
    (tmp_path / "calibration.json").write_text(json.dumps(said))
    return tmp_path


def test_a_plan_shows_every_attacker_and_the_tables_beside(drafted: Callable[..., Path]) -> None:
    draft = drafted(attackers=BOTH, damage_arms=("blur",))
    shown = json.loads(run("plan", draft, "--people", "300,300", "--json").stdout)["intervals"]
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
    shown = json.loads(run("plan", draft, "--people", "100", "--json").stdout)["intervals"]
    widths = {row["kind"]: row["half_width_points"] for row in shown}
    assert widths["damage"] > 15 > max(widths["rate"], widths["difference"])
    with pytest.raises(RefusalError, match="--force"):
        run("plan", draft, "--people", "20")
    assert run("plan", draft, "--people", "20", "--force").exit_code == 0


REHEARSED = {
    "people": 20,
    "acquired": 1.0,
    "rates": [
        {"arm": "unmodified", "attacker": "calibrated", "gallery": 100, "rank_1": 0.81},
        {
            "arm": "blur",
            "attacker": "calibrated",
            "gallery": 100,
            "rank_1": 0.22,
            "failed_gates": 0.05,
        },
        {"arm": "blur", "attacker": "repairing", "gallery": 100, "rank_1": 0.4},
    ],
}


def test_a_plan_reads_the_rates_of_a_rehearsal_and_what_is_typed_goes_before_them(
    drafted: Callable[..., Path], tmp_path: Path
) -> None:
    draft, rehearsed = drafted(attackers=BOTH), tmp_path / "rehearsed.json"
    rehearsed.write_text(json.dumps(REHEARSED))
    asked = ("plan", draft, "--people", "300", "--rehearsed", rehearsed, "--json")

    def at(*more: str) -> dict[str, float]:
        rows = json.loads(run(*asked, *more).stdout)["intervals"]
        return {row["arm"]: row["planned_for"] for row in rows if row["kind"] == "rate"}

    assert at() == {"unmodified": 0.81, "blur": 0.22, "blur/repairing": 0.4}
    assert at("--rate", "blur/repairing@100=0.6")["blur/repairing"] == 0.6
    rows = json.loads(run(*asked).stdout)["intervals"]
    assert [row["planned_for"] for row in rows if row["kind"] == "failed gates"] == [0.05]


def test_a_plan_asks_what_another_epsilon_would_give(drafted: Callable[..., Path]) -> None:
    def joint(*more: str) -> dict[str, float]:
        said = json.loads(run("plan", drafted(), "--people", "200", "--json", *more).stdout)
        (table, gates) = said["mechanism"]["tables"]
        assert table["epsilon"] == pytest.approx(4 * gates["epsilon"])
        return {**table, "width": said["intervals"][0]["half_width_points"]}

    as_drafted, half = joint(), joint("--epsilon", "1", "--force")
    assert (as_drafted["epsilon"], half["epsilon"]) == (1.6, 0.8)
    assert half["width"] > as_drafted["width"]


def test_a_plan_says_which_mechanism_is_narrower_and_where_a_secure_sum_would_pay(
    drafted: Callable[..., Path],
) -> None:
    said = json.loads(run("plan", drafted(), "--people", "84", "--sites", "20", "--json").stdout)
    assert (said["sites"], said["people"], said["too_wide"]) == (20, 1680, False)
    assert said["mechanism"]["narrower"] == "discrete Laplace"
    assert [table["table"] for table in said["mechanism"]["tables"]] == ["face-joint", "face-gates"]
    for row in said["intervals"]:
        assert row["distributed_points"] < row["half_width_points"] < row["gaussian_points"]
    shown = run("plan", drafted(), "--people", "84,84").stdout
    assert "discrete Laplace is narrower" in shown
    assert "distributed noise" in shown


@pytest.mark.parametrize(
    "typed",
    [
        ("--people", "0"),
        ("--people", "84,x"),
        ("--people", "84,84", "--sites", "3"),
        ("--people", "84", "--rate", "blur"),
        ("--people", "84", "--rate", "blur=much"),
        ("--people", "84", "--rate", "blur=nan"),
        ("--people", "84", "--rate", "blur=1.01"),
        ("--people", "84", "--rate", "=0.5"),
        ("--people", "84", "--rate", "mideface=0.5"),
        ("--people", "84", "--delta", "0"),
        ("--people", "84", "--delta", "1e-400"),
        ("--people", "84", "--delta", "nan"),
        ("--people", "84", "--widest", "nan"),
        ("--people", "84", "--widest", "-1"),
        ("--people", "84", "--colluders", "1"),
        ("--people", "84", "--epsilon", "0"),
        ("--people", "84", "--epsilon", "1e-400"),
        ("--people", "84", "--epsilon", "nan"),
    ],
)
def test_a_plan_of_nonsense_is_refused_in_one_line(
    drafted: Callable[..., Path], typed: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as refused:
        run("plan", drafted(), *typed)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rates": [{}]}', '{"rates": 3}', "\0"])
def test_a_rehearsal_that_is_none_is_refused(
    drafted: Callable[..., Path], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "rehearsed.json"
    file.write_text(text)
    with pytest.raises(InputError, match="rehearsal"):
        run("plan", drafted(), "--people", "300", "--rehearsed", file)


def test_a_wider_study_can_be_accepted_by_its_width(drafted: Callable[..., Path]) -> None:
    with pytest.raises(RefusalError, match="at most 15"):
        run("plan", drafted(), "--people", "20")
    assert run("plan", drafted(), "--people", "20", "--widest", "60").exit_code == 0


def test_signing_says_how_wide_the_rates_will_be_at_worst(
    drafted: Callable[..., Path], tmp_path: Path
) -> None:
    key = tmp_path / "study.pem"
    StatementKey.generate().save(key)
    said = run("sign", drafted(), "--out", tmp_path / "signed.json", "--key", key).stdout
    assert "points or better from 1 sites of the 10 people" in said
    assert "see `study plan`" in said


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


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        *(("--epsilon", value, 14) for value in ("0", "-1", "nan", "1e-400", "1001", "much", "")),
        ("--epsilon", "0.000000001", 21),  # a fifth of it is nothing
        ("--damage-epsilon", "0", 14),
        ("--anchors", "1", 10),
        ("--anchors", "100,100", 21),
        ("--anchors", "2002", 10),
        ("--anchors", "", 10),
        ("--sites", "", 21),
        ("--sites", "north,north", 21),
        ("--minimum-people", "0", 21),
        ("--minimum-sites", "2", 21),
    ],
)
def test_a_new_study_of_nonsense_ends_with_its_code_and_one_line(
    constants: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, code: int
) -> None:
    out = constants / "draft.json"
    typed = {
        "--id": "faces-2", "--sites": "north", "--constants": str(constants), "--out": str(out),
        "--arms": "blur", "--anchors": "100", option: value,
    }  # fmt: skip
    words = ["new", *(word for pair in typed.items() for word in pair)]
    with pytest.raises(SystemExit) as ended:
        run_as_command(lambda: study_app(words, standalone_mode=False))
    assert ended.value.code == code
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


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
    rows = json.loads(run(*plan, "--json").stdout)["intervals"]
    widths = {row.get("group"): row["half_width_points"] for row in rows if row["kind"] == "rate"}
    assert set(widths) == {None, "sex=F", "sex=M", "sex=other"}
    assert widths[None] < 15 < widths["sex=M"]
    assert widths["sex=F"] < widths["sex=M"]
    assert "sex=other" in run(*plan).stdout
