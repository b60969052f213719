"""Samples that are not copied as they are: what a stage that looks at pixels hands to the engine.

The engine itself never touches a sample. A stage (burned-in text, faces) reads an opened file and
returns what is to stand in place of its Pixel Data, and what may be declared of it: a code of CID
7050 goes into an output only through here, and so only where a stage has done its work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reidscope_deid.part10 import Opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A new value of Pixel Data.

    Attributes
    ----------
    value : bytes or memoryview
        Native: the samples in the byte order of the output, unpadded. Encapsulated: the items
        (offset table first), without the header of Pixel Data and without its delimiter.
    encapsulated : bool
        Which of the two.
    syntax : str
        UID of the transfer syntax that the output has. It must write elements as the original does:
        implicit stays implicit, big endian stays big endian; what was compressed may become
        Explicit VR Little Endian.
    """

    value: bytes | memoryview
    encapsulated: bool
    syntax: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelChange:
    """What a stage did with one file.

    Attributes
    ----------
    codes : frozenset of str
        CID 7050 codes of what was done: 113101, 113102. A file that a stage looked at and found
        nothing in carries the code too; one that it did not look at does not.
    samples : Samples or None
        None where the samples stay as they are.
    elements : mapping
        Top-level elements to write, tag to (VR, value), whatever the original has; None removes.
    boxes : int
        Areas that were blanked.
    review : bool
        Whether a person should look at the output before it is shared.
    """

    codes: frozenset[str]
    samples: Samples | None = None
    elements: Mapping[int, tuple[bytes, bytes] | None] = field(default_factory=dict)
    boxes: int = 0
    review: bool = False


class PixelStage(Protocol):
    """Looks at the samples of one file."""

    def __call__(self, opened: Opened) -> PixelChange | None:
        """Say what is to change; None where the stage does not look at such a file.

        Raises
        ------
        QuarantinedError
            The file must not be passed on.
        """
        ...
