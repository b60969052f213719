"""Rules for cohorts and groups that are never offered, and what each would break.

A rule that counts before noise, compares people, looks at outcomes or singles one person out would
break the argument of docs/privacy.md. Such words are known here to give the reason alone: a rule
that nobody thought of is refused too, as one that is not offered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reidscope_protocols.errors import UnsupportedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A kind of rule: how it is known, by words or their beginnings, and what it would break."""

    what: str
    words: re.Pattern[str]
    breaks: str


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pattern})", re.IGNORECASE | re.VERBOSE)


_PEOPLE = r"(?:people|patients|persons|subjects|scans|cases|controls|random)"

REFUSED = (
    Refused(
        what="a rule that counts people before noise",
        words=_words(
            rf"""if\ (?:fewer|less|more|at\ least|there) | at\ least\ \d+\ ?{_PEOPLE}
            | (?:more|fewer|less)\ than\ \d+\ ?{_PEOPLE} | min(?:imum)?\b | max(?:imum)?\b
            | merg | pool | collaps | combin | rare | small(?:er|est)?\ groups? | k-?anonym
            | suppress | drop\ groups? | large\ enough"""
        ),
        breaks="what is done would hang on a TRUE count, so one person more or fewer could change "
        "everything at once, which no noise on the counts hides; minimum sizes are compared with "
        "the declared size, and small groups just get wide intervals",
    ),
    Refused(
        what="a rule that compares people",
        words=_words(
            rf"""latest | newest | recent | earliest | oldest | youngest | biggest | largest
            | smallest | longest | shortest | top\b | bottom\b | best\b | worst\b | consecutive
            | (?:first|last)\ (?:\d|hundred|thousand|ten|{_PEOPLE}) | \d+\ {_PEOPLE} | n\ ?=
            | rank | sort | order | limit\b | quota | random | half\b | split | fold\b | train
            | every\ (?:other|second|third|fourth|fifth|\w+th|2nd|3rd) | match | control | pair
            | nearest | neighbou?r | similar | like\b | sibling | twin | relativ | famil | unique
            | duplicat | dedup | outlier | typical | median | mean\b | average | percentile
            | quantile | quartile | decile | z-?score | balanc | stratif"""
        ),
        breaks="whether a person counts would depend on who else is there: one person more could "
        "push others out, so that the table moves by more than one count and its sensitivity is no "
        "longer 1; `--sample 50%` draws a share, for each person alone",
    ),
    Refused(
        what="a rule that looks at outcomes",
        words=_words(
            r"""found\b | not\ found | acquired | identified | re-?identif | passed | failed
            | gates?\b | score | exposed | recogni[sz] | quality | defaced | embedding"""
        ),
        breaks="the cohort would be chosen by what the attack finds; a cohort is settled from the "
        "index, before any outcome exists, and failures are cells, so that nobody is dropped for "
        "their result",
    ),
    Refused(
        what="a rule that singles one person out",
        words=_words(
            r"""ids?\b | patient\ ?id | subject | patient\b | person\b | mrn\b | pseudonym | name
            | called | surname | born | birth | dob\b | accession | uid\b | number | sub- | p-\w
            | file | folder | path | photo\ ?= | address | postcode | zip\b | phone | e-?mail
            | insurance | ssn\b | nhs\b | who\b | except | exclud | (?:all|every\w+)\ but
            | date | day | month | week | today | yesterday | on\ \d | \d{8}\b
            | \d{4}-\d{1,2}-\d{1,2} | \d{1,2}[./]\d{1,2}[./]\d{2,4} | \d{4}-\d{2}\b(?!\d)
            | ceo\b | president | celebrit | employee | staff"""
        ),
        breaks="a table about a cohort of one, or of all but one, is about that one: epsilon "
        "bounds what it says, but a study is of people in general, and nobody may aim it",
    ),
)
"""In this order: the first whose words are met gives the reason."""


def refuse_by_kind(where: str, rule: str) -> None:
    """Raise UnsupportedError with the reason if `rule` is of a kind that is never offered."""
    for kind in REFUSED:
        if kind.words.search(rule):
            raise UnsupportedError(
                where,
                got=kind.what,
                expected="conditions on one person and constants",
                do=f"leave it out: {kind.breaks} (docs/privacy.md, Cohorts)",
            )
