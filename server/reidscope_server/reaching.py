"""Whom a study's scans could be of, as a coordinator types it on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import ValidationError

from reidscope_protocols.errors import InputError
from reidscope_protocols.reach import MILLION, Reach, SiteCatchment
from reidscope_protocols.statements import malformed

_CATCHMENT = re.compile(r"(?P<site>[^=]+)=(?P<people>[0-9]{1,10})(:(?P<region>.+))?")
_SHARE = re.compile(r"0(\.[0-9]{1,6})?|1(\.0{1,6})?|\.[0-9]{1,6}")


def reach_of(
    catchments: Sequence[str], everywhere: int | None, enrolled_share: str | None
) -> Reach | None:
    """Read what was typed; None where nothing was.

    Parameters
    ----------
    catchments : sequence of str
        `SITE=PEOPLE` or `SITE=PEOPLE:REGION`.
    everywhere : int or None
        People whom a scan of unknown origin could be of.
    enrolled_share : str or None
        A decimal from 0 to 1, at most six digits.

    Raises
    ------
    InputError
        Something that is not of that form.
    MalformedError
        A name, number or region that no study may hold.
    """
    if not catchments and everywhere is None and enrolled_share is None:
        return None
    matches = [_CATCHMENT.fullmatch(typed) for typed in catchments]
    if not all(matches):
        raise InputError(
            "catchment",
            got="something that is no SITE=PEOPLE or SITE=PEOPLE:REGION",
            expected="one such as north=250000:Lower Saxony",
            do="correct --catchment",
        )
    try:
        return Reach(
            sites=tuple(
                SiteCatchment(
                    site=match["site"],
                    population_reached=int(match["people"]),
                    region=match["region"],
                )
                for match in matches
                if match
            ),
            everywhere=everywhere,
            enrolled_ppm=None
            if enrolled_share is None
            else round(share_of(enrolled_share) * MILLION),
        )
    except ValidationError as error:
        raise malformed("study", error) from None


def share_of(typed: str) -> float:
    """Read a probability that somebody typed.

    Raises
    ------
    InputError
        No decimal from 0 to 1 of at most six digits: nan, 1e-3 and 2 among them.
    """
    if not _SHARE.fullmatch(typed):
        raise InputError(
            "enrolled share",
            got="something that is no share",
            expected="a decimal from 0 to 1, at most six digits, such as 0.3",
            do="correct --enrolled-share",
        )
    return float(typed)
