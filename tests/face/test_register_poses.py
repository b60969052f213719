"""Registration in any pose and contrast, and what it says of bodies that are no head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reidscope_site.face.gates import check
from reidscope_site.face.raycast import turned
from reidscope_site.face.register import register
from reidscope_site.face.template import Template
from reidscope_site.face.volume import Volume, resampled

LANDMARKS = np.array([[88, 235, 101, 1], [56, 206, 130, 1], [120, 206, 130, 1.0]]).T


def volume_of(voxels: np.ndarray) -> Volume:
    kept = np.ascontiguousarray(voxels, dtype=np.float32)
    return Volume(voxels=kept, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))


def average(head: Template, turn: np.ndarray) -> tuple[Volume, np.ndarray]:
    """The average head, turned in a field of 256 mm, and the map that undoes it."""
    torch.set_num_threads(1)
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = np.array([88, 125, 160]) - turn @ np.full(3, 127.5)
    voxels = resampled(head.head, matrix, (256, 256, 256)).numpy()
    noise = np.abs(np.random.default_rng(0).normal(0, 5, voxels.shape))
    return volume_of(voxels + noise), matrix


def furthest_off(found: np.ndarray, truth: np.ndarray) -> float:
    off = (found @ np.linalg.inv(truth) @ LANDMARKS - LANDMARKS)[:3]
    return float(np.linalg.norm(off, axis=0).max())


@pytest.mark.slow
def test_a_grid_thinner_than_a_cell_is_taken() -> None:
    registration = register(volume_of(np.random.default_rng(0).random((12, 30, 40))))
    assert np.isfinite(registration.to_template).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "turn",
    [{"yaw": 35}, {"pitch": 35}, {"roll": -35}, {"yaw": 180}, {"pitch": 180}, {"roll": 180},
     {"pitch": 90}, {"yaw": 90, "pitch": 20}],
    ids=str,
)  # fmt: skip
def test_a_head_is_found_however_it_lies(head: Template, turn: dict[str, float]) -> None:
    volume, truth = average(head, turned(**turn))
    registration = register(volume)
    assert furthest_off(registration.to_template, truth) < 4
    assert registration.ncc > 0.95
    assert check(volume, volume, registration).face_there


@pytest.mark.slow
def test_a_contrast_that_is_the_other_way_round_is_fitted(head: Template) -> None:
    volume, truth = average(head, turned(yaw=20, pitch=-20))
    body = resampled(head.surface, truth, (256, 256, 256)).numpy() > 0.5
    other = volume_of(np.where(body, 700 - volume.voxels.clip(0, 650), 0))
    assert furthest_off(register(other).to_template, truth) < 5


@pytest.mark.slow
def test_a_body_that_is_no_head_is_caught_by_a_gate() -> None:
    where = np.stack(np.meshgrid(*[np.arange(200) - 100.0] * 3, indexing="ij"))
    egg = np.sqrt((where[0] / 75) ** 2 + (where[1] / 92) ** 2 + (where[2] / 98) ** 2)
    volume = volume_of(np.select([egg < 0.7, egg < 0.8, egg < 1], [700, 50, 500], 0.0))
    emptied = replace(volume, voxels=np.zeros_like(volume.voxels))
    assert not check(volume, emptied, register(volume)).face_there


@pytest.mark.slow
def test_an_empty_scan_has_no_correlation() -> None:
    assert register(volume_of(np.zeros((120, 120, 120)))).ncc < 0.1


@pytest.mark.slow
def test_without_the_face_a_head_is_found_that_has_none(head: Template) -> None:
    volume, truth = average(head, turned(yaw=8))
    inverse = np.linalg.inv(truth)
    low = int((inverse @ [88, 185, 120, 1])[1])
    cut = volume.voxels.copy()
    cut[:, low:, :150] = 0
    registration = register(volume_of(cut), face=False)
    # the nose lies 8 cm before all that is compared
    assert furthest_off(registration.to_template, truth) < 15
