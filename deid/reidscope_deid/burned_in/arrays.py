"""Decoded pixels as an array of samples: read from native bytes, blanked, written back.

The array keeps the layout of the bytes, so that what is not blanked is not touched: no colour
conversion, no change of planes, no rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_deid.burned_in.image import ImageFacts
    from reidscope_deid.burned_in.mask import Mask
    from reidscope_deid.elements import Buffer

    Array = NDArray[Any]
    """Samples of one image in the layout of its bytes."""

_GREY = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_BLACKS = {
    "RGB": (0, 0, 0),
    "YBR_FULL": (0, 128, 128),
    "YBR_FULL_422": (0, 0, 128, 128),  # two pixels: Y Y Cb Cr
}
_WORDS = (299, 587, 114)  # thousandths of red, green and blue in brightness (ITU-R BT.601)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Decoded pixels of all frames.

    Attributes
    ----------
    image : ImageFacts
        Their header.
    array : ndarray
        Shape (frames, rows, columns, samples); plane by plane (frames, samples, rows, columns);
        in pairs that share chrominance (frames, rows, columns / 2, 4). Samples as stored.
    """

    image: ImageFacts
    array: Array

    def frame(self, index: int) -> Array:
        """One frame, shape (rows, columns) or, in colour, (rows, columns, 3), as stored."""
        frame: Array = self.array[index]
        if self.image.halved:
            luma = frame[..., :2].reshape(self.image.rows, self.image.columns)
            chroma = frame[..., 2:].repeat(2, axis=1)
            return np.dstack([luma, chroma])
        if self.image.samples == 1:
            return frame.reshape(self.image.rows, self.image.columns)
        return np.moveaxis(frame, 0, -1) if self.image.planar else frame

    def blanked(self, mask: Mask) -> Pixels:
        """Pixels of which those in the mask are black, in every frame, and no other is changed."""
        array = self.array.copy()
        value = np.asarray(self._black(), dtype=array.dtype)
        if self.image.halved:
            array[:, mask.reshape(mask.shape[0], -1, 2).any(axis=2)] = value
        elif self.image.planar and self.image.samples > 1:
            array[:, :, mask] = value[:, None]
        else:
            array[:, mask] = value
        return replace(self, array=array)

    def _black(self) -> tuple[int, ...]:
        """Value of each sample that is shown black, or darkest."""
        image = self.image
        if image.samples > 1:
            return _BLACKS[image.photometric]
        if image.photometric == "PALETTE COLOR":
            return (darkest_entry(image),)
        ends = (0, (1 << image.stored) - 1)
        if image.signed:
            ends = (int(self.array.min()), int(self.array.max()))
        return (ends[image.photometric == "MONOCHROME1"],)

    def native(self) -> bytes:
        """Bytes of Pixel Data in the layout and byte order of the header, unpadded."""
        if self.image.allocated == 1:
            return np.packbits(self.array.reshape(-1), bitorder="little").tobytes()
        raw = self.array.tobytes()
        return _swapped(raw) if self.image.swapped and self.image.allocated == 8 else raw  # noqa: PLR2004 - bits


def check_layout(image: ImageFacts) -> None:
    """Refuse colours whose layout is not known.

    Raises
    ------
    QuarantinedError
        Another photometric interpretation, or one that does not go with the number of samples.
    """
    known = _GREY if image.samples == 1 else frozenset(_BLACKS)
    odd = image.halved and (image.columns % 2 or image.planar)
    if image.photometric not in known or odd:
        raise QuarantinedError(Reason.BURNED_IN)


def native_pixels(image: ImageFacts, data: Buffer, start: int, stop: int) -> Pixels:
    """Pixels from native bytes.

    Raises
    ------
    QuarantinedError
        Fewer bytes than the header says, or a layout that is not known.
    """
    check_layout(image)
    samples = 2 if image.halved else image.samples
    count = image.frames * image.rows * image.columns * samples
    length = (count * image.allocated + 7) // 8
    raw = bytes(data[start:stop])
    if image.swapped and image.allocated == 8:  # noqa: PLR2004 - bits
        raw = _swapped(raw)
    if len(raw) < length:
        raise QuarantinedError(Reason.MALFORMED)
    if image.allocated == 1:
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=count, bitorder="little")
        return Pixels(image=image, array=bits.reshape(_shape(image)))
    kind = "i" if image.signed else "u"
    order = "<" if image.little else ">"
    array = np.frombuffer(raw, f"{order}{kind}{image.allocated // 8}", count=count)
    return Pixels(image=image, array=array.reshape(_shape(image)))


def darkest_entry(image: ImageFacts) -> int:
    """Value of a palette image that is shown darkest; 0 where its tables cannot be read."""
    table = palette_table(image)
    if table is None:
        return 0
    bright = table.astype(np.int64) @ np.asarray(_WORDS)
    entry = int(bright.argmin()) + image.palette_first
    return entry if entry < 1 << image.stored else 0


def palette_table(image: ImageFacts) -> NDArray[np.uint8] | None:
    """Colours of a palette image, shape (entries, 3), None where the tables cannot be read."""
    entries = image.palette_entries
    tables = []
    for raw in image.palette:
        if len(raw) == 2 * entries:
            table = np.frombuffer(raw, "<u2" if image.little else ">u2")
            tables.append((table >> 8 if table.max() > 255 else table).astype(np.uint8))  # noqa: PLR2004 - 8 bits
        elif len(raw) == entries:
            tables.append(np.frombuffer(raw, np.uint8))
        else:
            return None
    return np.stack(tables, axis=1) if tables else None


def _shape(image: ImageFacts) -> tuple[int, ...]:
    if image.halved:
        return image.frames, image.rows, image.columns // 2, 4
    if image.planar and image.samples > 1:
        return image.frames, image.samples, image.rows, image.columns
    return image.frames, image.rows, image.columns, image.samples


def _swapped(raw: bytes) -> bytes:
    """Bytes in pairs, each the other way round; an odd last one gets a zero."""
    even = raw + b"\0" * (len(raw) & 1)
    return np.frombuffer(even, "<u2").byteswap().tobytes()
