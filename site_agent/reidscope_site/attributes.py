"""What a cohort or a group may look at of a person: settled at `index`, from their own headers."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Self

from reidscope_protocols.cohort import OLDEST_AGE, Modality, Sex

if TYPE_CHECKING:
    from pydicom import Dataset

_AGE = re.compile(r"(\d{1,3})([DWMY])")
_A_YEAR = {"D": (4, 1461), "W": (28, 1461), "M": (1, 12), "Y": (1, 1)}
"""A count of days, weeks, months or years times the first over the second is years."""

_OLDEST_BELIEVED = 120
_DATE_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """One person's attributes at their first scan; empty or None where they are not known.

    Attributes
    ----------
    sex : str
        F, M, O or empty.
    age_years : int or None
        Whole years, 0 to 90; 90 stands for 90 or older.
    modality : str
        MR, CT or empty.
    year : int or None
        Calendar year of the scan.
    group : str
        What the site's link file says; empty without.

    Privacy
    -------
    About one person: stays in the site's database, and never leaves the site (docs/privacy.md,
    "Cohorts").
    """

    sex: str = ""
    age_years: int | None = None
    modality: str = ""
    year: int | None = None
    group: str = ""

    def encoded(self) -> dict[str, str | int | None]:
        """Return it as JSON takes it, for the snapshot alone."""
        return asdict(self)

    @classmethod
    def decoded(cls, said: dict[str, Any]) -> Self:
        """Read what `encoded` wrote."""
        return cls(**said)


NOTHING_KNOWN = Attributes()
"""Of a person whose headers tell nothing."""


def sex_of(text: str) -> str:
    """Read a sex as DICOM writes it; empty where it is none."""
    word = text.strip().upper()
    return word if word in set(Sex) else ""


def modality_of(text: str) -> str:
    """Read a modality; empty where it is none that a cohort can ask for."""
    return text if text in set(Modality) else ""


def age_of(header: Dataset, taken: str) -> int | None:
    """Age in a header, in whole years: PatientAge, else PatientBirthDate up to the scan's date.

    Parameters
    ----------
    header : Dataset
        Of one file.
    taken : str
        The scan's date, YYYYMMDD, or empty.

    Returns
    -------
    int or None
        0 to 90 (90 or older); None where the header does not tell, or tells what no age is.
    """
    said = _AGE.fullmatch(str(header.get("PatientAge") or "").strip().upper())
    if said is None:
        return believed(_between(str(header.get("PatientBirthDate") or "").strip(), taken))
    times, over = _A_YEAR[said[2]]
    return believed(int(said[1]) * times // over)


def believed(years: int | None) -> int | None:
    """Return an age that a person can have, 90 for all that are older; None for others."""
    if years is None or not 0 <= years <= _OLDEST_BELIEVED:
        return None
    return min(years, OLDEST_AGE)


def year_of(session: str) -> int | None:
    """Calendar year of a date, YYYYMMDD; None for anything else."""
    return None if _day(session) is None else int(session[:4])


def the_one(values: set[Any], none: Any) -> Any:
    """Return the value that all files of a series agree on, those without one left out.

    A series whose files contradict each other tells nothing.
    """
    told = values - {none}
    return next(iter(told)) if len(told) == 1 else none


def _between(born: str, taken: str) -> int | None:
    birth, scan = _day(born), _day(taken)
    if birth is None or scan is None:
        return None
    return scan.year - birth.year - ((scan.month, scan.day) < (birth.month, birth.day))


def _day(text: str) -> date | None:
    if len(text) != _DATE_DIGITS or not text.isascii() or not text.isdigit():
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
