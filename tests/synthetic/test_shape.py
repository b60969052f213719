"""Shapes, photographs and scans of synthetic people."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_site.face.raycast import sample
from reidscope_site.face.template import LATTICE_MM, template
from reidscope_site.synthetic.photo import WarpedHead, photo
from reidscope_site.synthetic.scan import placed, pose, posed, scan
from reidscope_site.synthetic.seeds import PersonSeed, Population
from reidscope_site.synthetic.shape import MODES, coefficients, displacement

NUMBERS = st.integers(0, 10**9)


def somebody(number: int) -> PersonSeed:
    return PersonSeed(population=Population.PROBE, number=number)


@settings(max_examples=6, deadline=None)
@given(NUMBERS)
def test_no_identity_moves_the_brain(number: int) -> None:
    head = template()
    lattice = displacement(somebody(number), head).lattice
    corner = head.brain[::LATTICE_MM, ::LATTICE_MM, ::LATTICE_MM]
    inside = torch.zeros(lattice.shape[1:], dtype=torch.bool)
    inside[: corner.shape[0], : corner.shape[1], : corner.shape[2]] = corner
    assert lattice[:, inside].abs().max() == 0
    assert lattice.abs().max() > 1


@settings(max_examples=6, deadline=None)
@given(NUMBERS)
def test_empty_space_is_empty(number: int) -> None:
    head = template()
    surface = WarpedHead(template=head, displacement=displacement(somebody(number), head))
    draw = torch.Generator().manual_seed(number)
    points = torch.rand(4000, 3, generator=draw) * surface.extent_mm
    empty = surface.empty_mm(points)
    direction = torch.randn(4000, 3, generator=draw)
    ahead = points + direction / direction.norm(dim=1, keepdim=True) * empty.clamp(min=0)[:, None]
    known = empty > 0
    assert known.any()
    assert (surface.occupancy(points[known]) <= surface.level).all()
    assert (surface.occupancy(ahead[known]) <= surface.level).all()


@given(NUMBERS)
def test_no_face_is_further_than_2_3_deviations_from_the_average(number: int) -> None:
    modes = coefficients(somebody(number))
    assert len(modes) == len(MODES)
    assert max(map(abs, modes)) <= 2.3


def test_modes_are_spread_as_they_say() -> None:
    drawn = np.array([coefficients(somebody(number)) for number in range(2000)])
    # clipping takes 2.6 % of the variance; 0.08 is 5 standard errors
    assert np.abs(drawn.mean(0)).max() < 0.12
    assert np.abs(drawn.std(0) - 0.97).max() < 0.08


def test_the_same_seed_makes_the_same_photo_and_another_shot_another() -> None:
    head = template()
    first = photo(somebody(5), head)
    assert np.array_equal(first, photo(somebody(5), head))
    assert not np.array_equal(first, photo(somebody(5), head, shot=1))
    assert first.shape == (256, 256, 3)
    assert first.dtype == np.uint8


@pytest.mark.slow
def test_a_scan_is_whole_numbers_that_twelve_bits_hold() -> None:
    volume = scan(somebody(6), template())
    assert volume.voxels.min() >= 0
    assert volume.voxels.max() <= 1200
    assert np.array_equal(volume.voxels, np.rint(volume.voxels))
    head = (volume.voxels > 60).mean()
    assert 0.2 < head < 0.6


@pytest.mark.slow
def test_the_map_worked_out_on_the_lattice_is_the_map_itself() -> None:
    head = template()
    seed = somebody(7)
    shape, to_head = displacement(seed, head), pose(seed)
    found = posed(head, shape, to_head)
    draw = np.random.default_rng(0)
    voxels = draw.integers(8, [168, 242, 287], (5000, 3))
    exact = torch.tensor(voxels @ to_head[:3, :3].T + to_head[:3, 3], dtype=torch.float32)
    expected = sample(head.head, shape.home(exact)).numpy()
    difference = np.abs(found.numpy()[tuple(voxels.T)] - expected)
    assert np.median(difference) < 0.5
    assert np.percentile(difference, 99) < 20


def test_a_head_that_does_not_move_stays() -> None:
    assert np.allclose(placed(np.eye(3), np.zeros(3)), np.eye(4))
