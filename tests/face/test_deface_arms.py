"""The arms that replace, strip and coarsen, and how an arm is found by its name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reidscope_protocols.errors import UnsupportedError
from reidscope_site.face.arms import ARMS, resolve
from reidscope_site.face.average import air_of, average_drawn
from reidscope_site.face.intent import Intent
from reidscope_site.face.regions import face, guarded_brain, in_scan
from reidscope_site.face.register import Registration, register
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import SKIN, Template
from reidscope_site.face.volume import Volume
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

THERE = Registration(to_template=np.eye(4), ncc=1.0)


@pytest.fixture(scope="module")
def average(head: Template) -> Volume:
    torch.set_num_threads(1)
    return Volume(voxels=head.head.numpy(), spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))


def test_every_arm_says_what_it_does_to_the_skin() -> None:
    intents = {name: arm.intent for name, arm in ARMS.items()}
    assert intents == {
        "unmodified": Intent.KEPT,
        "blur": Intent.KEPT,
        "coarsen-3mm": Intent.KEPT,
        "coarsen-5mm-slices": Intent.KEPT,
        "facemask": Intent.REMOVED,
        "quickshear": Intent.REMOVED,
        "reface": Intent.AVERAGED,
        "skullstrip": Intent.REMOVED,
    }


def test_an_arm_is_found_by_its_name_and_another_is_refused() -> None:
    assert resolve("reface") is ARMS["reface"]
    with pytest.raises(UnsupportedError, match="skullstrip, or external-<name>"):
        resolve("gold")


@pytest.mark.slow
def test_refacing_the_average_head_hardly_changes_it(average: Volume) -> None:
    refaced = ARMS["reface"].apply(average, THERE).voxels
    region = in_scan(face(), THERE, average.voxels.shape)
    assert np.abs(refaced - average.voxels)[region].mean() < 0.03 * average.voxels.max()
    assert np.array_equal(refaced[~region], average.voxels[~region])
    brain = in_scan(guarded_brain(), THERE, average.voxels.shape)
    assert np.array_equal(refaced[brain], average.voxels[brain])


@pytest.mark.slow
def test_a_new_face_takes_the_brightness_of_the_scan_whatever_it_is(
    average: Volume, head: Template
) -> None:
    inside = head.surface.numpy() > SKIN
    dimmed = np.where(inside, 900 - average.voxels, 10).astype(np.float32)
    volume = Volume(voxels=dimmed, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))
    region = in_scan(face(), THERE, dimmed.shape)
    drawn = average_drawn(volume, THERE, weight=region.astype(np.float32), known=inside)
    assert air_of(dimmed) == 10
    deep = region & (head.surface.numpy() > 0.99)
    assert np.corrcoef(drawn[deep], dimmed[deep])[0, 1] > 0.9
    assert np.median(drawn[region & (head.surface.numpy() < 0.01)]) == 10


def test_skull_stripping_leaves_the_brain_and_nothing_far_from_it(
    average: Volume, head: Template
) -> None:
    stripped = ARMS["skullstrip"].apply(average, THERE).voxels
    brain = head.brain.numpy()
    assert (stripped == average.voxels)[brain].mean() > 0.9999
    kept = in_scan(guarded_brain(), THERE, brain.shape)
    assert not stripped[~kept].any()


@pytest.mark.parametrize(("name", "cell"), [("coarsen-3mm", 27), ("coarsen-5mm-slices", 5)])
def test_a_coarsened_scan_keeps_its_grid_and_mean_and_loses_detail(name: str, cell: int) -> None:
    noise = np.random.default_rng(0).random((31, 32, 34)).astype(np.float32)
    volume = Volume(voxels=noise, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))
    coarse = ARMS[name].apply(volume, THERE).voxels
    assert coarse.shape == noise.shape
    assert coarse.dtype == np.float32
    assert abs(coarse.mean() - noise.mean()) < 0.01
    assert coarse.std() < noise.std() / np.sqrt(cell)
    flat = Volume(
        voxels=np.full((31, 32, 34), 7, np.float32), spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4)
    )
    assert np.allclose(ARMS[name].apply(flat, THERE).voxels, 7)


@pytest.mark.slow
def test_two_people_look_alike_once_they_are_refaced(head: Template) -> None:
    pictures: dict[str, list[np.ndarray]] = {"unmodified": [], "reface": []}
    torch.set_num_threads(1)
    for number in (0, 4):
        volume = scan(PersonSeed(population=Population.SITE, label="tests", number=number), head)
        registration = register(volume)
        for name, seen in pictures.items():
            picture = face_picture(ARMS[name].apply(volume, registration), registration)
            assert picture is not None
            seen.append(picture[90:180, 90:166].astype(float))
    differ = {name: np.abs(one - other).mean() for name, (one, other) in pictures.items()}
    assert differ["reface"] < differ["unmodified"] / 2
