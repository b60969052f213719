"""A study tried on public people first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.vocabulary import Attacker
from reidscope_site.cli import app
from reidscope_site.face.constants import ConstantFiles
from reidscope_site.face.found import Comparison, chance_at
from reidscope_site.reference.folder_source import FolderSource
from reidscope_site.reference.rehearsal import (
    RehearsedPerson,
    chance_within,
    rehearse,
    summed_up,
)
from reidscope_site.synthetic.seeds import Population

SIZE = 200
ASKED = FaceExperiment(
    recogniser=SFACE,
    attackers=(Attacker.CALIBRATED, Attacker.REPAIRING),
    anchors=(5, 20),
    arms=("unmodified", "facemask"),
    damage_arms=("facemask",),
    reference_size=SIZE,
    reference_people="nobody",
    gallery_error=tuple(GalleryError(gallery_size=size, sigma_ppm=0) for size in (5, 20)),
)


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    better = draw(st.integers(0, SIZE))
    equal = draw(st.integers(0, min(5, SIZE - better)))
    return Comparison(better=better, equal=equal, reference_size=SIZE)


@given(compared=comparisons(), size=st.integers(2, SIZE + 1))
def test_the_first_of_the_first_one_is_rank_one(compared: Comparison, size: int) -> None:
    assert chance_within(compared, 1, size) == pytest.approx(chance_at(compared, size), abs=1e-9)


@given(compared=comparisons(), size=st.integers(2, SIZE + 1), rank=st.integers(1, 10))
def test_a_longer_list_never_finds_fewer_and_the_whole_gallery_finds_everybody(
    compared: Comparison, size: int, rank: int
) -> None:
    assert chance_within(compared, rank, size) <= chance_within(compared, rank + 1, size) + 1e-12
    assert chance_within(compared, size, size) == pytest.approx(1.0)


SOMEBODY = RehearsedPerson(
    acquired=True,
    rank_1={
        "unmodified": {5: 1.0, 20: 0.5},
        "facemask": {5: 0.0, 20: 0.0},
        "facemask/repairing": {5: 0.5, 20: 0.1},
    },
    rank_5={
        "unmodified": {5: 1.0, 20: 1.0},
        "facemask": {5: 1.0, 20: 0.5},
        "facemask/repairing": {5: 1.0, 20: 0.5},
    },
    passed={"facemask": True},
    brain_lost={"facemask": 0.02},
    seconds=2.0,
    face_found={"unmodified": True, "facemask": True, "facemask/repairing": False},
)
LOST = replace(
    SOMEBODY,
    acquired=False,
    rank_1={},
    rank_5={},
    passed={"facemask": False},
    brain_lost={"facemask": 0.0},
    face_found={},
)


def test_shares_are_of_all_public_people() -> None:
    found = summed_up(ASKED, [SOMEBODY, LOST])
    assert (found.people, found.acquired) == (2, 0.5)
    told = [(rate.arm, rate.attacker, rate.gallery_size, rate.rank_1) for rate in found.rates]
    assert told == [
        ("unmodified", "calibrated", 5, 0.5),
        ("unmodified", "calibrated", 20, 0.25),
        ("facemask", "calibrated", 5, 0.0),
        ("facemask", "repairing", 5, 0.25),
    ]
    assert [rate.failed_gates for rate in found.rates] == [None, None, 0.5, 0.5]
    assert [rate.lost_1_percent for rate in found.rates] == [None, None, 0.5, 0.5]
    assert [rate.face_found for rate in found.rates] == [0.5, 0.5, 0.5, 0.0]


def test_too_few_public_people_are_refused_before_anything_is_loaded() -> None:
    nobody = FolderSource(people=dict.fromkeys(Population, ()), digest="0" * 64)
    files = ConstantFiles(gallery=b"", calibration=b"", models={})
    with pytest.raises(InputError):
        rehearse(ASKED, files, nobody, people=1)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--attackers", "clever"], "attackers"),
        (["--anchors", "ten"], "anchors"),
        (["--views", "2"], "renders"),
        (["--arms", "blur,blur"], "arms"),
        (["--people", "missing.csv"], "list of public people"),
        (["--declaration", "missing.json"], "No such file"),
    ],
)
def test_a_build_that_cannot_be_followed_says_so_before_it_starts(
    tmp_path: Path, options: list[str], what: str
) -> None:
    said = CliRunner().invoke(
        app,
        [
            "reference",
            "build",
            "--out",
            str(tmp_path),
            "--workspace",
            str(tmp_path / "w"),
            *options,
        ],
    )
    assert said.exit_code != 0
    assert what in str(said.exception)
    assert not list(tmp_path.rglob("*.npy"))


def test_constants_that_are_none_are_refused(tmp_path: Path, make_study: Any) -> None:
    (tmp_path / "draft.json").write_bytes(make_study().payload())
    said = CliRunner().invoke(
        app, ["rehearse", str(tmp_path / "draft.json"), "--constants", str(tmp_path)]
    )
    assert "constants folder" in str(said.exception)


REFERENCE = Path(__file__).parents[2] / "examples/consortium/reference"


@pytest.mark.slow
def test_a_study_is_rehearsed_on_public_people(tmp_path: Path) -> None:
    from reidscope_server.cli import app as server  # noqa: PLC0415 - this test alone drafts

    draft = str(tmp_path / "draft.json")
    made = CliRunner().invoke(
        server,
        ["study", "new", "--id", "tried", "--sites", "one", "--constants", str(REFERENCE),
         "--out", draft, "--arms", "facemask", "--attackers", "calibrated,repairing",
         "--damage", "facemask"],
    )  # fmt: skip
    assert made.exit_code == 0, made.exception
    said = CliRunner().invoke(
        app, ["rehearse", draft, "--constants", str(REFERENCE), "--count", "2", "--json"]
    )
    assert said.exit_code == 0, said.exception
    found = json.loads(said.stdout)
    assert found["people"] == 2
    assert [row["arm"] for row in found["rates"]] == [
        "unmodified",
        "unmodified",
        "facemask",
        "facemask",
    ]
    # the detector's answer, arm by arm and attacker by attacker: before defacing, in both
    assert [row["face_found"] for row in found["rates"]][:2] == [1.0, 1.0]
    assert all(row["face_found"] in (0.0, 0.5, 1.0) for row in found["rates"])
