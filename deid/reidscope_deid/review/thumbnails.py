"""Frames of outputs as small 8-bit images: nothing of the file but its samples."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from reidscope_protocols.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import FileDataset

    Image = NDArray[np.uint8]

_COLOURS = 3
_WHITE = 255


def load_opencv() -> Any:
    """Import OpenCV, which only this needs.

    Raises
    ------
    UnsupportedError
        Not installed.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError:
        raise UnsupportedError(
            "a contact sheet",
            got="no opencv",
            expected="reidscope with its extra for sites",
            do="pip install 'reidscope[site]'",
        ) from None


def frames_of(path: Path, *, size: int, most: int, full_range: bool) -> list[Image]:
    """Show some frames of one file.

    Parameters
    ----------
    path : Path
        Only read.
    size : int
        Longer side of each image in pixels.
    most : int
        Frames of a multi-frame file: the first, the last, and evenly between.
    full_range : bool
        Whether the darkest sample becomes black and the brightest white; if not, the file's own
        window is used where it has one.

    Returns
    -------
    list of array of uint8
        Shape (rows, columns, 3), blue, green, red; empty where the samples cannot be decoded.
    """
    cv2 = load_opencv()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning of pydicom's holds the value
            data_set = pydicom.dcmread(path)
            total = int(data_set.get("NumberOfFrames") or 1)
            wanted = np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(int))
            shown = [_shown(data_set, int(index), full_range=full_range) for index in wanted]
    except Exception:  # noqa: BLE001 - decoders raise many kinds, with values in them
        return []
    return [_small(cv2, image, size) for image in shown]


def png(image: Image) -> bytes:
    """Write an image as PNG: samples alone, no text and no time in it."""
    _, content = load_opencv().imencode(".png", image)
    return bytes(content)


def _shown(data_set: FileDataset, index: int, *, full_range: bool) -> Image:
    samples = pixel_array(data_set, index=index)
    colours = data_set.get("PhotometricInterpretation")
    if colours == "PALETTE COLOR":
        painted = apply_color_lut(samples, data_set)
        brightest = float(np.iinfo(painted.dtype).max)
        return _eight_bits(painted.astype(np.float64), 0, brightest)[..., :_COLOURS][..., ::-1]
    if samples.ndim == _COLOURS:
        return _eight_bits(samples.astype(np.float64), 0, _brightest(data_set))[..., ::-1]
    samples = apply_modality_lut(samples, data_set)
    if not full_range:
        samples = apply_voi_lut(samples, data_set)
    grey = samples.astype(np.float64)
    image = _eight_bits(grey, float(grey.min()), float(grey.max()))
    if colours == "MONOCHROME1":
        image = (_WHITE - image).astype(np.uint8)
    return np.repeat(image[..., None], _COLOURS, axis=2)


def _brightest(data_set: FileDataset) -> float:
    return float((1 << int(data_set.get("BitsStored") or 8)) - 1)


def _eight_bits(samples: NDArray[np.float64], low: float, high: float) -> Image:
    scaled = (samples - low) / max(high - low, 1e-9) * _WHITE
    image: Image = np.clip(scaled, 0, _WHITE).astype(np.uint8)
    return image


def _small(cv2: Any, image: Image, size: int) -> Image:
    rows, columns = image.shape[:2]
    scale = size / max(rows, columns)
    if scale >= 1:
        return np.ascontiguousarray(image)
    target = max(1, round(columns * scale)), max(1, round(rows * scale))
    small: Image = cv2.resize(np.ascontiguousarray(image), target, interpolation=cv2.INTER_AREA)
    return small
