"""The average head laid onto a scan, in any pose and most contrasts, by correlation.

    unturned descent -> good? -> done
                     -> else: 16 mm, all poses -> 8 mm, the best four -> 4 mm, the best two

The first descent compares T1-like intensities and ends most scans. Where it ends badly, head-first,
feet-first and lying poses are searched, 30 degrees apart, and the scan is compared with the best
mix of what the average head is made of (head, brain, T1 brightness in either), so that a T2, a
FLAIR or a CT fits as well; what lies outside the field of view is not compared. Everything is a
function of the one scan and the shipped template. Whether to believe the end is for the gates.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import Tensor

from reidscope_site.face.emission_level import without_peaks
from reidscope_site.face.template import NECK_MM, template
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.volume import Volume

GOOD_NCC = 0.93
"""Below it every pose is tried."""

GOOD_STRETCH = 1.1
"""Stretched further, an average head does not fit a scan but the edge of its field of view."""

_SEARCH_MM, _COARSE_MM, _FINE_MM = 16, 8, 4
_ITERATIONS = {_SEARCH_MM: 24, _COARSE_MM: 30, _FINE_MM: 25}
_RATE = {_SEARCH_MM: 1.0, _COARSE_MM: 0.8, _FINE_MM: 0.4}
_THINNING = {_SEARCH_MM: 1, _COARSE_MM: 1, _FINE_MM: 3}
_KEPT = {_SEARCH_MM: 4, _COARSE_MM: 2}
_SEARCHED = 28
"""Poses that are descended from at 16 mm, the best of all that are looked at."""
_REAL_FROM_MM = NECK_MM + 12
"""The template's synthetic neck below it is not compared."""

_FACELESS_TO_MM, _FACELESS_FROM_MM = 150.0, NECK_MM + 114.0
"""Without the face: what lies behind the one or above the other (behind the eyes, the brow)."""

_TILT = math.radians(30)
_RAISED_MM = 45.0
"""Shoulders draw the centre of mass so far down."""
_UNITS = torch.tensor([0.05] * 3 + [4.0] * 3 + [0.03] * 3)
"""One step of the optimiser: radians, mm, logarithm of scale."""
_TEMPLATE_TISSUE = 80.0
_LEAST_SEEN = 0.6
"""Share of the head in the field of view; with less a fit counts for less."""
_RIDGE = 1e-4
_STRETCH_COST = 1.0
_SIZE_COST, _FREE_SIZE = 1.0, 0.12
"""Natural logarithms of size, of one direction against another and of all: what heads do not do."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registration(Unsendable):
    """Where the average head lies in a scan.

    Attributes
    ----------
    to_template : ndarray of float64
        (4, 4): indices of the scan's 1 mm grid to template mm.
    ncc : float
        Correlation of the two heads, at most 1: with the average head's intensities or, where all
        poses were tried, with the best mix of its tissues.

    Privacy
    -------
    The pose and size of one person's head: stays at the site (docs/privacy.md, "What stays at the
    site").
    """

    to_template: NDArray[np.float64]
    ncc: float

    @property
    def turn(self) -> NDArray[np.float64]:
        """Rotation, (3, 3), from the scan's axes to the template's, without size and shear."""
        left, _, right = np.linalg.svd(self.to_template[:3, :3])
        rotation: NDArray[np.float64] = left @ right
        return rotation

    @property
    def stretch(self) -> float:
        """Largest size over smallest; 1 for a head of the average's proportions."""
        largest, _, smallest = self.sizes
        return largest / smallest

    @property
    def sizes(self) -> tuple[float, float, float]:
        """Size of the head along its three main directions, largest first; the average has 1."""
        largest, middle, smallest = np.linalg.svd(
            np.linalg.inv(self.to_template[:3, :3]), compute_uv=False
        )
        return float(largest), float(middle), float(smallest)

    def in_scan(self, point_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Say where a template point lies, as indices of the scan's grid."""
        x, y, z = (np.linalg.inv(self.to_template) @ np.array([*point_mm, 1.0]))[:3]
        return float(x), float(y), float(z)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lattice:
    """Points that are compared: values (n,), places (n, 3) mm, tissues (n, k), head (n,)."""

    values: Tensor
    places: Tensor
    tissues: Tensor
    head: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scan:
    """What is compared: voxels, their centre of mass (3,), and whether the face counts."""

    voxels: Tensor
    middle: Tensor
    face: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ends:
    """Where descents ended: parameters (starts, 9), affine (starts, 3, 3), ncc and score (starts,).

    The score is the correlation less what the shape of the head costs.
    """

    parameters: Tensor
    affine: Tensor
    ncc: Tensor
    score: Tensor

    def best(self, count: int) -> Tensor:
        return self.parameters[self.score.argsort(descending=True)[:count]]


def register(volume: Volume, *, face: bool = True) -> Registration:
    """Lay the average head onto a scan.

    Parameters
    ----------
    volume : Volume
        1 mm along the scanner's axes (`isotropic`).
    face : bool
        False compares all but the face: for a scan from which it may have been cut.

    Returns
    -------
    Registration
        Always one; whether to believe it is for the gates to say.
    """
    # A PET's brain outshines its outline, which is what tells how the head lies.
    voxels = without_peaks(volume.voxels) if volume.emission else volume.voxels
    scan = _Scan(voxels=torch.from_numpy(voxels), middle=_centre_of_mass(voxels), face=face)
    ends = _descended(scan, torch.zeros(1, 9), spacing=_COARSE_MM, mixed=False)
    ends = _descended(scan, ends.parameters, spacing=_FINE_MM, mixed=False)
    first = _registration(ends, scan.middle)
    if first.ncc >= GOOD_NCC and first.stretch <= GOOD_STRETCH:
        return first
    found = torch.cat([_searched(scan), ends.parameters])
    ends = _descended(scan, found, spacing=_COARSE_MM, mixed=True)
    ends = _descended(scan, ends.best(_KEPT[_COARSE_MM]), spacing=_FINE_MM, mixed=True)
    return _registration(ends, scan.middle)


def _registration(ends: _Ends, middle: Tensor) -> Registration:
    best = int(ends.score.argmax())
    to_template = np.eye(4)
    inverse = np.linalg.inv(ends.affine[best].double().numpy())
    to_template[:3, :3] = inverse
    origin = _template_middle().double().numpy()
    shift = ends.parameters[best, 3:6]
    to_template[:3, 3] = origin - inverse @ (middle + shift).double().numpy()
    return Registration(to_template=to_template, ncc=float(ends.ncc[best]))


def _searched(scan: _Scan) -> Tensor:
    """Look at every pose at 16 mm and descend from the best; those that end best, (4, 9)."""
    turns = _poses()
    up = _rotations(turns) @ torch.tensor([0.0, 0.0, _RAISED_MM])
    starts = torch.cat(
        [
            torch.cat([turns, shift, torch.zeros(len(turns), 3)], 1)
            for shift in (torch.zeros_like(up), up)
        ]
    )
    coarse = _contrast(_reduced(scan.voxels, _SEARCH_MM))
    lattice = _template_lattice(_SEARCH_MM, face=scan.face)
    with torch.no_grad():
        places = _places(starts, _rotations(starts[:, :3]), lattice, scan.middle)
        score = _mixed_correlation(coarse, lattice, places, _SEARCH_MM)
    chosen = starts[score.argsort(descending=True)[:_SEARCHED]]
    ends = _descended(scan, chosen, spacing=_SEARCH_MM, mixed=True)
    return ends.best(_KEPT[_SEARCH_MM])


@cache
def _poses() -> Tensor:
    """Every way in which a head may lie, (n, 3) rotation vectors: 24 upright ones, and tilted."""
    tilts = [np.eye(3)]
    for axis, sign in itertools.product(np.eye(3), (-1, 1)):
        tilts.append(Rotation.from_rotvec(axis * sign * _TILT).as_matrix())
    upright = Rotation.create_group("O").as_matrix()
    poses = [Rotation.from_matrix(a @ b).as_rotvec() for a in upright for b in tilts]
    return torch.tensor(np.array(poses), dtype=torch.float32)


def _descended(scan: _Scan, start: Tensor, *, spacing: int, mixed: bool) -> _Ends:
    """Descend at one resolution: one scale when coarse, three and a free affine part when fine."""
    reduced = _contrast(_reduced(scan.voxels, spacing))
    lattice = _template_lattice(spacing, face=scan.face)
    iterations, similarity_only = _ITERATIONS[spacing], spacing != _FINE_MM
    correlation = _mixed_correlation if mixed else _correlation
    change = torch.zeros_like(start, requires_grad=True)
    free = torch.zeros(len(start), 3, 3, requires_grad=True)
    steps = torch.optim.Adam([change], lr=_RATE[spacing])
    free_steps = torch.optim.Adam([free], lr=0.01)
    parameters, affine = start, torch.empty(0)
    ncc, score = torch.empty(0), torch.empty(0)
    for iteration in range(iterations):
        if iteration == int(0.7 * iterations):
            for group in steps.param_groups:
                group["lr"] *= 0.3
        freed = not similarity_only and iteration > iterations // 3
        parameters = start + change * _UNITS
        scales = parameters[:, 6:]
        if similarity_only:
            scales = scales.mean(1, keepdim=True).expand(-1, 3)
        affine = _rotations(parameters[:, :3]) * torch.exp(scales)[:, None]
        if freed:
            affine = affine @ (torch.eye(3) + free)
        places = _places(parameters, affine, lattice, scan.middle)
        ncc = correlation(reduced, lattice, places, spacing)
        score = ncc - _cost(scales, free) if mixed else ncc
        steps.zero_grad()
        free_steps.zero_grad()
        loss = (1 - score).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        steps.step()
        if freed:
            free_steps.step()
    reached = parameters.detach()
    if similarity_only:
        reached[:, 6:] = reached[:, 6:].mean(1, keepdim=True)
    return _Ends(parameters=reached, affine=affine.detach(), ncc=ncc.detach(), score=score.detach())


def _cost(scales: Tensor, free: Tensor) -> Tensor:
    """Take from the correlation what no head does, (starts,): scales (starts, 3) are logarithms."""
    size = scales.mean(1, keepdim=True)
    stretch = ((scales - size) ** 2).sum(1) + (free**2).sum((1, 2))
    return _STRETCH_COST * stretch + _SIZE_COST * (size[:, 0].abs() - _FREE_SIZE).clamp(min=0)


def _places(parameters: Tensor, affine: Tensor, lattice: _Lattice, middle: Tensor) -> Tensor:
    """Grid indices of the lattice's points in the scan, (starts, n, 3)."""
    offsets = lattice.places - _template_middle()
    return middle + parameters[:, None, 3:6] + offsets @ affine.transpose(1, 2)


def _correlation(scan: Tensor, lattice: _Lattice, places: Tensor, spacing: int) -> Tensor:
    """Correlate template intensities with the scan at places (starts, n, 3): (starts,)."""
    found = _sampled(scan, places, spacing)
    a = lattice.values - lattice.values.mean()
    b = found - found.mean(1, keepdim=True)
    spread = torch.sqrt((a * a).mean() * (b * b).mean(1) + 1e-9)
    correlation: Tensor = (a * b).mean(1) / spread
    return correlation


def _mixed_correlation(scan: Tensor, lattice: _Lattice, places: Tensor, spacing: int) -> Tensor:
    """Correlate the best mix of the template's tissues with the scan, in its field of view.

    Lessened where little of the head is in the field of view, and 0 where the head would be
    darker than the air around it.
    """
    found = _sampled(scan, places, spacing)
    far = torch.tensor(scan.shape, dtype=torch.float32) * spacing - 1
    seen = ((places >= 0) & (places <= far)).all(2).float()
    count = seen.sum(1) + 1e-6
    tissues, size = lattice.tissues, lattice.tissues.shape[1]
    pairs = (tissues[:, :, None] * tissues[:, None]).reshape(len(tissues), -1)
    products = (seen @ pairs).reshape(-1, size, size) + _RIDGE * count[:, None, None] * torch.eye(
        size
    )
    weighted = seen * found
    shared = weighted @ tissues
    squared_mean = weighted.sum(1) ** 2 / count
    explained = (shared * torch.linalg.solve(products, shared)).sum(1) - squared_mean
    spread = (weighted * found).sum(1) - squared_mean
    correlation = torch.sqrt((explained / (spread + 1e-6)).clamp(min=1e-6, max=1))
    inside, outside = seen * lattice.head, seen * (1 - lattice.head)
    brighter = (inside * found).sum(1) / (inside.sum(1) + 1e-6) > (outside * found).sum(1) / (
        outside.sum(1) + 1e-6
    )
    share = inside.sum(1) / lattice.head.sum()
    lessened: Tensor = correlation * (share / _LEAST_SEEN).clamp(max=1) * brighter
    return lessened


def _sampled(scan: Tensor, places: Tensor, spacing: int) -> Tensor:
    """Values of a reduced scan at grid indices of the whole one, (starts, n); 0 outside."""
    shape = torch.tensor(scan.shape, dtype=torch.float32)
    # avg_pool3d puts the centre of its first cell half a cell in
    where = ((places + 0.5) / spacing * 2 / shape - 1).flip(-1)
    return F.grid_sample(
        scan.expand(len(places), 1, *scan.shape),
        where[:, None, None],
        padding_mode="zeros",
        align_corners=False,
    )[:, 0, 0, 0]


def _rotations(vectors: Tensor) -> Tensor:
    """Rotation vectors, (n, 3), to matrices, (n, 3, 3)."""
    x, y, z = vectors.unbind(1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, 1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    rotations: Tensor = torch.linalg.matrix_exp(torch.stack(rows, 1))
    return rotations


def _reduced(voxels: Tensor, spacing: int) -> Tensor:
    """Means over cells; a grid thinner than a cell is filled up with air first."""
    missing = [max(0, spacing - n) for n in reversed(voxels.shape)]
    filled = F.pad(voxels, [part for n in missing for part in (0, n)])
    reduced: Tensor = F.avg_pool3d(filled[None, None], spacing)[0, 0]
    return reduced


def _contrast(voxels: Tensor) -> Tensor:
    """Intensities clipped at quantiles and compressed, so that scanners look alike."""
    low, high = torch.quantile(voxels.flatten()[::7], torch.tensor([0.02, 0.995]))
    compressed: Tensor = ((voxels - low) / (high - low + 1e-6)).clamp(0, 1) ** 0.6
    return compressed


def _centre_of_mass(voxels: NDArray[np.float32]) -> Tensor:
    """Of what is brighter than air, (3,), grid indices."""
    thin = voxels[::3, ::3, ::3]
    tissue = thin > max(np.percentile(thin, 60), 0.25 * np.percentile(thin, 98))
    if not tissue.any():
        return (torch.tensor(voxels.shape, dtype=torch.float32) - 1) / 2
    return torch.tensor(ndimage.center_of_mass(tissue), dtype=torch.float32) * 3


@cache
def _template_lattice(spacing: int, *, face: bool) -> _Lattice:
    """Reduce the template to the points that are compared. Cached: public."""
    head = template()
    reduced = _contrast(_reduced(head.head, spacing))
    surface, brain = (_reduced(part.float(), spacing) for part in (head.surface, head.brain))
    axes = [torch.arange(n) * spacing + (spacing - 1) / 2 for n in reduced.shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    compared = places[:, 2] > _REAL_FROM_MM
    if not face:
        compared &= (places[:, 1] < _FACELESS_TO_MM) | (places[:, 2] > _FACELESS_FROM_MM)
    kept = torch.nonzero(compared)[:, 0][:: _THINNING[spacing]]
    values, body, brainy = (part.reshape(-1)[kept] for part in (reduced, surface, brain))
    tissues = torch.stack([torch.ones_like(values), body, values, brainy, values * brainy], 1)
    return _Lattice(values=values, places=places[kept], tissues=tissues, head=body)


@cache
def _template_middle() -> Tensor:
    """Centre of mass of the average head, (3,), template mm. Cached: public."""
    thin = template().head.numpy()[::3, ::3, ::3]
    return torch.tensor(
        np.array(ndimage.center_of_mass(thin > _TEMPLATE_TISSUE)) * 3, dtype=torch.float32
    )
