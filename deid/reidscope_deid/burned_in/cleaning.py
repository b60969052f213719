"""Burned-in text: which images are looked at, what is blanked, and who looks after it.

    opened -> facts -> rule -> zones and found text -> blanked -> looked at again -> change

What is found on one frame is blanked on all. What is found again after blanking is blanked with a
wider margin, four times by the shipped policy (a scale bar goes tick by tick), and then the file is
refused. No detector of text that was measured finds low-contrast text over texture, so a change is
for review wherever its rule says so, and such a file never claims to be free of burned-in text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.burned_in.detector import text_detector
from reidscope_deid.burned_in.image import image_facts
from reidscope_deid.burned_in.mask import Box, mask_of, merged, outermost
from reidscope_deid.burned_in.rendering import pictures
from reidscope_deid.burned_in.stored import stored_pixels
from reidscope_deid.options import OPTIONS, PIXEL_DATA
from reidscope_deid.pixel_change import PixelChange
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reidscope_deid.burned_in.arrays import Array
    from reidscope_deid.burned_in.detector import TextDetector
    from reidscope_deid.burned_in.image import ImageFacts
    from reidscope_deid.burned_in.mask import Mask
    from reidscope_deid.burned_in.policy import DetectorSettings, PixelPolicy
    from reidscope_deid.burned_in.stored import Stored
    from reidscope_deid.part10 import Opened

_BURNED_IN_ANNOTATION = 0x00280301
_MOST = 4000  # boxes: sixteen frames of a page of print have fewer
_EDGES = 0.6  # share of a box, margin and all
_AGAIN = 4  # times the margin, around what is found after blanking


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What was done with the pixels of one file.

    Attributes
    ----------
    change : PixelChange
        For the engine.
    share : float
        Share of the image that is blanked, 0 to 1; in JPEG less than what its units make of it.
    boxes : tuple of Box
        Where text was found, and zones.
    why : str
        The rule's own words, for the review list.

    Privacy
    -------
    `boxes` say where text was, never what it said; they are for the site's own list
    (docs/privacy.md, "De-identification").
    """

    change: PixelChange
    share: float
    boxes: tuple[Box, ...]
    why: str


def clean_pixels(opened: Opened, policy: PixelPolicy) -> PixelChange | None:
    """Find burned-in text and blank it.

    Parameters
    ----------
    opened : Opened
        A file.
    policy : PixelPolicy
        From `load_policy`.

    Returns
    -------
    PixelChange or None
        None where the policy trusts such an image, and nobody looked at it.

    Raises
    ------
    QuarantinedError
        The policy refuses such an image, it declares text that is not found, text is still found
        after blanking, more is found than text can be, or the pixels cannot be blanked.
    UnsupportedError
        The detector is not installed.

    Privacy
    -------
    Text is not read. Low-contrast text over texture is not found: `PixelChange.review` says which
    outputs a person must look at (docs/privacy.md, "De-identification").
    """
    examined = examine(opened, policy)
    return None if examined is None else examined.change


def examine(opened: Opened, policy: PixelPolicy) -> Examined | None:
    """Do what `clean_pixels` does, and say where.

    Raises
    ------
    QuarantinedError
        As `clean_pixels`.
    UnsupportedError
        As `clean_pixels`.
    """
    image = image_facts(opened)
    rule = policy.rule_for(image)
    declared = image.declared == "YES"
    if rule.action == "refuse":
        raise QuarantinedError(Reason.BURNED_IN)
    if rule.action == "trust" and not declared:
        return None
    stored = stored_pixels(opened, image)
    boxes = policy.zones_for(image)
    fixed = mask_of(boxes, rows=image.rows, columns=image.columns)
    by_regions = rule.action == "blank-outside-regions"
    if by_regions and image.regions:
        fixed |= ~mask_of(image.regions, rows=image.rows, columns=image.columns)
    settings = policy.detector
    detector = text_detector()
    found = _look(stored, detector, settings)
    if declared and not found and not fixed.any():
        # It says that there is text: the detector has missed it.
        raise QuarantinedError(Reason.BURNED_IN)
    mask = _with(fixed, found, settings)
    if mask.any():
        stored, mask, again = _blanked(stored, mask, detector, settings)
        found += again
    review = (
        rule.review
        or declared
        or image.frames > settings.frames
        or (by_regions and not image.regions)
    )
    places = outermost([*boxes, *found])
    return Examined(
        change=PixelChange(
            codes=frozenset({OPTIONS[PIXEL_DATA].code}),
            samples=stored.samples() if mask.any() else None,
            elements={
                **(stored.elements() if mask.any() else {}),
                _BURNED_IN_ANNOTATION: None if review else (b"CS", b"NO"),
            },
            boxes=len(merged(places)) + (by_regions and bool(image.regions)),
            review=review,
        ),
        share=float(mask.mean()),
        boxes=tuple(places),
        why=rule.why,
    )


def _blanked(
    stored: Stored, mask: Mask, detector: TextDetector, settings: DetectorSettings
) -> tuple[Stored, Mask, list[Box]]:
    """Blank and look again, and blank what is found wider, as often as the policy says."""
    again: list[Box] = []
    for _ in range(settings.rounds + 1):
        new = stored.blanked(mask)
        left = _beyond(mask, _look(new, detector, settings))
        if not left:
            return new, mask, again
        left = [box.wider((_AGAIN - 1) * settings.margin) for box in left]
        mask = _with(mask, left, settings)
        again += left
    raise QuarantinedError(Reason.BURNED_IN)


def _beyond(mask: Mask, found: list[Box]) -> list[Box]:
    """Boxes of which enough is not blanked; others are the edges of what was blanked."""
    return [
        box
        for box in found
        if not mask[max(box.top, 0) : box.bottom, max(box.left, 0) : box.right].mean() > _EDGES
    ]


def _with(mask: Mask, found: list[Box], settings: DetectorSettings) -> Mask:
    rows, columns = mask.shape
    text = mask_of(found, rows=rows, columns=columns)
    if text.mean() > settings.largest_share or len(set(found)) > _MOST:
        # The detector takes the image itself for text: what it says of it means nothing.
        raise QuarantinedError(Reason.BURNED_IN)
    return np.asarray(mask | text, dtype=np.bool_)


def _look(stored: Stored, detector: TextDetector, settings: DetectorSettings) -> list[Box]:
    """Text on the frames that are looked at, with its margin."""
    return [
        box.wider(settings.margin)
        for frame in _frames(stored, settings.frames)
        for picture in pictures(
            frame, stored.image, fine=settings.fine_contrast, inverted=settings.inverted
        )
        for box in detector.boxes(picture)
    ]


def _frames(stored: Stored, most: int) -> Iterator[Array]:
    """All frames up to so many; else so many evenly spaced, and what is brightest and darkest."""
    image = stored.image
    chosen = np.linspace(0, image.frames - 1, min(most, image.frames)).round().astype(int)
    for index in sorted(set(chosen.tolist())):
        yield stored.frame(index)
    if image.frames > most and image.photometric != "PALETTE COLOR":
        yield from _extremes(stored, image)


def _extremes(stored: Stored, image: ImageFacts) -> Iterator[Array]:
    """Largest and smallest value of each sample over all frames: text that comes and goes."""
    high = low = stored.frame(0)
    for index in range(1, image.frames):
        frame = stored.frame(index)
        high, low = np.maximum(high, frame), np.minimum(low, frame)
    yield high
    yield low
