"""Report -> the figures about how many people are found: rates, effects, and each site's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reidscope_protocols.report import FailedGates, Identification, Report
from reidscope_protocols.report_rows import OverSites
from reidscope_server.report.drawing import (
    BLUE,
    LABEL_INCHES,
    QUIET,
    RULE,
    VERMILLION,
    Sketch,
    at,
    colour,
    dodged,
    fitted,
    in_percent,
    percent,
    point,
    rows,
    signed,
)
from reidscope_server.report.readings import (
    Arm,
    arms,
    attackers,
    chance,
    estimable,
    spoken,
    unmodified,
)

SITES_DRAWN, PANELS_A_BAND = 40, 5
_LABELS = 1.62  # inches
_ROOMY = 1.5  # inches
_ALL = 100  # percentage points


def rates(report: Report) -> Sketch:
    """Draw the shares found: over gallery sizes, and by arm and attacker at the smallest one."""
    every, words = arms(report), attackers(report)
    tall = _row_inches(words) * len(every)

    def draw(figure: Figure) -> None:
        _curve(at(figure, 0.55, 0.42, 2.25, 2.3), report)
        axes = at(figure, 4.62, 0.42, 1.75, tall)
        axes.axvline(chance(report, every[0].found[0].gallery_size), color=QUIET, linestyle=":")
        for arm in every:
            for one, row in enumerate(arm.found):
                here = dodged(arm.place, one, len(arm.found))
                axes.plot(
                    (row.low, row.high),
                    (here, here),
                    color=colour(arm.place),
                    alpha=0.3,
                    linewidth=9 if len(words) == 1 else 6,
                    solid_capstyle="butt",
                )
                if estimable(row):
                    axes.plot(row.rate, here, **point(arm.place, one, 6.5))
                said = spoken(row) + (f" {row.attacker}" if len(words) > 1 else "")
                axes.text(1.05, here, said, transform=axes.get_yaxis_transform(), va="center")
        in_percent(axes)
        rows(axes, [fitted(arm.name, LABEL_INCHES) for arm in every], gates_beside(every))
        axes.set_xlabel("people found")
        axes.set_title(f"Every arm, {every[0].found[0].gallery_size:,} faces", pad=12)

    return Sketch(name="rates", height_inches=max(3.3, 1.0 + tall), draw=draw)


def effects(report: Report) -> Sketch:
    """Draw the paired effect of each defacer, in percentage points."""
    defaced, words = arms(report)[1:], attackers(report)
    tall = _row_inches(words) * len(defaced)
    ends = [100 * end for c in report.comparisons for end in (c.low, c.high)]

    def draw(figure: Figure) -> None:
        axes = at(figure, _LABELS, 0.38, 3.45, tall)
        axes.axvline(0, color=QUIET, linewidth=1)
        for row, arm in enumerate(defaced):
            for one, compared in enumerate(arm.compared):
                here = dodged(row, one, len(arm.compared))
                low, mid, high = (
                    100 * x for x in (compared.low, compared.difference, compared.high)
                )
                ink = BLUE if high < 0 else VERMILLION if low > 0 else QUIET
                if low <= -_ALL and high >= _ALL:
                    axes.plot((low, high), (here, here), color=ink, linewidth=2)
                    axes.text(
                        1.03,
                        here,
                        "not estimable",
                        transform=axes.get_yaxis_transform(),
                        va="center",
                    )
                    continue
                axes.barh(here, mid, height=0.5 / len(words), color=ink, alpha=0.18)
                axes.plot((low, high), (here, here), color=ink, linewidth=2, solid_capstyle="butt")
                axes.plot(mid, here, **{**point(arm.place, one, 6.5), "color": ink})
                said = f"{signed(mid)} ({signed(low)} to {signed(high)})"
                said += f" {compared.attacker}" if len(words) > 1 else ""
                axes.text(1.03, here, said, transform=axes.get_yaxis_transform(), va="center")
        axes.set_xlim(min([-10.0, *ends]) - 4, max([10.0, *ends]) + 4)
        rows(axes, [fitted(arm.name, LABEL_INCHES) for arm in defaced], gates_beside(defaced))
        axes.set_xlabel("change in people found of 100 (percentage points)")
        axes.set_title("\N{LEFTWARDS ARROW} fewer found", color=BLUE)
        axes.set_title("more found \N{RIGHTWARDS ARROW}", color=VERMILLION, loc="right")

    return Sketch(name="effects", height_inches=0.95 + tall, draw=draw)


def forest(report: Report) -> Sketch:
    """Draw each site's shares and the pooled ones, a panel an arm, at the smallest gallery."""
    every, words = arms(report), attackers(report)
    bands = [every[i : i + PANELS_A_BAND] for i in range(0, len(every), PANELS_A_BAND)]
    names = [site.site for site in report.sites if site.subjects][: sites_drawn(report)]
    shown = [fitted(name, LABEL_INCHES) for name in names]
    sample = {(row.arm, row.attacker, row.gallery_size): row for row in report.over_sites}
    totals = ["these sites", *(["sites like these"] if sample else [])]
    alone = {(row.site, row.arm, row.attacker, row.gallery_size): row for row in report.by_site}
    tall = (0.24 + 0.09 * len(words)) * (len(names) + len(totals))
    head = 0.3 if len(words) > 1 else 0.05
    wide = (7.6 - _LABELS - 0.1) / min(len(every), PANELS_A_BAND)

    def panel(axes: Axes, arm: Arm) -> None:
        for one, whole in enumerate(arm.found):
            axes.axvspan(whole.low, whole.high, color=colour(arm.place), alpha=0.1, linewidth=0)
            axes.axvline(whole.rate, color=colour(arm.place), linewidth=0.8, linestyle=(0, (3, 2)))
            here = dodged(len(names), one, len(arm.found))
            _diamond(axes, whole, here, len(words), colour(arm.place), full=True)
            over = sample.get((whole.arm, whole.attacker, whole.gallery_size))
            if over:
                _diamond(axes, over, here + 1, len(words), colour(arm.place), full=False)
            for row, site in enumerate(names):
                said = alone[site, whole.arm, whole.attacker, whole.gallery_size]
                here = dodged(row, one, len(arm.found))
                axes.plot((said.low, said.high), (here, here), color=colour(arm.place), linewidth=1)
                if estimable(said):
                    axes.plot(said.rate, here, **point(arm.place, one, 4.5))
        axes.axhline(len(names) - 0.5, color=RULE, linewidth=0.8)
        axes.set_xlim(-0.02, 1.02)
        # in narrow panels a "100" would run into the next one's "0"
        axes.set_xticks((0, 0.5, 1), ("0", "50", "100" if wide > _ROOMY else ""))
        axes.set_xlabel("% found")
        axes.grid(axis="x", color=RULE, linewidth=0.6)

    def draw(figure: Figure) -> None:
        if len(words) > 1:
            attackers_key(figure, words)
        for number, band in enumerate(bands):
            top = head + 0.42 + number * (tall + 1.0)
            for column, arm in enumerate(band):
                axes = at(figure, _LABELS + column * wide, top, wide - 0.16, tall)
                panel(axes, arm)
                rows(axes, [""] * (len(names) + len(totals)) if column else [*shown, *totals])
                (beside,) = gates_beside([arm])
                over: dict[str, Any] = {"transform": axes.transAxes, "va": "bottom"}
                axes.text(0, 1 + 0.17 / tall, fitted(arm.name, wide - 0.1), **over)
                axes.text(0, 1 + 0.04 / tall, beside, color=QUIET, fontsize=7.5, **over)

    height = head + len(bands) * (tall + 1.0) - 0.05
    return Sketch(name="forest", height_inches=height, draw=draw)


def _diamond(
    axes: Axes, row: Identification | OverSites, here: float, lines: int, ink: str, *, full: bool
) -> None:
    axes.fill(
        (row.low, row.rate, row.high, row.rate),
        (here, here - 0.26 / lines, here, here + 0.26 / lines),
        facecolor=ink if full else "none",
        edgecolor=ink,
        linewidth=1,
    )


def sites_drawn(report: Report) -> int:
    """Return how many sites a forest shows at most: fewer where it needs several bands."""
    return SITES_DRAWN // -(-len(arms(report)) // PANELS_A_BAND)


def gates_beside(every: Sequence[Arm]) -> list[str]:
    """Say each arm's failed gates, to stand beside its rate; nothing for unmodified scans."""
    return [_gates(arm.failed) if arm.failed else "" for arm in every]


def _gates(failed: FailedGates) -> str:
    said = f"{percent(failed.rate)} failed gates"
    return said if estimable(failed) else "failed gates: not estimable"


def _curve(axes: Axes, report: Report) -> None:
    every: Sequence[Identification] = unmodified(report)
    places = range(len(every))
    axes.fill_between(
        places,
        [row.low for row in every],
        [row.high for row in every],
        color=VERMILLION,
        alpha=0.15,
        linewidth=0,
    )
    known = [place for place in places if estimable(every[place])]
    rates_known = [every[place].rate for place in known]
    axes.plot(known, rates_known, color=VERMILLION, marker="o", linewidth=2)
    for place, row in zip(places, every, strict=True):
        axes.plot((place, place), (row.low, row.high), color=VERMILLION, linewidth=1.4)
        if place not in known:
            continue
        axes.annotate(percent(row.rate), (place, row.rate), (7, 3), textcoords="offset points")
    guessed = [chance(report, row.gallery_size) for row in every]
    axes.plot(places, guessed, color=QUIET, linestyle=(0, (1, 2)), marker="_")
    axes.annotate(
        "by chance",
        (0, guessed[0]),
        (0, 5),
        textcoords="offset points",
        color=QUIET,
        fontsize=8,
    )
    axes.set_xlim(-0.3, len(every) - 0.5)
    axes.set_xticks(list(places), [f"{row.gallery_size:,}" for row in every])
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100%"))
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("faces in the gallery")
    axes.set_title("Unmodified scans", pad=12)


def attackers_key(figure: Figure, words: Sequence[str]) -> None:
    """Say at the upper right which attacker is drawn in which fill."""
    marks = [
        Line2D([], [], **{**point(1, one, 5.5), "color": QUIET}, label=f"{word} attacker")
        for one, word in enumerate(words)
    ]
    figure.legend(
        handles=marks,
        loc="upper right",
        ncols=len(marks),
        frameon=False,
        fontsize=8,
        handletextpad=0.2,
    )


def _row_inches(words: Sequence[str]) -> float:
    return 0.46 if len(words) == 1 else 0.24 + 0.2 * len(words)
