"""The attacker who repairs sees the defaced scan alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reidscope_site.face.arms import ARMS
from reidscope_site.face.gates import check
from reidscope_site.face.register import Registration, register
from reidscope_site.face.repair import repair
from reidscope_site.face.volume import Volume

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def registration(head_scan: Volume) -> Registration:
    torch.set_num_threads(1)
    return register(head_scan)


@pytest.mark.parametrize("name", ["facemask", "quickshear"])
def test_a_face_that_was_cut_is_filled_from_the_average(
    head_scan: Volume, registration: Registration, name: str
) -> None:
    cut = ARMS[name].apply(head_scan, registration)
    repaired = repair(cut)
    assert repaired is not None
    was, now = (check(head_scan, one, registration) for one in (cut, repaired))
    assert was.averaged < 0.5
    assert now.averaged > was.averaged + 0.3
    kept = cut.voxels > 200
    assert (repaired.voxels >= cut.voxels)[kept].all()


@pytest.mark.parametrize("name", ["unmodified", "reface"])
def test_a_scan_with_a_face_is_left_as_it_is(
    head_scan: Volume, registration: Registration, name: str
) -> None:
    whole = ARMS[name].apply(head_scan, registration)
    repaired = repair(whole)
    assert repaired is not None
    assert (repaired.voxels != whole.voxels).mean() < 0.002


def test_clean_air_is_not_taken_for_a_cut(head_scan: Volume, registration: Registration) -> None:
    clean = replace(head_scan, voxels=np.where(head_scan.voxels > 60, head_scan.voxels, 0))
    repaired = repair(clean)
    assert repaired is not None
    assert (repaired.voxels != clean.voxels).mean() < 0.002
    cut = repair(ARMS["facemask"].apply(clean, registration))
    assert cut is not None
    assert check(clean, cut, registration).averaged > 0.8


def test_where_there_is_no_head_the_attacker_gives_up() -> None:
    noise = np.random.default_rng(0).normal(size=(120, 130, 140)).astype(np.float32)
    nothing = Volume(voxels=noise, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))
    assert repair(nothing) is None
    assert repair(replace(nothing, voxels=np.zeros_like(noise))) is None
