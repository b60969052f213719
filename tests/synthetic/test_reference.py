"""Building public constants."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.errors import InputError, InvariantError
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError, Renders
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.vocabulary import Attacker, Direction, Fusion, Mate
from reidscope_site.face.compare import quantised
from reidscope_site.face.constants import ConstantFiles, load_constants
from reidscope_site.face.evaluate import classify, read_faces
from reidscope_site.face.weights import models_of
from reidscope_site.reference.build import Reference, build_reference
from reidscope_site.reference.folder_source import read_list
from reidscope_site.reference.gallery_error import sigma_gallery
from reidscope_site.reference.near_identical import near_identical
from reidscope_site.reference.plan import Plan
from reidscope_site.reference.readme import readme
from reidscope_site.reference.rows import RowFile
from reidscope_site.synthetic.people import make_person, png
from reidscope_site.synthetic.seeds import PersonSeed, Population


@settings(max_examples=20)
@given(rows=st.integers(0, 5), torn=st.integers(0, 11))
def test_a_row_that_was_torn_is_made_again(
    tmp_path_factory: pytest.TempPathFactory, rows: int, torn: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.f32"
    written = np.random.default_rng(0).normal(size=(rows + 1, 3)).astype(np.float32)
    file = RowFile(path, 3)
    for row in written[:rows]:
        file.append(row)
    with path.open("ab") as stream:
        stream.write(written[rows].tobytes()[:torn])
    again = RowFile(path, 3)
    assert len(again) == rows
    again.append(written[rows])
    assert np.array_equal(again.read(), written)


def test_a_row_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvariantError):
        RowFile(tmp_path / "rows.f32", 3).append(np.zeros(4, np.float32))


def test_a_larger_gallery_has_less_luck() -> None:
    draw = np.random.default_rng(0)

    def faces(count: int) -> np.ndarray:
        return quantised(draw.normal(size=(count, 32)).astype(np.float32), np.zeros(32, np.float32))

    mates = faces(60)
    noise = draw.integers(-90, 91, mates.shape)
    probes = np.clip(mates.astype(int) + noise, -127, 127).astype(np.int8)
    small = sigma_gallery(probes, mates, faces(300), (30,), resamplings=60).found[30]
    large = sigma_gallery(probes, mates, faces(6000), (30,), resamplings=60).found[30]
    # the error falls with the square root of M, here by 4.5
    assert 0 < large < small / 2


def test_a_gallery_that_nobody_is_beaten_by_has_no_error() -> None:
    mates = np.full((5, 8), 127, np.int8)
    gallery = np.full((50, 8), -127, np.int8)
    assert sigma_gallery(mates, mates, gallery, (5, 10), resamplings=5).found == {5: 0.0, 10: 0.0}


@pytest.mark.slow
def test_a_small_reference_is_built_resumed_and_used(tmp_path: Path) -> None:
    plan = Plan(
        size=60,
        anchors=(3, 6),
        arms=("unmodified", "facemask"),
        attackers=(Attacker.CALIBRATED, Attacker.RAW, Attacker.REPAIRING),
        calibration_photos=4,
        calibration_people=2,
        probe_people=2,
    )
    for folder in ("work", "one", "two"):
        (tmp_path / folder).mkdir()
    told: list[str] = []
    built = build_reference(
        tmp_path / "one",
        plan,
        workspace=tmp_path / "work",
        progress=lambda what, _have, _wanted: told.append(what),
    )
    assert len(told) == 60 + 4 + 2 + 2 + 2
    told.clear()
    again = build_reference(
        tmp_path / "two",
        plan,
        workspace=tmp_path / "work",
        progress=lambda what, _have, _wanted: told.append(what),
    )
    assert (again, told) == (built, [])
    assert (tmp_path / "one/gallery.npy").read_bytes() == built.gallery
    facts = json.loads((tmp_path / "one/calibration.json").read_bytes())
    assert set(facts["means"]) == {
        "identified",
        "unmodified/calibrated",
        "facemask/calibrated",
        "facemask/repairing",
    }
    assert facts["galleries"] == ["identified", "identified/raw"]
    assert set(facts["sigma_gallery"]) == {"3", "6"}
    assert set(facts["figures"]["strangers_found"]) == set(facts["figures"]["found"])
    assert hashlib.sha256(built.gallery).hexdigest() in readme(built)

    constants = load_constants(_asked(plan), _files(built))
    assert constants.readings["unmodified"].gallery.shape == (60, facts["dimension"])
    person = make_person(PersonSeed(population=Population.SITE, label="mercy", number=0))
    reading = read_faces(person.scan, person.photos[0], constants)
    found = classify([reading], constants, 2**-64)
    assert found.acquired
    assert found.found_at == 6


@pytest.mark.slow
def test_scans_searched_by_scans_have_a_gallery_an_arm_and_no_domain_of_their_own(
    tmp_path: Path,
) -> None:
    plan = Plan(
        size=20,
        anchors=(2,),
        arms=("unmodified", "facemask"),
        attackers=(Attacker.CALIBRATED,),
        mate=Mate.SECOND_SCAN,
        direction=Direction.POPULATION_TO_SAMPLE,
        calibration_photos=3,
        calibration_people=3,
        probe_people=3,
    )
    (tmp_path / "work").mkdir()
    built = build_reference(tmp_path, plan, workspace=tmp_path / "work", jobs=2)
    facts = json.loads(built.calibration)
    assert facts["galleries"] == ["unmodified/calibrated", "facemask/calibrated"]
    constants = load_constants(_asked(plan), _files(built))
    assert constants.readings["facemask"].gallery.shape == (20, 128)
    person = make_person(PersonSeed(population=Population.SITE, label="mercy", number=0), visits=2)
    reading = read_faces(person.scans[0], person.scans[1], constants)
    assert classify([reading], constants, 2**-64).found_at == 2


def _asked(plan: Plan) -> FaceExperiment:
    return FaceExperiment(
        mate=plan.mate,
        direction=plan.direction,
        attackers=plan.attackers,
        renders=plan.renders,
        recogniser=plan.recogniser,
        anchors=plan.anchors,
        arms=plan.arms,
        reference_size=plan.size,
        reference_people="nobody",
        gallery_error=tuple(GalleryError(gallery_size=size, sigma_ppm=0) for size in plan.anchors),
    )


def _files(built: Reference) -> ConstantFiles:
    return ConstantFiles(
        gallery=built.gallery, calibration=built.calibration, models=models_of(SFACE)
    )


def test_pairs_that_may_be_one_person_twice_are_found_in_any_block() -> None:
    draw = np.random.default_rng(3)
    faces = draw.integers(-90, 91, (5000, 16)).astype(np.int8)
    faces[4500] = faces[7]
    faces[4999] = faces[7]
    found = near_identical(faces, alike=0.999)
    assert {(7, 4500), (7, 4999), (4500, 4999)} <= set(found)
    assert all(first < second for first, second in found)


GOOD_LIST = "population,photo,scan,second_scan\ngallery,a.png,,\nprobe,b.png,scan,\n"


def _folder(tmp_path: Path, listed: str) -> Path:
    draw = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        picture = draw.integers(0, 256, (40, 30, 3)).astype(np.uint8)
        (tmp_path / name).write_bytes(png(picture))
    (tmp_path / "scan").mkdir()
    (tmp_path / "people.csv").write_text(listed)
    return tmp_path / "people.csv"


def test_public_people_are_read_off_a_list(tmp_path: Path) -> None:
    source = read_list(_folder(tmp_path, GOOD_LIST))
    assert [source.count(each) for each in (Population.GALLERY, Population.PROBE)] == [1, 1]
    picture = source.photo(Population.GALLERY, 0)
    assert picture is not None
    assert picture.shape == (40, 30, 3)
    # an empty folder is no scan, and no reason to stop
    assert source.scan(Population.PROBE, 0, 0) is None
    assert source.scan(Population.PROBE, 0, 1) is None
    other = tmp_path / "other"
    other.mkdir()
    assert read_list(_folder(other, GOOD_LIST.replace("probe", "rehearsal"))).name != source.name


@pytest.mark.parametrize(
    "listed",
    [
        "",
        "photo,scan\n",
        GOOD_LIST + "patients,a.png,,\n",
        GOOD_LIST + "gallery,missing.png,,\n",
        GOOD_LIST + "gallery,a.png,,\n",
        GOOD_LIST + "gallery,a.png\n",
        GOOD_LIST + "gallery,a.png,,,,\n",
        GOOD_LIST + "site,c.png,,\n",
        GOOD_LIST + "gallery,scan,,\n",
        GOOD_LIST + "probe,c.png,c.png,c.png\n",
        GOOD_LIST + "probe,,scan,\n",
    ],
)
def test_a_list_that_cannot_be_followed_is_refused(tmp_path: Path, listed: str) -> None:
    with pytest.raises(InputError):
        read_list(_folder(tmp_path, listed))


def test_too_few_public_people_are_refused(tmp_path: Path) -> None:
    source = read_list(_folder(tmp_path, GOOD_LIST))
    (tmp_path / "work").mkdir()
    with pytest.raises(InputError):
        build_reference(tmp_path, Plan(size=50), workspace=tmp_path / "work", source=source)


@pytest.mark.parametrize(
    "changes",
    [
        {"arms": ("blur",)},
        {"arms": ("unmodified", "blur", "blur")},
        {"calibration_photos": 3, "calibration_people": 4},
        {"direction": Direction.POPULATION_TO_SAMPLE, "renders": Renders(fusion=Fusion.BEST)},
    ],
)
def test_a_plan_that_does_not_hold_together_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Plan(size=50, **changes)
