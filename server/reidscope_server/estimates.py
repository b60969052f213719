"""One pooled table -> everything a report estimates.

Rates are shares of ALL people of the cohort: whoever shows no single face in the scan or the photo
counts as not found, never as missing. Published numbers are rounded to a millionth, so that
machines whose exponentials differ in the last bit publish, and recompute, the same report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from reidscope_protocols.cells import acquired as shows_faces
from reidscope_protocols.cells import weights, weights_of_any
from reidscope_protocols.face_experiment import (
    GATES_TABLE,
    JOINT_TABLE,
    Readout,
    damage_table,
)
from reidscope_protocols.report import (
    Acquired,
    Comparison,
    Damage,
    FailedGates,
    Identification,
    Influence,
    People,
    SiteIdentification,
)
from reidscope_protocols.side_tables import (
    DAMAGE_CLASSES,
    SERIOUS_DAMAGE,
    weights_of_damage,
    weights_of_failed,
)
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import UNMODIFIED
from reidscope_server.intervals import (
    Weighed,
    difference,
    difference_interval,
    people_interval,
    share,
    share_interval,
)
from reidscope_server.pooling import Pooled, pool

ANY_DEFACER = "any defacer"
ANY_ATTACKER = "any attacker"
_PPM = 1_000_000
_DIGITS = 6


def published(value: float) -> float:
    """Round to a millionth; never minus zero."""
    return round(value, _DIGITS) + 0.0


def gallery_sd(study: Study, gallery_size: int) -> float:
    """sigma_G(N) of an anchor, a share in [0, 1]."""
    errors = {error.gallery_size: error.sigma_ppm for error in study.experiment.gallery_error}
    return errors[gallery_size] / _PPM


def read_points(study: Study) -> tuple[tuple[Readout, int], ...]:
    """Return every (readout, gallery size) with a rate: defacers at the smallest anchor alone."""
    anchors = study.experiment.anchors
    unmodified, *defaced = study.experiment.readouts
    return (
        *((unmodified, anchor) for anchor in anchors),
        *((readout, anchors[0]) for readout in defaced),
    )


def identification(study: Study, pooled: Pooled) -> tuple[Identification, ...]:
    """Estimate the share of people found, at every point that the study reads.

    Returns
    -------
    tuple of Identification
        In the order of `read_points`; each 95% interval covers people and noise, and the one
        public gallery that all met.
    """
    return tuple(
        Identification(
            experiment=JOINT_TABLE,
            arm=readout.arm,
            attacker=readout.attacker,
            gallery_size=size,
            rank=1,
            basis="measured",
            tail=None,
            **_share(found(study, pooled, column=readout.column, gallery_size=size)),
        )
        for readout, size in read_points(study)
    )


def after_any(study: Study, pooled: Pooled) -> tuple[Identification, ...]:
    """Estimate the share of people whom at least one of several attacks finds.

    A row a defacer that several attackers look at; then one of all of them, for an attacker who may
    choose among differently defaced copies of a scan. Only where there is more than one.
    """
    defaced = study.experiment.readouts[1:]
    by_arm = {
        arm: [readout for readout in defaced if readout.arm == arm]
        for arm in study.experiment.arms[1:]
    }
    groups = {arm: group for arm, group in by_arm.items() if len(group) > 1}
    if len(by_arm) > 1:
        groups[ANY_DEFACER] = list(defaced)
    each = {
        readout.column: row.rate
        for (readout, _), row in zip(read_points(study), identification(study, pooled), strict=True)
    }
    return tuple(_any_of(study, pooled, arm, group, each) for arm, group in groups.items())


def _any_of(
    study: Study, pooled: Pooled, arm: str, group: Sequence[Readout], each: Mapping[str, float]
) -> Identification:
    size = study.experiment.anchors[0]
    columns = [readout.column for readout in group]
    weighed = Weighed.of(
        pooled.counts,
        weights_of_any(pooled.cells, arms=columns, gallery_size=size),
        noise_variance=pooled.noise_variance,
        gallery_sd=gallery_sd(study, size),
    )
    together = _share(weighed)
    # Noise can put it below one of them, which it cannot be.
    together["rate"] = max(together["rate"], *(each[column] for column in columns))
    together["high"] = max(together["high"], together["rate"])
    attackers = {readout.attacker for readout in group}
    return Identification(
        experiment=JOINT_TABLE,
        arm=arm,
        attacker=ANY_ATTACKER if len(attackers) > 1 else group[0].attacker,
        gallery_size=size,
        rank=1,
        basis="measured",
        tail=None,
        **together,
    )


def by_site(study: Study, releases: Sequence[Release]) -> tuple[SiteIdentification, ...]:
    """Estimate the same shares at each site alone, in the order of `releases`."""
    return tuple(
        SiteIdentification(
            site=release.site,
            arm=readout.arm,
            attacker=readout.attacker,
            gallery_size=size,
            **_share(found(study, alone, column=readout.column, gallery_size=size)),
        )
        for release, alone in ((release, pool(study, [release])) for release in releases)
        for readout, size in read_points(study)
    )


def influence(study: Study, releases: Sequence[Release]) -> tuple[Influence, ...]:
    """Measure how far each site moves each pooled rate: all sites minus all the others.

    A site that sends absurd counts shows here. Empty below two sites.
    """
    if len(releases) < 2:  # noqa: PLR2004 (without its only site, a pool holds nothing)
        return ()
    everyone = pool(study, releases)
    without = {
        release.site: pool(study, [other for other in releases if other is not release])
        for release in releases
    }
    return tuple(
        Influence(
            site=site,
            arm=readout.arm,
            attacker=readout.attacker,
            gallery_size=size,
            change=published(
                share(found(study, everyone, column=readout.column, gallery_size=size))
                - share(found(study, rest, column=readout.column, gallery_size=size))
            ),
        )
        for site, rest in without.items()
        for readout, size in read_points(study)
    )


def acquired(pooled: Pooled) -> Acquired:
    """Estimate the share of people whose scan and photo each showed a single face."""
    faces = [int(shows_faces(label)) for label in pooled.cells]
    weighed = Weighed.of(pooled.counts, faces, noise_variance=pooled.noise_variance)
    return Acquired(experiment=JOINT_TABLE, **_share(weighed))


def comparisons(study: Study, pooled: Pooled) -> tuple[Comparison, ...]:
    """Estimate each defacer's paired effect: its rate minus `unmodified`'s, same people."""
    return tuple(_comparison(study, pooled, readout) for readout in study.experiment.readouts[1:])


def people(pooled: Pooled) -> People:
    """Estimate the number of people behind a table."""
    interval = people_interval(
        pooled.people, cells=len(pooled.cells), noise_variance=pooled.noise_variance
    )
    return People(
        estimate=float(max(pooled.people, 0)),
        low=published(interval.low),
        high=published(interval.high),
    )


def found(study: Study, pooled: Pooled, *, column: str, gallery_size: int) -> Weighed:
    """Weigh the table for the share found in a column among `gallery_size` faces."""
    return Weighed.of(
        pooled.counts,
        _found_row(pooled.cells, column, gallery_size),
        noise_variance=pooled.noise_variance,
        gallery_sd=gallery_sd(study, gallery_size),
    )


@lru_cache(maxsize=256)
def _found_row(cells: tuple[str, ...], column: str, gallery_size: int) -> tuple[int, ...]:
    """Weights, read from labels once: a hundred sites ask for the same ones."""
    return weights(cells, arm=column, gallery_size=gallery_size)


def _share(weighed: Weighed) -> dict[str, float]:
    interval = share_interval(weighed)
    return {
        "rate": published(share(weighed)),
        "low": published(interval.low),
        "high": published(interval.high),
    }


def failed_gates(study: Study, releases: Sequence[Release]) -> tuple[FailedGates, ...]:
    """Estimate, defacer by defacer, the share of people whose defaced scan failed its gates.

    The rate of an arm says little without it: a defacer that always fails would look safe.
    """
    requests = [table for table in study.tables if table.table == GATES_TABLE]
    return tuple(
        FailedGates(
            arm=arm,
            **_share(
                Weighed.of(
                    pooled.counts,
                    weights_of_failed(pooled.cells, arm=arm),
                    noise_variance=pooled.noise_variance,
                )
            ),
        )
        for request in requests
        for pooled in [pool(study, releases, request)]
        for arm in study.experiment.arms[1:]
    )


def damage(study: Study, releases: Sequence[Release]) -> tuple[Damage, ...]:
    """Estimate, defacer by defacer, the share of people in each class of brain lost.

    The classes in order, then 1% or more: with an interval of its own, since intervals do not add.
    """
    requests = {table.table: table for table in study.tables}
    return tuple(
        Damage(
            arm=arm,
            brain_lost=label,
            **_share(
                Weighed.of(
                    pooled.counts,
                    weights_of_damage(pooled.cells, lost=label),
                    noise_variance=pooled.noise_variance,
                )
            ),
        )
        for arm in study.experiment.damage_arms
        for pooled in [pool(study, releases, requests[damage_table(arm)])]
        for label in (*DAMAGE_CLASSES, SERIOUS_DAMAGE)
    )


def _comparison(study: Study, pooled: Pooled, readout: Readout) -> Comparison:
    size = study.experiment.anchors[0]
    ours, theirs = (
        weights(pooled.cells, arm=name, gallery_size=size) for name in (readout.column, UNMODIFIED)
    )
    signs = [a - b for a, b in zip(ours, theirs, strict=True)]
    weighed = Weighed.of(
        pooled.counts,
        signs,
        noise_variance=pooled.noise_variance,
        gallery_sd=gallery_sd(study, size),
    )
    discordant = sum(abs(s) * c for s, c in zip(signs, pooled.counts, strict=True))
    interval = difference_interval(weighed, discordant=discordant)
    return Comparison(
        experiment=JOINT_TABLE,
        arm=readout.arm,
        attacker=readout.attacker,
        against=UNMODIFIED,
        gallery_size=size,
        difference=published(difference(weighed)),
        low=published(interval.low),
        high=published(interval.high),
    )
