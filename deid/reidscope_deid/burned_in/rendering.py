"""Frames as pictures that a detector of text can look at: eight bits, three channels.

Text that a window hides may show in the full range, and the other way round, so a frame is looked
at in each rendering that differs from the others. One more shows fine contrast alone: it finds some
of the grey text over texture that the frame itself does not show the detector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reidscope_deid.burned_in.arrays import palette_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_deid.burned_in.image import ImageFacts

    Picture = NDArray[np.uint8]
    """Shape (rows, columns, 3): blue, green and red, 0 to 255."""

_LOCAL = 3.0  # pixels: how far shades reach that fine contrast leaves out
_GAIN = 4.0
_MIDDLE = 128
_YBR = frozenset({"YBR_FULL", "YBR_FULL_422"})


def pictures(
    frame: NDArray[Any], image: ImageFacts, *, fine: bool = True, inverted: bool = False
) -> list[Picture]:
    """Render one frame in each way that shows something else.

    Parameters
    ----------
    frame : ndarray
        Shape (rows, columns) or (rows, columns, 3), samples as stored.
    image : ImageFacts
        Its header.
    fine : bool
        Whether to add fine contrast alone.
    inverted : bool
        Whether to add the negative of each.

    Returns
    -------
    list of ndarray
        At least one.
    """
    if frame.ndim == 3:  # noqa: PLR2004 - rows, columns, samples
        found = [_colour(frame, image)]
    elif image.photometric == "PALETTE COLOR" and (table := palette_table(image)) is not None:
        first = image.palette_first
        index = np.clip(frame.astype(np.int32) - first, 0, len(table) - 1)
        found = [np.ascontiguousarray(table[index][..., ::-1])]
    else:
        found = _grey(frame, image)
    if fine:
        found.append(_fine_contrast(found[-1]))
    if inverted:
        found += [np.asarray(255 - picture, dtype=np.uint8) for picture in found]
    return found


def _fine_contrast(picture: Picture) -> Picture:
    """Brightness without slow shades, enlarged."""
    import cv2  # noqa: PLC0415 - comes with the detector, an extra

    grey = picture.astype(np.float32).mean(axis=2)
    fine = _MIDDLE + _GAIN * (grey - cv2.GaussianBlur(grey, (0, 0), _LOCAL))
    return np.dstack([np.clip(fine, 0, 255).astype(np.uint8)] * 3)


def _grey(frame: NDArray[Any], image: ImageFacts) -> list[Picture]:
    values = frame.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    ranges = [(low, high)]
    if image.window is not None:
        center, width = image.window
        shown = tuple(
            (edge - image.intercept) / (image.slope or 1.0)
            for edge in (center - width / 2, center + width / 2)
        )
        if min(shown) < high and max(shown) > low and not _alike(shown, (low, high)):
            ranges.append((min(shown), max(shown)))
    white_low = image.photometric == "MONOCHROME1"
    return [_scaled(values, *limits, white_low=white_low) for limits in ranges]


def _alike(one: tuple[float, ...], two: tuple[float, ...]) -> bool:
    """Whether two ranges differ by less than a tenth: the second rendering would show the same."""
    width = max(abs(one[1] - one[0]), abs(two[1] - two[0]), 1e-9)
    return all(abs(a - b) < 0.1 * width for a, b in zip(one, two, strict=True))


def _scaled(values: NDArray[np.float32], low: float, high: float, *, white_low: bool) -> Picture:
    scaled = np.clip((values - low) * (255.0 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
    if white_low:
        scaled = np.asarray(255 - scaled, dtype=np.uint8)
    return np.dstack([scaled] * 3)


def _colour(frame: NDArray[Any], image: ImageFacts) -> Picture:
    if image.photometric not in _YBR:
        return np.ascontiguousarray(frame[..., ::-1], dtype=np.uint8)
    luma = frame[..., 0].astype(np.float32)
    blue, red = (frame[..., plane].astype(np.float32) - 128.0 for plane in (1, 2))
    # PS3.3 C.7.6.3.1.2, solved for the primaries
    parts = (luma + 1.772 * blue, luma - 0.344136 * blue - 0.714136 * red, luma + 1.402 * red)
    return np.clip(np.dstack(parts) + 0.5, 0, 255).astype(np.uint8)
