"""A head, seen by a camera: ray casting straight from a volume, without mesh or graphics card.

Rays march through a `Surface` until its occupancy passes `level`; bisection finds the skin,
differences its normal, and lamps fixed to the camera shade it. Pure: the same surface and camera
give the same picture, on one thread bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from scipy import ndimage
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_STEP_MM = 3.0
_ROUNDING = 1e-4
_BISECTIONS = 6
_DEPTH_MM = 240.0
_DISTANCE_MM = 800.0
_NORMAL_MM = 1.2
_GAMMA = 1.1
_SHININESS = 15


BLOCK_MM = 8


class Surface(Protocol):
    """Anything with a skin. Points are (n, 3) float32 in the surface's own mm."""

    @property
    def level(self) -> float:
        """Occupancy at the skin."""

    @property
    def extent_mm(self) -> Tensor:
        """Far corner of the box that holds the head, (3,); the near one is the origin."""

    def occupancy(self, points: Tensor) -> Tensor:
        """(n,): above `level` inside the head."""

    def empty_mm(self, points: Tensor) -> Tensor:
        """(n,): a distance within which certainly nothing is, 0 where unknown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridSurface:
    """The skin of a volume on a 1 mm grid.

    Attributes
    ----------
    voxels : Tensor
        (x, y, z), brightness.
    level : float
        At the skin.
    clear : Tensor or None
        (x, y, z) of blocks of `BLOCK_MM`: mm around each in which nothing is brighter than the
        level, in whole steps of a ray; None where that is not known. Saves samples, changes none.
    """

    voxels: Tensor
    level: float
    clear: Tensor | None = None

    @classmethod
    def of(cls, voxels: Tensor, level: float) -> GridSurface:
        """Look for what is clear of the head."""
        return cls(voxels=voxels, level=level, clear=_clear(voxels, level))

    @property
    def extent_mm(self) -> Tensor:
        """Far corner of the grid."""
        return torch.tensor(self.voxels.shape, dtype=torch.float32) - 1

    def occupancy(self, points: Tensor) -> Tensor:
        """Trilinear; 0 outside the grid."""
        return sample(self.voxels, points)

    def empty_mm(self, points: Tensor) -> Tensor:
        """Look up the block of a point; of one outside the grid, the nearest block."""
        if self.clear is None:
            return torch.zeros(len(points))
        block = (points / BLOCK_MM).long()
        last = torch.tensor(self.clear.shape) - 1
        x, y, z = torch.minimum(block.clamp_(min=0), last).unbind(1)
        return self.clear[x, y, z]


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Where a head is looked at from.

    Attributes
    ----------
    target_mm : tuple of float
        The point in the middle of the picture, in the surface's mm.
    turn : ndarray
        (3, 3) rotation from the surface's axes to the camera's: x to the right of the picture, y
        towards the camera, z up. The identity looks a head in the face whose x runs to its left; of
        a RAS+ head the picture is a mirror image, and whoever took it turns it back.
    width_mm : float
        Of the picture, at the target.
    size_px : int
        Width and height of the picture.
    """

    target_mm: tuple[float, float, float]
    turn: NDArray[np.float64]
    width_mm: float = 260.0
    size_px: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """A distant light, fixed to the camera; `towards` points from the head to it in camera axes."""

    towards: tuple[float, float, float]
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Light and background of a picture."""

    lamps: tuple[Lamp, ...]
    ambient: float = 0.2
    background: float = 0.35
    gloss: float = 0.08


def turned(*, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> NDArray[np.float64]:
    """Rotation, (3, 3): first yaw (about z), then pitch (about x), then roll (about y); degrees."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    about_z = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]])
    rotation: NDArray[np.float64] = about_y @ about_x @ about_z
    return rotation


def sample(grid: Tensor, points: Tensor, *, spacing_mm: float = 1.0) -> Tensor:
    """Trilinear values of a grid at points in mm.

    Parameters
    ----------
    grid : Tensor
        (x, y, z) or (channels, x, y, z); grid point (0, 0, 0) lies at 0 mm.
    points : Tensor
        (n, 3).

    Returns
    -------
    Tensor
        (n,) or (channels, n); 0 outside the grid.
    """
    channels = grid if grid.ndim == 4 else grid[None]  # noqa: PLR2004  # channels and three axes
    far = (torch.tensor(channels.shape[1:], dtype=torch.float32) - 1) * spacing_mm
    where = (points / far * 2 - 1).flip(-1).view(1, 1, 1, -1, 3)
    values = F.grid_sample(channels[None], where, padding_mode="zeros", align_corners=True)
    return values.view(len(channels), -1) if grid is channels else values.view(-1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What a camera sees of a head, before it is lit.

    Attributes
    ----------
    hit : Tensor
        (n,): pixels whose ray meets the head.
    points, normals : Tensor
        (n, 3): where, in the surface's mm; outward, in camera axes.
    size_px : int
        Width and height of the picture.

    Privacy
    -------
    Of a scan, the shape of a person's face: never leaves the process (docs/privacy.md, "What stays
    at the site").
    """

    hit: Tensor
    points: Tensor
    normals: Tensor
    size_px: int


@torch.no_grad()
def look_at(surface: Surface, camera: Camera) -> Seen:
    """Cast the rays of one camera: the dear part of a picture, the same for every light."""
    from_camera = torch.as_tensor(camera.turn.T.copy(), dtype=torch.float32)
    hit, points = _skin_points(surface, camera, from_camera)
    return Seen(
        hit=hit,
        points=points,
        normals=_normals(surface, points) @ from_camera,
        size_px=camera.size_px,
    )


@torch.no_grad()
def shade(seen: Seen, look: Look, albedo: Callable[[Tensor], Tensor]) -> NDArray[np.uint8]:
    """Light what a camera sees.

    Parameters
    ----------
    seen : Seen
        Of one camera.
    look : Look
        Light and background.
    albedo : callable
        From (n, 3) points on the skin, in the surface's mm, to (n, 3) colours in [0, 1].

    Returns
    -------
    ndarray of uint8
        (size_px, size_px, 3), RGB.

    Privacy
    -------
    Of a scan, a picture of a person's face: never leaves the site; `review` alone writes it
    (docs/privacy.md, "What stays at the site").
    """
    light = torch.full((len(seen.points),), look.ambient)
    gloss = torch.zeros(len(seen.points))
    for lamp in look.lamps:
        towards = torch.tensor(lamp.towards)
        towards = towards / towards.norm()
        half = towards + torch.tensor([0.0, 1.0, 0.0])
        half = half / half.norm()
        reflected = lamp.strength * (seen.normals @ towards).clamp(min=0)
        light = light + (1 - look.ambient / 2) * reflected
        shine = (seen.normals @ half).clamp(min=0) ** _SHININESS
        gloss = gloss + look.gloss * lamp.strength * shine
    picture = torch.full((seen.size_px**2, 3), look.background)
    picture[seen.hit] = albedo(seen.points) * light[:, None] + gloss[:, None]
    picture = picture.clamp(0, 1) ** (1 / _GAMMA)
    return (picture.view(seen.size_px, seen.size_px, 3) * 255).to(torch.uint8).numpy()


def render(
    surface: Surface,
    camera: Camera,
    look: Look,
    albedo: Callable[[Tensor], Tensor],
) -> NDArray[np.uint8]:
    """Picture of a head, (size_px, size_px, 3) RGB: `look_at`, then `shade`."""
    return shade(look_at(surface, camera), look, albedo)


def _skin_points(surface: Surface, camera: Camera, from_camera: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels whose ray meets the head, (n,), and where, (n, 3) mm."""
    origin, direction = _rays(camera, from_camera)
    near = -origin / direction
    far = (surface.extent_mm - origin) / direction
    enters = torch.minimum(near, far).amax(1).clamp(min=_DISTANCE_MM - _DEPTH_MM / 2)
    leaves = torch.maximum(near, far).amin(1).clamp(max=_DISTANCE_MM + _DEPTH_MM / 2)

    ray = torch.nonzero(enters < leaves)[:, 0]
    along = enters[ray]
    reached = torch.full((len(direction),), torch.nan)
    while len(ray):
        points = origin + direction[ray] * along[:, None]
        empty = surface.empty_mm(points)
        near_head = torch.nonzero(empty <= 0)[:, 0]
        inside = near_head[surface.occupancy(points[near_head]) > surface.level]
        reached[ray[inside]] = along[inside]
        along = along + empty.clamp(min=_STEP_MM)
        going = along < leaves[ray]
        going[inside] = False
        ray, along = ray[going], along[going]

    hit = torch.nonzero(~reached.isnan())[:, 0]
    behind = reached[hit]
    before = behind - _STEP_MM
    for _ in range(_BISECTIONS):
        middle = (before + behind) / 2
        inside = surface.occupancy(origin + direction[hit] * middle[:, None]) > surface.level
        behind = torch.where(inside, middle, behind)
        before = torch.where(inside, before, middle)
    return hit, origin + direction[hit] * behind[:, None]


def _rays(camera: Camera, from_camera: Tensor) -> tuple[Tensor, Tensor]:
    """Eye point (3,) and unit directions (size_px^2, 3), in the surface's axes."""
    across = ((torch.arange(camera.size_px) + 0.5) / camera.size_px - 0.5) * camera.width_mm
    x, z = torch.meshgrid(across, -across, indexing="xy")
    eye = torch.tensor([0.0, _DISTANCE_MM, 0.0])
    direction = torch.stack([x, torch.zeros_like(x), z], -1).view(-1, 3) - eye
    direction = direction / direction.norm(dim=1, keepdim=True)
    target = torch.tensor(camera.target_mm, dtype=torch.float32)
    return from_camera @ eye + target, direction @ from_camera.T


def _normals(surface: Surface, points: Tensor) -> Tensor:
    """Take unit outward normals, (n, 3), by central differences."""
    offsets = torch.eye(3) * _NORMAL_MM
    slope = [surface.occupancy(points - e) - surface.occupancy(points + e) for e in offsets]
    normals = torch.stack(slope, 1)
    unit: Tensor = normals / (normals.norm(dim=1, keepdim=True) + 1e-9)
    return unit


def _clear(voxels: Tensor, level: float) -> Tensor | None:
    """Whole steps, in mm, that a ray may take from anywhere in a block without meeting the level.

    None for a level below the 0 that lies around a grid.
    """
    if level <= 0:
        return None
    # a mean of eight voxels may be rounded to a little more than the brightest
    brightest = F.max_pool3d(voxels[None, None], BLOCK_MM, ceil_mode=True)[0, 0]
    dark = brightest <= level * (1 - _ROUNDING)
    if dark.all():
        return None
    centres = torch.from_numpy(ndimage.distance_transform_edt(dark.numpy())).float() * BLOCK_MM
    # between a point of one block and a weight of a voxel of another: half a diagonal each, and 1
    free = (centres - math.sqrt(3) * BLOCK_MM - 2).clamp(min=0)
    return torch.floor(free / _STEP_MM) * _STEP_MM
