"""A contact sheet: images of outputs for a person to look at, before anything is passed on.

Each image is flattened to 8 bits and made small; its caption says the last characters of its new
UID, and whether the record asks for a look at it. Nothing else of the file is on the sheet.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from html import escape
from importlib.resources import files as resources
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.review.thumbnails import frames_of, load_opencv, png
from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reidscope_deid.review.sampling import Drawn
    from reidscope_deid.review.thumbnails import Image

_COLUMNS, _ROWS = 5, 4
_MARGIN, _CAPTION = 10, 24  # pixels
_PAPER, _INK, _EMPTY = 255, 40, 235
_WARN = (28, 110, 217)  # blue, green, red
_UID_END = 8  # characters
_FRAMES = 3
_SMALLEST, _LARGEST = 64, 2048  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What was written.

    Attributes
    ----------
    pages : tuple of Path
        One for HTML; PNG has as many as it takes.
    files : int
        Outputs on it.
    images : int
        Frames on it.
    unseen : int
        Outputs whose samples could not be decoded: they are on it by name alone.
    """

    pages: tuple[Path, ...]
    files: int
    images: int
    unseen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    caption: str
    review: bool
    image: Image | None


def write_sheet(
    drawn: Sequence[Drawn], target: Path, *, size: int = 320, full_range: bool = False
) -> Sheet:
    """Write a contact sheet.

    Parameters
    ----------
    drawn : sequence of Drawn
        From `draw`.
    target : Path
        ``.png`` (further pages get a number) or ``.html`` (one file, whole in itself).
    size : int
        Longer side of an image, 64 to 2048 pixels.
    full_range : bool
        Show all grey values, not the file's window.

    Raises
    ------
    ConfigError
        Another ending, a size out of range, or no folder to write to.
    UnsupportedError
        OpenCV is not installed.

    Privacy
    -------
    Shows what the images show: a face, or text that was not found, is on the sheet too. For the
    site's own eyes (docs/privacy.md, "De-identification").
    """
    load_opencv()
    if not (target.parent.is_dir() and target.suffix in {".png", ".html"}):
        raise ConfigError(
            "the contact sheet",
            got="another ending, or no such folder",
            expected="FILE.png or FILE.html in a folder",
            do="name another file",
        )
    if not _SMALLEST <= size <= _LARGEST:
        raise ConfigError(
            "--size", got=f"{size}", expected=f"{_SMALLEST} to {_LARGEST}", do="choose another"
        )
    tiles: list[_Tile] = []
    unseen = 0
    for one in drawn:
        images = frames_of(one.path, size=size, most=_FRAMES, full_range=full_range)
        unseen += not images
        tiles += _tiles(one, images)
    if target.suffix == ".html":
        write_durably(target, _page(tiles, size).encode())
        pages = [target]
    else:
        pages = _write_pages(tiles, target, size)
    images_shown = sum(tile.image is not None for tile in tiles)
    return Sheet(pages=tuple(pages), files=len(drawn), images=images_shown, unseen=unseen)


def _tiles(one: Drawn, images: Sequence[Image]) -> list[_Tile]:
    name = f"..{one.uid[-_UID_END:]}"
    if not images:
        return [_Tile(caption=f"{name} not shown", review=one.review, image=None)]
    return [
        _Tile(
            caption=name if len(images) == 1 else f"{name} {index}/{len(images)}",
            review=one.review,
            image=image,
        )
        for index, image in enumerate(images, 1)
    ]


def _page(tiles: Sequence[_Tile], size: int) -> str:
    template = Template(
        resources("reidscope_deid").joinpath("review/contact_sheet.html").read_text("utf-8")
    )
    figures = "".join(
        f'<figure class="{"review" if tile.review else ""}">{_inlined(tile)}'
        f"<figcaption>{escape(tile.caption)}{' review' if tile.review else ''}</figcaption>"
        "</figure>"
        for tile in tiles
    )
    images = sum(tile.image is not None for tile in tiles)
    return template.substitute(figures=figures, size=size, images=images)


def _inlined(tile: _Tile) -> str:
    if tile.image is None:
        return '<div class="none">samples that could not be decoded</div>'
    data = base64.b64encode(png(tile.image)).decode("ascii")
    return f'<img alt="" src="data:image/png;base64,{data}">'


def _write_pages(tiles: Sequence[_Tile], target: Path, size: int) -> list[Path]:
    on_page = _COLUMNS * _ROWS
    pages = []
    for number in range(max(1, math.ceil(len(tiles) / on_page))):
        part = tiles[number * on_page : (number + 1) * on_page]
        path = target if number == 0 else target.with_stem(f"{target.stem}-{number + 1}")
        write_durably(path, png(_drawn(part, size)))
        pages.append(path)
    return pages


def _drawn(tiles: Sequence[_Tile], size: int) -> Image:
    cv2 = load_opencv()
    cell = size + _MARGIN
    rows = max(1, math.ceil(len(tiles) / _COLUMNS))
    height, width = rows * (cell + _CAPTION) + _MARGIN, _COLUMNS * cell + _MARGIN
    paper = np.full((height, width, 3), _PAPER, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, _COLUMNS)
        top, left = _MARGIN + row * (cell + _CAPTION), _MARGIN + column * cell
        paper[top : top + size, left : left + size] = _EMPTY
        if tile.image is not None:
            high, wide = tile.image.shape[:2]
            down, right = top + (size - high) // 2, left + (size - wide) // 2
            paper[down : down + high, right : right + wide] = tile.image
        colour = _WARN if tile.review else (_INK, _INK, _INK)
        words = f"{tile.caption} review" if tile.review else tile.caption
        place = (left, top + size + _CAPTION - 8)
        cv2.putText(paper, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return paper
