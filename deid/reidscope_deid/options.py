"""The options of PS3.15 Annex E: their names, their codes, and which exclude each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidscope_protocols.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

FULL_DATES = "retain_longitudinal_full_dates"
MODIFIED_DATES = "retain_longitudinal_modified_dates"
RETAIN_UIDS = "retain_uids"
SAFE_PRIVATE = "retain_safe_private"
STRUCTURED_CONTENT = "clean_structured_content"
DESCRIPTORS = "clean_descriptors"

PIXEL_DATA = "clean_pixel_data"
VISUAL_FEATURES = "clean_recognizable_visual_features"

BASIC_CODE = "113100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of the standard.

    Attributes
    ----------
    name : str
        As the columns of Table E.1-1 are called in ps315_basic.json.
    code, meaning : str
        CID 7050: how an output declares it.
    """

    name: str
    code: str
    meaning: str


OPTIONS = {
    option.name: option
    for option in (
        Option(
            name=PIXEL_DATA,
            code="113101",
            meaning="Clean Pixel Data Option",
        ),
        Option(
            name=VISUAL_FEATURES,
            code="113102",
            meaning="Clean Recognizable Visual Features Option",
        ),
        Option(name="clean_graphics", code="113103", meaning="Clean Graphics Option"),
        Option(name=STRUCTURED_CONTENT, code="113104", meaning="Clean Structured Content Option"),
        Option(name=DESCRIPTORS, code="113105", meaning="Clean Descriptors Option"),
        Option(
            name=FULL_DATES,
            code="113106",
            meaning="Retain Longitudinal Temporal Information Full Dates Option",
        ),
        Option(
            name=MODIFIED_DATES,
            code="113107",
            meaning="Retain Longitudinal Temporal Information Modified Dates Option",
        ),
        Option(
            name="retain_patient_characteristics",
            code="113108",
            meaning="Retain Patient Characteristics Option",
        ),
        Option(
            name="retain_device_identity", code="113109", meaning="Retain Device Identity Option"
        ),
        Option(name=RETAIN_UIDS, code="113110", meaning="Retain UIDs Option"),
        Option(name=SAFE_PRIVATE, code="113111", meaning="Retain Safe Private Option"),
        Option(
            name="retain_institution_identity",
            code="113112",
            meaning="Retain Institution Identity Option",
        ),
    )
}

CODE_MEANINGS = {BASIC_CODE: "Basic Application Confidentiality Profile"} | {
    option.code: option.meaning for option in OPTIONS.values()
}
"""CID 7050: what a data set can declare that was done to it."""

PIXEL_CODES = frozenset(OPTIONS[name].code for name in (PIXEL_DATA, VISUAL_FEATURES))
"""Codes that a file carries only if its own samples were looked at."""

OFFERED = tuple(OPTIONS)


def chosen_options(names: Iterable[str]) -> frozenset[str]:
    """Check that options exist and go together.

    Parameters
    ----------
    names : iterable of str
        With underscores or hyphens.

    Raises
    ------
    UnsupportedError
        No such option.
    ConfigError
        Two options contradict each other.
    """
    asked = [name.replace("-", "_") for name in names]
    for name in asked:
        option = OPTIONS.get(name)
        if option is None:
            raise UnsupportedError(
                "the option", got="another name", expected=" or ".join(OFFERED), do="leave it out"
            )
    if {FULL_DATES, MODIFIED_DATES} <= set(asked):
        raise ConfigError(
            "the options",
            got=f"{FULL_DATES} and {MODIFIED_DATES}",
            expected="one of the two: a date is kept or it is moved",
            do="choose a profile without the other, such as basic-undated",
        )
    return frozenset(asked)


def method_codes(options: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Code value and meaning (CID 7050) of the Basic profile with these options, in order.

    Those of samples are not among them: each file declares them for itself.
    """
    codes = {BASIC_CODE, *(OPTIONS[name].code for name in options)} - PIXEL_CODES
    return tuple((code, CODE_MEANINGS[code]) for code in sorted(codes))
