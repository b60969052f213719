"""What every figure shares: one style, one set of colours, and three ways to be written down.

Okabe and Ito's colours, told apart by shape, fill and position too. In an SVG text stays text, in
the reader's own font, and nothing points anywhere: no link, no style sheet, no font. A PNG says
neither when nor by what it was made. Each is the same bytes for the same report.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

INK, QUIET, RULE, PAPER = "#1c2530", "#5a6572", "#d9dee3", "#ffffff"
VERMILLION, BLUE = "#d55e00", "#0072b2"
WIDTH_INCHES = 7.6
PNG_DOTS_PER_INCH = 300
_DEFACED = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a5c00", "#004d73")
_MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
LABEL_INCHES = 1.5
"""Room for a row's name, left of a chart that begins 1.62 inches from the edge."""

_FEWEST_LETTERS = 3
_HINTED = 1.08
"""Letters set on whole dots, or in a reader's own font, are wider than they were drawn."""

_TO_PATH = TextToPath()
_STYLE: dict[Any, Any] = {  # Any: matplotlib types its keys as a list of 300 literals
    "font.family": "DejaVu Sans",  # ships with matplotlib: lays out alike everywhere
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": QUIET,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 9.0,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "reidscope",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A figure that can be drawn as often as it is needed.

    Attributes
    ----------
    height_inches : float
        Its height; every figure is as wide as the page, 7.6 inches.
    draw : callable
        Draws on an empty figure of that size.
    """

    name: str
    height_inches: float
    draw: Callable[[Figure], None]

    def svg(self) -> str:
        """Write it as an SVG file."""
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        text = self._written("svg", transparent=True, metadata=nothing).decode()
        text = re.sub(r"<!DOCTYPE[^>]*>\s*", "", text)  # it names an address
        return re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)

    def png(self) -> bytes:
        """Write it as a PNG file on white, 300 dots an inch: ready for print."""
        return self._written(
            "png", dpi=PNG_DOTS_PER_INCH, facecolor=PAPER, metadata={"Software": None}
        )

    @contextmanager
    def drawn(self) -> Iterator[Figure]:
        """Draw it, in the style that holds as long as it is open."""
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(WIDTH_INCHES, self.height_inches), facecolor="none")
            self.draw(figure)
            yield figure

    def _written(self, kind: str, **options: Any) -> bytes:
        stream = io.BytesIO()
        with self.drawn() as figure:
            figure.savefig(stream, format=kind, **options)
        return stream.getvalue()


def inlined(name: str, svg: str) -> str:
    """Turn an SVG file's text into one that can be set into a page beside others."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)  # an SVG inside HTML needs none
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'((?:href="|url\()#)', rf"\1{name}-", text)
    return text.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)


def percent(share: float) -> str:
    """Write a share as whole percent; below 1% one digit more."""
    return f"{100 * share:.1f}%" if 0 < share < 0.01 else f"{100 * share:.0f}%"  # noqa: PLR2004 (1%)


def signed(points: float) -> str:
    """Write percentage points with their sign."""
    return minus(f"{points:+.0f}") if round(points) else "0"


def minus(number: str) -> str:
    """Set a real minus sign."""
    return number.replace("-", "\N{MINUS SIGN}")


def fitted(name: str, inches: float, *, after: str = "", points: float = 9.0) -> str:
    """Cut the middle out of a name until it fits: names of one family differ at their ends.

    Parameters
    ----------
    name : str
        Whatever a study or a site calls itself.
    inches : float
        Room for the name and what follows it.
    after : str
        Follows the name, whole.
    points : float
        Size of its letters.
    """
    said, letters = name + after, len(name)
    while _inches(said, points) > inches and letters > _FEWEST_LETTERS:
        letters -= 1
        tail = (letters - 1) // 2
        said = f"{name[: letters - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{name[-tail:]}{after}"
    return said


@lru_cache(maxsize=4096)
def _inches(text: str, points: float) -> float:
    font = FontProperties(family="DejaVu Sans", size=points)
    width, _, _ = _TO_PATH.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72 * _HINTED


def colour(arm: int) -> str:
    """Colour of an arm by its place; `unmodified` is the first."""
    return VERMILLION if arm == 0 else _DEFACED[(arm - 1) % len(_DEFACED)]


def point(arm: int, attacker: int, size: float) -> dict[str, Any]:
    """Marker of a rate: the shape says which arm, the fill which attacker (full, empty, half)."""
    return {
        "marker": "o" if arm == 0 else _MARKERS[(arm - 1) % len(_MARKERS)],
        "fillstyle": ("full", "none", "left")[attacker % 3],
        "markersize": size,
        "markeredgewidth": 1.2,
        "color": colour(arm),
        "linestyle": "none",
    }


def dodged(place: float, attacker: int, attackers: int, gap: float = 0.26) -> float:
    """Height of an attacker's line within an arm's row, where several share it."""
    return place + gap * (attacker - (attackers - 1) / 2)


def at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Place axes by inches from the figure's upper left corner."""
    wide, tall = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + height) / tall, width / wide, height / tall))


def rows(axes: Axes, names: Sequence[str], under: Sequence[str] = ()) -> None:
    """Name the rows of a chart, from above; `under` stands in small letters below each name."""
    beneath = list(under) + [""] * (len(names) - len(under))
    axes.set_yticks(range(len(names)), [""] * len(names))
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.spines[["left", "bottom"]].set_visible(False)
    for row, (name, more) in enumerate(zip(names, beneath, strict=True)):
        place: dict[str, Any] = {
            "xycoords": axes.get_yaxis_transform(),
            "textcoords": "offset points",
            "ha": "right",
            "va": "center",
        }
        axes.annotate(name, (0, row), (-7, 5 if more else 0), **place)
        if more:
            axes.annotate(more, (0, row), (-7, -6), color=QUIET, fontsize=7.5, **place)


def in_percent(axes: Axes) -> None:
    """Let the horizontal axis run from 0 to 100%."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100%"))
    axes.grid(axis="x", color=RULE, linewidth=0.6)
