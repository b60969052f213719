"""A synthetic person's PET: what a head emits, blurred and counted as a tomograph would.

    average head -> activity (brain 1, skin a share) -> warped, posed -> blur -> counts -> filter

A simulation, and a simple one: activity is that of an FDG-like tracer, the blur is one Gaussian,
noise is that of counts, filtered after it. No scatter, no attenuation left over, no motion. It
shows that the machinery works on images of this kind, not how exposed anybody's PET is
(docs/face-experiment.md, "PET").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from reidscope_site.face.template import Template, template
from reidscope_site.face.volume import Volume, resampled
from reidscope_site.synthetic.scan import ORIGIN_MM, pose, posed
from reidscope_site.synthetic.seeds import PersonSeed
from reidscope_site.synthetic.shape import displacement

BRAIN_BQML = 20_000.0
"""Activity of the brain; an hour after 200 MBq of FDG it is of this order."""

_SOFT_TISSUE = 400.0
"""T1-like intensity of the average head's fat and muscle: what is darker emits less."""
_GREY = 0.55
"""Activity of white matter against the cortex's."""
_FWHM = 2 * np.sqrt(2 * np.log(2))
_SPREAD = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tomograph:
    """How a head is imaged; ranges are drawn from, person by person and visit by visit.

    Attributes
    ----------
    spacing_mm : tuple of 3 floats
        Voxels along x, y, z.
    skin : tuple of 2 floats
        Activity of skin and muscle against the brain's.
    fwhm_mm : tuple of 2 floats
        Resolution of the image, filter included.
    counts : tuple of 2 floats
        In a brain voxel of 8 mm3, before the filter.
    """

    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    skin: tuple[float, float] = (0.05, 0.20)
    fwhm_mm: tuple[float, float] = (5.0, 7.0)
    counts: tuple[float, float] = (60.0, 240.0)


BRAIN_TOMOGRAPH = Tomograph()
"""Of a brain study."""

BODY_TOMOGRAPH = Tomograph(spacing_mm=(4.07, 4.07, 3.0), fwhm_mm=(6.0, 8.0), counts=(15.0, 60.0))
"""The voxels of a whole-body study."""


def emission(
    seed: PersonSeed, head: Template, *, visit: int = 0, tomograph: Tomograph = BRAIN_TOMOGRAPH
) -> Volume:
    """Image a synthetic person by their tracer: Bq/ml, RAS+, not below 0.

    Parameters
    ----------
    seed : PersonSeed
        Who: the same head as in `scan.scan`.
    head : Template
        The average head.
    visit : int
        Which scan: each has a pose, an uptake and counts of its own.
    tomograph : Tomograph
        How it is imaged.
    """
    draw = seed.stream(f"emission {visit}" if visit else "emission")
    share = float(draw.uniform(*tomograph.skin))
    fwhm = float(draw.uniform(*tomograph.fwhm_mm))
    counts = float(draw.uniform(*tomograph.counts)) * float(np.prod(tomograph.spacing_mm)) / 8
    inside, outside = _activity()
    source = replace(head, head=inside + share * outside)
    shaped = posed(source, displacement(seed, head), pose(seed, visit=visit)).numpy()[::-1]
    # Half of the blur comes before the counting, half is the filter after it.
    half = fwhm / np.sqrt(2) / _FWHM
    blurred = ndimage.gaussian_filter(np.ascontiguousarray(shaped), half, truncate=3.0)
    volume = _on_grid(blurred, tomograph.spacing_mm)
    counted = draw.poisson(np.clip(volume.voxels, 0, None) * counts) / counts
    steps = np.array(tomograph.spacing_mm)
    filtered = ndimage.gaussian_filter(counted.astype(np.float32), half / steps, truncate=3.0)
    uptake = BRAIN_BQML * float(draw.uniform(1 - _SPREAD, 1 + _SPREAD))
    return replace(volume, voxels=(filtered * uptake).astype(np.float32))


@cache
def _activity() -> tuple[Tensor, Tensor]:
    """Activity of the average head's brain, and of all else of it. Cached: public."""
    head = template()
    inside = head.brain.float()
    inner = head.head[head.brain]
    dark, bright = torch.quantile(inner[::97], torch.tensor([0.05, 0.95]))
    whiteness = ((head.head - dark) / (bright - dark)).clamp(0, 1)
    cortex = 1 - (1 - _GREY) * whiteness
    outside = (head.head / _SOFT_TISSUE).clamp(0, 1) * (1 - inside) * head.surface
    return inside * cortex, outside


def _on_grid(voxels: NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> Volume:
    steps = np.array(spacing_mm)
    shape = tuple(int(n) for n in np.floor((np.array(voxels.shape) - 1) / steps) + 1)
    onto = np.diag([*steps, 1.0])
    affine = onto.copy()
    affine[:3, 3] = ORIGIN_MM
    return Volume(
        voxels=resampled(torch.from_numpy(voxels), onto, shape).numpy(),
        spacing_mm=spacing_mm,
        affine=affine,
        emission=True,
    )
