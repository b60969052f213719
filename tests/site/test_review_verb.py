"""`reidscope-site review` as a person gives it, and what `run` makes of a mark."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from reidscope_deid.keys import SiteKey
from reidscope_protocols.desk import Desk
from reidscope_protocols.errors import ConfigError, InputError, NotReadyError, ReidscopeError
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.recogniser import SFACE
from reidscope_site.agent import Agent
from reidscope_site.cli import app
from reidscope_site.config import Home
from reidscope_site.experiments import face
from reidscope_site.face.photo import looked_at
from reidscope_site.snapshot import Person, PhotoBox

BOX = (10, 20, 90, 110)


def review(home: Home, *words: object) -> Result:
    return CliRunner().invoke(app, ["review", "--home", str(home.root), *map(str, words)])


def refusal(done: Result) -> ReidscopeError:
    assert isinstance(done.exception, ReidscopeError)
    return done.exception


@pytest.fixture
def pictured(agent: Agent, people: tuple[Person, ...]) -> Person:
    """One person of the index, with a photo of 120 x 140 pixels."""
    photo = people[0].photo
    assert photo is not None
    noise = np.random.default_rng(0).integers(0, 255, (140, 120, 3)).astype(np.uint8)
    cv2.imwrite(str(photo), noise)
    person = replace(people[0], pseudonym="P-ABCDEFGH")
    agent.snapshot.freeze([person], agent.site_key)
    return person


def test_a_home_that_an_agent_holds_is_not_reviewed(home: Home) -> None:
    Agent(home).close()
    with Desk(home.root).claim() as held:
        assert held
        assert isinstance(refusal(review(home)), NotReadyError)


def test_without_an_index_nobody_is_looked_at_and_no_page_is_written(home: Home) -> None:
    Agent(home).close()
    assert "index" in str(refusal(review(home)))
    assert not (home.root / "review" / "index.html").exists()


def test_wiping_what_was_never_made_is_refused_and_a_made_folder_goes(home: Home) -> None:
    Agent(home).close()
    assert isinstance(refusal(review(home, "--wipe")), ConfigError)
    refusal(review(home))
    assert review(home, "--wipe").exit_code == 0
    assert not (home.root / "review").exists()


@pytest.mark.slow
def test_a_file_of_marks_is_taken_in_and_a_wrong_one_is_not(
    agent: Agent, home: Home, pictured: Person, tmp_path: Path
) -> None:
    file = tmp_path / "marks.jsonl"
    mark = {"person": "P-ABCDEF", "box": BOX, "photo": [120, 140]}
    for wrong in (mark | {"photo": [140, 120]}, mark | {"box": (10, 20, 121, 110)}):
        file.write_text(json.dumps(wrong))
        assert isinstance(refusal(review(home, "--mark", file)), InputError)
    assert isinstance(refusal(review(home, "--mark", tmp_path / "absent")), InputError)
    assert [person.photo_box for person in agent.snapshot.people()] == [None]
    file.write_text(json.dumps(mark) + "\n")
    done = review(home, "--mark", file)
    assert done.exit_code == 0
    assert "faces marked: 1, marks taken back: 0" in done.stdout
    assert [person.photo_box for person in agent.snapshot.people()] == [BOX]
    assert pictured.pseudonym not in done.stdout


@pytest.mark.parametrize("box", [None, BOX])
def test_a_run_looks_at_the_mark_and_at_the_whole_photo_without_one(
    pictured: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    box: PhotoBox | None,
) -> None:
    seen: list[tuple[Any, bool]] = []

    def read_faces(_: object, mate: Any, __: object, *, marked: bool) -> None:
        seen.append((mate, marked))
        raise InputError("scan", got="enough", expected="no more", do="stop")

    monkeypatch.setattr(face, "read_scan", lambda *_, **__: object())
    monkeypatch.setattr(face, "read_faces", read_faces)
    work = tmp_path / "work"
    work.mkdir()
    study = face.FaceStudy(
        sha256="ab" * 32,
        constants=_asking(),
        key=SiteKey(b"k" * 32),
        work=work,
    )
    face.evaluate(replace(pictured, photo_box=box), study)
    ((mate, marked),) = seen
    photo = cv2.imread(str(pictured.photo))[:, :, ::-1]
    assert np.array_equal(mate, looked_at(photo, box))
    assert marked is (box is not None)


def _asking() -> Any:
    class Constants:
        experiment = FaceExperiment(
            recogniser=SFACE,
            anchors=(2,),
            arms=("unmodified", "blur"),
            reference_size=20,
            reference_people="nobody",
            gallery_error=(GalleryError(gallery_size=2, sigma_ppm=0),),
        )

    return Constants()


def test_the_help_says_that_the_pages_stay() -> None:
    words = " ".join(CliRunner().invoke(app, ["review", "--help"]).stdout.split())
    assert "stay at the site" in words
    assert "no result of matching" in words
