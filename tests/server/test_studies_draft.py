"""A study is written down, opened once, and never changes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.envelope import Opened, sign
from reidscope_protocols.errors import (
    BadSignatureError,
    ConstantMismatchError,
    InputError,
    MalformedError,
    NotReadyError,
)
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Attacker, ConstantRole, ScanRule
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.draft import Answers, ConstantsFolder, draft, read_constants

ANSWERS = Answers(
    study_id="faces-1",
    title="Faces",
    question="How many?",
    population="patients",
    sites=("north", "south"),
    arms=("blur",),
    anchors=(100,),
    epsilon=PrivacyLoss.from_decimal("2"),
    reference_people="synthetic people",
    minimum_declared_people=20,
    minimum_sites=2,
    days=30,
)


def a_calibration() -> dict[str, Any]:
    """Write what a study needs of a calibration: two attackers, and raw galleries."""
    return {
        "schema": "reidscope.calibration/2",
        "mate": "photo",
        "direction": "sample-to-population",
        "renders": {"views": 3, "lights": 1, "fusion": "mean", "grey": True},
        "recogniser": SFACE.model_dump(mode="json"),
        "detector_sha256": SFACE.detector.sha256,
        "template_sha256": "4" * 64,
        "means": {
            "identified": [0.0],
            "unmodified/calibrated": [0.0],
            "blur/calibrated": [0.0],
            "blur/repairing": [0.0],
        },
        "galleries": ["identified", "identified/raw"],
        "gallery_faces": 2000,
        "sigma_gallery": {"100": 0.003},
        "seeds": {"source": "synthetic"},
        "figures": {
            "strangers_found": {"unmodified/calibrated": 0.012, "blur/calibrated": 0.009},
        },
    }


def folder_of(place: Path, calibration: dict[str, Any]) -> ConstantsFolder:
    (place / "gallery.npy").write_bytes(b"gallery")
    (place / "calibration.json").write_text(json.dumps(calibration))
    return read_constants(place)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder_of(tmp_path, a_calibration())
    return tmp_path


def test_a_draft_asks_for_its_own_cells_at_the_asked_price(folder: Path) -> None:
    study = draft(ANSWERS, read_constants(folder))
    assert [table.table for table in study.tables] == ["face-joint", "face-gates"]
    assert study.joint_table.cells == study.experiment.cells().labels
    assert study.loss == PrivacyLoss.from_decimal("2")
    assert Study.parse(study.payload()) == study
    assert study.experiment.gallery_error[0].sigma_ppm == 3000


def test_mate_direction_renders_and_recogniser_are_those_that_were_calibrated(
    tmp_path: Path,
) -> None:
    calibration = a_calibration() | {"mate": "second-scan", "direction": "population-to-sample"}
    experiment = draft(ANSWERS, folder_of(tmp_path, calibration)).experiment
    assert (experiment.mate, experiment.direction) == ("second-scan", "population-to-sample")
    assert experiment.renders.model_dump() == calibration["renders"]
    assert experiment.recogniser == SFACE


def test_damage_tables_are_priced_on_top(folder: Path) -> None:
    answers = dataclasses.replace(
        ANSWERS, damage_arms=("blur",), damage_epsilon=PrivacyLoss.from_decimal("0.3")
    )
    study = draft(answers, read_constants(folder))
    assert {table.table: str(table.loss) for table in study.tables} == {
        "face-joint": "1.6",
        "face-gates": "0.4",
        "face-damage/blur": "0.3",
    }
    assert str(study.loss) == "2.3"
    assert "epsilon 2.3 together" in study.five_safes.outputs
    assert "face-damage/blur: 6 counts" in study.five_safes.outputs


def test_a_cap_of_several_scans_asks_for_the_most_exposed_one(folder: Path) -> None:
    capped = draft(dataclasses.replace(ANSWERS, scan_cap=3), read_constants(folder)).experiment
    assert (capped.scan_rule, capped.chance_percent) == (ScanRule.MOST_EXPOSED, 3.0)
    plain = draft(ANSWERS, read_constants(folder)).experiment
    assert (plain.scan_rule, plain.chance_percent) == (ScanRule.FIRST_BY_DATE, 1.0)


def test_several_attackers_share_one_table(folder: Path) -> None:
    both = dataclasses.replace(ANSWERS, attackers=(Attacker.CALIBRATED, Attacker.REPAIRING))
    study = draft(both, read_constants(folder))
    assert study.joint_table.cells[1] == "unmodified=0;blur=no;blur/repairing=yes"
    assert study.loss == PrivacyLoss.from_decimal("2")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"arms": ("mystery",)}, "mystery, expected arms out of blur"),
        ({"anchors": (100, 200)}, "200, expected anchors out of 100"),
        ({"attackers": (Attacker.REPAIRING, Attacker.RAW)}, "repairing first"),
    ],
)
def test_an_arm_or_anchor_without_a_public_calibration_is_refused(
    folder: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        draft(dataclasses.replace(ANSWERS, **change), read_constants(folder))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("synthetic", "synthetic people"),
        ("synthetic PET", "synthetic people"),
        ("list 0123456789abcdef", "public people of list 0123456789abcdef"),
    ],
)
def test_a_study_says_of_whom_its_gallery_is_as_the_build_did(
    tmp_path: Path, source: str, said: str
) -> None:
    read = folder_of(tmp_path, a_calibration() | {"seeds": {"source": source}})
    unsaid = dataclasses.replace(ANSWERS, reference_people="")
    assert draft(unsaid, read).experiment.reference_people == said
    named = dataclasses.replace(ANSWERS, reference_people="adult volunteers of Utrecht")
    assert draft(named, read).experiment.reference_people == "adult volunteers of Utrecht"


def test_a_reference_that_does_not_say_of_whom_it_is_needs_it_said(tmp_path: Path) -> None:
    read = folder_of(tmp_path, a_calibration() | {"seeds": {}})
    with pytest.raises(InputError, match="--reference-people"):
        draft(dataclasses.replace(ANSWERS, reference_people=""), read)


@pytest.mark.parametrize(
    ("attackers", "named"),
    [
        ((Attacker.CALIBRATED, Attacker.REPAIRING), "blur/repairing"),
        ((Attacker.CALIBRATED, Attacker.RAW), "blur/raw"),
    ],
)
def test_a_reading_that_nobody_calibrated_is_refused(
    tmp_path: Path, attackers: tuple[Attacker, ...], named: str
) -> None:
    answers = dataclasses.replace(ANSWERS, attackers=attackers)
    calibration = a_calibration()
    assert draft(answers, folder_of(tmp_path, calibration)).experiment.attackers == attackers
    calibration["means"].pop("blur/repairing")
    calibration["galleries"].remove("identified/raw")
    with pytest.raises(InputError, match=named):
        draft(answers, folder_of(tmp_path, calibration))


@pytest.mark.parametrize(
    ("reading", "share", "refused"),
    [
        ("unmodified/calibrated", 0.031, True),
        ("blur/calibrated", 0.5, True),
        ("blur/calibrated", 0.03, False),
        ("blur/repairing", 0.5, False),  # found by their domain, but nobody asks
    ],
)
def test_a_reference_of_another_domain_than_the_probes_is_refused(
    tmp_path: Path, *, reading: str, share: float, refused: bool
) -> None:
    calibration = a_calibration()
    calibration["figures"]["strangers_found"][reading] = share
    constants = folder_of(tmp_path, calibration)
    if not refused:
        assert draft(ANSWERS, constants).experiment.arms == ("unmodified", "blur")
        return
    with pytest.raises(InputError, match="scanner or camera alone: " + reading):
        draft(ANSWERS, constants)


def test_a_recogniser_of_ones_own_is_named_with_its_size_and_offered_to_sites(
    tmp_path: Path,
) -> None:
    content = b"a network"
    own = SFACE.parts[0].model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    said = SFACE.model_copy(update={"name": "ours", "parts": (SFACE.parts[0], own)})
    calibration = a_calibration() | {"recogniser": said.model_dump(mode="json")}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "network.onnx").write_bytes(content)
    (tmp_path / "models" / "notes.txt").write_text("nothing that a study names")
    constants = folder_of(tmp_path, calibration)
    study = draft(ANSWERS, constants)
    sizes = {c.sha256: c.size_bytes for c in study.constants if c.role is ConstantRole.RECOGNISER}
    assert sizes == {SFACE.parts[0].sha256: None, own.sha256: len(content)}
    assert constants.files[own.sha256] == content
    assert set(constants.files) == {c.sha256 for c in study.constants if c.size_bytes is not None}


def test_a_recogniser_that_lies_nowhere_is_one_that_every_site_brings_along(folder: Path) -> None:
    study = draft(ANSWERS, read_constants(folder))
    by_role = {constant.role: constant for constant in study.constants}
    assert by_role[ConstantRole.RECOGNISER].size_bytes is None
    assert by_role[ConstantRole.REFERENCE_GALLERY].size_bytes == len(b"gallery")


@pytest.mark.parametrize(
    "change",
    [
        {"days": 0},
        {"days": -1},
        {"sites": ()},
        {"sites": ("North",)},
        {"sites": ("north", "north")},
        {"minimum_sites": 3},
        {"title": "two\nlines"},
        {"study_id": "Faces 1"},
        {"arms": ("blur", "blur")},
        {"anchors": ()},
        {"epsilon": PrivacyLoss(0)},
        {"minimum_declared_people": 0},
        {"damage_arms": ("mystery",)},
        {"attackers": ()},
        {"scan_cap": 11},
        {"damage_arms": ("blur",), "damage_epsilon": PrivacyLoss(0)},
    ],
)
def test_answers_that_make_no_study_are_refused(folder: Path, change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        draft(dataclasses.replace(ANSWERS, **change), read_constants(folder))


@pytest.mark.parametrize("missing", ["gallery.npy", "calibration.json"])
def test_a_constants_folder_without_its_files_is_refused(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(InputError):
        read_constants(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"means": 3}', "\x00"])
def test_a_calibration_that_is_none_is_malformed(folder: Path, text: str) -> None:
    (folder / "calibration.json").write_text(text)
    with pytest.raises(MalformedError):
        read_constants(folder)


def test_a_study_is_opened_once_and_never_changed(
    coordinator: Coordinator, study: Opened[Study], open_study: Callable[..., Opened[Study]]
) -> None:
    assert coordinator.studies.open(study.envelope, {}).sha256 == study.sha256
    with pytest.raises(InputError, match="same id"):
        open_study(title="Another title")
    assert [held.sha256 for held in coordinator.studies.every()] == [study.sha256]


def test_only_the_study_key_opens_a_study(
    coordinator: Coordinator, server_home: ServerHome, make_study: Callable[..., Study]
) -> None:
    for key in (StatementKey.load(server_home.key("coordinator.pem")), StatementKey.generate()):
        with pytest.raises(BadSignatureError):
            coordinator.studies.open(sign(make_study(), key), {})
    assert coordinator.studies.every() == ()


def test_a_constant_is_served_if_a_study_names_it_and_nothing_else_is(
    coordinator: Coordinator, server_home: ServerHome, make_study: Callable[..., Study]
) -> None:
    content = b"gallery"
    sha256 = hashlib.sha256(content).hexdigest()
    study = make_study()
    constants = (study.constants[0].model_copy(update={"sha256": sha256}), *study.constants[1:])
    signed = sign(make_study(constants=constants), StatementKey.load(server_home.key("study.pem")))
    with pytest.raises(ConstantMismatchError):
        coordinator.studies.open(signed, {sha256: b"another"})
    other = hashlib.sha256(b"unnamed").hexdigest()
    with pytest.raises(ConstantMismatchError, match="does not name"):
        coordinator.studies.open(signed, {sha256: content, other: b"unnamed"})
    assert coordinator.studies.every() == ()
    coordinator.studies.open(signed, {sha256: content})
    assert coordinator.constant(sha256) == content
    assert coordinator.constant(other) is None
    for name in ("../keys/ca.pem", "/etc/passwd", "", "."):
        assert coordinator.constant(name) is None


def test_a_study_is_sent_to_the_sites_that_it_asks_alone(
    coordinator: Coordinator, open_study: Callable[..., Opened[Study]]
) -> None:
    study = open_study(sites=("north",))
    assert coordinator.studies.envelopes_for("north") == (study.envelope,)
    assert coordinator.studies.envelopes_for("south") == ()


@pytest.mark.parametrize("word", ["", "faces", "zz"])
def test_a_word_that_fits_no_study_is_refused(
    coordinator: Coordinator, study: Opened[Study], word: str
) -> None:
    assert study.sha256
    with pytest.raises(MalformedError):
        coordinator.studies.find(word)


def test_collecting_needs_an_enrolled_site(coordinator: Coordinator, study: Opened[Study]) -> None:
    with pytest.raises(NotReadyError):
        coordinator.start_collecting(study.sha256)
