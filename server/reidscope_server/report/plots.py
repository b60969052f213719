"""Report -> figures: SVG text to be set into a page, the same bytes for the same report.

Okabe and Ito's colours, told apart by shape and position too; text stays text, in the reader's own
font. Nothing in an SVG points anywhere: no link, no style sheet, no font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reidscope_protocols.report import Identification, Report, ReportedTable
from reidscope_protocols.vocabulary import UNMODIFIED

INK, QUIET, RULE, PAPER = "#1c2530", "#5a6572", "#d9dee3", "#ffffff"
VERMILLION, BLUE = "#d55e00", "#0072b2"
SITES_DRAWN, ARMS_DRAWN, DEFACERS_DRAWN = 40, 5, 5
_DEFACED = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a5c00", "#004d73")
_MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
_WIDTH_INCHES = 7.6
_LABEL_LETTERS = 22
_NUMBERED_CELLS = 18
_HEAT = LinearSegmentedColormap.from_list("counts", ["#f6f9fb", "#9cc9e3", "#0072b2", "#003a5c"])
_DARK = 0.5
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


def percent(share: float) -> str:
    """Write a share as whole percent; below 1% one digit more."""
    return f"{100 * share:.1f}%" if 0 < share < 0.01 else f"{100 * share:.0f}%"  # noqa: PLR2004 (1%)


def rates(report: Report) -> str:
    """Draw the shares found: over gallery sizes, and by arm at the smallest one."""
    unmodified, arms = _unmodified(report), _smallest(report)

    def draw(figure: Figure) -> None:
        grid = figure.add_gridspec(
            1, 2, width_ratios=(1, 1.15), wspace=0.6, left=0.075, right=0.93, top=0.88, bottom=0.2
        )
        _curve(figure.add_subplot(grid[0, 0]), unmodified)
        _by_arm(figure.add_subplot(grid[0, 1]), arms)

    return _svg("rates", max(3.3, 1.5 + 0.36 * len(arms)), draw)


def effects(report: Report) -> str:
    """Draw the paired effect of each defacer, in percentage points."""
    rows = report.comparisons

    def draw(figure: Figure) -> None:
        height = figure.get_size_inches()[1]
        axes = figure.add_axes((0.2, 0.5 / height, 0.5, 1 - 0.85 / height))
        axes.axvline(0, color=QUIET, linewidth=1)
        for row, compared in enumerate(rows):
            low, mid, high = (100 * x for x in (compared.low, compared.difference, compared.high))
            colour = BLUE if high < 0 else VERMILLION if low > 0 else QUIET
            axes.barh(row, mid, height=0.5, color=colour, alpha=0.18)
            axes.plot((low, high), (row, row), color=colour, linewidth=2.2, solid_capstyle="butt")
            axes.plot(mid, row, marker=_marker(row + 1), color=colour, markersize=7)
            axes.text(
                1.04,
                row,
                f"{_signed(mid)} points ({_signed(low)} to {_signed(high)})",
                transform=axes.get_yaxis_transform(),
                va="center",
            )
        ends = [100 * end for c in rows for end in (c.low, c.high)]
        axes.set_xlim(min([-10.0, *ends]) - 4, max([10.0, *ends]) + 4)
        _rows(axes, [_short(compared.arm) for compared in rows])
        axes.set_xlabel("change in people found of 100 (percentage points)")
        axes.set_title("\N{LEFTWARDS ARROW} fewer found", color=BLUE)
        axes.set_title("more found \N{RIGHTWARDS ARROW}", color=VERMILLION, loc="right")

    return _svg("effects", 1.15 + 0.42 * max(len(rows), 1), draw)


def forest(report: Report) -> str:
    """Draw each site's shares and the pooled ones, at the smallest gallery."""
    pooled = _smallest(report)[:ARMS_DRAWN]
    names = [site.site for site in report.sites if site.subjects][:SITES_DRAWN]
    alone = {(row.site, row.arm, row.gallery_size): row for row in report.by_site}
    count = len(names)

    def draw(figure: Figure) -> None:
        height = figure.get_size_inches()[1]
        grid = figure.add_gridspec(
            1,
            len(pooled),
            wspace=0.18,
            left=0.2,
            right=0.98,
            top=1 - 0.32 / height,
            bottom=0.5 / height,
        )
        for column, whole in enumerate(pooled):
            axes, colour = figure.add_subplot(grid[0, column]), _colour(column)
            axes.axvspan(whole.low, whole.high, color=colour, alpha=0.12, linewidth=0)
            axes.axvline(whole.rate, color=colour, linewidth=0.8, linestyle=(0, (3, 2)))
            for row, site in enumerate(names):
                here = alone[site, whole.arm, whole.gallery_size]
                axes.plot((here.low, here.high), (row, row), color=colour, linewidth=1.6)
                axes.plot(here.rate, row, marker=_marker(column), color=colour, markersize=5)
            axes.fill(
                (whole.low, whole.rate, whole.high, whole.rate),
                (count, count - 0.28, count, count + 0.28),
                color=colour,
                linewidth=0,
            )
            axes.axhline(count - 0.5, color=RULE, linewidth=0.8)
            axes.set_xlim(-0.02, 1.02)
            axes.set_xticks((0, 0.5, 1), ("0", "50", "100" if len(pooled) < ARMS_DRAWN else ""))
            axes.set_xlabel("% found")
            axes.grid(axis="x", color=RULE, linewidth=0.6)
            _rows(axes, [*map(_short, names), "all sites"] if column == 0 else [""] * (count + 1))
            axes.set_title(_short(whole.arm, 80 // len(pooled) - 6))

    return _svg("forest", 1.0 + 0.34 * (count + 1), draw)


def counts(report: Report) -> str:
    """Draw the joint table as it left the sites, added up: noisy counts, negative ones too."""
    table = report.tables[0]
    summed = [sum(column) for column in zip(*table.counts.values(), strict=True)]
    defacers = [row.arm for row in _smallest(report)[1:]]
    classes = len(_unmodified(report)) + 1
    across = 1 << len(defacers)
    shades = Normalize(0, max(1, *summed))

    def draw(figure: Figure) -> None:
        height = figure.get_size_inches()[1]
        tall = 0.36 * classes / height
        dots = 0.24 * len(defacers) / height
        top = 1 - 0.3 / height
        left, wide = 0.2, 0.68
        grid = figure.add_axes((left, top - tall, wide, tall))
        for row, column in product(range(classes), range(across)):
            count = summed[row * across + column]
            _tile(grid, (column, row), count, shades, numbered=across <= _NUMBERED_CELLS)
        grid.set_xlim(-0.5, across - 0.5)
        _rows(grid, _class_names(table, across))
        grid.set_xticks(())
        grid.set_title("found in the unmodified scan \N{DOWNWARDS ARROW}", color=QUIET)
        last = figure.add_axes((left + wide + 0.03, top - tall, 0.07, tall))
        _tile(last, (0, 0), summed[-1], shades, numbered=True)
        last.set_xlim(-0.5, 0.5)
        last.set_ylim(classes - 0.5, -0.5)
        last.set_xticks(())
        last.set_yticks(())
        last.set_title("no face", color=QUIET, loc="center")
        for axes in (grid, last):
            axes.spines[:].set_visible(False)
        if defacers:
            below = figure.add_axes((left, top - tall - dots - 0.1 / height, wide, dots))
            _answers(below, defacers, across)

    return _svg("counts", 0.75 + 0.36 * classes + 0.24 * len(defacers), draw)


def _curve(axes: Axes, rows: Sequence[Identification]) -> None:
    places = range(len(rows))
    axes.fill_between(
        places,
        [row.low for row in rows],
        [row.high for row in rows],
        color=VERMILLION,
        alpha=0.15,
        linewidth=0,
    )
    axes.plot(places, [row.rate for row in rows], color=VERMILLION, marker="o", linewidth=2)
    for place, row in zip(places, rows, strict=True):
        axes.plot((place, place), (row.low, row.high), color=VERMILLION, linewidth=1.4)
        axes.annotate(percent(row.rate), (place, row.rate), (7, 3), textcoords="offset points")
    axes.plot(
        places,
        [1 / row.gallery_size for row in rows],
        color=QUIET,
        linestyle=(0, (1, 2)),
        marker="_",
    )
    axes.annotate(
        "by chance",
        (0, 1 / rows[0].gallery_size),
        (0, 5),
        textcoords="offset points",
        color=QUIET,
        fontsize=8,
    )
    axes.set_xlim(-0.3, len(rows) - 0.5)
    axes.set_xticks(list(places), [f"{row.gallery_size:,}" for row in rows])
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100%"))
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("faces in the gallery")
    axes.set_title("Unmodified scans", pad=14)


def _by_arm(axes: Axes, rows: Sequence[Identification]) -> None:
    size = rows[0].gallery_size
    axes.axvline(1 / size, color=QUIET, linestyle=(0, (1, 2)))
    for place, row in enumerate(rows):
        colour = _colour(place)
        axes.plot(
            (row.low, row.high),
            (place, place),
            color=colour,
            alpha=0.3,
            linewidth=9,
            solid_capstyle="butt",
        )
        axes.plot(row.rate, place, marker=_marker(place), color=colour, markersize=7)
        axes.text(1.04, place, percent(row.rate), transform=axes.get_yaxis_transform(), va="center")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100%"))
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    _rows(axes, [_short(row.arm, 15) for row in rows])
    axes.set_xlabel("people found")
    axes.set_title(f"Every arm, {size:,} faces", pad=14)


def _tile(
    axes: Axes, place: tuple[int, int], count: int, shades: Normalize, *, numbered: bool
) -> None:
    column, row = place
    shade = float(shades(max(count, 0)))
    corner = (column - 0.47, row - 0.45)
    axes.add_patch(
        Rectangle(corner, 0.94, 0.9, facecolor=_HEAT(shade), edgecolor=RULE, linewidth=0.4)
    )
    if numbered:
        colour = PAPER if shade > _DARK else "#a34700" if count < 0 else INK
        axes.text(column, row, _minus(str(count)), ha="center", va="center", color=colour, size=8)


def _answers(axes: Axes, defacers: Sequence[str], across: int) -> None:
    for column, said in enumerate(product((False, True), repeat=len(defacers))):
        for row, found in enumerate(said):
            colour = _colour(row + 1)
            axes.plot(
                column,
                row,
                marker=_marker(row + 1),
                markersize=5.5 if across <= _NUMBERED_CELLS else 3,
                color=colour if found else "none",
                markeredgecolor=colour if found else RULE,
            )
    axes.set_xlim(-0.5, across - 0.5)
    _rows(axes, [f"after {_short(arm, 16)}" for arm in defacers])
    axes.set_xticks(())
    axes.spines[:].set_visible(False)


def _class_names(table: ReportedTable, across: int) -> list[str]:
    said = [label.split(";")[0].split("=")[1] for label in table.cells[:-1:across]]
    return ["lost" if size == "0" else f"among {int(size):,}" for size in said]


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.spines[["left", "bottom"]].set_visible(False)


def _unmodified(report: Report) -> list[Identification]:
    return [row for row in report.identification if row.arm == UNMODIFIED]


def _smallest(report: Report) -> list[Identification]:
    size = report.identification[0].gallery_size
    return [row for row in report.identification if row.gallery_size == size]


def _colour(place: int) -> str:
    return VERMILLION if place == 0 else _DEFACED[(place - 1) % len(_DEFACED)]


def _marker(place: int) -> str:
    return "o" if place == 0 else _MARKERS[(place - 1) % len(_MARKERS)]


def _short(name: str, letters: int = _LABEL_LETTERS) -> str:
    """Cut the middle out: names of one family differ at their ends."""
    if len(name) <= letters:
        return name
    tail = (letters - 1) // 2
    return f"{name[: letters - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{name[-tail:]}"


def _minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def _signed(points: float) -> str:
    return _minus(f"{points:+.0f}") if round(points) else "0"


def _svg(name: str, height_inches: float, draw: Callable[[Figure], None]) -> str:
    stream = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, height_inches), facecolor="none")
        draw(figure)
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", metadata=nothing, transparent=True)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)  # an SVG inside HTML needs none
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'((?:href="|url\()#)', rf"\1{name}-", text)
    return text.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
