"""Studies that ask for PET: what a draft says, and what is refused before anybody is asked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.cohort import Cohort, Modality
from reidscope_protocols.errors import InputError, MalformedError
from reidscope_protocols.groups import GroupedBy, Groups
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Study
from reidscope_server.cohort_words import groups
from reidscope_server.draft import Answers, ConstantsFolder, draft, read_constants

MR, CT, PT = Modality
ANSWERS = Answers(
    study_id="pet-1",
    title="Faces",
    question="How many?",
    population="patients",
    sites=("north",),
    arms=("blur",),
    anchors=(100,),
    epsilon=PrivacyLoss.from_decimal("2"),
    reference_people="synthetic people",
    minimum_declared_people=20,
    minimum_sites=1,
    days=30,
)
PET = dataclasses.replace(ANSWERS, scans=(PT,))


def constants(place: Path, **more: Any) -> ConstantsFolder:
    (place / "gallery.npy").write_bytes(b"gallery")
    said = {
        "schema": "reidscope.calibration/2",
        "mate": "photo",
        "direction": "sample-to-population",
        "renders": {"views": 1, "lights": 1, "fusion": "mean", "grey": False},
        "recogniser": SFACE.model_dump(mode="json"),
        "detector_sha256": SFACE.detector.sha256,
        "template_sha256": "4" * 64,
        "means": {"identified": [0.0], "unmodified/calibrated": [0.0], "blur/calibrated": [0.0]},
        "galleries": ["identified"],
        "gallery_faces": 2000,
        "sigma_gallery": {"100": 0.003},
        "seeds": {"source": "synthetic"},
        "figures": {"strangers_found": {}},
    }
    (place / "calibration.json").write_text(json.dumps(said | more))
    return read_constants(place)


def test_a_study_of_pet_says_so_and_that_its_public_scans_are_of_another_kind(
    tmp_path: Path,
) -> None:
    study = draft(PET, constants(tmp_path))
    assert Study.parse(study.payload()) == study
    assert study.experiment.scans == (PT,)
    assert study.experiment.other_domain
    assert study.five_safes.data.startswith("Head scans (PT) and photos")
    own = draft(PET, constants(tmp_path, scans="PT")).experiment
    assert (own.public_scans, own.other_domain) == (PT, False)


def test_a_study_that_does_not_ask_for_pet_is_written_without_a_word_of_it(tmp_path: Path) -> None:
    study = draft(ANSWERS, constants(tmp_path))
    assert not {"scans", "public_scans"} & set(json.loads(study.payload())["experiment"])
    assert study.five_safes.data.startswith("Head scans and photos")


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        ({"scans": "PT"}, ANSWERS),
        ({"mate": "second-scan"}, PET),
        ({"direction": "population-to-sample"}, PET),
    ],
)
def test_public_scans_among_which_a_scan_stands_out_are_refused(
    tmp_path: Path, said: dict[str, str], answers: Answers
) -> None:
    with pytest.raises(MalformedError):
        draft(answers, constants(tmp_path, **said))
    if "scans" not in said:
        draft(answers, constants(tmp_path, **said, scans="PT"))


def test_a_cohort_or_groups_of_pet_need_scans_of_pet(tmp_path: Path) -> None:
    folder = constants(tmp_path)
    cohort = Cohort(rule="everyone-who-meets", modalities=(PT,))
    grouped = Groups(by=GroupedBy.MODALITY, values=("MR", "PT"))
    for change in ({"cohort": cohort}, {"groups": grouped}):
        with pytest.raises(InputError, match="--scans"):
            draft(dataclasses.replace(ANSWERS, **change), folder)  # type: ignore[arg-type]  # either field
        draft(dataclasses.replace(ANSWERS, scans=(MR, PT), **change), folder)  # type: ignore[arg-type]  # as above


def test_groups_by_modality_are_those_of_a_usual_study_unless_pet_is_named() -> None:
    usual, named = groups("modality"), groups("modality MR,CT,PT")
    assert usual is not None
    assert named is not None
    assert usual.values == ("MR", "CT")
    assert named.values == ("MR", "CT", "PT")
