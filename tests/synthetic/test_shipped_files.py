"""Files that ship with the repository are what their READMEs say."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from reidscope_site.face.arms import ARMS
from reidscope_site.face.evaluate import classify, load_constants, read_faces
from reidscope_site.face.template import SKIN, template
from reidscope_site.face.volume import read_volume
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.reference.build import CALIBRATION_FILE, GALLERY_FILE
from reidscope_site.synthetic.people import make_person, write_people
from reidscope_site.synthetic.seeds import PersonSeed, Population

ROOT = Path(__file__).parents[2]
DATA = ROOT / "site_agent/reidscope_site/data"
REFERENCE = ROOT / "examples/consortium/reference"


@pytest.mark.parametrize(
    "path", [DATA / "average_head.npz", DATA / "brain_mask.npz", REFERENCE / GALLERY_FILE]
)
def test_a_shipped_file_has_the_sha256_that_its_readme_names(path: Path) -> None:
    readme = (path.parent / "README.md").read_text(encoding="utf-8")
    named = re.search(rf"`{re.escape(path.name)}` \| `([0-9a-f]{{64}})`", readme)
    assert named is not None
    assert named[1] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_brain_lies_in_the_head_and_shapes_leave_it() -> None:
    head = template()
    assert head.brain.sum() == 1_398_262
    assert (head.surface[head.brain] > SKIN).float().mean() > 0.999
    assert head.freedom.min() == 0
    assert head.freedom.max() == 1


@pytest.mark.slow
def test_the_average_head_is_remade_from_the_pydeface_wheel() -> None:
    if importlib.util.find_spec("pydeface") is None:
        pytest.skip("pydeface is not installed: requirements-test-data.txt")
    script = ROOT / "examples/consortium/build_template.py"
    spec = importlib.util.spec_from_file_location("build_template", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    head, surface = module.build(module.average_head())
    shipped = np.load(DATA / "average_head.npz", allow_pickle=False)
    # one step of rounding may differ on another processor
    for made, stored in ((head, shipped["head"]), (surface, shipped["surface"])):
        assert np.abs(made.astype(int) - stored).max() <= 1


@pytest.mark.slow
def test_a_synthetic_patient_goes_from_dicom_files_to_a_cell(tmp_path: Path) -> None:
    weights = installed_model_bytes()
    constants = load_constants(
        (REFERENCE / GALLERY_FILE).read_bytes(),
        (REFERENCE / CALIBRATION_FILE).read_bytes(),
        weights.detector,
        weights.recogniser,
        (100, 1000),
        tuple(ARMS),
    )
    assert len(constants.gallery) == 10_000
    seed = PersonSeed(population=Population.SITE, label="tests", number=0)
    write_people(tmp_path, [seed])
    person = make_person(seed)
    volume = read_volume(list((tmp_path / "dicom" / person.known.patient_id).iterdir()))
    reading = classify(read_faces(volume, person.photos[0], constants), constants, 0.5)
    assert reading.acquired
    assert reading.found_at in (0, 100, 1000)
    assert set(reading.defaced_found) == {"blur", "facemask", "quickshear"}
