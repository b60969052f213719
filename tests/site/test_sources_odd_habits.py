"""Scans as scanners, archives and other people's programs write them: read right, or told why not.

Written with pydicom and nibabel alone, without the writers of this project.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage

from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import load_profile
from reidscope_deid.series import deidentify_files
from reidscope_protocols.errors import NoDicomError
from reidscope_site.agent import Agent
from reidscope_site.face.slices import read_any_slices
from reidscope_site.face.volume import Volume, read_volume
from reidscope_site.indexing import Exclusion, resolve
from reidscope_site.sources.bids import list_bids
from reidscope_site.sources.dicom_folder import list_folder
from reidscope_site.sources.header_index import FoundFile, HeaderIndex
from reidscope_site.sources.nifti_volume import read_nifti

KEY = SiteKey(bytes(range(32)))
Series = Callable[..., tuple[Path, ...]]
CT = {"Modality": "CT", "SOPClassUID": CTImageStorage}


def told(folder: Path) -> list[str | None]:
    """Why each series below a folder is no head."""
    return [one.problem for held in list_folder(folder).series.values() for one in held]


def deidentified(files: tuple[Path, ...], out: Path) -> Volume:
    out.mkdir()
    return read_volume(deidentify_files(files, out, key=KEY, profile=load_profile("basic")).files)


def plane(*, dtype: str, beside: int) -> NDArray[np.generic]:
    """A slice of 500, with `beside` in its corner."""
    made = np.full((16, 16), 500, dtype)
    made[:4, :4] = beside
    return made


@pytest.mark.parametrize("representation", [0, 1])
def test_what_a_scanner_marks_as_padding_is_air(
    tmp_path: Path, series: Series, representation: int
) -> None:
    dtype, beside = ("<i2", -32768) if representation else ("<u2", 65535)
    files = series(
        tmp_path / "in", "A",
        PixelRepresentation=representation, PixelPaddingValue=beside,
        PixelData=plane(dtype=dtype, beside=beside).tobytes(),
    )  # fmt: skip
    assert told(tmp_path / "in") == [None]
    voxels = deidentified(files, tmp_path / "out").voxels
    assert set(np.unique(voxels)) == {0.0, 500.0}


def test_a_range_of_padding_is_air_and_the_samples_stay_as_they_were(
    tmp_path: Path, series: Series
) -> None:
    stored = plane(dtype="<u2", beside=4001)
    files = series(
        tmp_path, "A", PixelPaddingValue=4000, PixelPaddingRangeLimit=4095,
        PixelData=stored.tobytes(),
    )  # fmt: skip
    slices = read_any_slices(files)
    assert np.array_equal(slices.stored[0], stored)
    assert slices.intensities.max() == 500.0


def test_padding_that_was_written_with_the_wrong_sign_is_known(
    tmp_path: Path, series: Series
) -> None:
    """63536 is -2000 in sixteen bits, and stands so in the headers of many a CT."""
    files = series(
        tmp_path, "A", **CT, PixelRepresentation=1, RescaleIntercept=-1024, RescaleSlope=1,
        PixelData=plane(dtype="<i2", beside=-2000).tobytes(),
    )  # fmt: skip
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.add_new("PixelPaddingValue", "US", 63536)
        dataset.save_as(file)
    assert read_any_slices(files).intensities.min() == 0.0


@pytest.mark.parametrize(
    ("scale", "usable"),
    [
        ({}, False),
        ({"RescaleIntercept": 0, "RescaleSlope": 1}, False),
        ({"RescaleIntercept": -1024, "RescaleSlope": 1}, True),
        ({"PixelRepresentation": 1}, True),
    ],
)
def test_a_ct_whose_scale_does_not_reach_down_to_air_is_told_so(
    tmp_path: Path, series: Series, scale: dict[str, Any], *, usable: bool
) -> None:
    """Its air would be taken for water, and the whole field of view for a head."""
    series(tmp_path, "A", **CT, **scale)
    assert told(tmp_path) == [None if usable else "ct-scale-without-air"]


def test_slices_of_a_localizer_that_does_not_call_itself_one_are_too_far_apart(
    tmp_path: Path, series: Series
) -> None:
    files = series(tmp_path, "A")
    for number, file in enumerate(files):
        dataset = pydicom.dcmread(file)
        dataset.ImagePositionPatient = [0, 0, 20 * number]
        dataset.save_as(file)
    assert told(tmp_path) == ["too-coarse"]


@pytest.mark.parametrize(
    ("elements", "problem"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "mosaic"),
        ({"ImageType": ["ORIGINAL", "PRIMARY"], "ComplexImageComponent": "PHASE"}, "derived"),
        ({"ImageType": ["ORIGINAL", "PRIMARY"], "ComplexImageComponent": "MAGNITUDE"}, None),
    ],
)
def test_tiles_and_phases_are_no_slices_of_a_head(
    tmp_path: Path, series: Series, elements: dict[str, Any], problem: str | None
) -> None:
    series(tmp_path, "A", **elements)
    assert told(tmp_path) == [problem]


def test_two_issuers_of_one_patient_id_are_two_people(tmp_path: Path, series: Series) -> None:
    series(tmp_path / "a", "1", IssuerOfPatientID="NORTH")
    series(tmp_path / "b", "1", IssuerOfPatientID="SOUTH", SeriesDate="20210101")
    series(tmp_path / "c", "2", IssuerOfPatientID="NORTH")
    series(tmp_path / "d", "2", SeriesDate="20210101")
    found = resolve(list_folder(tmp_path), {}, KEY)
    assert len(found.people) == 1
    assert found.excluded == {Exclusion.SHARED_ID: 1}


def test_files_without_a_preamble_are_read_as_the_deidentifier_reads_them(
    tmp_path: Path, series: Series
) -> None:
    files = series(tmp_path / "in", "A")
    for file in files:
        file.write_bytes(file.read_bytes()[132:])
    assert told(tmp_path / "in") == [None]
    assert deidentified(files, tmp_path / "out").voxels.max() == len(files) - 1


def test_a_file_that_could_not_be_opened_is_tried_again(
    tmp_path: Path, agent: Agent, series: Series
) -> None:
    """Neither its size nor its time changes when its rights do."""
    (path,) = series(tmp_path / "in", "A", slices=1)
    state = path.stat()
    found = FoundFile(path=str(path), size=state.st_size, mtime_ns=state.st_mtime_ns)
    away = path.rename(tmp_path / "away")
    headers = HeaderIndex.opened(agent.connection, KEY)
    assert headers.facts(found) is None
    assert (headers.unopened, headers.read) == (1, 0)
    headers.keep()
    away.rename(path)
    assert HeaderIndex.opened(agent.connection, KEY).facts(found) is not None


def test_files_that_cannot_be_opened_are_told_apart_from_those_that_are_no_scans(
    tmp_path: Path, agent: Agent, series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    series(folder, "A")
    (folder / "text.dcm").write_text("no image")
    locked = folder / "locked.dcm"
    shutil.copy(folder / "000.dcm", locked)
    real = Path.open

    def opened(path: Path, *words: Any, **named: Any) -> Any:
        if path == locked:  # rights do not bind whoever runs tests as root
            raise PermissionError(13, os.strerror(13), str(path))
        return real(path, *words, **named)

    monkeypatch.setattr(Path, "open", opened)
    listing = list_folder(folder, index=HeaderIndex.opened(agent.connection, KEY))
    assert (listing.skipped, listing.unopened) == (1, 1)
    assert [one.problem for one in listing.series["A"]] == [None]


def test_a_folder_of_links_is_refused_with_the_reason(tmp_path: Path, series: Series) -> None:
    for path in series(tmp_path / "in", "A"):
        (tmp_path / "links").mkdir(exist_ok=True)
        (tmp_path / "links" / path.name).symlink_to(path)
    with pytest.raises(NoDicomError, match="links are not followed"):
        list_folder(tmp_path / "links")


AFFINE = np.diag([10.0, 9.0, 8.0, 1.0])


def nifti(
    path: Path, qform: NDArray[np.float64], sform: NDArray[np.float64], codes: tuple[int, int]
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.arange(18 * 22 * 20, dtype=np.int16).reshape(18, 22, 20), sform)
    image.set_sform(sform, codes[1])
    image.set_qform(qform, codes[0])
    nibabel.save(image, path)
    return path


def head(root: Path, name: str = "sub-01_T1w") -> Path:
    return root / "sub-01" / "anat" / f"{name}.nii.gz"


def problems(root: Path) -> list[str | None]:
    return [one.problem for held in list_bids(root).series.values() for one in held]


@pytest.mark.parametrize("codes", [(1, 1), (1, 4), (2, 2)])
def test_two_orientations_of_which_one_is_mirrored_are_refused(
    tmp_path: Path, codes: tuple[int, int]
) -> None:
    nifti(head(tmp_path), AFFINE, AFFINE @ np.diag([-1, 1, 1, 1]), codes)
    assert problems(tmp_path) == ["two-orientations-that-differ"]


def test_two_orientations_of_other_sizes_or_axes_are_refused(tmp_path: Path) -> None:
    turned = AFFINE @ np.diag([-1, -1, 1, 1])
    for number, other in enumerate((AFFINE @ np.diag([1.3, 1.3, 1.3, 1]), turned)):
        nifti(head(tmp_path, f"sub-01_run-{number}_T1w"), AFFINE, other, (1, 1))
    assert problems(tmp_path) == ["two-orientations-that-differ"] * 2


def test_the_scanners_orientation_goes_before_that_of_an_atlas(tmp_path: Path) -> None:
    atlas = AFFINE @ np.diag([1.3, 1.2, 1.1, 1])
    path = nifti(head(tmp_path), AFFINE, atlas, (1, 4))
    assert problems(tmp_path) == [None]
    assert np.allclose(read_nifti(path).affine, AFFINE)
    assert np.allclose(read_nifti(nifti(path, atlas, AFFINE, (2, 1))).affine, AFFINE)


def test_a_tilted_gantry_that_a_qform_cannot_say_is_no_contradiction(tmp_path: Path) -> None:
    tilted = AFFINE.copy()
    tilted[1, 2] = 8 * np.tan(np.radians(25))
    nifti(head(tmp_path), AFFINE, tilted, (1, 1))
    assert problems(tmp_path) == [None]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("sub-02_T1w", "named-for-another-participant-or-session"),
        ("sub-01_ses-2_T1w", "named-for-another-participant-or-session"),
        ("sub-012_T1w", "named-for-another-participant-or-session"),
        ("sub-01_space-MNI152NLin6Asym_T1w", "derived"),
        ("sub-01_acq-fast_run-2_T1w", None),
    ],
)
def test_a_file_is_its_folders_participant_and_session_or_nobodys(
    tmp_path: Path, name: str, problem: str | None
) -> None:
    nifti(head(tmp_path, name), AFFINE, AFFINE, (1, 1))
    assert problems(tmp_path) == [problem]


def test_what_a_file_manager_leaves_beside_an_image_is_no_series(tmp_path: Path) -> None:
    nifti(head(tmp_path), AFFINE, AFFINE, (1, 1))
    head(tmp_path, "._sub-01_T1w").write_bytes(b"\0\5\26\7")
    assert problems(tmp_path) == [None]


def test_voxels_that_resampling_left_without_a_number_are_air(tmp_path: Path) -> None:
    voxels = np.ones((18, 22, 20), np.float32)
    voxels[:3] = np.nan
    head(tmp_path).parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), head(tmp_path))
    assert set(np.unique(read_nifti(head(tmp_path)).voxels)) == {0.0, 1.0}


@pytest.mark.parametrize("air", [-1000.0, -0.7, 0.0, 5.0])
def test_air_below_zero_is_dark_and_other_voxels_stay_as_they_are(
    tmp_path: Path, air: float
) -> None:
    """Normalised and masked images; what is lit in front of a face would hide it."""
    voxels = np.full((18, 22, 20), air, np.float32)
    voxels[4:-4, 4:-4, 4:-4] = air + 300
    head(tmp_path).parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), head(tmp_path))
    read = read_nifti(head(tmp_path)).voxels
    assert np.allclose(np.unique(read), np.unique(voxels) - min(air, 0))
