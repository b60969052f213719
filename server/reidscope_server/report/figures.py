"""The figures of a report by name: which there are, and what a paper's reader is told of each."""

from __future__ import annotations

from collections.abc import Mapping

from reidscope_protocols.report import Report
from reidscope_server.report.boxes import counts
from reidscope_server.report.drawing import Sketch
from reidscope_server.report.groups import groups
from reidscope_server.report.places import places
from reidscope_server.report.plots import effects, forest, rates
from reidscope_server.report.risk import gates, risk
from reidscope_server.report.tail_plots import beyond_plot, threshold_plot
from reidscope_server.report.tail_words import beyond

FOLDER = "figures"


def sketches(report: Report) -> dict[str, Sketch]:
    """Return every figure of a report by name; a study without defacers has fewer."""
    drawn = [rates]
    if report.comparisons:
        drawn.append(effects)
    if report.failed_gates:
        drawn += [risk, gates]
    if report.by_group:
        drawn.append(groups)
    if report.tar or report.open_set or report.above:
        drawn.append(threshold_plot)
    if beyond(report):
        drawn.append(beyond_plot)
    # Of a secure sum no site's own share is known.
    drawn += [forest] if report.by_site else []
    drawn += [*([places] if report.catchment else []), counts]
    made = [sketch(report) for sketch in drawn]
    return {sketch.name: sketch for sketch in made}


def file_names(report: Report) -> list[str]:
    """Return the names of all figures' files, within the report's folder."""
    return [f"{FOLDER}/{name}.{kind}" for name in sketches(report) for kind in ("svg", "png")]


def drawn_as_svg(made: Mapping[str, Sketch]) -> dict[str, str]:
    """Draw every figure once, as the text of an SVG file, by its name."""
    return {name: sketch.svg() for name, sketch in made.items()}


def svg_files(drawn: Mapping[str, str]) -> dict[str, bytes]:
    """Return every SVG file by its name in the report's folder."""
    return {f"{FOLDER}/{name}.svg": text.encode() for name, text in drawn.items()}


def png_files(made: Mapping[str, Sketch]) -> dict[str, bytes]:
    """Draw every figure as a PNG file, by its name in the report's folder."""
    return {f"{FOLDER}/{name}.png": sketch.png() for name, sketch in made.items()}
