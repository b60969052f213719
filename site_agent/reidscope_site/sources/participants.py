"""A BIDS dataset's `participants.tsv`: the sex and age that it tells of each participant."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from reidscope_site.attributes import NOTHING_KNOWN, Attributes, believed, sex_of
from reidscope_site.sources.facts import patient_identity

TABLE = "participants.tsv"
LARGEST_TABLE = 16 << 20  # bytes
_WORDS = {"FEMALE": "F", "MALE": "M", "OTHER": "O"}


def participants(root: Path) -> Mapping[str, Attributes]:
    """Return sex and age by participant's label; what cannot be read tells nothing.

    Parameters
    ----------
    root : Path
        The dataset. Columns `participant_id`, `sex` and `age` (years) are read, where they are.

    Returns
    -------
    mapping of str to Attributes
        Only of those who stand there once: a participant of two rows is not known.

    Privacy
    -------
    Each participant's own row: stays at the site (docs/privacy.md, "Cohorts").
    """
    held: dict[str, list[Attributes]] = defaultdict(list)
    for row in rows_of(root / TABLE):
        label = patient_identity(row.get("participant_id") or "")
        sex = (row.get("sex") or "").strip().upper()
        told = Attributes(sex=sex_of(_WORDS.get(sex, sex)), age_years=_years(row.get("age") or ""))
        held[label].append(told)
    return {label: told[0] if len(told) == 1 else NOTHING_KNOWN for label, told in held.items()}


def rows_of(table: Path) -> list[dict[str, str]]:
    """Return a table's rows, in order; none where it cannot be read."""
    try:
        if table.stat().st_size > LARGEST_TABLE:
            return []
        with table.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream, dialect="excel-tab"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _years(text: str) -> int | None:
    """Whole years; `89+`, as older people are often written, is its number."""
    try:
        years = float(text.strip().removesuffix("+"))
    except ValueError:
        return None
    return believed(math.floor(years)) if math.isfinite(years) else None
