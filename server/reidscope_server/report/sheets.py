"""Report -> CSV sheets: the same numbers as in report.json, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from reidscope_protocols.report import (
    AboveThreshold,
    Comparison,
    Damage,
    FailedGates,
    Identification,
    Influence,
    OpenSetRate,
    Report,
    SiteIdentification,
    TrueAccept,
)
from reidscope_protocols.report_rows import (
    CatchmentRate,
    NamedRisk,
    Oddity,
    OverSites,
    Robust,
)
from reidscope_protocols.statements import Parsed

_Value = str | int | float | None
_GROUP_COLUMNS = (
    *("group", "estimate", "arm", "attacker", "against", "gallery_size"),
    *("value", "low", "high"),
)
_SITE_COLUMNS = ("site", "status", "people", "low", "high", "declared_people", "epsilon", "odds")


def sheets(report: Report) -> dict[str, bytes]:
    """Return every sheet's bytes by file name; a function of the report alone.

    Names and arms come from patterns of letters, digits and hyphens, labels from the study's own
    cells and groups: no field can start a spreadsheet formula.
    """
    return {
        "identification.csv": _records(Identification, report.identification),
        "after_any.csv": _records(Identification, report.after_any),
        "by_site.csv": _records(SiteIdentification, report.by_site),
        "by_group.csv": _sheet(_GROUP_COLUMNS, _groups(report)),
        "comparisons.csv": _records(Comparison, report.comparisons),
        "failed_gates.csv": _records(FailedGates, report.failed_gates),
        "damage.csv": _records(Damage, report.damage),
        "catchment.csv": _records(CatchmentRate, report.catchment),
        "risks.csv": _records(NamedRisk, report.risks),
        "over_sites.csv": _records(OverSites, report.over_sites),
        "robust.csv": _records(Robust, report.robust),
        "oddities.csv": _records(Oddity, report.oddities),
        "influence.csv": _records(Influence, report.influence),
        "tables.csv": _sheet(("table", "cell", "site", "noisy_count"), _counts(report)),
        "sites.csv": _sheet(_SITE_COLUMNS, _sites(report)),
        **_opt_in_sheets(report),
    }


def _opt_in_sheets(report: Report) -> dict[str, bytes]:
    """Sheets of the tables of u: only where the study asked for them."""
    asked: dict[str, tuple[type[Parsed], Sequence[Parsed]]] = {
        "tar.csv": (TrueAccept, report.tar),
        "open_set.csv": (OpenSetRate, report.open_set),
        "above.csv": (AboveThreshold, report.above),
    }
    return {name: _records(shape, rows) for name, (shape, rows) in asked.items() if rows}


def _counts(report: Report) -> Iterable[Sequence[_Value]]:
    return (
        (table.table, cell, site, count)
        for table in report.tables
        for site, counts in table.counts.items()
        for cell, count in zip(table.cells, counts, strict=True)
    )


def _sites(report: Report) -> Iterable[Sequence[_Value]]:
    for row in report.sites:
        people = row.subjects
        counted = (people.estimate, people.low, people.high) if people else (None, None, None)
        yield (row.site, row.status, *counted, row.declared_people, row.epsilon, row.odds)


def _groups(report: Report) -> Iterable[Sequence[_Value]]:
    for each in report.by_group:
        people, faces = each.people, each.acquired
        yield (each.group, "people", *(None,) * 4, people.estimate, people.low, people.high)
        yield (each.group, "acquired", *(None,) * 4, faces.rate, faces.low, faces.high)
        for row in each.identification:
            about = (row.arm, row.attacker, None, row.gallery_size)
            yield (each.group, "rate", *about, row.rate, row.low, row.high)
        for pair in each.comparisons:
            against = (pair.arm, pair.attacker, pair.against, pair.gallery_size)
            yield (each.group, "difference", *against, pair.difference, pair.low, pair.high)


def _records(shape: type[Parsed], rows: Sequence[Parsed]) -> bytes:
    return _sheet(tuple(shape.model_fields), (tuple(row.model_dump().values()) for row in rows))


def _sheet(columns: Sequence[str], rows: Iterable[Sequence[_Value]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
