"""PET as tomographs write it: a scale a slice, frames, wide fields, bodies; and bad ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from reidscope_protocols.errors import GeometryError
from reidscope_site.face.geometry import SliceHeader, frame_count
from reidscope_site.face.pet import head_of
from reidscope_site.face.pet_frames import averaged
from reidscope_site.face.slices import read_slices
from reidscope_site.face.volume import Volume, read_volume
from reidscope_site.sources.facts import FileFacts, read_facts
from reidscope_site.sources.finder import find_head

PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128"
ENHANCED_PET_STORAGE = "1.2.840.10008.5.1.4.1.1.130"
SHAPE = (12, 16, 20)  # slices, rows, columns
SPACING = (11.0, 9.0, 8.0)

Change = Callable[[Dataset, int], None]


def activity(slices: int = SHAPE[0]) -> np.ndarray:
    """Draw Bq/ml that are whole at every slice's scale; each slice another maximum."""
    values = np.arange(slices * SHAPE[1] * SHAPE[2], dtype=np.float64)
    return values.reshape(slices, *SHAPE[1:]) % 311 * np.arange(1, slices + 1)[:, None, None]


def slope_of(place: int) -> float:
    return 0.25 * (place + 1)


def bare(series_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = PET_STORAGE, generate_uid()
    dataset.PatientID, dataset.SeriesInstanceUID = "ID-1", series_uid
    dataset.Modality, dataset.BodyPartExamined = "PT", "HEAD"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.Units, dataset.SeriesType = "BQML", ["STATIC", "IMAGE"]
    dataset.CorrectedImage = ["DECY", "ATTN", "SCAT"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [SPACING[1], SPACING[2]]
    _, dataset.Rows, dataset.Columns = SHAPE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    return dataset


def pet(
    folder: Path,
    *,
    frames: int = 1,
    slices: int = SHAPE[0],
    step: float = SPACING[0],
    change: Change | None = None,
) -> list[Path]:
    """Write a slice and frame a file; frame f holds f + 1 times the activity, for f + 1 seconds."""
    folder.mkdir(parents=True)
    uid, written = generate_uid(), []
    for frame in range(frames):
        for place, plane in enumerate(activity(slices)):
            dataset = bare(uid)
            dataset.ImagePositionPatient = [-76, -70, -60 + step * place]
            dataset.RescaleSlope = slope_of(place) * (frame + 1)
            dataset.RescaleIntercept = 0
            dataset.ActualFrameDuration = 1000 * (frame + 1)
            dataset.PixelData = np.rint(plane / slope_of(place)).astype("<i2").tobytes()
            if change is not None:
                change(dataset, len(written))
            written.append(folder / f"{len(written):04d}.dcm")
            pydicom.dcmwrite(written[-1], dataset, enforce_file_format=True)
    return written


def as_read(values: np.ndarray) -> np.ndarray:
    """Turn (slice, row, column) LPS into (i, j, k) RAS+."""
    return values.transpose(2, 1, 0)[::-1, ::-1]


def found(paths: list[Path]) -> str | None:
    """Say what `index` says, through the sealed form of what was read."""
    facts = [read_facts(path) for path in paths]
    told = [FileFacts.decode(one.encode()) for one in facts if one is not None]
    assert len(told) == len(paths)
    slices = [each for one in told for each in one.slices]
    return find_head(slices, [one.traits for one in told]).problem


def test_every_slice_has_a_scale_of_its_own(tmp_path: Path) -> None:
    paths = pet(tmp_path / "a")
    assert found(paths) is None
    volume = read_volume(paths)
    assert volume.emission
    assert np.allclose(volume.voxels, as_read(activity()), rtol=1e-6, atol=0.01)
    assert np.allclose(volume.spacing_mm, (8, 9, 11))


def test_frames_of_a_place_are_averaged_by_how_long_they_lasted(tmp_path: Path) -> None:
    paths = pet(tmp_path / "a", frames=3)
    assert found(paths) is None
    # (1 + 4 + 9) / (1 + 2 + 3) times the first frame's
    assert np.allclose(
        read_volume(paths[::-1]).voxels, as_read(activity()) * 14 / 6, rtol=1e-5, atol=0.05
    )


@pytest.mark.parametrize("duration", [None, "", 0, -1000])
def test_frames_that_do_not_say_how_long_they_lasted_are_refused(
    tmp_path: Path, duration: object
) -> None:
    def silent(dataset: Dataset, number: int) -> None:
        if number == 1:
            dataset.ActualFrameDuration = duration

    paths = pet(tmp_path / "a", frames=3, change=silent)
    assert found(paths) == "pet-frames-without-durations"
    with pytest.raises(GeometryError, match="pet-frames-without-durations"):
        read_volume(paths)


def test_one_frame_of_a_place_needs_no_duration(tmp_path: Path) -> None:
    paths = pet(tmp_path / "a", change=on_one(ActualFrameDuration=None))
    assert found(paths) is None
    assert np.allclose(read_volume(paths).voxels, as_read(activity()), rtol=1e-6, atol=0.01)


@pytest.mark.parametrize("units", ["CNTS", "PROPCNTS"])
def test_what_was_counted_in_frames_adds_up_however_long_they_lasted(
    tmp_path: Path, units: str
) -> None:
    paths = pet(tmp_path / "a", frames=3, change=setting(Units=units))
    assert found(paths) is None
    # (1 + 2 + 3) / 3 times the first frame's
    assert np.allclose(read_volume(paths).voxels, as_read(activity()) * 2, rtol=1e-5, atol=0.05)
    silent = pet(tmp_path / "b", frames=3, change=setting(Units=units, ActualFrameDuration=None))
    assert found(silent) is None
    assert np.allclose(read_volume(silent).voxels, as_read(activity()) * 2, rtol=1e-5, atol=0.05)


def test_one_frame_of_seconds_hardly_counts_beside_one_of_minutes(tmp_path: Path) -> None:
    def early(dataset: Dataset, number: int) -> None:
        dataset.ActualFrameDuration = 5_000 if number < SHAPE[0] else 1_995_000

    paths = pet(tmp_path / "a", frames=2, change=early)
    assert np.allclose(
        read_volume(paths).voxels,
        as_read(activity()) * (0.0025 + 2 * 0.9975),
        rtol=1e-5,
        atol=0.05,
    )


def test_what_is_below_nothing_is_nothing(tmp_path: Path) -> None:
    def lowered(dataset: Dataset, _: int) -> None:
        dataset.RescaleIntercept = -500

    volume = read_volume(pet(tmp_path / "a", change=lowered))
    assert np.allclose(
        volume.voxels, np.maximum(as_read(activity()) - 500, 0), rtol=1e-6, atol=0.01
    )


def setting(**elements: Any) -> Change:
    def change(dataset: Dataset, _: int) -> None:
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)

    return change


def on_one(**elements: Any) -> Change:
    def change(dataset: Dataset, number: int) -> None:
        for keyword, value in elements.items() if number == 5 else ():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


BAD: dict[str, tuple[Change, str]] = {
    "a zero slope": (on_one(RescaleSlope=0), "pet-slice-without-scale"),
    "a slope below zero": (on_one(RescaleSlope=-1), "pet-slice-without-scale"),
    "a slice without a slope": (on_one(RescaleSlope=None), "pet-slice-without-scale"),
    "mixed units": (on_one(Units="CNTS"), "pet-units-missing-mixed-or-of-no-activity"),
    "no units": (setting(Units=""), "pet-units-missing-mixed-or-of-no-activity"),
    "a parametric image": (setting(Units="MLMING"), "pet-units-missing-mixed-or-of-no-activity"),
    "not attenuation-corrected": (
        setting(CorrectedImage=["DECY", "SCAT"]),
        "pet-not-attenuation-corrected",
    ),
    "correction not said": (setting(CorrectedImage=None), "pet-not-attenuation-corrected"),
    "one slice uncorrected": (on_one(CorrectedImage=["DECY"]), "pet-not-attenuation-corrected"),
    "a reprojection": (setting(SeriesType=["STATIC", "REPROJECTION"]), "derived"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_pet_whose_numbers_cannot_be_believed_is_refused_by_its_reason(
    tmp_path: Path, what: str
) -> None:
    change, reason = BAD[what]
    paths = pet(tmp_path / "a", change=change)
    assert found(paths) == reason
    with pytest.raises(GeometryError, match=reason):
        read_volume(paths)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "derived"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "MIP"]}, "derived"),
        ({"ImageType": ["DERIVED", "PRIMARY", "FUSED"]}, "derived"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary-capture"),
        ({"BodyPartExamined": "CHEST"}, "not-a-head"),
    ],
)
def test_projections_fusions_captures_and_chests_are_no_scans(
    tmp_path: Path, elements: dict[str, Any], reason: str
) -> None:
    assert found(pet(tmp_path / "a", change=setting(**elements))) == reason


def test_a_place_with_a_frame_missing_is_refused(tmp_path: Path) -> None:
    paths = pet(tmp_path / "a", frames=3)
    for gone in (0, 7, 35):
        assert found(paths[:gone] + paths[gone + 1 :]) == "duplicate-slices"
    assert found(paths[:5] + paths[6:17] + paths[18:29] + paths[30:]) == "missing-slices"


def test_a_pet_is_never_written_back_as_if_defaced(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="pet-is-not-written-back"):
        read_slices(pet(tmp_path / "a"))


def enhanced(
    path: Path,
    *,
    corrected: str = "YES",
    slope: float | None = 0.5,
    lasted: tuple[float | None, ...] = (None,),
) -> Path:
    """Write a multi-frame file; frame f of a place holds f + 1 times the activity."""
    dataset = bare(generate_uid())
    del dataset.ImageOrientationPatient, dataset.PixelSpacing, dataset.CorrectedImage, dataset.Units
    dataset.SOPClassUID = ENHANCED_PET_STORAGE
    dataset.AttenuationCorrected = corrected
    dataset.NumberOfFrames = SHAPE[0] * len(lasted)

    def item(**elements: Any) -> Dataset:
        made = Dataset()
        for keyword, value in elements.items():
            setattr(made, keyword, value)
        return made

    scale = {} if slope is None else {"RescaleSlope": slope, "RescaleIntercept": 0}
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[SPACING[1], SPACING[2]])],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelValueTransformationSequence=[item(**scale, RescaleType="US")],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, SPACING[0] * place])],
            FrameContentSequence=[
                item(**({} if each is None else {"FrameAcquisitionDuration": each}))
            ],
        )
        for each in lasted
        for place in range(SHAPE[0])
    ]
    dataset.PixelData = b"".join(
        (activity() * (frame + 1)).astype("<i2").tobytes() for frame in range(len(lasted))
    )
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def test_an_enhanced_pet_is_read_as_enhanced_mr_is_and_refused_for_the_same_reasons(
    tmp_path: Path,
) -> None:
    path = enhanced(tmp_path / "a.dcm")
    assert found([path]) is None
    volume = read_volume([path])
    assert volume.emission
    assert np.allclose(volume.voxels, as_read(activity()) * 0.5, rtol=1e-6, atol=0.01)
    assert found([enhanced(tmp_path / "b.dcm", corrected="NO")]) == "pet-not-attenuation-corrected"
    assert found([enhanced(tmp_path / "c.dcm", slope=None)]) == "pet-slice-without-scale"


def test_frames_of_an_enhanced_pet_count_for_as_long_as_each_lasted(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "a.dcm", lasted=(1000.0, 3000.0))
    assert found([path]) is None
    assert np.allclose(
        read_volume([path]).voxels, as_read(activity()) * 0.5 * 7 / 4, rtol=1e-5, atol=0.05
    )
    for number, lasted in enumerate([(1000.0, None), (1000.0, 0.0), (float("nan"), 1.0)]):
        bad = enhanced(tmp_path / f"bad{number}.dcm", lasted=lasted)
        assert found([bad]) == "pet-frames-without-durations"
        with pytest.raises(GeometryError, match="pet-frames-without-durations"):
            read_volume([bad])


def body() -> Volume:
    """A head of 150 x 190 x 220 mm on a trunk with a hot bladder, in a field of 700 mm."""
    step = 5.0
    x, y, z = np.meshgrid(*[step * np.arange(n) for n in (140, 140, 200)], indexing="ij")
    head = ((x - 330) / 75) ** 2 + ((y - 370) / 95) ** 2 + ((z - 800) / 110) ** 2 < 1
    trunk = (((x - 350) / 200) ** 2 + ((y - 350) / 120) ** 2 < 1) & (z < 700)
    voxels = 1000.0 * head + 900.0 * trunk
    voxels[(x - 350) ** 2 + (y - 350) ** 2 + (z - 100) ** 2 < 40**2] = 500_000
    affine = np.diag([step, step, step, 1.0])
    return Volume(
        voxels=voxels.astype(np.float32), spacing_mm=(step,) * 3, affine=affine, emission=True
    )


def test_the_head_of_a_body_is_its_upper_end_whatever_shines_below() -> None:
    volume = body()
    head = head_of(volume)
    assert max(n * 5 for n in head.voxels.shape) <= 320
    origin = head.affine[:3, 3]
    low, high = origin, origin + 5.0 * np.array(head.voxels.shape)
    assert (low < [260, 280, 700]).all()
    assert (high > [400, 460, 905]).all()
    assert np.array_equal(
        head.voxels,
        volume.voxels[
            tuple(
                slice(round(a / 5), round(a / 5) + n)
                for a, n in zip(origin, head.voxels.shape, strict=True)
            )
        ],
    )


def test_a_body_is_told_from_a_head_by_its_length_and_named_part(tmp_path: Path) -> None:
    tall = {"slices": 60, "step": 10.0}
    assert found(pet(tmp_path / "a", change=setting(BodyPartExamined="WHOLEBODY"), **tall)) is None
    assert found(pet(tmp_path / "b", change=setting(BodyPartExamined="CHEST"), **tall)) == (
        "not-a-head"
    )


def header(place: float, modality: str) -> SliceHeader:
    return SliceHeader(
        rows=16, columns=16, position=(0, 0, place), orientation=(1, 0, 0, 0, 1, 0),
        pixel_spacing=(10, 10), modality=modality,
    )  # fmt: skip


@given(st.lists(st.integers(1, 4), min_size=2, max_size=8), st.sampled_from(["PT", "MR", "CT"]))
def test_frames_are_counted_where_every_place_has_as_many_and_of_pet_alone(
    counts: list[int], modality: str
) -> None:
    headers = [
        header(10.0 * place, modality) for place, count in enumerate(counts) for _ in range(count)
    ]
    alike = len(set(counts)) == 1 and modality == "PT"
    assert frame_count(headers) == (counts[0] if alike else 1)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_an_average_lies_within_its_frames_and_is_theirs_where_they_are_one(
    places: int, frames: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(places * frames, 2, 3)).astype(np.float32)
    mean = averaged(values, draw.uniform(0.1, 9, places * frames), frames)
    held = values.reshape(places, frames, 2, 3)
    assert (mean >= held.min(1) - 1e-6).all()
    assert (mean <= held.max(1) + 1e-6).all()
    same = np.repeat(values[:places], frames, axis=0)
    assert np.allclose(averaged(same, np.ones(places * frames), frames), values[:places])
