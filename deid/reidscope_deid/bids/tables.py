"""The tables of a BIDS dataset: rows of known people, columns of the allow-list, moved dates."""

from __future__ import annotations

import csv
import io
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reidscope_deid.bids.allowed import allowed
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

NOTHING = "n/a"
"""What BIDS writes where a value is missing."""

_LARGEST = 64 << 20  # bytes
_AGE = re.compile(r"(\d{1,3})(\.\d{1,3})?")
_CAP = 90  # years, as in `ages`
_OF_AGE = "age"


def read_rows(path: Path) -> tuple[tuple[str, ...], list[Mapping[str, str]]]:
    """Read a table: its columns, and its rows by column.

    Raises
    ------
    QuarantinedError
        No table in UTF-8, too large, or rows of another length than the header.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise QuarantinedError(Reason.TOO_LARGE)
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            columns = tuple(reader.fieldnames or ())
            rows: list[Mapping[str, str]] = list(reader)
    except OSError:
        raise QuarantinedError(Reason.UNREADABLE) from None
    except (UnicodeDecodeError, csv.Error):
        raise QuarantinedError(Reason.MALFORMED) from None
    whole = all(None not in row and None not in row.values() for row in rows)
    if not whole or len(set(columns)) != len(columns):
        raise QuarantinedError(Reason.MALFORMED)
    return columns, rows


def write_rows(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> bytes:
    """Write a table."""
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
    )
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode()


def clean_participants(
    path: Path, renamed: Callable[[str], str | None], tally: Counter[str]
) -> bytes:
    """Clean participants.tsv.

    Parameters
    ----------
    path : Path
        Only read.
    renamed : callable
        New `participant_id` of an old one; None of whoever has no folder.
    tally : Counter
        Learns how many columns, values and rows were kept and dropped.

    Raises
    ------
    QuarantinedError
        No such table.
    """
    columns, rows = read_rows(path)
    if "participant_id" not in columns:
        raise QuarantinedError(Reason.MALFORMED)
    rules = allowed().participants
    kept = [column for column in columns if column in rules]
    tally["columns dropped"] += len(columns) - len(kept) - 1
    written = []
    for row in rows:
        name = renamed(row["participant_id"])
        if name is None:
            tally["rows dropped"] += 1
            continue
        values = [_value(column, row[column].strip()) for column in kept]
        tally["values dropped"] += sum(
            new == NOTHING != row[column].strip() for column, new in zip(kept, values, strict=True)
        )
        written.append([name, *values])
    return write_rows(["participant_id", *kept], sorted(written))


def clean_times(
    path: Path,
    column: str,
    renamed: Callable[[str], str | None],
    shift_days: int,
    tally: Counter[str],
) -> bytes:
    """Clean `*_scans.tsv` or `*_sessions.tsv`: what a row is about, and when, moved.

    Parameters
    ----------
    path : Path
        Only read.
    column : str
        `filename` or `session_id`.
    renamed : callable
        New name of what a row is about; None of what is left out.
    shift_days : int
        Of the person.
    tally : Counter
        As in `clean_participants`.

    Raises
    ------
    QuarantinedError
        No such table.
    """
    columns, rows = read_rows(path)
    if column not in columns:
        raise QuarantinedError(Reason.MALFORMED)
    timed = "acq_time" in columns
    tally["columns dropped"] += len(columns) - 1 - timed
    written = []
    for row in rows:
        name = renamed(row[column])
        if name is None:
            tally["rows dropped"] += 1
            continue
        written.append([name, moved(row["acq_time"], shift_days)] if timed else [name])
    return write_rows([column, "acq_time"] if timed else [column], written)


def moved(text: str, shift_days: int) -> str:
    """Move a date and time by whole days; `n/a` where it is none. Fractions and zones are cut."""
    try:
        when = datetime.fromisoformat(text.strip()) + timedelta(days=shift_days)
    except (ValueError, OverflowError):
        return NOTHING
    return when.replace(microsecond=0, tzinfo=None).isoformat()


def _value(column: str, text: str) -> str:
    if column == _OF_AGE:
        match = _AGE.fullmatch(text)
        if match is None:
            return NOTHING
        return str(_CAP) if int(match[1]) >= _CAP else text
    return text if allowed().participants[column].fullmatch(text) else NOTHING
