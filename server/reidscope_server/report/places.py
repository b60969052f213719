"""Report -> the figure of places: what is known of the rate where an attacker knows the origin."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reidscope_protocols.report import Report
from reidscope_protocols.report_rows import CatchmentRate, Scope
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
from reidscope_server.report.readings import arms

SITES_DRAWN, ARMS_DRAWN = 10, 5
_LABELS = 1.62  # inches
_ROOMY = 1.5  # inches
_Place = tuple[Scope, str, int]


def places(report: Report) -> Sketch:
    """Draw, a panel an arm, the bounds of the rate at each place: thin lines are 95% intervals."""
    every = arms(report)[:ARMS_DRAWN]
    shown = _shown(report)
    words = max(len(arm.found) for arm in every)
    tall = (0.26 + 0.1 * words) * len(shown)
    wide = (7.6 - _LABELS - 0.1) / len(every)
    held = {(r.scope, r.place, r.people, r.arm, r.attacker): r for r in report.catchment}

    def panel(axes: Axes, place: int) -> None:
        arm = every[place]
        for height, where in enumerate(shown):
            for one, row in enumerate(arm.found):
                here = dodged(height, one, len(arm.found))
                _mark(axes, held[(*where, arm.name, row.attacker)], here, place, one)
        axes.set_xlim(-0.02, 1.02)
        # in narrow panels a "100" would run into the next one's "0"
        axes.set_xticks((0, 0.5, 1), ("0", "50", "100" if wide > _ROOMY else ""))
        axes.set_xlabel("% found")
        axes.grid(axis="x", color=RULE, linewidth=0.6)

    def draw(figure: Figure) -> None:
        for place, arm in enumerate(every):
            axes = at(figure, _LABELS + place * wide, 0.34, wide - 0.16, tall)
            panel(axes, place)
            names = [fitted(name, LABEL_INCHES) for _, name, _ in shown]
            beneath = [f"{people:,} people" for _, _, people in shown]
            rows(axes, [""] * len(shown) if place else names, () if place else beneath)
            axes.set_title(fitted(arm.name, wide - 0.1))

    return Sketch(name="places", height_inches=tall + 0.85, draw=draw)


def _mark(axes: Axes, row: CatchmentRate, here: float, arm: int, attacker: int) -> None:
    ink = colour(arm)
    axes.plot((row.low, row.high), (here, here), color=ink, linewidth=1)
    if row.basis == "measured":
        axes.plot(row.at_most, here, **point(arm, attacker, 5.0))
        return
    axes.plot(
        (row.at_least, row.at_most),
        (here, here),
        color=ink,
        alpha=0.35,
        linewidth=7,
        solid_capstyle="butt",
    )


def _shown(report: Report) -> list[_Place]:
    every = list(dict.fromkeys((row.scope, row.place, row.people) for row in report.catchment))
    sites = [place for place in every if place[0] == "site"][:SITES_DRAWN]
    return [*sites, *[place for place in every if place[0] != "site"][:SITES_DRAWN]]
