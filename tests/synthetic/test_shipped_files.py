"""Files that ship with the repository are what their READMEs say."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Attacker, Direction, Mate
from reidscope_server.asked_tails import TailAnswers
from reidscope_server.draft import Answers, ConstantsFolder, draft, read_constants
from reidscope_site.face.constants import ConstantFiles, load_constants
from reidscope_site.face.evaluate import classify, read_faces
from reidscope_site.face.template import SKIN, template
from reidscope_site.face.volume import read_volume
from reidscope_site.face.weights import models_of
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


REFERENCES = sorted(path.parent for path in REFERENCE.parent.glob("reference*/calibration.json"))


@pytest.mark.parametrize("folder", REFERENCES, ids=lambda folder: folder.name)
def test_a_reference_holds_what_a_study_of_it_asks_for(folder: Path) -> None:
    read = read_constants(folder)
    said = json.loads((folder / CALIBRATION_FILE).read_bytes())
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for name in (GALLERY_FILE, CALIBRATION_FILE):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in readme
    for arm in sorted(read.arms - {"unmodified"}):
        study = _draft(read, (arm,))
        constants = load_constants(study.experiment, _files(folder))
        assert len(constants.readings) == len(study.experiment.readouts)
    # strangers are found about as often as chance says: nobody stands out by a scanner alone
    chance = 1 / min(read.sigma_ppm)
    assert max(said["figures"]["strangers_found"].values()) <= 3 * chance


def test_the_reference_of_photos_carries_the_opt_in_tables() -> None:
    read = read_constants(REFERENCE)
    asked = TailAnswers(
        score_columns=("unmodified", "facemask/repairing"),
        fmr_ppm=(10_000, 100_000),
        open_set=((100, 300_000),),
        above=(100,),
        beyond_columns=("unmodified", "facemask/repairing"),
        beyond_sizes=(10_000, 1_000_000),
    )
    study = _draft(read, ("facemask",), asked)
    constants = load_constants(study.experiment, _files(REFERENCE))
    assert study.experiment.beyond is not None
    for tail in study.experiment.beyond.tails:
        held = constants.readings[tail.column].tail
        assert held is not None
        assert (held.pairs, held.people) == (tail.pairs, 48)
    another = study.experiment.beyond.tails[0].model_copy(update={"pairs": 1})
    bent = study.experiment.beyond.model_copy(update={"tails": (another,)})
    with pytest.raises(MalformedError, match="no tail, or another one"):
        load_constants(study.experiment.model_copy(update={"beyond": bent}), _files(REFERENCE))


def test_every_mate_and_direction_has_a_reference_that_ships() -> None:
    asked = {(read.mate, read.direction) for read in map(read_constants, REFERENCES)}
    assert asked == set(product(Mate, Direction))


@pytest.mark.slow
@pytest.mark.parametrize("folder", REFERENCES, ids=lambda folder: folder.name)
def test_a_synthetic_patient_goes_from_dicom_files_to_a_cell(tmp_path: Path, folder: Path) -> None:
    read = read_constants(folder)
    study = _draft(read, ("facemask",))
    constants = load_constants(study.experiment, _files(folder))
    seed = PersonSeed(population=Population.SITE, label="tests", number=0)
    write_people(tmp_path, [seed], visits=2)
    person = make_person(seed)
    files = tmp_path / "dicom" / person.known.patient_id
    first = read_volume([path for path in files.iterdir() if path.is_file()])
    second = read_volume(list((files / "visit-2").iterdir()))
    mate = person.photos[0] if read.mate is Mate.PHOTO else second
    reading = classify([read_faces(first, mate, constants)], constants, 0.5)
    assert reading.acquired
    assert reading.found_at in (0, *study.experiment.anchors)
    assert set(reading.defaced_found) == {"facemask", "facemask/repairing"}
    assert reading.passed == {"facemask": True}


def _draft(read: ConstantsFolder, arms: tuple[str, ...], tails: TailAnswers | None = None) -> Study:
    repaired = [f"{arm}/repairing" in read.readings for arm in arms]
    both = (Attacker.CALIBRATED, Attacker.REPAIRING)
    return draft(
        Answers(
            study_id="shipped",
            title="t",
            question="q",
            population="synthetic people",
            sites=("one",),
            arms=arms,
            anchors=tuple(sorted(read.sigma_ppm)),
            epsilon=PrivacyLoss.from_decimal("2"),
            reference_people="synthetic people",
            minimum_declared_people=1,
            minimum_sites=1,
            days=1,
            attackers=both if all(repaired) else both[:1],
            tails=tails or TailAnswers(),
        ),
        read,
    )


def _files(folder: Path) -> ConstantFiles:
    return ConstantFiles(
        gallery=(folder / GALLERY_FILE).read_bytes(),
        calibration=(folder / CALIBRATION_FILE).read_bytes(),
        models=models_of(SFACE),
    )
