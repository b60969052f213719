"""PET counts in studies that ask for it, and takes nobody's place in any other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reidscope_deid.keys import SiteKey
from reidscope_protocols.cohort import DEFAULT_SCANS, Modality
from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import GeometryError, InputError
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Direction, Mate
from reidscope_site.agent import Agent
from reidscope_site.attributes import Attributes
from reidscope_site.cohort import as_asked, seen_by
from reidscope_site.indexing import Indexed, Resolution, resolve
from reidscope_site.plainwords import explain
from reidscope_site.snapshot import Person, Scan, digest_of
from reidscope_site.sources.bids import list_bids
from reidscope_site.sources.dicom_folder import list_folder
from reidscope_site.sources.reading import read_scan

KEY = SiteKey(bytes(range(32)))
MR, CT, PT = Modality
ORDER = ["MR", "CT", "PT"]
Series = Callable[..., tuple[Path, ...]]
PET: dict[str, Any] = {
    "Modality": "PT",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "Units": "BQML",
    "SeriesType": ["STATIC", "IMAGE"],
    "CorrectedImage": ["ATTN", "DECY"],
    "RescaleSlope": 2,
    "RescaleIntercept": 0,
}


def dated(date: str, **more: Any) -> dict[str, Any]:
    return {"StudyDate": date, "SeriesDate": date, "ContentDate": date, **more}


def settled(folder: Path, linked: tuple[str, ...] = ("A", "B", "C")) -> Resolution:
    return resolve(list_folder(folder), dict.fromkeys(linked, Path("photo.png")), KEY)


def experiment(**more: Any) -> FaceExperiment:
    return FaceExperiment(
        recogniser=SFACE,
        anchors=(2,),
        arms=("unmodified",),
        reference_size=20,
        reference_people="nobody",
        gallery_error=(GalleryError(gallery_size=2, sigma_ppm=0),),
        **more,
    )


def one(resolution: Resolution) -> Person:
    (person,) = resolution.people
    return person


@pytest.fixture
def mixed(tmp_path: Path, series: Series) -> Path:
    """A PET, two years before an MR; another PET beside the MR."""
    folder = tmp_path / "data"
    series(folder / "early", "A", **dated("20180101", **PET))
    series(folder / "mr", "A", **dated("20200101"))
    series(folder / "beside", "A", **dated("20200101", **PET))
    return folder


def test_a_study_that_does_not_ask_for_pet_sees_a_person_as_if_there_were_none(
    mixed: Path,
) -> None:
    person = one(settled(mixed))
    seen = as_asked(person, DEFAULT_SCANS)
    assert seen is not None
    assert [(scan.taken, scan.attributes.modality) for scan in seen.scans] == [("20200101", "MR")]
    assert (seen.attributes.modality, seen.attributes.year) == ("MR", 2020)
    assert not seen.has(Mate.SECOND_SCAN)
    without = one(settled(mixed / "mr"))
    assert without.others == ()
    assert (without.scans, without.attributes) == (seen.scans, seen.attributes)


def test_a_study_of_pet_sees_pet_alone_and_of_both_the_mr_of_a_date(mixed: Path) -> None:
    person = one(settled(mixed))
    kinds = {
        asked: [(scan.taken[:4], scan.attributes.modality) for scan in seen.scans]
        for asked in [(PT,), (MR,), (CT, PT), (MR, CT, PT)]
        if (seen := as_asked(person, asked)) is not None
    }
    assert kinds == {
        (PT,): [("2018", "PT"), ("2020", "PT")],
        (MR,): [("2020", "MR")],
        (CT, PT): [("2018", "PT"), ("2020", "PT")],
        (MR, CT, PT): [("2018", "PT"), ("2020", "MR")],
    }
    seen = as_asked(person, (PT,))
    assert seen is not None
    assert (seen.attributes.modality, seen.attributes.year) == ("PT", 2018)
    assert as_asked(person, (CT,)) is None


def test_the_index_says_of_each_pet_what_became_of_it_and_counts_people_without_it(
    tmp_path: Path, series: Series
) -> None:
    data = tmp_path / "data"
    series(data / "1", "A", **dated("20200101"))
    series(data / "2", "A", **dated("20210101", **PET))
    series(data / "3", "B", **dated("20210101", **PET))
    series(data / "4", "B", **dated("20210101", **PET | {"CorrectedImage": ["DECY"]}))
    series(data / "5", "C", **dated("20210101", **PET | {"Units": "NONE"}))
    resolution = settled(data)
    assert resolution.series == {
        "taken": 1,
        "pet-taken-where-a-study-asks-for-pet": 2,
        "pet-not-attenuation-corrected": 1,
        "pet-units-missing-mixed-or-of-no-activity": 1,
    }
    assert resolution.excluded == {"pet-units-missing-mixed-or-of-no-activity": 1}
    told = Indexed(resolution=resolution, skipped=0, read=0).answer()
    assert (told["people"], told["with_photo"], told["with_second_scan"]) == (1, 1, 0)
    assert (told["with_pet"], told["without_anything_else"]) == (2, 1)


def test_two_dates_of_pet_are_a_mate_for_a_study_of_pet_alone(
    tmp_path: Path, series: Series
) -> None:
    series(tmp_path / "1", "A", **dated("20200101", **PET))
    series(tmp_path / "2", "A", **dated("20210101", **PET))
    person = one(settled(tmp_path, linked=()))
    usual, asked = (
        experiment(mate=Mate.SECOND_SCAN),
        experiment(mate=Mate.SECOND_SCAN, scans=(PT,), public_scans=PT),
    )
    assert list(seen_by([person], usual)) == []
    (seen,) = seen_by([person], asked)
    assert seen.has(Mate.SECOND_SCAN)


KINDS = st.sampled_from(["MR", "CT", "PT"])
SCANS = st.lists(st.tuples(st.integers(2000, 2009), KINDS), min_size=1, max_size=8, unique=True)


def person_of(held: list[tuple[int, str]]) -> Person:
    """Make a person by the public order MR, CT, PT of a date, as `indexing` does."""
    first: dict[int, Scan] = {}
    others = []
    for year, kind in sorted(held, key=lambda each: (each[0], ORDER.index(each[1]))):
        scan = Scan(
            kind="dicom", files=(), taken=str(year), attributes=Attributes(modality=kind, year=year)
        )
        if kind != "PT" and year not in first:
            first[year] = scan
        else:
            others.append(scan)
    scans = tuple(first.values())
    return Person(
        pseudonym="P", scans=scans, photo=None, others=tuple(others),
        attributes=(scans or tuple(others))[0].attributes,
    )  # fmt: skip


@given(SCANS)
def test_adding_pet_to_a_person_changes_nothing_for_a_study_without_pet(
    held: list[tuple[int, str]],
) -> None:
    seen = as_asked(person_of(held), DEFAULT_SCANS)
    rest = [each for each in held if each[1] != "PT"]
    if not rest:
        assert seen is None
        return
    alone = person_of(rest)
    assert seen is not None
    assert (seen.scans, seen.attributes) == (alone.scans, alone.attributes)


@given(SCANS, st.sets(st.sampled_from(list(Modality)), min_size=1))
def test_a_study_gets_one_scan_a_date_of_what_it_asks_for_and_the_better_one(
    held: list[tuple[int, str]], asked: set[Modality]
) -> None:
    seen = as_asked(person_of(held), asked)
    left = [(year, kind) for year, kind in held if kind in asked]
    wanted = {
        year: min((kind for at, kind in left if at == year), key=ORDER.index) for year, _ in left
    }
    got = {} if seen is None else {int(scan.taken): scan.attributes.modality for scan in seen.scans}
    assert got == wanted


def test_a_person_without_pet_has_the_digest_that_they_always_had(
    people: tuple[Person, ...],
) -> None:
    more = Scan(kind="dicom", files=(), taken="2001", attributes=Attributes(modality="PT"))
    with_pet = (dataclasses.replace(people[0], others=(more,)), *people[1:])
    assert digest_of(with_pet, KEY) != digest_of(people, KEY)
    told = (
        dataclasses.replace(
            people[0],
            scans=tuple(
                dataclasses.replace(scan, attributes=Attributes(modality="MR"))
                for scan in people[0].scans
            ),
        ),
        *people[1:],
    )
    assert digest_of(told, KEY) == digest_of(people, KEY)


def test_what_was_settled_of_pet_is_kept_in_the_snapshot(agent: Agent, mixed: Path) -> None:
    resolution = settled(mixed)
    agent.snapshot.freeze(resolution.people, agent.site_key)
    assert tuple(agent.snapshot.people()) == resolution.people


def test_an_experiment_without_pet_says_what_it_always_said() -> None:
    said = json.loads(experiment().model_dump_json())
    assert not {"scans", "public_scans"} & set(said)
    asked = experiment(scans=(MR, PT))
    said = asked.model_dump(mode="json")
    assert said["scans"] == ["MR", "PT"]
    assert FaceExperiment.model_validate_json(asked.model_dump_json()) == asked
    assert asked.other_domain
    assert not experiment(scans=(PT,), public_scans=PT).other_domain
    assert not experiment().other_domain


@pytest.mark.parametrize(
    "said",
    [
        {"scans": ()},
        {"scans": (PT, PT)},
        {"public_scans": PT},
        {"scans": (PT,), "direction": Direction.POPULATION_TO_SAMPLE},
        {"scans": (PT,), "mate": Mate.SECOND_SCAN},
        {"scans": (MR, PT), "public_scans": PT, "mate": Mate.SECOND_SCAN},
    ],
)
def test_scans_that_cannot_be_searched_fairly_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        experiment(**said)


LASTED = {"FrameDuration": [10, 20, 30.0, 40]}


def bids(
    root: Path,
    *,
    frames: int = 1,
    correction: object = "CT",
    rec: str = "",
    negative: bool = False,
    sidecars: dict[str, dict[str, object]] | None = None,
) -> Path:
    folder = root / "sub-01" / "pet"
    folder.mkdir(parents=True)
    name = f"sub-01_trc-FDG{rec and f'_rec-{rec}'}_pet"
    base = np.arange(20 * 20 * 20, dtype=np.float32).reshape(20, 20, 20)
    voxels = base - 100 if negative else base
    if frames > 1:
        voxels = np.stack([base * (frame + 1) for frame in range(frames)], -1)
    image = nibabel.Nifti1Image(voxels, np.diag([10.0, 10.0, 10.0, 1.0]))
    nibabel.save(image, folder / f"{name}.nii.gz")
    if correction is not None:
        said = {"AttenuationCorrection": correction} | (LASTED if frames > 1 else {})
        (folder / f"{name}.json").write_text(json.dumps(said))
    for where, words in (sidecars or {}).items():
        (root / where).write_text(json.dumps(words))
    return root


def voxels_of(root: Path) -> np.ndarray:
    """Read what a run reads."""
    (series,) = list_bids(root).series["sub-01"]
    assert (series.problem, series.attributes.modality) == (None, "PT")
    scan = Scan(kind="nifti", files=series.files, taken="", attributes=series.attributes)
    volume = read_scan(scan, key=KEY, work=root)
    assert volume.emission
    return volume.voxels


BASE = np.arange(8000, dtype=np.float32).reshape(20, 20, 20)


def test_frames_of_a_bids_pet_count_for_as_long_as_they_lasted_and_negatives_are_nothing(
    tmp_path: Path,
) -> None:
    weighted = (1 * 10 + 2 * 20 + 3 * 30 + 4 * 40) / 100
    assert np.allclose(voxels_of(bids(tmp_path / "a", frames=4)), BASE * weighted)
    assert np.allclose(voxels_of(bids(tmp_path / "b", negative=True)), np.maximum(BASE - 100, 0))


SAID = {"AttenuationCorrection": "CT"}
BESIDE = "sub-01/pet/sub-01_trc-FDG_pet.json"


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"FrameTimesStart": [0, 10, 30, 60]},
        {"FrameDuration": [10, 20, 30]},
        {"FrameDuration": [10, 20, 30, 40, 50]},
        {"FrameDuration": [10, 20, 0, 40]},
        {"FrameDuration": [10, 20, -30, 40]},
        {"FrameDuration": [10, 20, True, 40]},
        {"FrameDuration": ["10", "20", "30", "40"]},
        {"FrameDuration": [10, 20, None, 40]},
        {"FrameDuration": [10, 20, float("inf"), 40]},
        {"FrameDuration": [10, 20, 10**400, 40]},
        {"FrameDuration": []},
        {"FrameDuration": 600},
    ],
)
def test_a_bids_pet_that_does_not_say_how_long_each_frame_lasted_is_refused_and_never_read(
    tmp_path: Path, words: dict[str, object]
) -> None:
    root = bids(tmp_path, frames=4, sidecars={BESIDE: SAID | words})
    (series,) = list_bids(root).series["sub-01"]
    assert series.problem == "pet-frames-without-durations"
    scan = Scan(kind="nifti", files=series.files, taken="", attributes=series.attributes)
    with pytest.raises(GeometryError, match="pet-frames-without-durations"):
        read_scan(scan, key=KEY, work=tmp_path)


def test_one_frame_needs_no_duration_and_counts_add_up(tmp_path: Path) -> None:
    still = bids(tmp_path / "a", sidecars={BESIDE: SAID | {"FrameDuration": [0]}})
    assert np.allclose(voxels_of(still), BASE)
    counted = bids(tmp_path / "b", frames=4, sidecars={BESIDE: SAID | {"Units": "CNTS"}})
    assert np.allclose(voxels_of(counted), BASE * 2.5)


def test_sidecars_above_an_image_hold_for_it_and_the_nearest_word_counts(tmp_path: Path) -> None:
    lasted = {"FrameDuration": [1, 1, 1, 97]}
    root = bids(
        tmp_path,
        frames=4,
        correction=None,
        sidecars={
            "pet.json": {"AttenuationCorrection": "none", "FrameDuration": [5, 5, 5, 5]},
            "trc-FDG_pet.json": SAID,
            "trc-TAU_pet.json": {"AttenuationCorrection": "none"},
            "sub-01/sub-01_pet.json": lasted,
            "participants.json": {"AttenuationCorrection": "none"},
        },
    )
    assert np.allclose(voxels_of(root), BASE * (1 + 2 + 3 + 4 * 97) / 100, rtol=1e-5)
    (series,) = list_bids(root).series["sub-01"]
    # an approval binds what says how an image is read
    assert [path.name for path in series.files[1:]] == [
        "pet.json",
        "trc-FDG_pet.json",
        "sub-01_pet.json",
    ]


@pytest.mark.parametrize(
    ("correction", "rec"),
    [("none", ""), ("", ""), (None, ""), (3, ""), ("CT", "nacstat"), ("CT", "nacdyn")],
)
def test_a_bids_pet_that_is_not_said_to_be_corrected_is_refused(
    tmp_path: Path, correction: object, rec: str
) -> None:
    (series,) = list_bids(bids(tmp_path, correction=correction, rec=rec)).series["sub-01"]
    assert series.problem == "pet-not-attenuation-corrected"


def test_a_list_of_modalities_is_read_in_one_order_and_odd_ones_are_refused() -> None:
    from reidscope_protocols.comma_lists import modalities  # noqa: PLC0415 - of this test alone

    assert modalities("pt, MR") == (MR, PT)
    for typed in ("", "PET", "MR,MR", "US"):
        with pytest.raises(InputError, match="MR, CT, PT"):
            modalities(typed)


def test_the_officer_is_told_of_pet_and_of_public_scans_of_another_kind(
    agent: Agent, approved: Opened[Study]
) -> None:
    def shown(**change: Any) -> str:
        asked = approved.statement.experiment.model_copy(update=change)
        study = dataclasses.replace(
            approved, statement=approved.statement.model_copy(update={"experiment": asked})
        )
        return "\n".join(explain(study, agent.policy, PrivacyLoss(0)))

    assert "PET" not in shown()
    told = shown(scans=(MR, PT))
    assert "a scan is MR or PT (PT is PET)" in told
    assert "public scans are of another kind" in told
    assert "another kind" not in shown(scans=(PT,), public_scans=PT)
