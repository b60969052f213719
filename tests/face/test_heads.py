"""Registration, rendering and defacing of synthetic heads in any pose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reidscope_site.face.arms import ARMS
from reidscope_site.face.raycast import Camera, GridSurface, Lamp, Look, render, turned
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.register import Registration, register
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import FACE_CENTRE_MM, Template, lattice_axes
from reidscope_site.face.volume import Volume
from reidscope_site.synthetic.photo import WarpedHead
from reidscope_site.synthetic.scan import imaged, placed, pose, posed, scan_of
from reidscope_site.synthetic.seeds import PersonSeed, Population
from reidscope_site.synthetic.shape import Bump, Displacement, _push, displacement

SOMEBODY = PersonSeed(population=Population.SITE, label="tests", number=0)
LOOK = Look(lamps=(Lamp(towards=(0.0, 1.0, 0.0), strength=1.0),))


def ball(centre: tuple[float, float, float], radius: float) -> GridSurface:
    axes = [torch.arange(n, dtype=torch.float32) for n in (120, 130, 140)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    distance = (grid - torch.tensor(centre)).norm(dim=-1)
    return GridSurface(voxels=(radius - distance) / 4 + 0.5, level=0.5)


def white(points: torch.Tensor) -> torch.Tensor:
    return torch.full((len(points), 3), 0.5)


def test_a_ball_is_seen_as_a_disc_of_its_size_and_place() -> None:
    camera = Camera(target_mm=(60.0, 65.0, 70.0), turn=np.eye(3), width_mm=128.0, size_px=64)
    picture = render(ball((60.0, 65.0, 70.0), 40.0), camera, LOOK, white)
    background = picture[0, 0, 0]
    disc = picture[..., 0] != background
    assert abs(np.sqrt(disc.sum() / np.pi) * 2 - 40) < 1.5
    beside = render(ball((85.0, 65.0, 70.0), 20.0), camera, LOOK, white)[..., 0] != background
    assert np.argwhere(beside)[:, 1].mean() > 40
    above = render(ball((60.0, 65.0, 95.0), 20.0), camera, LOOK, white)[..., 0] != background
    assert np.argwhere(above)[:, 0].mean() < 24


def test_a_ball_looks_the_same_from_everywhere_and_a_beam_from_in_front_lights_its_middle() -> None:
    middle = (60.0, 65.0, 70.0)
    pictures = [
        render(
            ball(middle, 40.0),
            Camera(target_mm=middle, turn=turned(yaw=yaw, pitch=pitch), size_px=64),
            LOOK,
            white,
        ).astype(int)
        for yaw, pitch in ((0, 0), (40, 0), (0, -25), (-170, 10))
    ]
    # the grid has no directions: only interpolation differs
    assert max(np.abs(one - pictures[0]).mean() for one in pictures) < 2
    assert pictures[0][32, 32, 0] == pictures[0].max()


def test_what_is_to_a_persons_right_is_on_the_left_of_the_picture() -> None:
    voxels = np.zeros((120, 130, 140), np.float32)
    voxels[25:95, 30:100, 35:105] = 100
    voxels[80:110, 60:130, 60:80] = 100  # a horn on the right: x of RAS+ runs there
    volume = Volume(voxels=voxels, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))
    face_at_60_65_70 = np.eye(4)
    face_at_60_65_70[:3, 3] = np.array(FACE_CENTRE_MM) - [60, 65, 70]
    picture = face_picture(volume, Registration(to_template=face_at_60_65_70, ncc=1.0))
    assert picture is not None
    head = np.argwhere(picture[..., 0] != picture[0, 0, 0])
    assert 128 - head[:, 1].min() > head[:, 1].max() - 128 + 8


@pytest.mark.slow
def test_a_scan_and_a_photo_show_a_swollen_cheek_on_the_same_side(head: Template) -> None:
    lattice = torch.zeros(3, *head.freedom.shape)
    _push(lattice, lattice_axes(tuple(head.head.shape)), Bump((20, 150, 60), (-1, 0, 0), 20), 18.0)
    plain = Displacement(lattice=torch.zeros_like(lattice), largest_mm=0.0)
    swollen = Displacement(lattice=lattice, largest_mm=18.0)
    camera = Camera(target_mm=FACE_CENTRE_MM, turn=np.eye(3))
    registration = register(scan_of(plain, SOMEBODY, head))

    def photographed(shape: Displacement) -> np.ndarray | None:
        return render(WarpedHead(template=head, displacement=shape), camera, LOOK, white)

    def scanned_face(shape: Displacement) -> np.ndarray | None:
        return face_picture(scan_of(shape, SOMEBODY, head), registration)

    for seen in (photographed, scanned_face):
        (left, right), (swollen_left, swollen_right) = (sides(seen(s)) for s in (plain, swollen))
        assert swollen_left < left - 5
        assert abs(swollen_right - right) <= 2


def sides(picture: np.ndarray | None) -> tuple[int, int]:
    """Leftmost and rightmost column that the head reaches at the height of the cheeks."""
    assert picture is not None
    columns = np.argwhere(picture[100:170, :, 0] != picture[0, 0, 0])[:, 1]
    return int(columns.min()), int(columns.max())


def test_empty_space_is_background() -> None:
    nothing = GridSurface(voxels=torch.zeros(50, 50, 50), level=0.5)
    camera = Camera(target_mm=(25.0, 25.0, 25.0), turn=np.eye(3), size_px=32)
    assert len(np.unique(render(nothing, camera, LOOK, white))) == 1


def scanned(head: Template, yaw: float, pitch: float, roll: float, shift: float) -> Volume:
    to_head = placed(turned(yaw=yaw, pitch=pitch, roll=roll) * 1.03, np.array([shift, -shift, 5.0]))
    voxels = imaged(posed(head, displacement(SOMEBODY, head), to_head), SOMEBODY)
    return Volume(voxels=voxels, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))


def truth(yaw: float, pitch: float, roll: float, shift: float) -> np.ndarray:
    return placed(turned(yaw=yaw, pitch=pitch, roll=roll) * 1.03, np.array([shift, -shift, 5.0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "pose_of", [(12, 0, 0, 10), (-12, 12, -12, -15), (0, -12, 12, 15), (11, 11, 11, 0)]
)
def test_a_turned_and_shifted_head_is_found_and_faced(
    head: Template, recogniser: Recogniser, pose_of: tuple[float, float, float, float]
) -> None:
    volume = scanned(head, *pose_of)
    registration = register(volume)
    assert registration.ncc > 0.97
    there = registration.to_template @ np.linalg.inv(truth(*pose_of))
    for landmark in ((88.0, 235.0, 101.0), (56.0, 206.0, 130.0), (120.0, 206.0, 130.0)):
        off = there @ np.array([*landmark, 1.0]) - np.array([*landmark, 1.0])
        assert np.linalg.norm(off) < 6
    picture = face_picture(volume, registration)
    assert picture is not None
    assert recogniser.embed(picture).faces >= 1
    assert np.linalg.det(registration.turn) == pytest.approx(1)


@pytest.mark.slow
def test_the_pose_of_a_scan_hardly_changes_the_face(head: Template, recogniser: Recogniser) -> None:
    faces = []
    for pose_of in ((0, 0, 0, 0), (12, -12, 8, 15)):
        volume = scanned(head, *pose_of)
        picture = face_picture(volume, register(volume))
        assert picture is not None
        embedding = recogniser.embed(picture).embedding
        assert embedding is not None
        faces.append(embedding.values / np.linalg.norm(embedding.values))
    assert faces[0] @ faces[1] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blur", "facemask", "quickshear", "reface", "skullstrip"])
def test_a_defacer_changes_the_face_and_not_the_brain(
    head: Template, head_scan: Volume, name: str
) -> None:
    before = head_scan.voxels.copy()
    registration = register(head_scan)
    defaced = ARMS[name].apply(head_scan, registration)
    changed = defaced.voxels != head_scan.voxels
    only_brain = replace(head, head=head.brain.float())
    brain = posed(only_brain, displacement(SOMEBODY, head), pose(SOMEBODY)).numpy()[::-1] > 0.5
    assert (changed & brain).sum() == 0
    x, y, z = (round(place) for place in registration.in_scan(FACE_CENTRE_MM))
    assert changed[x - 20 : x + 20, y : y + 20, z - 30 : z + 10].mean() > 0.5
    assert np.array_equal(head_scan.voxels, before)
    assert defaced.voxels.dtype == np.float32
    assert np.isfinite(defaced.voxels).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ARMS))
def test_a_defacer_that_is_laid_beside_the_head_does_not_break(
    head_scan: Volume, name: str
) -> None:
    for offset in (1000.0, 120.0):
        beside = np.eye(4)
        beside[:3, 3] = offset
        defaced = ARMS[name].apply(head_scan, Registration(to_template=beside, ncc=0.0))
        assert defaced.voxels.shape == head_scan.voxels.shape


def test_the_unmodified_arm_comes_first_and_every_defacer_is_collected() -> None:
    assert list(ARMS) == [
        "unmodified", "blur", "coarsen-3mm", "coarsen-5mm-slices", "facemask", "quickshear",
        "reface", "skullstrip",
    ]  # fmt: skip
    assert all(arm.name == name for name, arm in ARMS.items())
