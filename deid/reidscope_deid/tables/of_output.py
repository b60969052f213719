"""How exposed the people of a de-identified folder are, by what its headers still say of them.

One row a person (PatientID, the pseudonym), one column a trait of `traits.toml` that any file
carries; what several files of a person say is one combined value, as an acquaintance would know
all of it. Then the measures of tables. Pixels and faces are not looked at, nor are nested items.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pydicom
from pydantic import BaseModel, ConfigDict, Field
from pydicom.errors import InvalidDicomError

from reidscope_deid.tables.limits import RiskLimits
from reidscope_deid.tables.report import measure_codes
from reidscope_protocols.errors import InputError, NoDicomError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pydicom.dataset import Dataset

    from reidscope_deid.tables.report import TableRisk

_AGE = re.compile(r"(\d{3})([DWMY])")
_DAYS = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
_MONTH = 30  # days
_NEAR = 1e-9  # below a band's edge that floats may fall


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _Trait(_Strict):
    name: str
    keyword: str
    read: Literal["text", "age", "band", "month"]
    width: Annotated[float, Field(gt=0)] = 1.0


class _Traits(_Strict):
    trait: list[_Trait]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRisk:
    """How exposed the people of a folder are.

    Attributes
    ----------
    traits : mapping of str to int
        Traits that the headers carry, and how many different values each has.
    figures : TableRisk
        Rows are people.

    Privacy
    -------
    Exact figures of the site's people: for the site alone. Holds no value and no pseudonym
    (docs/privacy.md, "De-identification").
    """

    traits: Mapping[str, int]
    figures: TableRisk

    def document(self) -> dict[str, object]:
        """Say the figures as JSON takes them."""
        return {"traits": dict(self.traits), **self.figures.document()}


def risk_of_series(
    folder: Path, *, dates_moved: bool = False, sampling_fraction: float | None = None
) -> OutputRisk:
    """Measure a folder that the de-identifier wrote.

    Parameters
    ----------
    folder : Path
        DICOM files at any depth; anything else is refused.
    dates_moved : bool
        Whether the profile moved each person's dates by a secret number of days: then months mean
        nothing, and the months that lie between a person's studies count instead.
    sampling_fraction : float, optional
        People of the folder / people of the population they are drawn from.

    Raises
    ------
    NoDicomError
        No file.
    InputError
        A file that is no DICOM, or that names no person.

    Privacy
    -------
    Reads headers; gives exact figures, for the site alone (docs/privacy.md, "De-identification").
    """
    said: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for header in _headers(folder):
        person = said[str(header.PatientID)]
        for trait in _traits():
            if value := _read(header, trait):
                person[trait.name].add(value)
    for person in said.values():
        _settle_dates(person, moved=dates_moved)
    if not said:
        raise NoDicomError(
            "the folder to measure", got="no file", expected="what run wrote", do="name another"
        )
    carried = [
        trait.name for trait in _traits() if any(trait.name in person for person in said.values())
    ]
    columns = [[tuple(sorted(person[name])) for person in said.values()] for name in carried]
    codes = [_coded(column) for column in columns] or [np.zeros(len(said), dtype=np.int64)]
    return OutputRisk(
        traits={name: len(set(column)) for name, column in zip(carried, columns, strict=True)},
        figures=measure_codes(codes, sampling_fraction=sampling_fraction),
    )


def beyond(risk: OutputRisk, limits: RiskLimits) -> tuple[str, ...]:
    """Name the limits that a folder exceeds; none if it may be called done.

    Parameters
    ----------
    risk : OutputRisk
        From `risk_of_series`.
    limits : RiskLimits
        From the profile.

    Returns
    -------
    tuple of str
        Of ``k`` and ``average``.
    """
    sample = risk.figures.sample
    exceeded = {"k": sample.k < limits.k, "average": sample.average > limits.average + _NEAR}
    return tuple(name for name, over in exceeded.items() if over)


def _headers(folder: Path) -> Iterator[Dataset]:
    if not folder.is_dir():
        raise InputError("the folder", got="no folder", expected="a folder", do="name another")
    wanted = ["PatientID", *(t.keyword for t in _traits())]
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
        except (InvalidDicomError, OSError):
            raise _refused("a file that is no DICOM") from None
        if not header.get("PatientID"):
            raise _refused("a file that names no person")
        yield header


@cache
def _traits() -> tuple[_Trait, ...]:
    content = files("reidscope_deid.tables").joinpath("traits.toml").read_text("utf-8")
    return tuple(_Traits.model_validate(tomllib.loads(content)).trait)


def _read(header: Dataset, trait: _Trait) -> str:
    """Say what a trait's value comes to; empty if it says nothing.

    A value that is not of its kind stays as it is: it tells people apart all the same.
    """
    value = str(header.get(trait.keyword, "") or "").strip()
    if trait.read == "age" and (age := _AGE.fullmatch(value)):
        return str(int(int(age[1]) * _DAYS[age[2]] / _DAYS["Y"] + _NEAR))
    if trait.read == "band":
        try:
            return str(math.floor(float(value) / trait.width + _NEAR))
        except (ValueError, OverflowError):
            return value
    return value


def _settle_dates(person: dict[str, set[str]], *, moved: bool) -> None:
    """Turn a person's dates into months, or into months since the first of them."""
    for trait in _traits():
        if trait.read != "month" or trait.name not in person:
            continue
        dates = person[trait.name]
        person[trait.name] = {value[: len("YYYYMM")] for value in dates}
        if not moved:
            continue
        try:
            days = [date.fromisoformat(value).toordinal() for value in dates]
        except ValueError:  # cut to a year, or no date: as it stands
            continue
        person[trait.name] = {str((day - min(days)) // _MONTH) for day in days}


def _coded(column: Sequence[tuple[str, ...]]) -> np.ndarray:
    register: dict[tuple[str, ...], int] = {}
    return np.array([register.setdefault(value, len(register)) for value in column])


def _refused(got: str) -> InputError:
    return InputError(
        "the folder to measure", got=got, expected="what run wrote", do="measure its output alone"
    )
