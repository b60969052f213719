"""One pooled table -> everything a report estimates.

Rates are shares of ALL people of the cohort: whoever shows no single face in the scan or the photo
counts as not found, never as missing. Published numbers are rounded to a millionth, so that
machines whose exponentials differ in the last bit publish, and recompute, the same report.
"""

from __future__ import annotations

from collections.abc import Sequence

from reidscope_protocols.cells import NOT_ACQUIRED, weights, weights_of_any
from reidscope_protocols.report import (
    Acquired,
    Comparison,
    Identification,
    Influence,
    People,
    SiteIdentification,
)
from reidscope_protocols.statements import Release
from reidscope_protocols.study import JOINT_TABLE, Study
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
_PPM = 1_000_000
_DIGITS = 6


def published(value: float) -> float:
    """Round to a millionth; never minus zero."""
    return round(value, _DIGITS) + 0.0


def gallery_sd(study: Study, gallery_size: int) -> float:
    """sigma_G(N) of an anchor, a share in [0, 1]."""
    errors = {error.gallery_size: error.sigma_ppm for error in study.experiment.gallery_error}
    return errors[gallery_size] / _PPM


def read_points(study: Study) -> tuple[tuple[str, int], ...]:
    """Return every (arm, gallery size) with a rate: defacers are read at the smallest anchor."""
    anchors = study.experiment.anchors
    return (
        *((UNMODIFIED, anchor) for anchor in anchors),
        *((arm, anchors[0]) for arm in study.experiment.arms[1:]),
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
            arm=arm,
            attacker=study.experiment.attacker,
            gallery_size=size,
            rank=1,
            basis="measured",
            **_share(found(study, pooled, arm=arm, gallery_size=size)),
        )
        for arm, size in read_points(study)
    )


def after_any(study: Study, pooled: Pooled) -> tuple[Identification, ...]:
    """Estimate the share of people whom at least one of several defacers leaves to be found.

    An attacker who may choose among differently defaced copies of a scan finds them. Empty below
    two defacers.
    """
    defacers = study.experiment.arms[1:]
    if len(defacers) < 2:  # noqa: PLR2004 (one defacer is a rate of its own)
        return ()
    size = study.experiment.anchors[0]
    weighed = Weighed.of(
        pooled.counts,
        weights_of_any(pooled.cells, arms=defacers, gallery_size=size),
        noise_variance=pooled.noise_variance,
        gallery_sd=gallery_sd(study, size),
    )
    together = _share(weighed)
    # Noise can put it below one of them, which it cannot be.
    each = [row.rate for row in identification(study, pooled) if row.arm != UNMODIFIED]
    together["rate"] = max(together["rate"], *each)
    together["high"] = max(together["high"], together["rate"])
    return (
        Identification(
            experiment=JOINT_TABLE,
            arm=ANY_DEFACER,
            attacker=study.experiment.attacker,
            gallery_size=size,
            rank=1,
            basis="measured",
            **together,
        ),
    )


def by_site(study: Study, releases: Sequence[Release]) -> tuple[SiteIdentification, ...]:
    """Estimate the same shares at each site alone, in the order of `releases`."""
    return tuple(
        SiteIdentification(
            site=release.site,
            arm=arm,
            gallery_size=size,
            **_share(found(study, alone, arm=arm, gallery_size=size)),
        )
        for release, alone in ((release, pool(study, [release])) for release in releases)
        for arm, size in read_points(study)
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
            arm=arm,
            gallery_size=size,
            change=published(
                share(found(study, everyone, arm=arm, gallery_size=size))
                - share(found(study, rest, arm=arm, gallery_size=size))
            ),
        )
        for site, rest in without.items()
        for arm, size in read_points(study)
    )


def acquired(pooled: Pooled) -> Acquired:
    """Estimate the share of people whose scan and photo each showed a single face."""
    faces = [int(label != NOT_ACQUIRED) for label in pooled.cells]
    weighed = Weighed.of(pooled.counts, faces, noise_variance=pooled.noise_variance)
    return Acquired(experiment=JOINT_TABLE, **_share(weighed))


def comparisons(study: Study, pooled: Pooled) -> tuple[Comparison, ...]:
    """Estimate each defacer's paired effect: its rate minus `unmodified`'s, same people."""
    return tuple(_comparison(study, pooled, arm) for arm in study.experiment.arms[1:])


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


def found(study: Study, pooled: Pooled, *, arm: str, gallery_size: int) -> Weighed:
    """Weigh the table for the share found in `arm` among `gallery_size` faces."""
    return Weighed.of(
        pooled.counts,
        weights(pooled.cells, arm=arm, gallery_size=gallery_size),
        noise_variance=pooled.noise_variance,
        gallery_sd=gallery_sd(study, gallery_size),
    )


def _share(weighed: Weighed) -> dict[str, float]:
    interval = share_interval(weighed)
    return {
        "rate": published(share(weighed)),
        "low": published(interval.low),
        "high": published(interval.high),
    }


def _comparison(study: Study, pooled: Pooled, arm: str) -> Comparison:
    size = study.experiment.anchors[0]
    ours, theirs = (
        weights(pooled.cells, arm=name, gallery_size=size) for name in (arm, UNMODIFIED)
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
        arm=arm,
        against=UNMODIFIED,
        gallery_size=size,
        difference=published(difference(weighed)),
        low=published(interval.low),
        high=published(interval.high),
    )
