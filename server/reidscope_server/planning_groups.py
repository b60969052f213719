"""How wide the intervals of each group will be: the report's own code on the counts to come.

A group has its own part of the joint table: fewer people, and the same noise a cell. Nothing is
refused for a small group, and none is merged: merging on counts would compare people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from reidscope_protocols.cells import weights
from reidscope_protocols.errors import InputError
from reidscope_protocols.groups import cells_of
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import UNMODIFIED
from reidscope_server.estimates import gallery_sd, read_points
from reidscope_server.intervals import Weighed, difference_interval, share_interval
from reidscope_server.mechanisms import distributed_variance
from reidscope_server.pooling import noise_variance

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%|(0?\.\d{1,6}|[01])")
_SLACK = Fraction(1, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWidth:
    """Expected half width of one 95% interval of one group, in percentage points."""

    group: str
    kind: Literal["rate", "difference"]
    arm: str
    gallery_size: int
    half_width_points: float


def rows_of_groups(study: Study, people_per_site: Sequence[int], text: str) -> list[dict[str, Any]]:
    """Return every group's widths as `study plan` shows them; see `group_shares` for `text`."""
    return [
        {
            "kind": row.kind,
            "group": row.group,
            "arm": row.arm,
            "gallery": row.gallery_size,
            "half_width_points": round(row.half_width_points, 1),
        }
        for row in plan_groups(study, people_per_site, group_shares(study, text))
    ]


def group_shares(study: Study, text: str) -> tuple[Fraction, ...]:
    """Read each group's share of people, the last for `other`.

    Parameters
    ----------
    study : Study
        A draft or a signed one.
    text : str
        A share for each listed group, `50%` or `.5`, separated by commas: `other` has what is left.
        Empty: all groups alike, `other` too.

    Raises
    ------
    InputError
        Shares without groups, not one for each, or above 1 together.
    """
    groups = study.experiment.groups
    labels = groups.labels if groups is not None else ()
    if not text.strip():
        return tuple(Fraction(1, len(labels)) for _ in labels)
    met = [_SHARE.fullmatch(part.strip()) for part in text.split(",")]
    shares = [Fraction(m[1]) / 100 if m[1] else Fraction(m[2]) for m in met if m]
    if len(shares) != len(met) or len(shares) != len(labels) - 1 or sum(shares) > 1 + _SLACK:
        raise InputError(
            "group shares",
            got="not one share for each listed group, or more than everybody",
            expected="such as 50%,45% for " + (", ".join(labels[:-1]) or "a study with groups"),
            do="correct --group-shares",
        )
    return (*shares, max(Fraction(0), 1 - sum(shares, Fraction(0))))


def plan_groups(
    study: Study,
    people_per_site: Sequence[int],
    shares: Sequence[Fraction],
    *,
    rate: float = 0.5,
    discordant: float = 0.5,
) -> tuple[GroupWidth, ...]:
    """Return the expected half widths of every group's rates and differences; none without groups.

    Parameters
    ----------
    study : Study
        A draft or a signed one.
    people_per_site : sequence of int
        In the cohort, one number a site.
    shares : sequence of Fraction
        Of each group, in the order of its labels; see `group_shares`.
    rate, discordant : float
        As in `planning.plan`.
    """
    groups = study.experiment.groups
    if groups is None:
        return ()
    everybody, sites = sum(people_per_site), len(people_per_site)
    return tuple(
        width
        for group, share in zip(groups.labels, shares, strict=True)
        for width in _widths(
            study, group, float(everybody * share), sites, rate=rate, discordant=discordant
        )
    )


def _widths(
    study: Study, group: str, people: float, sites: int, *, rate: float, discordant: float
) -> Iterator[GroupWidth]:
    cells = study.joint_table.cells
    labels = [cells[place] for place in cells_of(cells, group)]
    smallest = study.experiment.anchors[0]
    price = study.joint_table.epsilon_nano
    noise = (
        sites * noise_variance(price)
        if study.noise is None
        else distributed_variance(price, sites=sites, colluders=study.noise.colluders_tolerated)
    )

    def weighed(row: Sequence[int], mean: float, size: int) -> Weighed:
        return Weighed(
            total=mean * people,
            people=people,
            weight_sum=sum(row),
            weight_squares=sum(weight * weight for weight in row),
            cells=len(row),
            noise_variance=noise,
            gallery_sd=gallery_sd(study, size),
        )

    for readout, size in read_points(study):
        ones = weights(labels, arm=readout.column, gallery_size=size)
        yield GroupWidth(
            group=group,
            kind="rate",
            arm=readout.column,
            gallery_size=size,
            half_width_points=100 * share_interval(weighed(ones, rate, size)).half_width,
        )
    whole = weights(labels, arm=UNMODIFIED, gallery_size=smallest)
    for readout in study.experiment.readouts[1:]:
        ones = weights(labels, arm=readout.column, gallery_size=smallest)
        signs = [ours - theirs for ours, theirs in zip(ones, whole, strict=True)]
        interval = difference_interval(
            weighed(signs, -discordant, smallest), discordant=discordant * people
        )
        yield GroupWidth(
            group=group,
            kind="difference",
            arm=readout.column,
            gallery_size=smallest,
            half_width_points=100 * interval.half_width,
        )
