"""The rates under the names that disclosure control gives them.

Prosecutor: the attacker knows that the person is in the gallery. That is what a found-at share
says, averaged over the people: the rate itself. Journalist: the person may or may not be there, and
the rate is multiplied by the probability that they are. Marketer: the share of all people whom an
attacker who wants as many as possible gets right: the mean over people of the same product. A table
of found or not found holds no more than that mean, so that here journalist and marketer risk are
one number; the largest risk of a single person, which the journalist's is elsewhere, cannot be read
from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from reidscope_protocols.reach import MILLION
from reidscope_protocols.report import Identification
from reidscope_protocols.report_rows import NamedRisk, RiskName
from reidscope_protocols.study import Study
from reidscope_server.estimates import published

_WHO_MAY_NOT_BE_THERE: tuple[RiskName, ...] = ("journalist", "marketer")


def named_risks(
    measured: Sequence[Identification], enrolled_share: float | None
) -> tuple[NamedRisk, ...]:
    """Name every measured rate three times.

    Parameters
    ----------
    measured : sequence of Identification
        Pooled rates.
    enrolled_share : float or None
        Probability that a person stands in the attacker's gallery, a public number in [0, 1]; None
        where nobody stated it: journalist and marketer risk are then left open.
    """
    return tuple(
        NamedRisk(
            risk=risk,
            arm=row.arm,
            attacker=row.attacker,
            gallery_size=row.gallery_size,
            enrolled_share=times,
            rate=None if times is None else published(row.rate * times),
            low=None if times is None else published(row.low * times),
            high=None if times is None else published(row.high * times),
        )
        for row in measured
        for risk, times in (
            ("prosecutor", 1.0),
            *((risk, enrolled_share) for risk in _WHO_MAY_NOT_BE_THERE),
        )
    )


def enrolled_share_of(study: Study) -> float | None:
    """Return the probability that the study states, None where it states none."""
    stated = study.reach.enrolled_ppm if study.reach else None
    return None if stated is None else stated / MILLION
