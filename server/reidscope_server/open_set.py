"""The opt-in tables of u -> TAR at FMR, the open-set rate, and shares above tabular thresholds.

u is the share of public faces at least as similar to the probe as its mate. A threshold that is set
for each probe by its own public scores, at false match rate f, lets the mate in iff u <= f. Then

    TAR at FMR f         = share of people with u <= f
    TPIR at (N, FPIR)    = share with u <= f who are found at N, f = 1 - (1 - FPIR)^(1/N)
    above t at N         = share with u < 1 - t^(1/(N - 1)): whom (1 - u)^(N - 1) puts above t

ONE threshold for all probes is another attacker, who does worse wherever probes differ in how much
they resemble everybody (docs/beyond-the-reference.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reidscope_protocols.face_experiment import FaceExperiment, Readout
from reidscope_protocols.report import AboveThreshold, OpenSetRate, TrueAccept
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_protocols.tail_tables import (
    ABOVE_PPM,
    PPM,
    Scores,
    faces_above,
    faces_at_fmr,
    faces_at_fpir,
    score_table,
    weights_of_scores,
)
from reidscope_server.estimates import gallery_sd, published
from reidscope_server.intervals import Weighed, share, share_interval
from reidscope_server.pooling import Pooled, pool


def tar(study: Study, releases: Sequence[Release]) -> tuple[TrueAccept, ...]:
    """Estimate the true accept rate at each asked false match rate, column by column."""
    size = study.experiment.reference_size
    return tuple(
        TrueAccept(
            arm=readout.arm,
            attacker=readout.attacker,
            fmr=fmr / PPM,
            **rated(_beaten(study, pooled, faces_at_fmr(fmr, reference_size=size))),
        )
        for asked, readout, pooled in _tables(study, releases)
        for fmr in asked.fmr_ppm
    )


def open_set(study: Study, releases: Sequence[Release]) -> tuple[OpenSetRate, ...]:
    """Estimate the open-set identification rate with rank 1 at each asked point."""
    size = study.experiment.reference_size
    return tuple(
        OpenSetRate(
            arm=readout.arm,
            attacker=readout.attacker,
            gallery_size=at.gallery_size,
            rank=1,
            fpir=at.fpir_ppm / PPM,
            fmr=published(1 - (1 - at.fpir_ppm / PPM) ** (1 / at.gallery_size)),
            **rated(
                _beaten(
                    study,
                    pooled,
                    faces_at_fpir(at.fpir_ppm, at.gallery_size, reference_size=size),
                    gallery_size=at.gallery_size,
                )
            ),
        )
        for asked, readout, pooled in _tables(study, releases)
        for at in asked.open_set
    )


def above(study: Study, releases: Sequence[Release]) -> tuple[AboveThreshold, ...]:
    """Estimate the share of people whose chance of rank 1 at N is above each tabular threshold."""
    size = study.experiment.reference_size
    return tuple(
        AboveThreshold(
            arm=readout.arm,
            attacker=readout.attacker,
            gallery_size=at,
            threshold=threshold / PPM,
            analogy="to thresholds of tabular data",
            **rated(_beaten(study, pooled, faces_above(threshold, at, reference_size=size))),
        )
        for asked, readout, pooled in _tables(study, releases)
        for at in asked.above
        for threshold in ABOVE_PPM
    )


def _tables(study: Study, releases: Sequence[Release]) -> Iterator[tuple[Scores, Readout, Pooled]]:
    asked = study.experiment.scores
    if asked is not None:
        requests = {table.table: table for table in study.tables}
        for column in asked.columns:
            pooled = pool(study, releases, requests[score_table(column)])
            yield asked, readout_of(study.experiment, column), pooled


def _beaten(
    study: Study, pooled: Pooled, at_most: int, *, gallery_size: int | None = None
) -> Weighed:
    return Weighed.of(
        pooled.counts,
        weights_of_scores(pooled.cells, at_most=at_most, gallery_size=gallery_size),
        noise_variance=pooled.noise_variance,
        gallery_sd=beaten_sd(study, at_most, gallery_size=gallery_size),
    )


def beaten_sd(study: Study, at_most: int, *, gallery_size: int | None = None) -> float:
    """sigma_G of a share of people beaten by at most so many faces, a share in [0, 1].

    Whoever must be found at N as well meets the gallery twice: the two errors are added, since
    nothing is known of how they go together.
    """
    edge = study.experiment.scores.sigma(at_most) if study.experiment.scores else 0.0
    return edge if gallery_size is None else edge + gallery_sd(study, gallery_size)


def readout_of(experiment: FaceExperiment, column: str) -> Readout:
    """Return who reads a column of the joint table."""
    return next(one for one in experiment.readouts if one.column == column)


def rated(weighed: Weighed) -> dict[str, float]:
    """Return a share and its 95% interval, as they are published."""
    interval = share_interval(weighed)
    return {
        "rate": published(share(weighed)),
        "low": published(interval.low),
        "high": published(interval.high),
    }
