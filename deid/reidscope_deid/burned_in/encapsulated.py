"""Encapsulated pixels: frames out of fragments, decoded, and run lengths written again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from reidscope_deid.burned_in.arrays import Pixels, check_layout
from reidscope_deid.burned_in.decoder import decode, decode_here
from reidscope_deid.pixel_change import Samples
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidscope_deid.burned_in.image import ImageFacts

_PLANAR, _PHOTOMETRIC = 0x00280006, 0x00280004


def frames_of(image: ImageFacts, value: bytes) -> list[bytes]:
    """Compressed frames of encapsulated Pixel Data.

    Raises
    ------
    QuarantinedError
        Not as many frames as the header says.
    """
    try:
        frames = list(generate_frames(value, number_of_frames=image.frames))
    except Exception:  # noqa: BLE001 - pydicom raises many kinds, with values in them
        raise QuarantinedError(Reason.MALFORMED) from None
    if len(frames) != image.frames:
        raise QuarantinedError(Reason.MALFORMED)
    return frames


def decoded(image: ImageFacts, frames: Sequence[bytes], syntax: str) -> Pixels:
    """Decode all frames: run lengths here, anything else in another process.

    Returns
    -------
    Pixels
        Little endian, samples of a pixel together; its header says what the decoder made of the
        colours.

    Raises
    ------
    QuarantinedError
        No decoder for it, or frames that cannot be decoded.
    """
    decoder = decode_here if syntax == RLELossless else decode
    array, photometric = decoder(image, frames, syntax)
    found = replace(image, photometric=photometric, planar=False, little=True, swapped=False)
    kind = np.dtype(f"<{array.dtype.kind}{image.allocated // 8}")
    shape = (found.frames, found.rows, found.columns, found.samples)
    if array.dtype.itemsize > kind.itemsize or array.size != int(np.prod(shape)):
        raise QuarantinedError(Reason.MALFORMED)
    check_layout(found)
    return Pixels(image=found, array=array.reshape(shape).astype(kind))


def as_native(pixels: Pixels) -> Samples:
    """Write decoded pixels as native samples of Explicit VR Little Endian, uncompressed."""
    return Samples(value=pixels.native(), encapsulated=False, syntax=str(ExplicitVRLittleEndian))


def as_run_lengths(pixels: Pixels) -> Samples:
    """Write decoded pixels as RLE Lossless, checked by decoding them again.

    Raises
    ------
    QuarantinedError
        What was written does not decode to the same samples.
    """
    image = pixels.image
    encoder = get_encoder(RLELossless)
    frames = [
        encoder.encode(
            frame.tobytes(),
            encoding_plugin="pydicom",
            rows=image.rows,
            columns=image.columns,
            samples_per_pixel=image.samples,
            number_of_frames=1,
            bits_allocated=image.allocated,
            bits_stored=image.stored,
            pixel_representation=int(image.signed),
            photometric_interpretation=image.photometric,
            planar_configuration=0,
        )
        for frame in pixels.array
    ]
    again = decoded(image, frames, str(RLELossless))
    if not np.array_equal(again.array, pixels.array):
        raise QuarantinedError(Reason.UNVERIFIED)
    return as_frames(frames, str(RLELossless))


def as_frames(frames: Sequence[bytes], syntax: str) -> Samples:
    """Compressed frames as the items of Pixel Data, an offset table first."""
    return Samples(value=encapsulate(list(frames)), encapsulated=True, syntax=syntax)


def colour_elements(image: ImageFacts) -> dict[int, tuple[bytes, bytes] | None]:
    """Elements that say how native colours of Explicit VR Little Endian are to be read."""
    if image.samples == 1:
        return {}
    return {
        _PHOTOMETRIC: (b"CS", image.photometric.encode("ascii")),
        _PLANAR: (b"US", int(image.planar).to_bytes(2, "little")),
    }
