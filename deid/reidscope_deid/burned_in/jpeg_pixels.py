"""Frames of baseline and extended JPEG: looked at through a decoder, blanked block by block.

What was written is decoded by libjpeg (through Pillow) and compared with the original's decoding:
blanked units are black, and outside of them no sample differs. Where chrominance is coarser than
luminance, decoders smooth it across the edge of a unit: there chrominance may differ in a rim of
two pixels, though no coefficient does.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.burned_in.arrays import Pixels, check_layout
from reidscope_deid.burned_in.encapsulated import as_frames
from reidscope_deid.burned_in.jpeg_stream import blackened, frame_header
from reidscope_deid.burned_in.mask import blocks_of, pixels_of
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from reidscope_deid.burned_in.image import ImageFacts
    from reidscope_deid.burned_in.jpeg_stream import FrameHeader
    from reidscope_deid.burned_in.mask import Mask
    from reidscope_deid.pixel_change import Samples

_RIM = 2  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegPixels:
    """Frames of sequential eight-bit JPEG.

    Attributes
    ----------
    image : ImageFacts
        Their header; its photometric interpretation is that of a decoded frame.
    streams : tuple of bytes
        One a frame.
    header : FrameHeader
        The same for each.
    syntax : str
        UID of their transfer syntax.
    """

    image: ImageFacts
    streams: tuple[bytes, ...]
    header: FrameHeader
    syntax: str

    def frame(self, index: int) -> NDArray[np.uint8]:
        """One frame, decoded: shape (rows, columns) or (rows, columns, 3), red first."""
        return _decoded(self.streams[index], "L" if self.image.samples == 1 else "RGB")

    def blanked(self, mask: Mask) -> JpegPixels:
        """Frames of which every unit that the mask touches is black.

        Raises
        ------
        QuarantinedError
            A stream that cannot be changed, or does not decode to what it should.
        """
        white = self.image.photometric == "MONOCHROME1"
        streams = []
        for stream in self.streams:
            new = blackened(stream, mask, white=white)
            self._verify(stream, new, mask, black=255 * white)
            streams.append(new)
        return replace(self, streams=tuple(streams))

    def samples(self) -> Samples:
        """Write the value of Pixel Data."""
        return as_frames(self.streams, self.syntax)

    def elements(self) -> dict[int, tuple[bytes, bytes] | None]:
        """Nothing that the header says of these pixels changes."""
        return {}

    def _verify(self, old: bytes, new: bytes, mask: Mask, *, black: int) -> None:
        mode = "L" if self.image.samples == 1 else "YCbCr" if self.header.subsampled else "RGB"
        before, after = (_decoded(stream, mode) for stream in (old, new))
        height, width = self.header.unit_height, self.header.unit_width
        units = pixels_of(
            blocks_of(mask, height=height, width=width),
            height=height,
            width=width,
            rows=self.image.rows,
            columns=self.image.columns,
        )
        first = (..., 0) if mode == "YCbCr" else (...,)
        same = np.array_equal(before[~units][first], after[~units][first])
        far = ~(_wider(units) if self.header.subsampled else units)
        same = same and np.array_equal(before[far], after[far])
        if not same or not (after[units][first] == black).all():
            raise QuarantinedError(Reason.UNVERIFIED)


def jpeg_pixels(image: ImageFacts, streams: Sequence[bytes], syntax: str) -> JpegPixels | None:
    """Frames of JPEG, None if one of them is not sequential with eight bits.

    Raises
    ------
    QuarantinedError
        Frames that contradict the header or each other.
    """
    headers = [frame_header(stream) for stream in streams]
    first = headers[0]
    if first is None or any(header is None for header in headers):
        return None
    if any(header != first for header in headers) or len(first.components) != image.samples:
        raise QuarantinedError(Reason.MALFORMED)
    if (first.rows, first.columns) != (image.rows, image.columns):
        raise QuarantinedError(Reason.MALFORMED)
    if image.allocated != 8:  # noqa: PLR2004 - bits
        raise QuarantinedError(Reason.BURNED_IN)
    shown = image if image.samples == 1 else replace(image, photometric="RGB", planar=False)
    return JpegPixels(image=shown, streams=tuple(streams), header=first, syntax=syntax)


def decoded_jpeg(image: ImageFacts, streams: Sequence[bytes]) -> Pixels:
    """Decode eight-bit JPEG of another process than the sequential one: the progressive.

    Returns
    -------
    Pixels
        Grey, or red, green and blue.

    Raises
    ------
    QuarantinedError
        More than eight bits, or frames that do not decode to the size in the header.
    """
    if image.allocated != 8:  # noqa: PLR2004 - bits
        raise QuarantinedError(Reason.BURNED_IN)
    grey = image.samples == 1
    array = np.stack([_decoded(stream, "L" if grey else "RGB") for stream in streams])
    if array.shape[:3] != (image.frames, image.rows, image.columns):
        raise QuarantinedError(Reason.MALFORMED)
    found = replace(image, planar=False, little=True, swapped=False)
    if not grey:
        found = replace(found, photometric="RGB")
    check_layout(found)
    return Pixels(image=found, array=array.reshape(*array.shape[:3], image.samples))


def _decoded(stream: bytes, mode: str) -> NDArray[np.uint8]:
    from PIL import Image  # noqa: PLC0415 - comes with the detector, an extra

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(stream), formats=("JPEG",)) as image:
                if mode == "YCbCr":
                    image.draft(mode, image.size)  # luminance as it was coded
                return np.asarray(image if image.mode == mode else image.convert(mode))
    except Exception:  # noqa: BLE001 - Pillow raises many kinds on a broken stream
        raise QuarantinedError(Reason.MALFORMED) from None


def _wider(units: Mask) -> Mask:
    """Pixels at most a rim away from the units."""
    padded = np.pad(units, _RIM)
    rows, columns = units.shape
    wide = np.zeros_like(units)
    for down in range(2 * _RIM + 1):
        for across in range(2 * _RIM + 1):
            wide |= padded[down : down + rows, across : across + columns]
    return wide
