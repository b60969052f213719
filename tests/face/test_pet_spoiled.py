"""PET spoiled on purpose: registration that follows the outline, and gates that fail closed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from reidscope_site.face.arms import ARMS
from reidscope_site.face.describe import take_in
from reidscope_site.face.emission_level import without_peaks
from reidscope_site.face.gates import MOST_SKIN_LEFT, MOST_SKIN_LEFT_IN_PET, Gates, check
from reidscope_site.face.raycast import turned
from reidscope_site.face.register import Registration, register
from reidscope_site.face.template import Template, template
from reidscope_site.face.volume import Volume, isotropic, resampled
from reidscope_site.synthetic.emission import emission
from reidscope_site.synthetic.scan import pose
from reidscope_site.synthetic.seeds import PersonSeed, Population

SOMEBODY = PersonSeed(population=Population.PROBE, label="gates", number=1)
"""Laid onto their PET as it is, the average head ended 60 to 110 mm away from where it belongs."""
LANDMARKS = np.array([[88, 205, 118, 1], [88, 210, 75, 1], [60, 200, 118, 1]]).T
NEAR_MM = 6.0


def emitting(voxels: np.ndarray) -> Volume:
    return Volume(
        voxels=np.ascontiguousarray(voxels, dtype=np.float32),
        spacing_mm=(1.0, 1.0, 1.0),
        affine=np.eye(4),
        emission=True,
    )


@pytest.fixture(scope="module")
def pet() -> tuple[Volume, np.ndarray]:
    """A PET, and the true map from its grid to the template."""
    torch.set_num_threads(1)
    across = np.diag([-1.0, 1.0, 1.0, 1.0])
    across[0, 3] = template().head.shape[0]
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirrored[0, 3] = template().head.shape[0] - 1
    volume = isotropic(emission(SOMEBODY, template()))
    return emitting(volume.voxels), across @ pose(SOMEBODY) @ mirrored


def off_mm(registration: Registration, truth: np.ndarray) -> float:
    here, there = (np.linalg.inv(one) @ LANDMARKS for one in (registration.to_template, truth))
    return float(np.linalg.norm((here - there)[:3], axis=0).max())


@pytest.mark.slow
@pytest.mark.parametrize("turn", [{}, {"yaw": 25.0, "pitch": -20.0}, {"roll": 180.0}])
def test_the_average_head_lies_on_a_pet_however_it_lies(
    pet: tuple[Volume, np.ndarray], turn: dict[str, float]
) -> None:
    volume, truth = pet
    size = (230, 256, 256)
    linear = turned(**turn)
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    old, new = (np.array(volume.voxels.shape) - 1) / 2, (np.array(size) - 1) / 2
    matrix[:3, 3] = old - linear @ new
    moved = emitting(resampled(torch.from_numpy(volume.voxels), matrix, size).numpy())
    registration = register(moved)
    assert off_mm(registration, truth @ matrix) < NEAR_MM
    gates = check(moved, ARMS["facemask"].apply(moved, registration), registration)
    assert gates.emission
    assert gates.passed


@pytest.mark.slow
def test_grain_of_few_counts_hides_no_face_from_the_gates(pet: tuple[Volume, np.ndarray]) -> None:
    volume, _ = pet
    noise = np.random.default_rng(0).normal(0, 1, volume.voxels.shape).astype(np.float32)
    grain = ndimage.gaussian_filter(noise, 1.5)
    grain *= 0.01 * volume.voxels.max() / grain.std()
    noisy = emitting(np.clip(volume.voxels + grain, 0, None))
    registration = register(noisy)
    untouched = check(noisy, noisy, registration)
    assert untouched.face_there
    assert not untouched.passed
    assert check(noisy, ARMS["facemask"].apply(noisy, registration), registration).passed


@pytest.mark.slow
def test_a_pet_in_which_only_the_brain_emits_passes_no_gate(
    pet: tuple[Volume, np.ndarray],
) -> None:
    volume, truth = pet
    brain = resampled(template().brain.float(), truth, volume.voxels.shape).numpy()
    alone = emitting(volume.voxels * brain)
    registration = register(alone)
    for name in ("facemask", "quickshear", "reface", "skullstrip"):
        after = ARMS[name].apply(alone, registration)
        gates = check(alone, after, registration, intent=ARMS[name].intent)
        assert not gates.face_there
        assert not gates.passed


@pytest.mark.slow
@pytest.mark.parametrize("what", ["nothing", "one value", "one hot voxel", "noise", "an egg"])
def test_what_is_no_head_is_not_taken_or_passes_no_gate(what: str) -> None:
    where = np.stack(np.meshgrid(*[np.arange(180) - 90.0] * 3, indexing="ij"))
    away = np.sqrt((where[0] / 60) ** 2 + (where[1] / 78) ** 2 + (where[2] / 80) ** 2)
    voxels = np.zeros((180, 180, 180))
    if what == "one value":
        voxels[:] = 700
    if what == "one hot voxel":
        voxels[90, 90, 90] = 1e6
    if what == "noise":
        voxels = np.abs(np.random.default_rng(0).normal(0, 100, voxels.shape))
    if what == "an egg":
        voxels = ndimage.gaussian_filter(np.select([away < 0.8, away < 1], [900.0, 150.0], 0), 2)
    volume = emitting(voxels)
    head = take_in(volume)
    registration = register(volume) if head is None else head.registration
    gates = check(volume, ARMS["facemask"].apply(volume, registration), registration)
    assert not gates.passed


def test_less_skin_may_be_left_of_a_pet() -> None:
    gates = Gates(
        skin_left=(MOST_SKIN_LEFT + MOST_SKIN_LEFT_IN_PET) / 2, brain_changed=0.0, ncc=1.0,
        seen=1.0, relief=1.0,
    )  # fmt: skip
    assert gates.passed
    assert not replace(gates, emission=True).passed


def test_a_faint_skin_that_was_written_anew_counts_as_rewritten(head: Template) -> None:
    # a twentieth of the brain's activity: 1% of it is half a thousandth of the brain's
    skin = head.surface.numpy() * 1000
    before = emitting(np.where(head.brain.numpy(), 20_000, skin))
    after = emitting(np.where(head.brain.numpy(), 20_000, skin * 1.01))
    there = Registration(to_template=np.eye(4), ncc=1.0)
    assert check(before, after, there).rewritten > 0.95
    assert check(replace(before, emission=False), after, there).rewritten < 0.05


SHAPE = (40, 44, 48)


@given(st.floats(1, 1e6), st.floats(2, 50), st.integers(0, 2**32 - 1), st.floats(0.5, 2.0))
def test_peaks_are_cut_off_and_nothing_else_at_any_scale(
    skin: float, brain: float, seed: int, scale: float
) -> None:
    where = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"))
    voxels = np.zeros(SHAPE, np.float32)
    away = [np.abs(one - (n - 1) / 2) for one, n in zip(where, SHAPE, strict=True)]
    voxels[(away[0] < 11) & (away[1] < 13) & (away[2] < 15)] = skin
    voxels[14:26, 16:28, 18:30] = skin * brain
    voxels *= np.random.default_rng(seed).uniform(0.9, 1.1, SHAPE).astype(np.float32)
    cut = without_peaks(voxels)
    assert (cut <= voxels).all()
    assert cut.max() < 2 * skin
    below = voxels < skin * 1.2
    assert np.array_equal(cut[below], voxels[below])
    assert np.allclose(without_peaks(voxels * np.float32(scale)), cut * scale, rtol=1e-3)


@pytest.mark.parametrize("shape", [(2, 3, 2), (12, 12, 12)])
@pytest.mark.parametrize("value", [0.0, 5.0])
def test_an_even_image_has_no_peaks(shape: tuple[int, ...], value: float) -> None:
    voxels = np.full(shape, value, np.float32)
    assert np.array_equal(without_peaks(voxels), voxels)
