"""Pixels however a file stores them: one way to look at a frame, one way to blank.

    native                        -> blanked in place, same transfer syntax
    RLE Lossless                  -> decoded, blanked, RLE Lossless again
    JPEG baseline and extended    -> blocks of the stream made black, same transfer syntax
    JPEG lossless, JPEG-LS, JPEG 2000, other JPEG
                                  -> decoded, blanked, native Explicit VR Little Endian

Whether a file went through a lossy compression stays as it declares it. What has no decoder
(HTJ2K) is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, RLELossless

from reidscope_deid.burned_in.arrays import native_pixels
from reidscope_deid.burned_in.encapsulated import (
    as_native,
    as_run_lengths,
    colour_elements,
    decoded,
    frames_of,
)
from reidscope_deid.burned_in.image import PIXELS, check_facts
from reidscope_deid.burned_in.jpeg_pixels import decoded_jpeg, jpeg_pixels
from reidscope_deid.pixel_change import Samples
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reidscope_deid.burned_in.arrays import Array, Pixels
    from reidscope_deid.burned_in.image import ImageFacts
    from reidscope_deid.burned_in.mask import Mask
    from reidscope_deid.part10 import Opened

    Elements = Mapping[int, tuple[bytes, bytes] | None]


class Stored(Protocol):
    """Pixels as a file stores them."""

    @property
    def image(self) -> ImageFacts:
        """Header of a frame as `frame` gives it."""
        ...

    def frame(self, index: int) -> Array:
        """One frame, shape (rows, columns) or (rows, columns, 3)."""
        ...

    def blanked(self, mask: Mask) -> Stored:
        """Blank the masked pixels of every frame, and change no other."""
        ...

    def samples(self) -> Samples:
        """Write the value of Pixel Data."""
        ...

    def elements(self) -> Elements:
        """Elements that go with it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayStored:
    """Pixels that are decoded, and how they are written.

    Attributes
    ----------
    pixels : Pixels
        All frames.
    write : callable
        Makes the value of Pixel Data.
    declared : mapping
        Elements that go with it.
    """

    pixels: Pixels
    write: Callable[[Pixels], Samples]
    declared: Elements

    @property
    def image(self) -> ImageFacts:
        """Header of the decoded pixels."""
        return self.pixels.image

    def frame(self, index: int) -> Array:
        """One frame, shape (rows, columns) or (rows, columns, 3)."""
        return self.pixels.frame(index)

    def blanked(self, mask: Mask) -> ArrayStored:
        """Blank the masked pixels of every frame, and change no other."""
        return replace(self, pixels=self.pixels.blanked(mask))

    def samples(self) -> Samples:
        """Write the value of Pixel Data."""
        return self.write(self.pixels)

    def elements(self) -> Elements:
        """Elements that go with it."""
        return self.declared


def stored_pixels(opened: Opened, image: ImageFacts) -> Stored:
    """Open the pixels of a file.

    Raises
    ------
    QuarantinedError
        No pixels that can be blanked, or none that can be decoded.
    """
    check_facts(image)
    element = next((one for one in opened.elements if one.tag == PIXELS), None)
    if element is None:
        raise QuarantinedError(Reason.BURNED_IN)
    if not element.undefined:
        return ArrayStored(
            pixels=native_pixels(image, opened.data, element.value, element.stop),
            write=partial(_same_syntax, syntax=opened.syntax),
            declared={},
        )
    frames = frames_of(image, opened.data[element.value : element.stop])
    if opened.syntax in (JPEGBaseline8Bit, JPEGExtended12Bit):
        found = jpeg_pixels(image, frames, opened.syntax)
        if found is not None:
            return found
        pixels = decoded_jpeg(image, frames)
    else:
        pixels = decoded(image, frames, opened.syntax)
    if opened.syntax == RLELossless:
        return ArrayStored(pixels=pixels, write=as_run_lengths, declared={})
    return ArrayStored(pixels=pixels, write=as_native, declared=colour_elements(pixels.image))


def _same_syntax(pixels: Pixels, syntax: str) -> Samples:
    return Samples(value=pixels.native(), encapsulated=False, syntax=syntax)
