"""Page and figures beside a signed report, drawn again and compared.

A drawing differs in a last digit between machines: where its bytes do, a page and an SVG must still
say the same words, and a PNG show the same picture. Drawings by other versions are not compared.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.image import imread

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.report import Report
from reidscope_server.report.build import versions
from reidscope_server.report.figures import (
    FOLDER,
    drawn_as_svg,
    file_names,
    png_files,
    sketches,
    svg_files,
)
from reidscope_server.report.page import PAGE_FILE, page

Drawn = Literal[
    "same bytes", "same words", "same words and pictures", "drawn by other versions", "not there"
]
_SAME_SHADE = 8 / 255
"""Rounding of a smoothed edge; a changed digit is black on white."""

_COORDINATES = frozenset(
    {
        "clip-path",
        "d",
        "height",
        "id",
        "style",
        "transform",
        "viewbox",
        "width",
        "x",
        "xlink:href",
        "y",
    }
)
"""Attributes that hold coordinates, or names made from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrawn:
    """How far the page and the figures beside a report could be compared."""

    page: Drawn
    figures: Drawn


def redrawn(folder: Path, report: Report) -> Redrawn:
    """Draw again whatever lies in `folder`, and compare.

    Raises
    ------
    MalformedError
        The page or a figure says something else than `report`.
    """
    wanted = [name for name in (PAGE_FILE, *file_names(report)) if (folder / name).exists()]
    if not wanted:
        return Redrawn(page="not there", figures="not there")
    made = sketches(report)
    drawn = drawn_as_svg(made)
    files = {PAGE_FILE: page(report, drawn).encode(), **svg_files(drawn)}
    files |= png_files({n: made[n] for n in made if f"{FOLDER}/{n}.png" in wanted})
    pictures = [name for name in wanted if name != PAGE_FILE]
    return Redrawn(
        page=_state(folder, report, [PAGE_FILE] if PAGE_FILE in wanted else [], files),
        figures=_state(folder, report, pictures, files),
    )


def _state(folder: Path, report: Report, names: Sequence[str], files: Mapping[str, bytes]) -> Drawn:
    if not names:
        return "not there"
    there = {name: (folder / name).read_bytes() for name in names}
    others = [name for name in names if there[name] != files[name]]
    if not others:
        return "same bytes"
    if report.versions != versions():
        return "drawn by other versions"
    for name in others:
        same = _same_picture if name.endswith(".png") else _same_words
        if not same(there[name], files[name]):
            raise _differs(name)
    return "same words" if names == [PAGE_FILE] else "same words and pictures"


class _Words(HTMLParser):
    """Everything in a drawing but coordinates: tags, attributes and texts, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        said = (f'{name}="{value}"' for name, value in attrs if name not in _COORDINATES)
        self.found.append(" ".join([f"<{tag}", *said]))

    def handle_data(self, data: str) -> None:
        self.found += data.split()


def _words(content: bytes) -> list[str]:
    parser = _Words()
    parser.feed(content.decode(errors="replace"))
    parser.close()
    return parser.found


def _same_words(there: bytes, drawn: bytes) -> bool:
    return _words(there) == _words(drawn)


def _same_picture(there: bytes, drawn: bytes) -> bool:
    try:
        ours, theirs = imread(io.BytesIO(there), "png"), imread(io.BytesIO(drawn), "png")
    except (OSError, SyntaxError, ValueError):
        # What Pillow raises for bytes that are no PNG: then it shows no picture at all.
        return False
    return ours.shape == theirs.shape and bool(np.all(np.abs(ours - theirs) <= _SAME_SHADE))


def _differs(name: str) -> MalformedError:
    return MalformedError(
        name,
        got="other contents",
        expected="what the signed report says",
        do="rely on report.dsse.json alone, and write the others again from it",
    )
