"""Report -> the joint table as it left the sites, added up: noisy counts, negative ones too."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reidscope_protocols.report import Report
from reidscope_server.report.drawing import (
    INK,
    PAPER,
    QUIET,
    RULE,
    Sketch,
    at,
    colour,
    fitted,
    minus,
    point,
    rows,
)
from reidscope_server.report.readings import arms, attackers, unmodified

COLUMNS_DRAWN = 6
"""Answers a person beyond which boxes are added up by how many of them are yes."""

_NUMBERED_CELLS = 18
_HEAT = LinearSegmentedColormap.from_list("counts", ["#f6f9fb", "#9cc9e3", "#0072b2", "#003a5c"])
_DARK = 0.5
_LEFT, _WIDE, _ROW, _DOTS = 1.75, 4.75, 0.36, 0.24  # inches


def counts(report: Report) -> Sketch:
    """Draw the joint table: a row a class of unmodified scans, a column a set of answers."""
    labels, summed = _over_groups(report)
    answers = [(arm.place, one) for arm in arms(report)[1:] for one in range(len(arm.found))]
    classes, across = len(unmodified(report)) + 1, 1 << len(answers)
    grid = [summed[row * across : (row + 1) * across] for row in range(classes)]
    added = len(answers) > COLUMNS_DRAWN
    if added:
        grid = [_by_number_of_yes(line, len(answers)) for line in grid]
    dots = _DOTS * (1 if added else len(answers))
    names = _answer_names(report)

    def draw(figure: Figure) -> None:
        shades = Normalize(0, max(1, summed[-1], *(count for line in grid for count in line)))
        tall = _ROW * classes
        boxes = at(figure, _LEFT, 0.3, _WIDE, tall)
        columns = len(grid[0])
        for row, line in enumerate(grid):
            for column, count in enumerate(line):
                _tile(boxes, (column, row), count, shades, numbered=columns <= _NUMBERED_CELLS)
        boxes.set_xlim(-0.5, columns - 0.5)
        rows(boxes, _class_names(labels, across))
        boxes.set_xticks(())
        boxes.set_title("found in the unmodified scan \N{DOWNWARDS ARROW}", color=QUIET)
        last = at(figure, _LEFT + _WIDE + 0.22, 0.3, 0.55, tall)
        _tile(last, (0, 0), summed[-1], shades, numbered=True)
        last.set_xlim(-0.5, 0.5)
        last.set_ylim(classes - 0.5, -0.5)
        last.set_xticks(())
        last.set_yticks(())
        last.set_title("no face", color=QUIET, loc="center")
        for axes in (boxes, last):
            axes.spines[:].set_visible(False)
        if added:
            boxes.set_xticks(range(columns), [str(yes) for yes in range(columns)])
            boxes.set_xlabel(f"found in how many of the {len(answers)} defaced readings")
        elif answers:
            _answers(at(figure, _LEFT, 0.4 + tall, _WIDE, dots), answers, names)

    height = 0.55 + _ROW * classes + dots + (0.2 if added else 0)
    return Sketch(name="counts", height_inches=height, draw=draw)


def _by_number_of_yes(line: Sequence[int], answers: int) -> list[int]:
    added = [0] * (answers + 1)
    for place, count in enumerate(line):
        added[place.bit_count()] += count
    return added


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
        ink = PAPER if shade > _DARK else "#a34700" if count < 0 else INK
        axes.text(column, row, minus(str(count)), ha="center", va="center", color=ink, size=8)


def _answers(axes: Axes, answers: Sequence[tuple[int, int]], names: Sequence[str]) -> None:
    across = 1 << len(answers)
    size = 5.5 if across <= _NUMBERED_CELLS else 2.6
    for row, (arm, _) in enumerate(answers):
        said = [(column >> (len(answers) - 1 - row)) & 1 for column in range(across)]
        for yes, ink in ((0, RULE), (1, colour(arm))):
            mark = {**point(arm, 1 - yes, size), "color": ink, "markeredgewidth": 0.8}
            columns = [column for column in range(across) if said[column] == yes]
            axes.plot(columns, [row] * len(columns), **mark)
    axes.set_xlim(-0.5, across - 0.5)
    rows(axes, names)
    axes.set_xticks(())
    axes.spines[:].set_visible(False)


def _answer_names(report: Report) -> list[str]:
    several = len(attackers(report)) > 1
    return [
        fitted(arm.name, _LEFT - 0.15, after=f", {row.attacker}" if several else "")
        for arm, row in ((arm, row) for arm in arms(report)[1:] for row in arm.found)
    ]


def _over_groups(report: Report) -> tuple[Sequence[str], list[int]]:
    """Labels without groups, and counts added over sites and groups."""
    table = report.tables[0]
    summed = [sum(column) for column in zip(*table.counts.values(), strict=True)]
    parts = max(1, len(report.by_group))
    one = len(summed) // parts
    prefix = f"{report.by_group[0].group};" if report.by_group else ""
    labels = [label.removeprefix(prefix) for label in table.cells[:one]]
    return labels, [sum(summed[place::one]) for place in range(one)]


def _class_names(labels: Sequence[str], across: int) -> list[str]:
    said = [label.split(";")[0].split("=")[1] for label in labels[:-1:across]]
    return ["lost" if size == "0" else f"among {int(size):,}" for size in said]
