"""Report -> the figures that keep a rate honest: what a defacer costs beside what it hides."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reidscope_protocols.report import Damage, FailedGates, Report
from reidscope_server.report.drawing import (
    LABEL_INCHES,
    QUIET,
    RULE,
    VERMILLION,
    Sketch,
    at,
    colour,
    fitted,
    in_percent,
    percent,
    point,
    rows,
)
from reidscope_server.report.readings import Arm, arms, attackers, chance, estimable, spoken

_ROW = 0.42  # inches
_LABELS = 1.62
Price = Damage | FailedGates
_LOST = "people who lost 1% of the brain or more"
_FAILED = "people whose scan failed the gates"


def risk(report: Report) -> Sketch:
    """Draw each defacer as a point: people still found against what it cost.

    The cost is the share of people who lost 1% of the brain or more; the share of failed gates for
    defacers whose damage nobody asked for.
    """
    unmodified, *defaced = arms(report)
    panels = _panels(defaced)
    wide = 3.7 if len(panels) == 1 else 1.72
    tall = max(2.9, 0.4 + 0.5 * len(defaced))
    guess = chance(report, unmodified.found[0].gallery_size)
    highest = max(row.high for arm in (unmodified, *defaced) for row in arm.found)

    def draw(figure: Figure) -> None:
        for number, (label, priced) in enumerate(panels):
            axes = at(figure, 0.62 + number * (wide + 0.55), 0.38, wide, tall)
            whole = unmodified.found[0]
            axes.axhspan(whole.low, whole.high, color=VERMILLION, alpha=0.08, linewidth=0)
            axes.axhline(whole.rate, color=VERMILLION, linewidth=1, linestyle=(0, (4, 2)))
            axes.axhline(guess, color=QUIET, linewidth=1, linestyle=":")
            for arm, price in priced:
                _mark(axes, arm, price)
            right = max([0.05, *(price.high for _, price in priced)])
            _scaled(axes, right, highest, ticks=5 if len(panels) == 1 else 3)
            axes.set_xlabel(label if len(panels) == 1 else label.replace(" who", "\nwho")
                            .replace(" whose", "\nwhose"))  # fmt: skip
            if number == 0:
                axes.set_ylabel(f"people found among {unmodified.found[0].gallery_size:,} faces")
                axes.set_title("lower left is better: fewer found, at less cost", color=QUIET)
        _key(figure, unmodified, panels, attackers(report), guess, left=5.0)

    height = tall + (0.95 if len(panels) == 1 else 1.1)
    return Sketch(name="risk", height_inches=height, draw=draw)


def gates(report: Report) -> Sketch:
    """Draw each defacer's failed gates, and beside them how many people lost 1% of the brain."""
    _, *defaced = arms(report)
    asked = any(arm.serious for arm in defaced)
    tall = _ROW * len(defaced)
    wide = 1.6 if asked else 3.6

    def draw(figure: Figure) -> None:
        failed = at(figure, _LABELS, 0.38, wide, tall)
        _shares(failed, defaced, [arm.failed for arm in defaced])
        rows(failed, [fitted(arm.name, LABEL_INCHES) for arm in defaced])
        failed.set_title("Failed gates")
        failed.set_xlabel("people")
        if asked:
            lost = at(figure, _LABELS + wide + 1.4, 0.38, wide, tall)
            _shares(lost, defaced, [arm.serious for arm in defaced])
            rows(lost, [""] * len(defaced))
            lost.set_title("Lost 1% of the brain or more")
            lost.set_xlabel("people")

    return Sketch(name="gates", height_inches=0.95 + tall, draw=draw)


def _panels(defaced: Sequence[Arm]) -> list[tuple[str, list[tuple[Arm, Price]]]]:
    lost: list[tuple[Arm, Price]] = [(arm, arm.serious) for arm in defaced if arm.serious]
    unasked: list[tuple[Arm, Price]] = [
        (arm, arm.failed) for arm in defaced if arm.failed and not arm.serious
    ]
    return [(label, priced) for label, priced in ((_LOST, lost), (_FAILED, unasked)) if priced]


def _mark(axes: Axes, arm: Arm, price: Price) -> None:
    ink = colour(arm.place)
    rates = [row.rate for row in arm.found]
    axes.plot((price.rate, price.rate), (min(rates), max(rates)), color=ink, linewidth=0.8)
    for one, row in enumerate(arm.found):
        axes.plot(
            (price.low, price.high), (row.rate, row.rate), color=ink, alpha=0.3, linewidth=1.4
        )
        axes.plot(
            (price.rate, price.rate), (row.low, row.high), color=ink, alpha=0.3, linewidth=1.4
        )
        if estimable(price) and estimable(row):
            axes.plot(price.rate, row.rate, zorder=3, **point(arm.place, one, 7.5))


def _scaled(axes: Axes, right: float, top: float, *, ticks: int) -> None:
    axes.set_xlim(-0.04 * right, 1.05 * right)
    axes.set_ylim(-0.04 * top, 1.06 * top)
    for axis, most, end in ((axes.xaxis, ticks, right), (axes.yaxis, 5, top)):
        places = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(0, end)
        shown = [float(place) for place in places if 0 <= place <= end]
        axis.set_ticks(shown, [percent(place) for place in shown])
    axes.grid(color=RULE, linewidth=0.6)


def _key(
    figure: Figure,
    unmodified: Arm,
    panels: Sequence[tuple[str, list[tuple[Arm, Price]]]],
    words: Sequence[str],
    guess: float,
    *,
    left: float,
) -> None:
    """Name the points beside the chart, where no name can cover another."""
    entries: list[tuple[Arm, str]] = [(unmodified, "")]
    for label, priced in panels:
        said = "lost 1%+" if label == _LOST else "failed gates"
        for arm, price in priced:
            beside = f", {spoken(price)} {said}"
            if label == _LOST and arm.failed:
                beside += f"\n{spoken(arm.failed)} failed gates"
            entries.append((arm, beside))
    entries.sort(key=lambda entry: entry[0].place)
    tall = figure.get_size_inches()[1] - 0.5
    axes = at(figure, left, 0.3, 7.6 - left, tall)
    axes.set_axis_off()
    axes.set_xlim(0, 7.6 - left)
    axes.set_ylim(tall, 0)
    height = 0.1
    for arm, beside in entries:
        axes.plot(0.1, height, **point(arm.place, 0, 6.5))
        axes.text(0.26, height, fitted(arm.name, 7.2 - left), va="center")
        found = " / ".join(spoken(row) for row in arm.found)
        axes.text(0.26, height + 0.1, f"{found} found{beside}", va="top", color=QUIET, fontsize=7.5)
        height += 0.5 if "\n" in beside else 0.4
    if len(words) > 1:
        for one, word in enumerate(words):
            axes.plot(0.1, height, **{**point(1, one, 5.5), "color": QUIET})
            axes.text(0.26, height, f"{word} attacker", va="center", color=QUIET, fontsize=8)
            height += 0.2
    axes.plot((0.0, 0.18), (height, height), color=QUIET, linewidth=1, linestyle=":")
    axes.text(0.26, height, f"by chance, {percent(guess)}", va="center", color=QUIET, fontsize=8)


def _shares(axes: Axes, defaced: Sequence[Arm], priced: Sequence[Price | None]) -> None:
    for row, (arm, price) in enumerate(zip(defaced, priced, strict=True)):
        said = "not asked"
        if price:
            axes.plot(
                (price.low, price.high),
                (row, row),
                color=colour(arm.place),
                alpha=0.3,
                linewidth=9,
                solid_capstyle="butt",
            )
            if estimable(price):
                axes.plot(price.rate, row, **point(arm.place, 0, 6.5))
            said = f"{spoken(price)} ({100 * price.low:.0f} to {percent(price.high)})"
        axes.text(
            1.04,
            row,
            said,
            transform=axes.get_yaxis_transform(),
            va="center",
            color=None if price else QUIET,
        )
    in_percent(axes)
