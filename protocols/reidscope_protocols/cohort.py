"""Who counts in a study: everybody indexed, or whoever meets conditions on ONE person.

A condition looks at that person's own attributes and at constants of the signed study; a sample is
drawn with a keyed digest of that person's pseudonym. Whether somebody counts never depends on who
else does: adding or removing one person changes nobody else's being there.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from reidscope_protocols.statements import Parsed
from reidscope_protocols.vocabulary import Mate

OLDEST_AGE = 90
"""Years; everybody from here on is of one age, as in the Safe Harbor's category of 90 or older."""

NARROWEST_AGES = 5
"""Years in a range of ages, at least."""

SMALLEST_SHARE_PPM, LARGEST_SHARE_PPM = 10_000, 990_000
_PPM = 1_000_000
_FIRST_YEAR, _LAST_YEAR = 1970, 2200


class Sex(StrEnum):
    """PatientSex as DICOM has it (PS3.3 C.7.1.1)."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "O"


class Modality(StrEnum):
    """What made a scan."""

    MR = "MR"
    CT = "CT"
    PT = "PT"


DEFAULT_SCANS = (Modality.MR, Modality.CT)
"""What may be a scan where a study does not say so: no PET."""


class AgeRange(Parsed):
    """Whole years at the first scan, both ends included.

    Attributes
    ----------
    low : int
        0 to 90.
    high : int or None
        At most 89, and at least five ages from `low`; None for no end.
    """

    low: int = Field(ge=0, le=OLDEST_AGE)
    high: int | None = Field(None, ge=0, lt=OLDEST_AGE)

    @model_validator(mode="after")
    def _singles_nobody_out(self) -> Self:
        if self.high is not None and self.high - self.low + 1 < NARROWEST_AGES:
            message = f"an age range must hold at least {NARROWEST_AGES} whole years"
            raise ValueError(message)
        return self

    def __str__(self) -> str:
        return f"{self.low}+" if self.high is None else f"{self.low}-{self.high}"

    def holds(self, years: int | None) -> bool:
        """Tell whether an age is in the range; an unknown one is in none."""
        return years is not None and self.low <= years <= (
            OLDEST_AGE if self.high is None else self.high
        )


class YearRange(Parsed):
    """Calendar years of the first scan, both ends included; None for no end."""

    low: int = Field(ge=_FIRST_YEAR, le=_LAST_YEAR)
    high: int | None = Field(None, ge=_FIRST_YEAR, le=_LAST_YEAR)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high is not None and self.high < self.low:
            message = "a range of years must not end before it starts"
            raise ValueError(message)
        return self

    def holds(self, year: int | None) -> bool:
        """Tell whether a year is in the range; an unknown one is in none."""
        return year is not None and self.low <= year <= (
            _LAST_YEAR if self.high is None else self.high
        )


class Sample(Parsed):
    """A share of people, drawn with the site's key: for each person by itself, and for good.

    Attributes
    ----------
    share_ppm : int
        Chance of each person to be in it, parts per million: 1 to 99%.
    salt : str
        Studies of one salt ask the same people, studies of different ones independent samples.
    """

    share_ppm: int = Field(ge=SMALLEST_SHARE_PPM, le=LARGEST_SHARE_PPM)
    salt: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]

    @property
    def percent(self) -> str:
        """The share in per cent, such as `12.5%`."""
        return f"{100 * self.share_ppm / _PPM:g}%"


class Cohort(Parsed):
    """A rule over ONE person and constants: rules that compare people are not offered.

    Every condition must hold; an empty one asks nothing. A person of whom an attribute is not known
    does not meet a condition that asks for it.

    Attributes
    ----------
    rule : str
        `everyone-indexed` where nothing below asks for anything.
    sexes : tuple of Sex
    ages : AgeRange or None
        At the first scan by date.
    modalities : tuple of Modality
        Of the first scan by date.
    years : YearRange or None
        In which the first scan was made.
    mates : tuple of Mate
        What there must be, beside the mate that the experiment needs.
    sample : Sample or None

    Privacy
    -------
    A predicate on one person: adding or removing anybody else moves nobody in or out
    (docs/privacy.md, "Cohorts").
    """

    rule: Literal["everyone-indexed", "everyone-who-meets"] = "everyone-indexed"
    sexes: tuple[Sex, ...] = Field((), max_length=3)
    ages: AgeRange | None = None
    modalities: tuple[Modality, ...] = Field((), max_length=3)
    years: YearRange | None = None
    mates: tuple[Mate, ...] = Field((), max_length=2)
    sample: Sample | None = None

    @field_validator("rule", mode="before")
    @classmethod
    def _of_one_person(cls, rule: object) -> object:
        if rule not in ("everyone-indexed", "everyone-who-meets"):
            message = (
                "a cohort must look at one person at a time: a rule that compares people or counts "
                "them moves more than one count when one person joins (docs/privacy.md, Cohorts)"
            )
            raise ValueError(message)
        return rule

    @property
    def asks_headers(self) -> bool:
        """Whether somebody of whom an attribute is not known is left out."""
        return bool(self.sexes or self.ages or self.modalities or self.years)

    @model_validator(mode="after")
    def _says_what_it_asks(self) -> Self:
        asks = any(
            (self.sexes, self.ages, self.modalities, self.years, self.mates, self.sample),
        )
        if asks is not (self.rule == "everyone-who-meets"):
            message = (
                "conditions go with everyone-who-meets, and everyone-who-meets with conditions"
            )
            raise ValueError(message)
        for listed in (self.sexes, self.modalities, self.mates):
            if len(set(listed)) < len(listed):
                message = "a condition must list each word once"
                raise ValueError(message)
        return self

    def __str__(self) -> str:
        return ", ".join(self.phrases()) or "everybody of the index"

    def phrases(self) -> Iterator[str]:
        """Say each condition in plain words; nothing for everybody."""
        if self.sexes:
            yield f"of sex {_or(self.sexes)}"
        if self.ages is not None:
            end = "or more" if self.ages.high is None else f"to {self.ages.high}"
            yield f"aged {self.ages.low} {end} at their first scan"
        if self.modalities:
            yield f"whose first scan is {_or(self.modalities)}"
        if self.years is not None:
            end = "or later" if self.years.high is None else f"to {self.years.high}"
            yield f"first scanned in {self.years.low} {end}"
        for mate in self.mates:
            yield "with a photo" if mate is Mate.PHOTO else "with a second scan of another date"
        if self.sample is not None:
            yield (
                f"drawn with the site's key, each person with a chance of {self.sample.percent} "
                f"(sample {self.sample.salt})"
            )


EVERYBODY = Cohort()
"""Whoever is in a site's index and has the mate that the experiment needs."""


def _or(words: tuple[str, ...]) -> str:
    return " or ".join(words)
