"""How wide the intervals of a study will be, before anybody is asked.

The report's own interval code reads the counts that would be expected; nothing is simulated. A rate
near a half is the widest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from reidscope_protocols.cells import weights
from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import GATES_TABLE
from reidscope_protocols.side_tables import SERIOUS_DAMAGE, weights_of_damage, weights_of_failed
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import UNMODIFIED
from reidscope_server.estimates import gallery_sd, read_points
from reidscope_server.intervals import Weighed, difference_interval, share_interval
from reidscope_server.planned_tails import TailKind, expected_tails, is_tail
from reidscope_server.pooling import noise_variance

WARNINGS = frozenset({"failed gates", "damage"})
"""Kinds that are shown and never refused for."""

WIDEST_POINTS = 15.0
"""Half width, percentage points, beyond which a rate is hardly worth a person's epsilon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWidth:
    """Expected half width of one 95% interval.

    Attributes
    ----------
    kind : str
        `rate` of an arm; `difference` between a defaced arm and the unmodified one; `failed gates`
        and `damage`, each a share of people in a table of its own; and those of the opt-in tables.
    arm : str
        A column of the joint table: the arm, with its attacker where there are several.
    gallery_size : int or None
        None for what needs no gallery.
    half_width_points : float
        Percentage points.
    """

    kind: Literal["rate", "difference", "failed gates", "damage", TailKind]
    arm: str
    gallery_size: int | None
    half_width_points: float


def plan(
    study: Study, people_per_site: Sequence[int], *, rate: float = 0.5, discordant: float = 0.5
) -> tuple[PlannedWidth, ...]:
    """Return the expected half width of everything that the report will estimate.

    Parameters
    ----------
    study : Study
        A draft or a signed one.
    people_per_site : sequence of int
        One number a site that is expected to release, each at least 1.
    rate : float
        True share found that every arm is planned for, in [0, 1].
    discordant : float
        Share of people whom a defacer hides, in [0, 1]; nobody becomes findable by it.

    Raises
    ------
    InputError
        No site, a site without people, or a share outside [0, 1].
    """
    if not people_per_site or min(people_per_site) < 1:
        raise InputError(
            "plan",
            got="no site, or a site without people",
            expected="at least one person at each of at least one site",
            do="give each site's declared size",
        )
    if not (0 <= rate <= 1 and 0 <= discordant <= 1):
        raise InputError("plan", got="a share outside 0 to 1", expected="0 to 1", do="correct it")
    size = study.experiment.anchors[0]
    rates = (
        PlannedWidth(
            kind="rate",
            arm=readout.column,
            gallery_size=at,
            half_width_points=100
            * share_interval(
                _expected(
                    study, _ones(study, readout.column, at), people_per_site, mean=rate, at=at
                )
            ).half_width,
        )
        for readout, at in read_points(study)
    )
    differences = (
        PlannedWidth(
            kind="difference",
            arm=readout.column,
            gallery_size=size,
            half_width_points=100
            * difference_interval(
                _expected(
                    study,
                    _signs(study, readout.column),
                    people_per_site,
                    mean=-discordant,
                    at=size,
                ),
                discordant=discordant * sum(people_per_site),
            ).half_width,
        )
        for readout in study.experiment.readouts[1:]
    )
    return (*rates, *differences, *_beside(study, people_per_site, rate))


def too_wide(
    planned: Sequence[PlannedWidth], *, widest_points: float = WIDEST_POINTS
) -> tuple[PlannedWidth, ...]:
    """Return the rates whose planned half width is beyond `widest_points`: empty is good news.

    Rates alone: failed gates and damage are asked to warn, and a coarse warning will do.
    """
    return tuple(
        width
        for width in planned
        if width.kind == "rate" and width.half_width_points > widest_points
    )


def _ones(study: Study, arm: str, gallery_size: int) -> tuple[int, ...]:
    return weights(study.joint_table.cells, arm=arm, gallery_size=gallery_size)


def _signs(study: Study, arm: str) -> tuple[int, ...]:
    size = study.experiment.anchors[0]
    pairs = zip(_ones(study, arm, size), _ones(study, UNMODIFIED, size), strict=True)
    return tuple(ours - theirs for ours, theirs in pairs)


def _beside(study: Study, people_per_site: Sequence[int], rate: float) -> Iterator[PlannedWidth]:
    """Plan the tables beside the joint one, each at its own price."""
    for expected in expected_tails(study, people_per_site, rate=rate):
        yield PlannedWidth(
            kind=expected.kind,
            arm=expected.column,
            gallery_size=expected.gallery_size,
            half_width_points=100 * share_interval(expected.weighed).half_width,
        )
    for table in study.tables[1:]:
        if is_tail(table):
            continue
        gates = table.table == GATES_TABLE
        for arm in study.experiment.arms[1:] if gates else (table.table.split("/", 1)[1],):
            row = (
                weights_of_failed(table.cells, arm=arm)
                if gates
                else weights_of_damage(table.cells, lost=SERIOUS_DAMAGE)
            )
            weighed = _weighed(
                row, people_per_site, mean=rate, epsilon_nano=table.epsilon_nano, sd=0.0
            )
            yield PlannedWidth(
                kind="failed gates" if gates else "damage",
                arm=arm,
                gallery_size=None,
                half_width_points=100 * share_interval(weighed).half_width,
            )


def _expected(
    study: Study, row: Sequence[int], people_per_site: Sequence[int], *, mean: float, at: int
) -> Weighed:
    return _weighed(
        row,
        people_per_site,
        mean=mean,
        epsilon_nano=study.joint_table.epsilon_nano,
        sd=gallery_sd(study, at),
    )


def _weighed(
    row: Sequence[int],
    people_per_site: Sequence[int],
    *,
    mean: float,
    epsilon_nano: int,
    sd: float,
) -> Weighed:
    return Weighed(
        total=mean * sum(people_per_site),
        people=sum(people_per_site),
        weight_sum=sum(row),
        weight_squares=sum(w * w for w in row),
        cells=len(row),
        noise_variance=len(people_per_site) * noise_variance(epsilon_nano),
        gallery_sd=sd,
    )
