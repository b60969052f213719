"""Report -> the figure of groups: each group's shares beside those of everybody, a panel an arm."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reidscope_protocols.report import Report
from reidscope_server.report.drawing import (
    LABEL_INCHES,
    RULE,
    Sketch,
    at,
    colour,
    dodged,
    fitted,
    point,
    rows,
)
from reidscope_server.report.plots import PANELS_A_BAND, attackers_key
from reidscope_server.report.readings import Arm, arms, attackers, estimable

_LABELS, _WIDE = 1.62, 7.6  # inches
_ROOMY = 1.5  # inches


def groups(report: Report) -> Sketch:
    """Draw each group's shares and everybody's, a panel an arm, at the smallest gallery."""
    every, words = arms(report), attackers(report)
    bands = [every[i : i + PANELS_A_BAND] for i in range(0, len(every), PANELS_A_BAND)]
    names = [fitted(each.group, LABEL_INCHES) for each in report.by_group]
    tall = (0.24 + 0.09 * len(words)) * (len(names) + 1)
    head = 0.3 if len(words) > 1 else 0.05
    wide = (_WIDE - _LABELS - 0.1) / min(len(every), PANELS_A_BAND)

    def panel(axes: Axes, arm: Arm) -> None:
        ink = colour(arm.place)
        for one, whole in enumerate(arm.found):
            alike = (whole.arm, whole.attacker, whole.gallery_size)
            theirs = [
                next(
                    row
                    for row in each.identification
                    if (row.arm, row.attacker, row.gallery_size) == alike
                )
                for each in report.by_group
            ]
            axes.axvspan(whole.low, whole.high, color=ink, alpha=0.1, linewidth=0)
            axes.axvline(whole.rate, color=ink, linewidth=0.8, linestyle=(0, (3, 2)))
            for place, row in enumerate([*theirs, whole]):
                here = dodged(place, one, len(arm.found))
                axes.plot((row.low, row.high), (here, here), color=ink, linewidth=1)
                if estimable(row):
                    axes.plot(row.rate, here, **point(arm.place, one, 4.5))
        axes.axhline(len(names) - 0.5, color=RULE, linewidth=0.8)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks((0, 0.5, 1), ("0", "50", "100" if wide > _ROOMY else ""))
        axes.set_xlabel("% found")
        axes.grid(axis="x", color=RULE, linewidth=0.6)

    def draw(figure: Figure) -> None:
        if len(words) > 1:
            attackers_key(figure, words)
        for number, band in enumerate(bands):
            top = head + 0.35 + number * (tall + 0.95)
            for column, arm in enumerate(band):
                axes = at(figure, _LABELS + column * wide, top, wide - 0.16, tall)
                panel(axes, arm)
                rows(axes, [""] * (len(names) + 1) if column else [*names, "everybody"])
                over: dict[str, Any] = {"transform": axes.transAxes, "va": "bottom"}
                axes.text(0, 1 + 0.06 / tall, fitted(arm.name, wide - 0.1), **over)

    return Sketch(name="groups", height_inches=head + len(bands) * (tall + 0.95) - 0.1, draw=draw)
