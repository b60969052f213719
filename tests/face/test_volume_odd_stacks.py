"""Stacks as scanners make them: multi-frame, tilted, of two thicknesses, repeated, with a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)
from scipy import ndimage

from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import load_profile
from reidscope_deid.rehearsal import Rehearsal
from reidscope_deid.series import deidentify_files
from reidscope_protocols.errors import GeometryError
from reidscope_site.face.couch import TISSUE, without_couch
from reidscope_site.face.frames import slice_headers
from reidscope_site.face.geometry import (
    SeriesProblem,
    SliceHeader,
    series_problem,
    slice_header,
)
from reidscope_site.face.slices import read_slices
from reidscope_site.face.volume import Volume, isotropic, read_volume
from reidscope_site.indexing import resolve
from reidscope_site.sources.dicom_folder import list_folder
from reidscope_site.sources.reading import read_scan

KEY = SiteKey(bytes(range(32)))
SHAPE = (12, 16, 20)  # slices, rows, columns
SPACING = (11.0, 9.0, 8.0)  # mm between slices, rows, columns


def samples() -> NDArray[np.uint16]:
    return np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)


def common(modality: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPInstanceUID = generate_uid()
    dataset.PatientID, dataset.PatientName = "ID-1", "Doe^Jane"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20200101"
    dataset.ContentTime = "120000"
    dataset.Modality, dataset.BodyPartExamined = modality, "HEAD"
    _, dataset.Rows, dataset.Columns = SHAPE
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    return dataset


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def enhanced(path: Path, modality: str, order: list[int], *, shared: bool = True) -> Path:
    """Write one multi-frame file whose frames come in `order`."""
    dataset = common(modality)
    mr = modality == "MR"
    dataset.SOPClassUID = EnhancedMRImageStorage if mr else EnhancedCTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = len(order)
    dataset.InstanceNumber = 1
    dataset.BurnedInAnnotation = "NO"
    dataset.DimensionOrganizationType = "3D"
    steady = {
        "PixelMeasuresSequence": [item(PixelSpacing=[SPACING[1], SPACING[2]], SliceThickness=11)],
        "PlaneOrientationSequence": [item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    }
    dataset.SharedFunctionalGroupsSequence = [item(**steady) if shared else Dataset()]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[-76, -70, -60 + SPACING[0] * place])],
            PixelValueTransformationSequence=[
                item(RescaleSlope=2, RescaleIntercept=-2000 if not mr else 1, RescaleType="US")
            ],
            FrameContentSequence=[item(StackID="1", InStackPositionNumber=place + 1)],
            **({} if shared else steady),
        )
        for place in order
    ]
    # of a CT as high above air
    dataset.PixelData = (samples() + (0 if mr else 1488)).astype("<u2")[order].tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def classic(
    folder: Path, places: list[float], *, lean: float = 0.0, modality: str = "CT"
) -> list[Path]:
    """Write a slice a file; each slice shows at every sample how high it lies."""
    folder.mkdir()
    whole, written = common(modality), []
    for number, place in enumerate(places):
        whole.SOPClassUID, whole.SOPInstanceUID = CTImageStorage, generate_uid()
        whole.ImagePositionPatient = [-76, -70 + lean * place, place]
        whole.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        whole.PixelSpacing = [SPACING[1], SPACING[2]]
        whole.RescaleSlope, whole.RescaleIntercept = 1, -1024
        plane = np.full(SHAPE[1:], 2024 + round(10 * place), np.uint16)
        whole.PixelData = plane.tobytes()
        written.append(folder / f"{number:03d}.dcm")
        pydicom.dcmwrite(written[-1], whole, enforce_file_format=True)
    return written


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_multi_frame_file_is_read_whatever_the_order_of_its_frames(
    tmp_path: Path, modality: str, *, shared: bool
) -> None:
    order = [5, 0, 11, 2, 3, 4, 1, 6, 10, 8, 9, 7]
    path = enhanced(tmp_path / "a.dcm", modality, order, shared=shared)
    volume = read_volume([path])
    expected = np.maximum(2.0 * samples() + (1 if modality == "MR" else 1976), 0)
    # LPS to RAS turns columns and rows round
    assert np.array_equal(volume.voxels, expected.transpose(2, 1, 0)[::-1, ::-1])
    assert np.allclose(volume.spacing_mm, (8, 9, 11))
    assert np.allclose(volume.affine @ [0, 0, 0, 1], [76 - 19 * 8, 70 - 15 * 9, -60, 1])


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_multi_frame_file_is_deidentified_and_still_read(
    tmp_path: Path, modality: str, *, packed: bool
) -> None:
    path = enhanced(tmp_path / "a.dcm", modality, [*range(11, -1, -1)])
    before = read_volume([path]).voxels
    if packed:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    Rehearsal.of(KEY, load_profile("basic")).check([path])
    (tmp_path / "out").mkdir()
    done = deidentify_files([path], tmp_path / "out", key=KEY, profile=load_profile("basic"))
    assert b"Doe" not in done.files[0].read_bytes()
    assert np.array_equal(read_volume(done.files).voxels, before)


def test_a_multi_frame_file_is_never_written_back_as_if_it_were_slices(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="unsupported"):
        read_slices([enhanced(tmp_path / "a.dcm", "MR", [*range(12)])])


def test_frames_that_their_groups_do_not_count_are_unsupported(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "a.dcm", "MR", [*range(12)])
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = 11
    assert series_problem(slice_headers(dataset)) is SeriesProblem.UNSUPPORTED
    del dataset.PerFrameFunctionalGroupsSequence
    assert series_problem(slice_headers(dataset)) is SeriesProblem.UNSUPPORTED


def test_frames_of_several_times_are_many_volumes(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "a.dcm", "MR", [*range(12), *range(12)])
    assert series_problem(slice_headers(pydicom.dcmread(path))) is SeriesProblem.MANY_VOLUMES
    with pytest.raises(GeometryError, match="many-volumes"):
        read_volume([path])


@pytest.mark.parametrize("degrees", [-30, -12, 12, 30])
def test_a_tilted_gantry_is_made_upright(tmp_path: Path, degrees: int) -> None:
    """What is at one height stays there, and the stack leans as far as the gantry did."""
    lean = float(np.tan(np.deg2rad(degrees)))
    places = [11.0 * number for number in range(12)]
    volume = read_volume(classic(tmp_path / "a", places, lean=lean))
    upright = isotropic(volume)
    k = np.broadcast_to(np.arange(upright.voxels.shape[2])[None, None, :], upright.voxels.shape)
    inside = upright.voxels > 0.99 * (2000 + 10 * k)
    # a sample at the rim is half of nothing
    solid = ndimage.binary_erosion(inside, iterations=12)
    assert solid.sum() > 10_000
    height = (upright.voxels - 2000) / 10
    assert np.abs(height - k)[solid].max() < 0.2
    # the slab's middle row wanders to the back (LPS +y) by lean * height
    low, high = (np.argwhere(inside[:, :, level])[:, 1].mean() for level in (10, 110))
    assert low - high == pytest.approx(100 * lean, abs=1.5)


def test_a_stack_that_leans_too_far_or_bends_is_mixed() -> None:
    def stack(bend: float, lean: float) -> list[SliceHeader]:
        return [
            SliceHeader(
                rows=160,
                columns=160,
                position=(0.0, lean * k + bend * k * k, float(k)),
                orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
                pixel_spacing=(1.0, 1.0),
                modality="CT",
            )
            for k in range(150)
        ]

    assert series_problem(stack(0.0, 0.5)) is None
    assert series_problem(stack(0.0, 0.8)) is SeriesProblem.MIXED_GEOMETRY
    assert series_problem(stack(0.001, 0.0)) is SeriesProblem.MIXED_GEOMETRY


@settings(max_examples=10, deadline=None)
@given(
    thin=st.sampled_from([1.0, 2.0, 2.5, 3.0]),
    thick=st.sampled_from([4.0, 5.0, 7.5]),
    low=st.integers(4, 30),
    data=st.randoms(use_true_random=False),
)
def test_a_stack_of_two_thicknesses_is_resampled_to_its_thinner_one(
    tmp_path_factory: pytest.TempPathFactory, thin: float, thick: float, low: int, data: Any
) -> None:
    places = [thin * number for number in range(low)]
    while places[-1] < 120:
        places.append(places[-1] + thick)
    while len(places) - low < 4:
        places.append(places[-1] + thick)
    paths = classic(tmp_path_factory.mktemp("two") / "a", places)
    data.shuffle(paths)
    volume = read_volume(paths)
    assert volume.spacing_mm[2] == pytest.approx(thin)
    along = volume.affine[2, 3] + thin * np.arange(volume.voxels.shape[2])
    shown = (volume.voxels[8, 8] - 2000) / 10
    assert np.abs(shown - along).max() < 0.06  # samples are whole numbers
    with pytest.raises(GeometryError, match="uneven-slices"):
        read_slices(paths)


def test_missing_slices_are_missed_in_a_stack_of_two_thicknesses_too(tmp_path: Path) -> None:
    places = [2.0 * n for n in range(20)] + [40.0 + 5 * n for n in range(18)]
    for gone in (5, 19, 25, 30):
        paths = classic(tmp_path / str(gone), places[:gone] + places[gone + 1 :])
        with pytest.raises(GeometryError, match=r"missing-slices|mixed-geometry"):
            read_volume(paths)


def scene(gap_mm: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A head with nose and ears in HU, 2 mm a voxel, so far above a couch with wings; its mask."""
    shape = (130, 130, 100)
    x, y, z = np.meshgrid(*[2.0 * np.arange(n) - n for n in shape], indexing="ij")
    radius = np.sqrt((x / 75) ** 2 + ((y - 10) / 95) ** 2 + (z / 90) ** 2)
    hu = np.full(shape, -1000, np.float32)
    hu[radius < 1] = 40
    hu[(radius < 0.93) & (radius > 0.86)] = 900
    hu[(np.abs(x) < 12) & (y > 95) & (y < 125) & (np.abs(z + 20) < 15)] = 40
    ear = (np.abs(np.abs(x) - 82) < 10) & (np.abs(y - 5) < 14) & (np.abs(z) < 25)
    hu[ear] = 20
    person = hu > -300
    back = -85 - gap_mm
    wide = np.abs(x) < 125
    hu[(y < back) & (y > back - 40) & wide] = -930
    for wall in (back - 2, back - 38):
        hu[(np.abs(y - wall) < 3) & wide] = -100
    hu[(np.abs(np.abs(x) - 108) < 3) & (y < 0) & (y > back)] = 120
    return hu, person


@pytest.mark.parametrize("gap_mm", [0, 4, 16])
def test_a_couch_is_no_part_of_a_person(gap_mm: int) -> None:
    hu, person = scene(gap_mm)
    bright = np.maximum(hu + 1000, 0)
    seen = Volume(voxels=bright, spacing_mm=(2.0, 2.0, 2.0), affine=np.diag([2.0, 2, 2, 1]))
    found = without_couch(seen).voxels
    assert np.array_equal(found[person], bright[person])
    couch = ~person & (bright > TISSUE)
    assert couch.sum() > 20_000
    assert (found[couch] > 0).mean() < 0.25
    # before the face and beside it nothing of it is left
    front = np.arange(130)[None, :, None] > 55
    assert not (found > 0)[couch & front].any()


def test_a_ct_without_a_head_or_without_air_stays_as_it_is() -> None:
    for level in (0, 2000):
        flat = np.full((20, 20, 20), level, np.float32)
        volume = Volume(voxels=flat, spacing_mm=(9.0, 9.0, 9.0), affine=np.diag([9.0, 9, 9, 1]))
        assert without_couch(volume) is volume


def test_a_multi_frame_file_is_a_person_in_the_index(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = enhanced(tmp_path / "data/a.dcm", "MR", [*range(12)])
    enhanced(tmp_path / "data/b.dcm", "CT", [*range(12), *range(12)])
    found = resolve(list_folder(tmp_path / "data"), {"ID-1": Path("photo")}, KEY)
    (person,) = found.people
    assert person.first.files == (path,)
    assert found.series == {"taken": 1, "many-volumes": 1}
    (tmp_path / "work").mkdir()
    volume = read_scan(person.first, key=KEY, work=tmp_path / "work")
    assert np.array_equal(volume.voxels, read_volume([path]).voxels)


def test_a_leaning_stack_of_two_thicknesses_is_one_volume(tmp_path: Path) -> None:
    places = [3.0 * n for n in range(12)] + [39.0 + 6 * n for n in range(14)]
    paths = classic(tmp_path / "a", places, lean=0.2)
    volume = read_volume(paths)
    assert volume.affine[:3, 2] == pytest.approx([0, -0.6, 3])
    assert series_problem([slice_header(pydicom.dcmread(path)) for path in paths]) is None
