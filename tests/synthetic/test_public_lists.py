"""What a build says of the people of a list, and what it takes over instead of making it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from reidscope_protocols.cohort import Modality
from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import Renders
from reidscope_protocols.recogniser import DLIB_RESNET
from reidscope_protocols.vocabulary import Attacker, Direction, Fusion, Mate
from reidscope_site.cli import app
from reidscope_site.reference.folder_source import FolderSource, read_list
from reidscope_site.reference.left_out import left_out, needed, require
from reidscope_site.reference.making import IDENTIFIED, RELEASED, Maker
from reidscope_site.reference.near_identical import alike_in
from reidscope_site.reference.people import Shown
from reidscope_site.reference.plan import Plan
from reidscope_site.reference.synthetic_source import synthetic_source
from reidscope_site.reference.taken_over import check_taken_over, gallery_of
from reidscope_site.synthetic.people import make_person
from reidscope_site.synthetic.seeds import PersonSeed, Population

SHIPPED = Path(__file__).parents[2] / "examples/consortium"
PHOTOS = SHIPPED / "reference"
HEAD = ["population", "photo", "scan", "second_scan"]


def listed(folder: Path, *rows: tuple[str, ...]) -> Path:
    """Write a list, and files of the names in it: noise as photos, text as scans."""
    draw = np.random.default_rng(5)
    for row in rows:
        for name in filter(None, row[1:]):
            path = folder / name
            if name.endswith(("png", "jpg")):
                cv2.imwrite(str(path), draw.integers(0, 256, (60, 50, 3)).astype(np.uint8))
            else:
                path.write_text(name)
    file = folder / "people.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([HEAD, *rows])
    return file


def test_what_a_build_looks_at_must_be_in_the_list(tmp_path: Path) -> None:
    plan = Plan(size=1, calibration_photos=1, calibration_people=1, probe_people=1)
    rows = [
        ("gallery", "g.png", "", ""),
        ("calibration", "c.png", "c.nii", ""),
        ("probe", "p.png", "p.nii", ""),
        ("probe", "q.png", "", ""),
    ]
    source = read_list(listed(tmp_path, *rows))
    require(source, needed(plan))  # the fourth line is not looked at
    with pytest.raises(InputError, match="line 5: got no scan"):
        require(source, needed(replace(plan, probe_people=2)))
    with pytest.raises(InputError, match="line 2: got no second scan"):
        require(source, needed(replace(plan, mate=Mate.SECOND_SCAN)))
    with pytest.raises(InputError, match="line 2: got no scan"):
        require(source, needed(replace(plan, direction=Direction.POPULATION_TO_SAMPLE)))
    require(source, needed(replace(plan, size=9), gallery=False))
    with pytest.raises(InputError, match="gallery: got 1, expected at least 9 with a photo"):
        require(source, needed(replace(plan, size=9)))


def test_who_gave_no_face_is_named_with_the_reason(tmp_path: Path) -> None:
    rows = [("gallery", "noise.png", "bad.nii", ""), ("gallery", "text.bin", "", "")]
    source = read_list(listed(tmp_path, *rows))
    photos = list(left_out(source, Population.GALLERY, Shown.PHOTO, [0, 1]))
    assert [(one.who, one.why) for one in photos] == [
        ("line 2", "no single face"),
        ("line 3", "no picture"),
    ]
    scans = list(left_out(source, Population.GALLERY, Shown.SCAN, [0, 1]))
    assert [one.why for one in scans] == ["unsupported", "not in the list"]
    assert source.photo(Population.GALLERY, 1) is None


def test_a_scan_that_was_changed_is_another_list(tmp_path: Path) -> None:
    file = listed(tmp_path, ("probe", "p.png", "p.nii", "slices"))
    names = {read_list(file).name}
    for changed in ("p.nii", "slices"):
        (tmp_path / changed).write_text("mended")
        names.add(read_list(file).name)
    assert len(names) == 3


def test_a_photo_is_read_as_a_site_reads_it(tmp_path: Path) -> None:
    file = listed(tmp_path, ("gallery", "a.png", "", ""), ("gallery", "b.png", "", ""))
    large = np.random.default_rng(0).integers(0, 256, (1300, 700, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), large)
    cv2.imwrite(str(tmp_path / "b.png"), large[:90, :80, 0].astype(np.uint16) * 257)
    source = read_list(file)
    first, second = (source.photo(Population.GALLERY, number) for number in (0, 1))
    assert first is not None
    assert first.shape == (640, 345, 3)
    assert second is not None
    assert second.dtype == np.uint8
    assert second.shape == (90, 80, 3)


def test_a_probe_who_stands_in_the_gallery_is_seen() -> None:
    draw = np.random.default_rng(1)
    gallery = draw.integers(-90, 91, (5000, 32)).astype(np.int8)
    probes = draw.integers(-90, 91, (4, 32)).astype(np.int8)
    probes[2] = gallery[4700]
    probes[2, 0] += 3
    assert alike_in(probes, gallery) == [(2, 4700)]


def named(kind: str, source: Any = None, **changed: Any) -> str:
    plan = Plan(**{"size": 100, **changed})
    return Maker(plan=plan, source=source or synthetic_source(plan.scans), models={}).made_with(
        kind
    )


def test_photos_are_rows_of_one_name_however_scans_are_looked_at() -> None:
    rows = named(IDENTIFIED)
    many = Renders(views=9, lights=9, fusion=Fusion.BEST)
    assert named(IDENTIFIED, renders=many) == rows
    assert named(IDENTIFIED, arms=("unmodified", "blur"), attackers=(Attacker.RAW,)) == rows
    assert named(IDENTIFIED, scans=Modality.PT) == rows
    others = [
        named(IDENTIFIED, renders=Renders(grey=True)),
        named(IDENTIFIED, recogniser=DLIB_RESNET),
        named(IDENTIFIED, mate=Mate.SECOND_SCAN),
        named(IDENTIFIED, source=FolderSource(people={}, digest="0" * 64)),
    ]
    assert len({rows, *others}) == 5


def test_scans_are_rows_of_other_names_but_for_how_their_renders_are_fused() -> None:
    many = Renders(views=9, lights=9)
    rows = named(RELEASED, renders=many)
    assert named(RELEASED, renders=many.model_copy(update={"fusion": Fusion.BEST})) == rows
    assert len({rows, named(RELEASED), named(RELEASED, scans=Modality.PT)}) == 3
    seconds = [named(IDENTIFIED, mate=Mate.SECOND_SCAN, renders=one) for one in (many, Renders())]
    assert seconds[0] != seconds[1]


def test_the_shipped_gallery_of_photos_is_taken_over() -> None:
    taken = gallery_of(PHOTOS)
    assert (taken.faces, taken.people, taken.source) == (10_000, "0 to 9999", "synthetic")
    assert set(taken.galleries) == {"identified", "identified/raw"}
    assert taken.mean.shape == (128,)
    plan = Plan(size=10_000, renders=Renders(views=9, lights=9))
    check_taken_over(PHOTOS, plan)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"size": 100}, "got 10000 faces"),
        ({"renders": Renders(grey=True)}, "photos in grey"),
        ({"recogniser": DLIB_RESNET}, "described by sface"),
        ({"mate": Mate.SECOND_SCAN}, "no photos are searched"),
        ({"direction": Direction.POPULATION_TO_SAMPLE}, "no photos are searched"),
    ],
)
def test_a_gallery_for_another_plan_is_not_taken_over(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_taken_over(PHOTOS, Plan(**{"size": 10_000, **changed}))


def test_no_gallery_of_scans_is_taken_over_and_none_from_nowhere(tmp_path: Path) -> None:
    for folder in (SHIPPED / "reference-photo-searches-scans", SHIPPED / "reference-scan-to-scan"):
        with pytest.raises(InputError, match="a gallery of photos"):
            gallery_of(folder)
    with pytest.raises(InputError, match="a folder without"):
        gallery_of(tmp_path)


@pytest.mark.slow
def test_a_reference_is_built_about_a_gallery_that_is_there(tmp_path: Path) -> None:
    rows = [("calibration", "0.png", "0.nii", ""), ("calibration", "1.png", "1.nii", "")]
    rows += [("probe", "2.png", "2.nii", ""), ("probe", "3.png", "3.nii", "")]
    file = listed(tmp_path, *rows)
    for number in range(4):
        seed = PersonSeed(population=Population.SITE, label="list", number=number)
        person = make_person(seed)
        cv2.imwrite(str(tmp_path / f"{number}.png"), person.photos[0][..., ::-1])
        image = nibabel.Nifti1Image(person.scan.voxels.astype(np.int16), person.scan.affine)
        image.as_reoriented([[2, 1], [0, -1], [1, 1]]).to_filename(tmp_path / f"{number}.nii")
    (tmp_path / "3.nii").write_bytes(b"no scan")
    ask = [
        *("reference", "build", "--out", str(tmp_path / "out"), "--people", str(file)),
        *("--workspace", str(tmp_path / "rows"), "--gallery", str(PHOTOS), "--arms", "blur"),
        *("--probe-people", "2", "--calibration-people", "2", "--attackers", "calibrated"),
    ]
    said = CliRunner().invoke(app, ask)
    assert said.exit_code == 0
    assert "line 5, scan: unsupported" in said.output
    built = json.loads((tmp_path / "out/calibration.json").read_bytes())
    shipped = json.loads((PHOTOS / "calibration.json").read_bytes())
    assert built["means"]["identified"] == shipped["means"]["identified"]
    assert built["seeds"]["gallery"] == "0 to 9999 of synthetic"
    assert built["figures"]["people"] == 1
    gallery = np.load(tmp_path / "out/gallery.npy")
    assert np.array_equal(gallery, np.load(PHOTOS / "gallery.npy")[0])
