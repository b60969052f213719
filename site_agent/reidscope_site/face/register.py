"""The average head laid onto a scan: similarity, then affine, by normalised correlation.

Starts at the centre of mass, unturned; a start that ends badly is tried again from eight turned
ones. Everything is a function of the one scan and the shipped template.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from scipy import ndimage
from torch import Tensor

from reidscope_site.face.template import NECK_MM, template
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.volume import Volume

GOOD_NCC = 0.9
"""Below it the turned starts are tried too."""

_COARSE_MM, _FINE_MM = 8, 4
_ITERATIONS = {_COARSE_MM: 30, _FINE_MM: 25}
_RATE = {_COARSE_MM: 0.8, _FINE_MM: 0.4}
_THINNING = {_COARSE_MM: 1, _FINE_MM: 3}
_REAL_FROM_MM = NECK_MM + 12
"""The template's synthetic neck below it is not compared."""

_TURN = math.radians(14)
_UNITS = torch.tensor([0.05] * 3 + [4.0] * 3 + [0.03] * 3)
"""One step of the optimiser: radians, mm, logarithm of scale."""
_TEMPLATE_TISSUE = 80.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registration(Unsendable):
    """Where the average head lies in a scan.

    Attributes
    ----------
    to_template : ndarray of float64
        (4, 4): indices of the scan's 1 mm grid to template mm.
    ncc : float
        Normalised correlation of the two heads, at most 1.

    Privacy
    -------
    The pose and size of one person's head: stays at the site.
    """

    to_template: NDArray[np.float64]
    ncc: float

    @property
    def turn(self) -> NDArray[np.float64]:
        """Rotation, (3, 3), from the scan's axes to the template's, without size and shear."""
        left, _, right = np.linalg.svd(self.to_template[:3, :3])
        rotation: NDArray[np.float64] = left @ right
        return rotation

    def in_scan(self, point_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Say where a template point lies, as indices of the scan's grid."""
        x, y, z = (np.linalg.inv(self.to_template) @ np.array([*point_mm, 1.0]))[:3]
        return float(x), float(y), float(z)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lattice:
    """Template points that are compared: values (n,) and places (n, 3) mm."""

    values: Tensor
    places: Tensor


def register(volume: Volume) -> Registration:
    """Lay the average head onto a scan.

    Parameters
    ----------
    volume : Volume
        1 mm along the scanner's axes (`isotropic`).

    Returns
    -------
    Registration
        Always one; whether to believe it is for the caller to read off `ncc`.
    """
    scan = torch.from_numpy(volume.voxels)
    middle = _centre_of_mass(volume.voxels)
    best = _descend(scan, middle, torch.zeros(1, 3))
    if best.ncc >= GOOD_NCC:
        return best
    turns = [[x, 0.0, z] for x in (-_TURN, 0.0, _TURN) for z in (-_TURN, 0.0, _TURN) if x or z]
    again = _descend(scan, middle, torch.tensor(turns))
    return max(best, again, key=lambda one: one.ncc)


def _descend(scan: Tensor, middle: Tensor, turns: Tensor) -> Registration:
    """Optimise from each turn, (starts, 3) rotation vectors, and return the best end."""
    parameters = torch.cat([turns, torch.zeros(len(turns), 6)], 1)
    affine, shift, score = torch.empty(0), torch.empty(0), torch.empty(0)
    for spacing in (_COARSE_MM, _FINE_MM):
        coarse = _contrast(_reduced(scan, spacing))
        parameters, affine, shift, score = _level(
            coarse, _template_lattice(spacing), middle, parameters, spacing=spacing
        )
        if spacing == _COARSE_MM:
            parameters = parameters[score.argsort(descending=True)[:2]]
    best = int(score.argmax())
    to_template = np.eye(4)
    inverse = np.linalg.inv(affine[best].double().numpy())
    to_template[:3, :3] = inverse
    origin = _template_middle().double().numpy()
    to_template[:3, 3] = origin - inverse @ (middle + shift[best]).double().numpy()
    return Registration(to_template=to_template, ncc=float(score[best]))


def _level(
    scan: Tensor, lattice: _Lattice, middle: Tensor, start: Tensor, *, spacing: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Descend at one resolution: one scale when coarse, three and a free affine part when fine."""
    iterations, similarity_only = _ITERATIONS[spacing], spacing == _COARSE_MM
    change = torch.zeros_like(start, requires_grad=True)
    free = torch.zeros(len(start), 3, 3, requires_grad=True)
    steps = torch.optim.Adam([change], lr=_RATE[spacing])
    free_steps = torch.optim.Adam([free], lr=0.01)
    offsets = lattice.places - _template_middle()
    parameters, affine, score = start, torch.empty(0), torch.empty(0)
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
        places = middle + parameters[:, None, 3:6] + offsets @ affine.transpose(1, 2)
        score = _correlation(scan, lattice.values, places, spacing)
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
    return reached, affine.detach(), reached[:, 3:6], score.detach()


def _correlation(scan: Tensor, values: Tensor, places: Tensor, spacing: int) -> Tensor:
    """Correlate template values (n,) with the scan at places (starts, n, 3): (starts,)."""
    shape = torch.tensor(scan.shape, dtype=torch.float32)
    # avg_pool3d puts the centre of its first cell half a cell in
    where = ((places + 0.5) / spacing * 2 / shape - 1).flip(-1)
    found = F.grid_sample(
        scan.expand(len(places), 1, *scan.shape),
        where[:, None, None],
        padding_mode="zeros",
        align_corners=False,
    )[:, 0, 0, 0]
    a = values - values.mean()
    b = found - found.mean(1, keepdim=True)
    spread = torch.sqrt((a * a).mean() * (b * b).mean(1) + 1e-9)
    correlation: Tensor = (a * b).mean(1) / spread
    return correlation


def _rotations(vectors: Tensor) -> Tensor:
    """Rotation vectors, (n, 3), to matrices, (n, 3, 3)."""
    x, y, z = vectors.unbind(1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, 1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    rotations: Tensor = torch.linalg.matrix_exp(torch.stack(rows, 1))
    return rotations


def _reduced(voxels: Tensor, spacing: int) -> Tensor:
    reduced: Tensor = F.avg_pool3d(voxels[None, None], spacing)[0, 0]
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
def _template_lattice(spacing: int) -> _Lattice:
    """Reduce the template to the points that are compared. Cached: public."""
    reduced = _contrast(_reduced(template().head, spacing))
    axes = [torch.arange(n) * spacing + (spacing - 1) / 2 for n in reduced.shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    kept = torch.nonzero(places[:, 2] > _REAL_FROM_MM)[:, 0][:: _THINNING[spacing]]
    return _Lattice(values=reduced.reshape(-1)[kept], places=places[kept])


@cache
def _template_middle() -> Tensor:
    """Centre of mass of the average head, (3,), template mm. Cached: public."""
    thin = template().head.numpy()[::3, ::3, ::3]
    return torch.tensor(
        np.array(ndimage.center_of_mass(thin > _TEMPLATE_TISSUE)) * 3, dtype=torch.float32
    )
