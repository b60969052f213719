"""How wide the intervals of a study will be, before anybody is asked.

The report's own interval code reads the counts that would be expected; nothing is simulated. A rate
near a half is the widest. Each interval is planned three times: with discrete Laplace noise at
every site, as a study is released; with discrete Gaussian noise at the same total loss; and with
one discrete Laplace shared by all sites under a secure sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from reidscope_protocols.cells import weights
from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import DAMAGE_TABLE, GATES_TABLE
from reidscope_protocols.side_tables import SERIOUS_DAMAGE, weights_of_damage, weights_of_failed
from reidscope_protocols.statements import LARGEST_SITE
from reidscope_protocols.study import Study, TableRequest
from reidscope_protocols.vocabulary import UNMODIFIED
from reidscope_server.estimates import gallery_sd, read_points
from reidscope_server.intervals import Weighed, difference_interval, share_interval
from reidscope_server.mechanisms import (
    DELTA,
    MechanismChoice,
    compare_mechanisms,
    distributed_variance,
)
from reidscope_server.planned_tails import TailKind, tail_questions
from reidscope_server.pooling import noise_variance

WARNINGS = frozenset({"failed gates", "damage"})
"""Kinds that are shown and never refused for."""

WIDEST_POINTS = 15.0
"""Half width, percentage points, beyond which a rate is hardly worth a person's epsilon."""

Kind = Literal["rate", "difference", "failed gates", "damage"] | TailKind
_A_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a designer expects, from a rehearsal on public people for instance.

    Attributes
    ----------
    rates : mapping of str to float
        Column (`unmodified`, an arm, `arm/attacker`) to the share found, in [0, 1];
        `unmodified@1000` for one gallery size of several.
    beside : mapping of (str, str) to float
        (`failed gates` or `damage`, arm) to the share of people, in [0, 1].
    other : float
        Share of everything that `rates` and `beside` do not name.
    colluders : int
        Sites that a secure sum would tolerate to work against the others.
    """

    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    beside: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    other: float = _A_HALF
    colluders: int = 0

    def of(self, column: str, gallery_size: int) -> float:
        """Return the share expected of a column at a gallery size."""
        return self.rates.get(f"{column}@{gallery_size}", self.rates.get(column, self.other))

    def after(self, column: str, gallery_size: int) -> float:
        """Return the same of a defacer, who is taken to hide everybody if nobody said."""
        return self.rates.get(f"{column}@{gallery_size}", self.rates.get(column, 0.0))


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
    rate : float
        The share, or the difference, that it is planned for.
    half_width_points : float
        As the study is released: with discrete Laplace noise at every site, or with one that all
        sites share where the study says so; percentage points.
    gaussian_points, distributed_points : float
        The same with discrete Gaussian noise at the study's loss and delta, and with one discrete
        Laplace shared by all sites.
    distributed_pays : bool
        Whether the sites' own noise outweighs the sampling of people: below that a secure sum
        cannot narrow the interval by more than 30%.
    """

    kind: Kind
    arm: str
    gallery_size: int | None
    rate: float
    half_width_points: float
    gaussian_points: float
    distributed_points: float
    distributed_pays: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One interval: a table as it would be expected, still without noise.

    Attributes
    ----------
    discordant : float or None
        Share of people whose two arms disagree; None for a share.
    """

    table: str
    kind: Kind
    arm: str
    weighed: Weighed
    gallery_size: int | None = None
    discordant: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noise:
    """Variance of each pooled count of one table, three ways, and which way the study goes."""

    local: float
    gaussian: float
    distributed: float
    is_shared: bool


def plan(
    study: Study,
    people_per_site: Sequence[int],
    expected: Expected | None = None,
    *,
    delta: float = DELTA,
) -> tuple[PlannedWidth, ...]:
    """Return the expected half width of everything that the report will estimate.

    A defacer whose rate nobody gave is taken to hide everybody; one with a rate, to find people as
    if the unmodified arm had nothing to do with it, the widest that its difference can sensibly be.

    Parameters
    ----------
    study : Study
        A draft or a signed one.
    people_per_site : sequence of int
        One number a site that is expected to release, each at least 1.
    expected : Expected, optional
        A half everywhere without it.
    delta : float
        Of the Gaussian noise that is compared.

    Raises
    ------
    InputError
        No site, a site without people, a share outside [0, 1], a rate of no column, or as many
        colluders as sites.
    """
    expected = expected or Expected()
    if study.noise is not None:
        expected = replace(expected, colluders=study.noise.colluders_tolerated)
    _check(study, people_per_site, expected)
    choice = mechanisms(study, delta=delta)
    noise = {
        request.table: _Noise(
            local=len(people_per_site) * noise_variance(request.epsilon_nano),
            gaussian=len(people_per_site) * by_table.gaussian_sd**2,
            distributed=distributed_variance(
                request.epsilon_nano, sites=len(people_per_site), colluders=expected.colluders
            ),
            is_shared=study.noise is not None,
        )
        for request, by_table in zip(study.tables, choice.tables, strict=True)
    }
    people = sum(people_per_site)
    return tuple(
        _planned(question, noise[question.table])
        for question in _questions(study, people, expected)
    )


def mechanisms(study: Study, *, delta: float = DELTA) -> MechanismChoice:
    """Compare discrete Laplace and discrete Gaussian noise for a study's own tables and loss."""
    tables = [(table.table, len(table.cells), table.epsilon_nano) for table in study.tables]
    return compare_mechanisms(tables, delta=delta)


def too_wide(
    planned: Sequence[PlannedWidth], *, widest_points: float = WIDEST_POINTS
) -> tuple[PlannedWidth, ...]:
    """Return the rates and differences planned to be wider than `widest_points`: empty is good.

    Failed gates and damage are asked to warn, and a coarse warning will do.
    """
    return tuple(
        width
        for width in planned
        if width.kind not in WARNINGS and width.half_width_points > widest_points
    )


def _check(study: Study, people_per_site: Sequence[int], expected: Expected) -> None:
    if not people_per_site or min(people_per_site) < 1 or max(people_per_site) > LARGEST_SITE:
        raise InputError(
            "plan",
            got="no site, or a site without people or with too many",
            expected=f"1 to {LARGEST_SITE} people at each of at least one site",
            do="give each site's declared size",
        )
    if not all(
        0 <= share <= 1
        for share in (expected.other, *expected.rates.values(), *expected.beside.values())
    ):
        raise InputError("plan", got="a share outside 0 to 1", expected="0 to 1", do="correct it")
    columns = [readout.column for readout in study.experiment.readouts]
    points = {f"{readout.column}@{size}" for readout, size in read_points(study)}
    if not set(expected.rates) <= {*columns, *points}:
        raise InputError(
            "rates",
            got="a rate of an arm that the study does not ask about",
            expected="rates of " + ", ".join(columns),
            do="correct --rate",
        )
    if not 0 <= expected.colluders < len(people_per_site):
        raise InputError(
            "colluders",
            got=f"{expected.colluders} of {len(people_per_site)} sites",
            expected="fewer than there are sites",
            do="correct --colluders",
        )


def _questions(study: Study, people: int, expected: Expected) -> Iterator[_Question]:
    """Say everything that the report will estimate, rates first."""
    joint = study.joint_table
    for readout, at in read_points(study):
        row = weights(joint.cells, arm=readout.column, gallery_size=at)
        mean, sd = expected.of(readout.column, at), gallery_sd(study, at)
        yield _Question(
            table=joint.table,
            kind="rate",
            arm=readout.column,
            gallery_size=at,
            weighed=_weighed(row, mean=mean, people=people, gallery_sd=sd),
        )
    size = study.experiment.anchors[0]
    before, sd = expected.of(UNMODIFIED, size), gallery_sd(study, size)
    whole = weights(joint.cells, arm=UNMODIFIED, gallery_size=size)
    for readout in study.experiment.readouts[1:]:
        ours = weights(joint.cells, arm=readout.column, gallery_size=size)
        signs = tuple(one - other for one, other in zip(ours, whole, strict=True))
        after = expected.after(readout.column, size)
        yield _Question(
            table=joint.table,
            kind="difference",
            arm=readout.column,
            gallery_size=size,
            weighed=_weighed(signs, mean=after - before, people=people, gallery_sd=sd),
            discordant=before * (1 - after) + after * (1 - before),
        )
    for tail in tail_questions(study):
        yield _Question(
            table=tail.table,
            kind=tail.kind,
            arm=tail.column,
            gallery_size=tail.gallery_size,
            weighed=_weighed(
                tail.row, mean=expected.other, people=people, gallery_sd=tail.gallery_sd
            ),
        )
    for table in study.tables[1:]:
        for kind, arm, row in _warnings(study, table):
            share = expected.beside.get((kind, arm), expected.other)
            yield _Question(
                table=table.table,
                kind=kind,
                arm=arm,
                weighed=_weighed(row, mean=share, people=people),
            )


def _warnings(
    study: Study, table: TableRequest
) -> Iterator[tuple[Literal["failed gates", "damage"], str, tuple[int, ...]]]:
    if table.table == GATES_TABLE:
        for arm in study.experiment.arms[1:]:
            yield "failed gates", arm, weights_of_failed(table.cells, arm=arm)
    elif table.table.startswith(f"{DAMAGE_TABLE}/"):
        arm = table.table.removeprefix(f"{DAMAGE_TABLE}/")
        yield "damage", arm, weights_of_damage(table.cells, lost=SERIOUS_DAMAGE)


def _weighed(row: Sequence[int], *, mean: float, people: int, gallery_sd: float = 0.0) -> Weighed:
    """Weigh a table as it would be expected; its noise is put in by `_planned`."""
    return Weighed(
        total=mean * people,
        people=people,
        weight_sum=sum(row),
        weight_squares=sum(w * w for w in row),
        cells=len(row),
        noise_variance=0.0,
        gallery_sd=gallery_sd,
    )


def _planned(question: _Question, noise: _Noise) -> PlannedWidth:
    weighed, discordant = question.weighed, question.discordant
    people, mean = weighed.people, weighed.total / weighed.people

    def points(variance: float) -> float:
        noisy = replace(weighed, noise_variance=variance)
        found = (
            share_interval(noisy)
            if discordant is None
            else difference_interval(noisy, discordant=discordant * people)
        )
        return 100 * found.half_width

    sampling = people * ((mean if discordant is None else discordant) - mean**2)
    spread = weighed.weight_squares - 2 * mean * weighed.weight_sum + mean**2 * weighed.cells
    return PlannedWidth(
        kind=question.kind,
        arm=question.arm,
        gallery_size=question.gallery_size,
        rate=mean,
        half_width_points=points(noise.distributed if noise.is_shared else noise.local),
        gaussian_points=points(noise.gaussian),
        distributed_points=points(noise.distributed),
        distributed_pays=noise.local * spread > sampling and noise.distributed < noise.local,
    )
