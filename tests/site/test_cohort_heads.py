"""Two synthetic heads through the real pipeline: each person's cell says their own group."""

from __future__ import annotations

from pathlib import Path

import pytest

from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.groups import GroupedBy, Groups
from reidscope_protocols.recogniser import SFACE
from reidscope_site.agent import Agent
from reidscope_site.experiments.face import FaceStudy, evaluate
from reidscope_site.face.constants import ConstantFiles, load_constants
from reidscope_site.installed import models_of
from reidscope_site.snapshot import Person

pytestmark = pytest.mark.slow
REFERENCE = Path(__file__).parents[2] / "examples" / "consortium" / "reference"


def experiment(groups: Groups | None) -> FaceExperiment:
    return FaceExperiment(
        recogniser=SFACE,
        anchors=(100, 1000),
        arms=("unmodified", "facemask"),
        groups=groups,
        reference_size=10_000,
        reference_people="synthetic people",
        gallery_error=tuple(GalleryError(gallery_size=n, sigma_ppm=0) for n in (100, 1000)),
    )


def test_groups_move_a_real_persons_cell_into_their_own_groups_part_and_change_nothing_else(
    hospital: Agent, tmp_path: Path
) -> None:
    files = ConstantFiles(
        gallery=(REFERENCE / "gallery.npy").read_bytes(),
        calibration=(REFERENCE / "calibration.json").read_bytes(),
        models=models_of(SFACE),
    )

    def cells(person: Person, asked: FaceExperiment) -> tuple[int, ...]:
        constants = load_constants(asked, files)
        study = FaceStudy(
            sha256="ab" * 32, constants=constants, key=hospital.site_key, work=tmp_path
        )
        return evaluate(person, study).cells

    by_sex, without = experiment(Groups(by=GroupedBy.SEX, values=("F", "M"))), experiment(None)
    for person in hospital.snapshot.people():
        plain, grouped = cells(person, without), cells(person, by_sex)
        assert grouped[1:] == plain[1:]
        label = by_sex.joint_labels()[grouped[0]]
        assert label == f"sex={person.attributes.sex};{without.joint_labels()[plain[0]]}"
        assert person.attributes.age_years is not None
