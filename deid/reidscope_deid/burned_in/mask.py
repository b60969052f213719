"""Where is blanked: rectangles, and one mask for all frames of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    """Shape (rows, columns); True where pixels are blanked, in every frame."""


class Box(NamedTuple):
    """A rectangle of pixels.

    Attributes
    ----------
    top, left : int
        Its first row and column.
    bottom, right : int
        The row and column behind its last.
    """

    top: int
    left: int
    bottom: int
    right: int

    def wider(self, margin: int) -> Box:
        """Add so many pixels on each side."""
        return Box(self.top - margin, self.left - margin, self.bottom + margin, self.right + margin)


def mask_of(boxes: Iterable[Box], *, rows: int, columns: int) -> Mask:
    """Mask of rectangles, cut at the edges of the image."""
    mask = np.zeros((rows, columns), dtype=np.bool_)
    for box in boxes:
        mask[max(box.top, 0) : max(box.bottom, 0), max(box.left, 0) : max(box.right, 0)] = True
    return mask


def merged(boxes: Iterable[Box]) -> list[Box]:
    """Boxes of which no two overlap: those that do become the one that holds both."""
    merged: list[Box] = []
    for new in boxes:
        box, apart = new, []
        waiting = merged
        while True:
            apart = [one for one in waiting if not _overlap(one, box)]
            if len(apart) == len(waiting):
                break
            for one in waiting:
                if _overlap(one, box):
                    box = Box(
                        min(one.top, box.top),
                        min(one.left, box.left),
                        max(one.bottom, box.bottom),
                        max(one.right, box.right),
                    )
            waiting = apart
        merged = [*apart, box]
    return sorted(merged)


def outermost(boxes: Iterable[Box]) -> list[Box]:
    """Boxes of which none lies within another: they cover the same pixels."""
    distinct = sorted(set(boxes))
    return [
        box
        for box in distinct
        if not any(
            other != box
            and other.top <= box.top
            and other.left <= box.left
            and box.bottom <= other.bottom
            and box.right <= other.right
            for other in distinct
        )
    ]


def _overlap(one: Box, two: Box) -> bool:
    return (
        one.top < two.bottom
        and two.top < one.bottom
        and one.left < two.right
        and two.left < one.right
    )


def blocks_of(mask: Mask, *, height: int, width: int) -> Mask:
    """Which blocks of so many pixels the mask touches.

    Returns
    -------
    ndarray of bool
        Shape (ceil(rows / height), ceil(columns / width)).
    """
    rows, columns = mask.shape
    padded = np.zeros((-rows // height * -height, -columns // width * -width), dtype=np.bool_)
    padded[:rows, :columns] = mask
    grid = padded.reshape(padded.shape[0] // height, height, padded.shape[1] // width, width)
    return np.asarray(grid.any(axis=(1, 3)), dtype=np.bool_)


def pixels_of(blocks: Mask, *, height: int, width: int, rows: int, columns: int) -> Mask:
    """Pixels of blocks: `blocks_of` the other way, each block whole."""
    whole = blocks.repeat(height, axis=0).repeat(width, axis=1)
    return whole[:rows, :columns]
