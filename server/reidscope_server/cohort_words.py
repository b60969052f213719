"""Cohorts, samples and groups as a person types them, and why some rules are never offered.

    age 18-89, sex F, modality MR, year 2015-2024, with photo        --sample 50%
    sex      sex F,M      age 0-39,40-64,65+      modality      group left,right

A rule that compares people, singles one out, counts exactly or looks at outcomes would break the
argument of docs/privacy.md: it is refused with the reason. What was typed is never repeated: it may
hold somebody's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from reidscope_protocols.cohort import (
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

_OFFERED = (
    "`sex F`, `age 18-89` or `age 65+`, `modality MR`, `year 2015-2024`, `with photo`, "
    "`with second-scan`, joined by commas"
)
_GROUPS_OFFERED = "`sex`, `age 0-39,40-64,65+`, `modality` or `group left,right`"
_PPM_A_PERCENT = 10_000
_RANGE = re.compile(r"(\d{1,4})\s*(?:-|to|\.\.)\s*(\d{1,4})|(\d{1,4})\s*\+")
_SHARE = re.compile(r"(\d{1,3})(?:\.(\d{1,4}))?\s*%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A kind of rule that is never offered: how it is known, and what it would break."""

    what: str
    pattern: re.Pattern[str]
    breaks: str


def _words(*stems: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(stems)})", re.IGNORECASE)


REFUSED = (
    Refused(
        what="a rule that counts people before noise",
        pattern=_words(
            r"if (?:fewer|less|more|at least|there)",
            r"at least \d+ ?(?:people|patients|persons)",
            r"min(?:imum)?\b",
            r"max(?:imum)?\b",
            r"merg",
            r"pool",
            r"collaps",
            r"combin",
            r"rare",
            r"small(?:er|est)? groups?",
            r"k-?anonym",
            r"suppress",
            r"drop groups?",
            r"(?:more|fewer|less) than \d+ ?(?:people|patients|persons)",
            r"large enough",
        ),
        breaks="what is done would hang on a TRUE count, so one person more or fewer could change "
        "everything at once, which no noise on the counts hides; minimum sizes are compared with "
        "the declared size, and small groups just get wide intervals",
    ),
    Refused(
        what="a rule that compares people",
        pattern=_words(
            r"latest",
            r"newest",
            r"(?:most )?recent",
            r"earliest",
            r"first \d",
            r"last \d",
            r"first (?:hundred|thousand|ten|people|patients)",
            r"oldest",
            r"youngest",
            r"top\b",
            r"bottom\b",
            r"best\b",
            r"worst\b",
            r"rank",
            r"sort",
            r"order",
            r"limit\b",
            r"n ?=",
            r"\d+ (?:people|patients|persons|random|scans|cases|controls)",
            r"random",
            r"match",
            r"control",
            r"pair",
            r"nearest",
            r"neighbou?r",
            r"similar",
            r"like\b",
            r"outlier",
            r"typical",
            r"median",
            r"mean\b",
            r"average",
            r"percentile",
            r"quantile",
            r"quartile",
            r"decile",
            r"z-?score",
            r"every (?:other|second|third|fourth|fifth|\w+th|2nd|3rd)",
            r"balanc",
            r"stratif",
            r"quota",
            r"unique",
            r"duplicat",
            r"dedup",
            r"sibling",
            r"twin",
            r"relativ",
            r"famil",
            r"half\b",
            r"split",
            r"fold\b",
            r"train",
            r"biggest",
            r"largest",
            r"smallest",
            r"longest",
            r"shortest",
            r"consecutive",
            r"more than (?:the )?(?:other|average)",
        ),
        breaks="whether a person counts would depend on who else is there: one person more could "
        "push others out, so that the table moves by more than one count and its sensitivity is no "
        "longer 1; `--sample 50%` draws a share, for each person alone",
    ),
    Refused(
        what="a rule that looks at outcomes",
        pattern=_words(
            r"found\b",
            r"not found",
            r"acquired",
            r"identified",
            r"re-?identif",
            r"passed",
            r"failed",
            r"gates?\b",
            r"score",
            r"exposed",
            r"recogni[sz]",
            r"quality",
            r"defaced",
            r"embedding",
        ),
        breaks="the cohort would be chosen by what the attack finds; a cohort is settled from the "
        "index, before any outcome exists, and failures are cells, so that nobody is dropped for "
        "their result",
    ),
    Refused(
        what="a rule that singles one person out",
        pattern=_words(
            r"id\b",
            r"except",
            r"exclud",
            r"(?:all|every\w+) but",
            r"ids\b",
            r"patient ?id",
            r"subject",
            r"patient\b",
            r"person\b",
            r"mrn\b",
            r"pseudonym",
            r"name",
            r"called",
            r"surname",
            r"born",
            r"birth",
            r"dob\b",
            r"accession",
            r"uid\b",
            r"number",
            r"sub-",
            r"p-\w",
            r"file",
            r"folder",
            r"path",
            r"photo ?=",
            r"address",
            r"postcode",
            r"zip\b",
            r"phone",
            r"e-?mail",
            r"insurance",
            r"ssn\b",
            r"nhs\b",
            r"who\b",
            r"date",
            r"day",
            r"month",
            r"week",
            r"today",
            r"yesterday",
            r"on \d",
            r"\d{8}\b",
            r"\d{4}-\d{1,2}-\d{1,2}",
            r"\d{1,2}[./]\d{1,2}[./]\d{2,4}",
            r"\d{4}-\d{2}\b(?!\d)",
            r"ceo\b",
            r"president",
            r"celebrit",
            r"employee",
            r"staff",
        ),
        breaks="a table about a cohort of one, or of all but one, is about that one: epsilon "
        "bounds what it says, but a study is of people in general, and nobody may aim it",
    ),
)
"""In this order: the first whose pattern is met gives the reason."""


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
    defaults = {"sex": (Sex.FEMALE, Sex.MALE), "modality": tuple(Modality)}
    by = word.strip(" :").lower()
    if by not in set(GroupedBy):
        _refuse_by_kind("groups", text)
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
        _refuse_by_kind(f"cohort, condition {number}", rule)
        raise _unknown(number, "a condition that is not offered")
    return value


def _refuse_by_kind(where: str, rule: str) -> None:
    for kind in REFUSED:
        if kind.pattern.search(rule):
            raise UnsupportedError(
                where,
                got=kind.what,
                expected="conditions on one person and constants",
                do=f"leave it out: {kind.breaks} (docs/privacy.md, Cohorts)",
            )


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
            _refuse_by_kind(where, text)
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
