"""Cohorts, samples and groups as a person types them.

    age 18-89, sex F, modality MR, year 2015-2024, with photo        --sample 50%
    sex      sex F,M      age 0-39,40-64,65+      modality      group left,right

What is offered is this closed list; `cohort_refusals` knows other words only to say why they are
refused. What was typed is never repeated: it may hold somebody's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from reidscope_protocols.cohort import (
    DEFAULT_SCANS,
    LARGEST_SHARE_PPM,
    SMALLEST_SHARE_PPM,
    AgeRange,
    Cohort,
    Modality,
    Sample,
    Sex,
    YearRange,
)
from reidscope_protocols.errors import UnsupportedError
from reidscope_protocols.groups import GroupedBy, Groups
from reidscope_protocols.vocabulary import Mate
from reidscope_server.cohort_refusals import refuse_by_kind

_OFFERED = (
    "`sex F`, `age 18-89` or `age 65+`, `modality MR`, `year 2015-2024`, `with photo`, "
    "`with second-scan`, joined by commas"
)
_GROUPS_OFFERED = "`sex`, `age 0-39,40-64,65+`, `modality` or `group left,right`"
_PPM_A_PERCENT = 10_000
_RANGE = re.compile(r"(\d{1,4})\s*(?:-|to|\.\.)\s*(\d{1,4})|(\d{1,4})\s*\+")
_SHARE = re.compile(r"(\d{1,3})(?:\.(\d{1,4}))?\s*%")


def cohort(text: str, *, sample: str = "", salt: str) -> Cohort:
    """Read a cohort, and a keyed sample of it.

    Parameters
    ----------
    text : str
        Conditions joined by commas; empty, or `everyone`, for everybody.
    sample : str
        Such as `50%`; empty for no sample.
    salt : str
        Of the sample: the study's id, or what two studies agree on.

    Raises
    ------
    UnsupportedError
        A rule that is never offered, with the reason, or an unknown one, with what is offered.
    """
    asked: dict[str, Any] = {}
    for number, rule in enumerate(_rules(text), start=1):
        name, value = _condition(rule, number)
        earlier = asked.get(name, ())
        if name == "mates" and value[0] not in earlier:
            value = (*asked.pop("mates", ()), *value)
        if name in asked:
            raise _unknown(number, "a condition that stood there before")
        asked[name] = value
    if sample.strip():
        asked["sample"] = _sample(sample, salt)
    return Cohort(rule="everyone-who-meets" if asked else "everyone-indexed", **asked)


def groups(text: str) -> Groups | None:
    """Read groups; None where nothing is typed.

    Raises
    ------
    UnsupportedError
        Groups that are not offered, with the reason where there is one.
    """
    if not text.strip():
        return None
    word, _, rest = text.strip().partition(" ") if " " in text.strip() else text.partition(":")
    listed = tuple(part.strip() for part in re.split(r"[,/]", rest) if part.strip())
    defaults = {"sex": (Sex.FEMALE, Sex.MALE), "modality": DEFAULT_SCANS}
    by = word.strip(" :").lower()
    if by not in set(GroupedBy):
        refuse_by_kind("groups", text)
        raise _not_groups("an attribute that people are not grouped by")
    try:
        if by == GroupedBy.AGE:
            ranges = tuple(_ages(part, "groups of ages") for part in listed)
            return Groups(by=GroupedBy.AGE, ages=ranges)
        if by in defaults:
            listed = tuple(part.upper() for part in listed) or defaults[by]
        return Groups(by=GroupedBy(by), values=listed)
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise _not_groups(said.removeprefix("Value error, ")) from None


def _rules(text: str) -> list[str]:
    rules = [rule.strip() for rule in re.split(r",|;| and ", text) if rule.strip()]
    return [] if rules in (["everyone"], ["everyone-indexed"], ["everybody"]) else rules


def _condition(rule: str, number: int) -> tuple[str, Any]:
    word, _, rest = rule.replace("=", " ").replace(":", " ").partition(" ")
    read = _CONDITIONS.get(word.lower())
    value = None if read is None else read(rest.strip(), number)
    if value is None:
        refuse_by_kind(f"cohort, condition {number}", rule)
        raise _unknown(number, "a condition that is not offered")
    return value


def _sexes(text: str, _: int) -> tuple[str, Any] | None:
    words = {"female": Sex.FEMALE, "male": Sex.MALE, "other": Sex.OTHER}
    words |= {str(sex).lower(): sex for sex in Sex}
    listed = _listed(text, words)
    return listed and ("sexes", listed)


def _modalities(text: str, _: int) -> tuple[str, Any] | None:
    listed = _listed(text, {str(each).lower(): each for each in Modality})
    return listed and ("modalities", listed)


def _mates(text: str, _: int) -> tuple[str, Any] | None:
    words = {"photo": Mate.PHOTO, "second-scan": Mate.SECOND_SCAN}
    # One a condition: all conditions must hold, and a list would read as either.
    mate = words.get(text.lower().removeprefix("a ").replace("second scan", "second-scan"))
    return None if mate is None else ("mates", (mate,))


def _ages_of(text: str, number: int) -> tuple[str, Any] | None:
    return ("ages", _ages(text, f"cohort, condition {number}"))


def _years(text: str, number: int) -> tuple[str, Any] | None:
    if re.fullmatch(r"\d{4}", text):
        text = f"{text}-{text}"
    met = _RANGE.fullmatch(text)
    if met is None:
        return None
    low, high = (met[1], met[2]) if met[1] else (met[3], None)
    try:
        return "years", YearRange(low=int(low), high=None if high is None else int(high))
    except ValidationError:
        raise _unknown(number, "years out of order, or before 1970") from None


_CONDITIONS: Mapping[str, Callable[[str, int], tuple[str, Any] | None]] = {
    "sex": _sexes,
    "age": _ages_of,
    "aged": _ages_of,
    "modality": _modalities,
    "year": _years,
    "years": _years,
    "with": _mates,
    "has": _mates,
}


def _listed(text: str, words: Mapping[str, Any]) -> tuple[Any, ...] | None:
    typed = [part.strip().lower() for part in re.split(r"/|\||\bor\b", text)]
    if not set(typed) <= set(words):
        return None
    return tuple(dict.fromkeys(words[word] for word in typed))


def _ages(text: str, where: str) -> AgeRange:
    met = _RANGE.fullmatch(re.sub(r"\s*years?$", "", text.strip()))
    if met is None:
        if not re.search(r"\d", text) or re.search(r"[a-z]{4}", text, re.IGNORECASE):
            refuse_by_kind(where, text)
        raise _not_ages(where)
    low, high = (met[1], met[2]) if met[1] else (met[3], None)
    try:
        return AgeRange(low=int(low), high=None if high is None else int(high))
    except ValidationError:
        raise _not_ages(where) from None


def _sample(text: str, salt: str) -> Sample:
    met = _SHARE.fullmatch(text.strip())
    ppm = int(met[1]) * _PPM_A_PERCENT + int(f"{met[2] or '':0<4}") if met else 0
    if not SMALLEST_SHARE_PPM <= ppm <= LARGEST_SHARE_PPM:
        raise UnsupportedError(
            "sample",
            got="a number of people, or a share outside 1% to 99%",
            expected="a share such as 50%",
            do="give a share: a fixed number of people would mean that one who joins pushes "
            "another out, and the table would move by more than one count",
        )
    try:
        return Sample(share_ppm=ppm, salt=salt)
    except ValidationError:
        raise UnsupportedError(
            "sample",
            got="a salt that is no short name",
            expected="lower case, digits and hyphens, at most 64",
            do="correct --sample-salt",
        ) from None


def _not_ages(where: str) -> UnsupportedError:
    return UnsupportedError(
        where,
        got="an age that is no range, or a range of fewer than five years or to above 89",
        expected="such as 18-89, 40-64 or 65+ (everybody of 90 or more is of one age)",
        do="widen it: an age of one year, or a range among the oldest, can single one person out",
    )


def _unknown(number: int, got: str) -> UnsupportedError:
    return UnsupportedError(
        f"cohort, condition {number}", got=got, expected=_OFFERED, do="correct --cohort"
    )


def _not_groups(got: str) -> UnsupportedError:
    return UnsupportedError("groups", got=got, expected=_GROUPS_OFFERED, do="correct --groups")
