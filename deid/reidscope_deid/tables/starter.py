"""A plan to start from: the columns of a table and guesses at what they are, never a cell.

Whatever is not recognised is taken for a quasi-identifier: forgetting to change a guess costs
detail, not privacy.
"""

from __future__ import annotations

import json
import re
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING

from reidscope_deid.tables.plan import SCHEMA
from reidscope_deid.tables.reading import rows_of
from reidscope_protocols.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_LOOKED_AT = 1000  # rows
_ALL_DIFFERENT = 20  # rows from which a column without a repeat is no coincidence
_DATES = 0.95  # share of cells that must be dates (or numbers) for the column to be
_DIRECT = re.compile(
    r"(?<![a-z])(id|mrn|ssn|nhs|uid|guid|uuid|pseudonym|accession)(?![a-z])|name|phone|fax|e-?mail"
    r"|patient.?id|patient.?no|subject|participant|passport|insurance|account|address|url|street|comment"
)
_SENSITIVE = re.compile(r"diagnos|disease|condition|outcome|result|icd|income|salary|hiv|therapy")
_POSTAL = re.compile(r"zip|postal|post.?code|plz")
_ABOUT = f"""\
# What each column is: direct (identifies alone; dropped), quasi (others may know it),
# sensitive (must not be learnt), other (passed on as it is). Guesses: check every one.
schema = "{SCHEMA}"
"""


def starter_plan(path: Path, *, delimiter: str = ",") -> str:
    """Write a plan for a table.

    Parameters
    ----------
    path : Path
        The table; its first 1,000 rows are looked at.
    delimiter : str
        One character.

    Raises
    ------
    InputError
        A file that is no table, or whose header line looks like data.

    Privacy
    -------
    Holds the header's names and nothing else of the file (docs/privacy.md, "De-identification").
    """
    with rows_of(path, delimiter=delimiter) as (header, rows):
        sample = list(islice(rows, _LOOKED_AT))
    if any(_is_number(name) or _is_date(name) for name in header):
        raise InputError(
            "the table",
            got="a header line that looks like data",
            expected="names of columns",
            do="put a header line above the rows",
        )
    parts = [
        _ABOUT,
        f"delimiter = {json.dumps(delimiter)}\n",
        'missing = [""]\n',
        "suppress_at_most = 0.02\n",
        'recoding = "global"  # or "local": each class takes its own steps\n',
        'loss = "ncp"  # or "entropy"\n',
        '# person = "ID"  # a direct column: several rows of one person are refused\n',
        "# sampling_fraction = 0.01  # rows / people of the population\n\n",
        "[targets]\nk = 5\n# l = 2\n# t = 0.3\n# average_risk = 0.05\n",
    ]
    for place, name in enumerate(header):
        parts.append(_column(name, [row[place] for row in sample]))
    return "".join(parts)


def _column(name: str, cells: list[str]) -> str:
    role, kind, setting = _guess(name.lower(), [cell for cell in cells if cell])
    lines = [f'\n[[column]]\nname = {json.dumps(name, ensure_ascii=False)}\nrole = "{role}"\n']
    if role in {"quasi", "sensitive"}:
        lines.append(f'kind = "{kind}"\n')
    if role == "quasi":
        lines.append(setting)
    return "".join(lines)


def _guess(name: str, cells: list[str]) -> tuple[str, str, str]:
    dates = sum(map(_is_date, cells)) >= _DATES * max(len(cells), 1) and bool(cells)
    numbers = sum(map(_is_number, cells)) >= _DATES * max(len(cells), 1) and bool(cells)
    if _POSTAL.search(name):
        return "quasi", "postal", "drop = [1, 2, 3, 4]\n"
    if dates and ("date" in name or not numbers):
        return "quasi", "date", 'steps = ["month", "quarter", "year", "5 years"]\n'
    if _SENSITIVE.search(name):
        return "sensitive", "number" if numbers else "category", ""
    # In text that nobody shares with anybody stand names and numbers of people.
    unshared = len(cells) >= _ALL_DIFFERENT and len(set(cells)) == len(cells) and not numbers
    if _DIRECT.search(name) or unshared:
        return "direct", "category", ""
    if numbers:
        of_age = "widths = [5, 10, 20, 40]\ntop = 90\n"
        return "quasi", "number", of_age if "age" in name else "widths = [1, 5, 10, 50, 100]\n"
    return "quasi", "category", '# tree = "tree.csv"  # leaf,parent,its parent: a line each\n'


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_date(cell: str) -> bool:
    try:
        date.fromisoformat(cell)
    except ValueError:
        return False
    return True
