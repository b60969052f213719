"""Figures of the opt-in tables: thresholds, and galleries beyond the reference.

What was measured is drawn full and solid; what a model says is hollow and dashed, in a hatched
band, right of a line; what needs no model is the pale band behind it.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reidscope_protocols.report import Report
from reidscope_server.report.drawing import (
    BLUE,
    QUIET,
    RULE,
    VERMILLION,
    Sketch,
    at,
    fitted,
    in_percent,
    percent,
    rows,
)
from reidscope_server.report.readings import attackers, measured
from reidscope_server.report.tail_words import (
    MODELS,
    Beyond,
    Threshold,
    beyond,
    gates_said,
    thresholds,
)

MOST_ROWS = 60
_ACROSS = 3
_ROW = 0.3  # inches
_WIDE, _TALL = 1.95, 1.9
_LABELS = 3.2
_INKS = {"gpd": BLUE, "normal": "#009e73"}
_BASES = {"extrapolated": "extrap.", "model-based": "model"}
_MARKS = {"gpd": "s", "normal": "D"}


def threshold_plot(report: Report) -> Sketch:
    """Draw the rows of the tables of u, the first sixty of them."""
    shown = thresholds(report)[:MOST_ROWS]
    tall = _ROW * len(shown)
    several = len(attackers(report)) > 1

    def draw(figure: Figure) -> None:
        axes = at(figure, _LABELS, 0.38, 3.0, tall)
        for place, one in enumerate(shown):
            axes.plot(
                (one.row.low, one.row.high),
                (place, place),
                color=VERMILLION,
                alpha=0.3,
                linewidth=7,
                solid_capstyle="butt",
            )
            axes.plot(one.row.rate, place, marker="o", color=VERMILLION, markersize=5)
            said = f"{percent(one.row.rate)} ({percent(one.row.low)} to {percent(one.row.high)})"
            axes.text(1.04, place, said, transform=axes.get_yaxis_transform(), va="center")
        in_percent(axes)
        names = [fitted(_named(one, several=several), _LABELS - 0.2, points=8.5) for one in shown]
        rows(axes, names, [gates_said(report, one.arm).strip(" ()") for one in shown])
        axes.set_xlabel("people")
        axes.set_title("A threshold for each probe", pad=10)

    return Sketch(name="thresholds", height_inches=0.95 + tall, draw=draw)


def _named(one: Threshold, *, several: bool) -> str:
    return f"{one.arm}{f' ({one.attacker})' if several else ''}, {one.question}"


def beyond_plot(report: Report) -> Sketch:
    """Draw each column from the measured galleries to those that a model speaks for."""
    far = beyond(report)
    columns = list(dict.fromkeys((one.first.arm, one.first.attacker) for one in far))
    bands = -(-len(columns) // _ACROSS)

    def draw(figure: Figure) -> None:
        for number, column in enumerate(columns):
            left = 0.5 + number % _ACROSS * (_WIDE + 0.5)
            top = 0.75 + number // _ACROSS * (_TALL + 1.0)
            mine = [one for one in far if (one.first.arm, one.first.attacker) == column]
            axes = at(figure, left, top, _WIDE, _TALL)
            _panel(axes, report, column, mine)
            failed = gates_said(report, column[0]).strip(" ()")
            axes.set_title(fitted(", ".join(column), _WIDE) + (f"\n{failed}" if failed else ""))
        _key(figure)

    return Sketch(name="beyond", height_inches=0.45 + bands * (_TALL + 1.0), draw=draw)


def _panel(axes: Axes, report: Report, column: tuple[str, str], far: list[Beyond]) -> None:
    seen = [row for row in measured(report) if (row.arm, row.attacker) == column]
    places = range(len(seen))
    for place, row in zip(places, seen, strict=True):
        axes.plot((place, place), (row.low, row.high), color=VERMILLION, linewidth=1.6)
    axes.plot(places, [row.rate for row in seen], color=VERMILLION, marker="o", linewidth=2)
    ahead = range(len(seen), len(seen) + len(far))
    low, high = [one.low for one in far], [one.high for one in far]
    # what needs no model reaches from the line to the edge, at the height of the measured bound
    axes.fill_between(
        (len(seen) - 0.5, len(seen) + len(far) - 0.4),
        0,
        far[0].bound,
        color=RULE,
        alpha=0.55,
        linewidth=0,
    )
    for place, bottom, top in zip(ahead, low, high, strict=True):
        axes.bar(
            place,
            top - bottom,
            bottom=bottom,
            width=0.4,
            facecolor="none",
            edgecolor=QUIET,
            hatch="////",
            linewidth=0.4,
        )
    for tail in MODELS:
        rates = [row.rate for one in far for row in one.rows if row.tail == tail]
        axes.plot(
            ahead,
            rates,
            color=_INKS[tail],
            marker=_MARKS[tail],
            fillstyle="none",
            linestyle=(0, (3, 2)),
        )
    axes.axvline(len(seen) - 0.5, color=QUIET, linewidth=1, linestyle=(0, (1, 2)))
    axes.text(len(seen) - 0.45, 1.0, "not measured", color=QUIET, fontsize=7.5, va="top")
    named = [_short(row.gallery_size) for row in seen]
    named += [f"{_short(one.first.gallery_size)}\n{_BASES[one.first.basis]}" for one in far]
    axes.set_xticks(range(len(named)), named, fontsize=7)
    axes.set_xlim(-0.4, len(named) - 0.4)
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks((0, 0.5, 1), ("0", "50", "100%"))
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("faces in the gallery")


def _short(size: int) -> str:
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if size >= unit and size % unit == 0:
            return f"{size // unit}{letter}"
    return f"{size:,}"


def _key(figure: Figure) -> None:
    marks = [
        Line2D([], [], color=VERMILLION, marker="o", label="measured"),
        *(
            Line2D(
                [],
                [],
                color=_INKS[tail],
                marker=_MARKS[tail],
                fillstyle="none",
                linestyle=(0, (3, 2)),
                label=said,
            )
            for tail, said in MODELS.items()
        ),
        Patch(facecolor="none", edgecolor=QUIET, hatch="////", label="both models' intervals"),
        Patch(facecolor=RULE, label="without a model"),
    ]
    figure.legend(
        handles=marks, loc="upper left", ncols=5, frameon=False, fontsize=7.5, columnspacing=1.0
    )
