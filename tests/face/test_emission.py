"""What attackers and gates make of a PET: simulated emission images of people that never were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reidscope_protocols.recogniser import SFACE
from reidscope_site.face import gates
from reidscope_site.face.arms import resolve
from reidscope_site.face.describe import take_in
from reidscope_site.face.detect import Detector
from reidscope_site.face.register import Registration
from reidscope_site.face.skin import face_picture, reconstruct
from reidscope_site.face.template import template
from reidscope_site.face.volume import Volume, isotropic
from reidscope_site.face.weights import models_of
from reidscope_site.synthetic.emission import BODY_TOMOGRAPH, BRAIN_TOMOGRAPH, emission
from reidscope_site.synthetic.seeds import PersonSeed, Population

SEED = PersonSeed(population=Population.REHEARSAL, number=1)


@pytest.fixture(scope="module")
def pet() -> Volume:
    return emission(SEED, template())


@pytest.mark.slow
def test_a_pet_is_the_same_for_the_same_seed_and_another_for_another_visit(pet: Volume) -> None:
    assert pet.emission
    assert pet.voxels.min() >= 0
    assert np.array_equal(emission(SEED, template()).voxels, pet.voxels)
    assert not np.array_equal(emission(SEED, template(), visit=1).voxels, pet.voxels)


def test_a_one_millimetre_copy_of_a_pet_is_a_pet(pet: Volume) -> None:
    assert isotropic(pet).emission
    assert replace(pet, voxels=pet.voxels * 2).emission


def test_a_pet_in_which_only_the_brain_emits_shows_no_skin() -> None:
    head = template()
    pose = Registration(to_template=np.eye(4), ncc=1.0)
    brain = Volume(
        voxels=head.brain.numpy().astype(np.float32),
        spacing_mm=(1, 1, 1),
        affine=np.eye(4),
        emission=True,
    )
    assert reconstruct(brain, pose) is None
    skin = replace(brain, voxels=20 * brain.voxels + head.surface.numpy())
    seen = reconstruct(skin, pose)
    assert seen is not None
    # half of what the skin emits, whatever the brain does
    assert seen.level == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("tomograph", [BRAIN_TOMOGRAPH, BODY_TOMOGRAPH])
def test_a_simulated_pet_is_taken_in_its_face_is_found_and_defacers_pass_their_gates(
    tomograph: object,
) -> None:
    torch.set_num_threads(1)
    assert tomograph in {BRAIN_TOMOGRAPH, BODY_TOMOGRAPH}
    volume = emission(SEED, template(), tomograph=tomograph)  # type: ignore[arg-type]  # one of two
    head = take_in(volume)
    assert head is not None
    detector = Detector(models_of(SFACE)[SFACE.detector.sha256])
    picture = face_picture(head.volume, head.registration)
    assert picture is not None
    best = max(face.score for face in detector.faces(picture, min_score=0.0))
    assert best > 0.6
    # read as an MR it shows a brain, in which hardly a face is found
    as_mr = face_picture(replace(head.volume, emission=False), head.registration)
    assert as_mr is not None
    brains = [face.score for face in detector.faces(as_mr, min_score=0.0)]
    assert max(brains, default=0.0) < best - 0.3
    for name in ("facemask", "reface", "skullstrip"):
        arm = resolve(name)
        defaced = arm.apply(head.volume, head.registration)
        assert defaced.emission
        assert gates.check(head.volume, defaced, head.registration, intent=arm.intent).passed
    kept = gates.check(head.volume, head.volume, head.registration)
    assert not kept.passed
