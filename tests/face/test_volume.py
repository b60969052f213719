"""From DICOM files to millimetres, in any orientation."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.errors import GeometryError
from reidscope_site.face.volume import Volume, isotropic, read_volume, to_ras
from reidscope_site.synthetic.dicom import Plane, series
from reidscope_site.synthetic.particulars import particulars
from reidscope_site.synthetic.seeds import PersonSeed, Population

SEED = PersonSeed(population=Population.SITE, label="tests", number=7)
KNOWN = particulars(SEED, site="tests")


def block(spacing: tuple[float, float, float] = (12.0, 10.0, 11.0)) -> Volume:
    """A small volume as large as a head, with a value of its own in every voxel."""
    shape = (11, 13, 12)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-60.0, -50.5, -40.25]
    voxels = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Volume(voxels=voxels, spacing_mm=spacing, affine=affine)


def write(folder: Path, volume: Volume, plane: Plane) -> list[Path]:
    paths = []
    for number, content in enumerate(series(volume, SEED, KNOWN, plane=plane)):
        paths.append(folder / f"{number:03d}.dcm")
        paths[-1].write_bytes(content)
    return paths


@pytest.mark.parametrize("plane", list(Plane))
def test_what_was_written_is_read_whatever_the_orientation(tmp_path: Path, plane: Plane) -> None:
    volume = block()
    paths = write(tmp_path, volume, plane)
    for order in (paths, paths[::-1], [*paths[5:], *paths[:5]]):
        found = read_volume(order)
        assert np.array_equal(found.voxels, volume.voxels)
        assert np.allclose(found.affine, volume.affine, atol=1e-6)
        assert np.allclose(found.spacing_mm, volume.spacing_mm)


def edited(path: Path, **changes: object) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    stream = io.BytesIO()
    dataset.save_as(stream)
    path.write_bytes(stream.getvalue())


def test_rescaling_is_applied_slice_by_slice(tmp_path: Path) -> None:
    paths = write(tmp_path, block(), Plane.AXIAL)
    edited(paths[2], RescaleSlope="2.5", RescaleIntercept="-7")
    found = read_volume(paths).voxels
    expected = block().voxels.copy()
    expected[:, :, 2] = expected[:, :, 2] * 2.5 - 7
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda paths: paths.pop(4), "missing-slices"),
        (lambda paths: paths.append(paths[0]), "duplicate-slices"),
        (lambda paths: paths.__delitem__(slice(1, None)), "one-slice"),
        (lambda paths: paths.clear(), "one-slice"),
        (lambda paths: edited(paths[1], PixelSpacing=["9", "9"]), "mixed-geometry"),
        (lambda paths: [edited(path, BodyPartExamined="KNEE") for path in paths], "not-a-head"),
        (lambda paths: edited(paths[3], PixelData=b"\0\0"), "unsupported"),
        (lambda paths: paths[3].write_bytes(b"no dicom at all"), "unsupported"),
    ],
)
def test_a_series_that_is_no_volume_is_refused_by_its_reason(
    tmp_path: Path, break_it: object, reason: str
) -> None:
    paths = write(tmp_path, block(), Plane.SAGITTAL)
    assert callable(break_it)
    break_it(paths)
    with pytest.raises(GeometryError) as refusal:
        read_volume(paths)
    assert refusal.value.problem.got == reason
    assert KNOWN.patient_id not in str(refusal.value)
    assert tmp_path.name not in str(refusal.value)


FLIPS = st.tuples(*[st.sampled_from([1, -1])] * 3)


@settings(max_examples=30, deadline=None)
@given(st.permutations([0, 1, 2]), FLIPS)
def test_reordering_axes_moves_no_voxel_in_space(order: list[int], flips: tuple[int, ...]) -> None:
    volume = block()
    turned = np.zeros((4, 4))
    turned[3, 3] = 1
    for new, old in enumerate(order):
        turned[old, new] = flips[new]
        if flips[new] < 0:
            turned[old, 3] = volume.voxels.shape[old] - 1
    voxels = volume.voxels.transpose(order)
    voxels = np.flip(voxels, [axis for axis in range(3) if flips[axis] < 0])
    back = to_ras(voxels, volume.affine @ turned)
    assert np.array_equal(back.voxels, volume.voxels)
    assert np.allclose(back.affine, volume.affine)


def test_a_millimetre_grid_is_left_as_it_is() -> None:
    volume = to_ras(block().voxels, np.eye(4))
    assert isotropic(volume) is volume


def test_resampling_keeps_places_in_space() -> None:
    x, y, z = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in (20, 24, 28)], indexing="ij")
    angle = np.deg2rad(25)
    oblique = np.eye(4)
    oblique[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    oblique = oblique @ np.diag([1.5, 0.8, 3.0, 1.0])
    oblique[:3, 3] = [3, -4, 5]
    # a ramp along the scanner's own y axis stays one
    ramp = oblique[1, 0] * x + oblique[1, 1] * y + oblique[1, 2] * z + oblique[1, 3] + 100
    ramp = ramp.astype(np.float32)
    found = isotropic(Volume(voxels=ramp, spacing_mm=(1.5, 0.8, 3.0), affine=oblique))
    inside = isotropic(Volume(voxels=np.ones_like(ramp), spacing_mm=(1, 1, 1), affine=oblique))
    j = np.arange(found.voxels.shape[1])[None, :, None] + found.affine[1, 3] + 100
    kept = inside.voxels > 0.999
    assert kept.sum() > 5000
    assert np.abs(found.voxels - np.broadcast_to(j, found.voxels.shape))[kept].max() < 0.2
    assert found.spacing_mm == (1.0, 1.0, 1.0)


def test_a_volume_has_no_serialiser() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(block())
