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
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.draft import Answers, draft, read_constants

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    said: dict[str, Any] = {
        **{f"{role}_sha256": f"{number:064x}" for number, role in enumerate(ConstantRole)},
        "gallery_faces": 2000,
        "sigma_gallery": {"100": 0.003},
        "means": {"photo": [], "unmodified": [], "blur": []},
    }
    (tmp_path / "gallery.npy").write_bytes(b"gallery")
    (tmp_path / "calibration.json").write_text(json.dumps(said))
    return tmp_path


def test_a_draft_asks_for_its_own_cells_at_the_asked_price(folder: Path) -> None:
    study = draft(ANSWERS, read_constants(folder))
    assert study.joint_table.cells == study.experiment.cells().labels
    assert study.loss == PrivacyLoss.from_decimal("2")
    assert Study.parse(study.payload()) == study
    assert study.experiment.gallery_error[0].sigma_ppm == 3000


@pytest.mark.parametrize(
    ("change", "named"),
    [({"arms": ("mystery",)}, "mystery"), ({"anchors": (100, 200)}, "200")],
)
def test_an_arm_or_anchor_without_a_public_calibration_is_refused(
    folder: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        draft(dataclasses.replace(ANSWERS, **change), read_constants(folder))


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
