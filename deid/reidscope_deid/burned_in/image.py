"""What a header says about its pixels: the few facts that finding and blanking text need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reidscope_deid.burned_in.mask import Box
from reidscope_deid.elements import read_items
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from reidscope_deid.elements import Element
    from reidscope_deid.part10 import Opened

PIXELS = 0x7FE00010
_REGIONS = 0x00186011
_EDGES = (0x0018601A, 0x00186018, 0x0018601E, 0x0018601C)
"""Upper, left, lower and right edge of a region; the last two are within it (PS3.3 C.8.5.5)."""
_LIMIT = 2 << 30  # bytes of decoded pixels
_PADDING = b" \0"
_BITS = frozenset({1, 8, 16})
_LARGEST_FRAMES = 9  # digits


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """One image's header, as far as its pixels go.

    Attributes
    ----------
    sop_class, modality, manufacturer, model : str
        Empty where absent.
    image_type : tuple of str
        Its values.
    declared : str
        Burned In Annotation: ``YES``, ``NO`` or empty.
    frames, rows, columns, samples : int
        How many.
    allocated, stored : int
        Bits a sample.
    signed : bool
        Whether samples are two's complement.
    planar : bool
        Whether the samples of a native colour image stand plane by plane.
    photometric : str
        Photometric interpretation.
    little : bool
        Byte order of native pixels.
    swapped : bool
        Whether bytes of 8-bit samples stand in pairs the other way round: big endian words.
    window : (float, float) or None
        Center and width of the first window, in rescaled values.
    slope, intercept : float
        Of the rescaling.
    palette : tuple of bytes
        Red, green and blue lookup table; empty without one.
    palette_entries, palette_first : int
        Entries of each table, and the value that the first is for.
    regions : tuple of Box
        Ultrasound regions, within the image; empty without any.

    Privacy
    -------
    Holds no element that names a person; never written or logged (docs/privacy.md,
    "De-identification").
    """

    sop_class: str
    modality: str
    manufacturer: str
    model: str
    image_type: tuple[str, ...]
    declared: str
    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    planar: bool
    photometric: str
    little: bool
    swapped: bool
    window: tuple[float, float] | None
    slope: float
    intercept: float
    palette: tuple[bytes, ...]
    palette_entries: int
    palette_first: int
    regions: tuple[Box, ...]

    @property
    def halved(self) -> bool:
        """Whether native pixels stand in pairs that share their chrominance."""
        return self.photometric == "YBR_FULL_422"

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all frames, decoded."""
        return self.frames * self.rows * self.columns * self.samples * max(self.allocated // 8, 1)


def image_facts(opened: Opened) -> ImageFacts:
    """Read the header of an image.

    Raises
    ------
    QuarantinedError
        A regions sequence that cannot be walked, or elements that are no numbers.
    """
    order: Literal["little", "big"] = "little" if opened.encoding.little else "big"

    def number(tag: int, default: int = 0) -> int:
        raw = opened.raw(tag)[:2]
        return int.from_bytes(raw, order) if raw else default

    def text(tag: int) -> str:
        return opened.value(tag).decode("latin-1")

    pixels = next((one for one in opened.elements if one.tag == PIXELS), None)
    frames = text(0x00280008) or "1"
    if not (frames.isascii() and frames.isdigit() and len(frames) <= _LARGEST_FRAMES):
        raise QuarantinedError(Reason.MALFORMED)
    rows, columns, allocated = number(0x00280010), number(0x00280011), number(0x00280100)
    center, width = _decimal(text(0x00281050)), _decimal(text(0x00281051))
    slope, intercept = _decimal(text(0x00281053)), _decimal(text(0x00281052))
    tables = tuple(opened.raw(tag) for tag in (0x00281201, 0x00281202, 0x00281203))
    descriptor = opened.raw(0x00281101)
    return ImageFacts(
        sop_class=text(0x00080016),
        modality=text(0x00080060),
        manufacturer=text(0x00080070),
        model=text(0x00081090),
        image_type=tuple(part.strip() for part in text(0x00080008).split("\\")),
        declared=text(0x00280301),
        frames=int(frames),
        rows=rows,
        columns=columns,
        samples=number(0x00280002, 1),
        allocated=allocated,
        stored=number(0x00280101, allocated),
        signed=number(0x00280103) == 1,
        planar=number(0x00280006) == 1,
        photometric=text(0x00280004),
        little=opened.encoding.little,
        swapped=not opened.encoding.little and pixels is not None and pixels.vr == b"OW",
        window=None if center is None or width is None or width <= 0 else (center, width),
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        palette=tables if all(tables) else (),
        palette_entries=int.from_bytes(descriptor[:2], order) or 1 << 16,
        palette_first=int.from_bytes(descriptor[2:4], order),
        regions=_regions(opened, rows=rows, columns=columns),
    )


def check_facts(image: ImageFacts) -> None:
    """Refuse an image whose pixels are not ones that can be blanked.

    Raises
    ------
    QuarantinedError
        Another number of bits or samples, no size, or more than fits into memory.
    """
    sizes = (image.frames, image.rows, image.columns, image.samples)
    if image.allocated not in _BITS or not all(sizes):
        raise QuarantinedError(Reason.BURNED_IN)
    if image.samples not in (1, 3) or not 1 <= image.stored <= image.allocated:
        raise QuarantinedError(Reason.BURNED_IN)
    if image.samples > 1 and image.allocated != 8:  # noqa: PLR2004 - bits of a colour sample
        raise QuarantinedError(Reason.BURNED_IN)
    if image.decoded_bytes > _LIMIT:
        raise QuarantinedError(Reason.TOO_LARGE)


def _decimal(text: str) -> float | None:
    try:
        value = float(text.split("\\", maxsplit=1)[0])
    except ValueError:
        return None
    return value if abs(value) < 1e12 else None  # noqa: PLR2004 - no such window exists


def _regions(opened: Opened, *, rows: int, columns: int) -> tuple[Box, ...]:
    found = next((one for one in opened.elements if one.tag == _REGIONS), None)
    if found is None or found.vr not in (b"", b"SQ"):
        return ()
    order: Literal["little", "big"] = "little" if opened.encoding.little else "big"
    boxes = []
    for item in read_items(opened.data, found, opened.encoding, depth=1):
        edges = _edges(opened, item, order)
        if edges is None:
            continue
        top, left, bottom, right = edges
        box = Box(top, left, min(bottom + 1, rows), min(right + 1, columns))
        if box.top < box.bottom and box.left < box.right:
            boxes.append(box)
    return tuple(boxes)


def _edges(
    opened: Opened, item: list[Element], order: Literal["little", "big"]
) -> tuple[int, ...] | None:
    values = {
        one.tag: int.from_bytes(opened.data[one.value : one.stop], order)
        for one in item
        if one.tag in _EDGES and one.stop - one.value == 4  # noqa: PLR2004 - bytes of a UL
    }
    return tuple(values[tag] for tag in _EDGES) if len(values) == len(_EDGES) else None
