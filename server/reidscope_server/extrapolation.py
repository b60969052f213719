"""The opt-in tables beyond the reference -> rates at large N, by two tails, beside what is certain.

Nobody has seen how a recogniser's scores end among more strangers than the reference holds. Two
models stand for what nobody knows: a generalised Pareto tail and a normal one, both from the
z-scores of public strangers. What needs no model stands beside them: a person who is lost in the
largest measured gallery is found in none that is larger, so that the rate lies between 0 and the
rate there. Noise, people, the one gallery and the few public probes behind a tail are in the
intervals; the choice of a model is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from reidscope_protocols.report import Identification
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_protocols.tail_tables import PooledTail, basis, beyond_table, weights_of_beyond
from reidscope_server.estimates import gallery_sd
from reidscope_server.intervals import Weighed
from reidscope_server.open_set import rated, readout_of
from reidscope_server.pooling import Pooled, pool

TAILS: Final[tuple[Literal["gpd", "normal"], ...]] = ("gpd", "normal")


def extrapolated(study: Study, releases: Sequence[Release]) -> tuple[Identification, ...]:
    """Estimate the share of people found at every asked size beyond the reference.

    Returns
    -------
    tuple of Identification
        Column by column, size by size, the generalised Pareto tail first. `bound_high` is the upper
        end of the interval at the largest measured gallery, from the same table.
    """
    asked = study.experiment.beyond
    if asked is None:
        return ()
    requests = {table.table: table for table in study.tables}
    return tuple(
        row
        for tail in asked.tails
        for pooled in [pool(study, releases, requests[beyond_table(tail.column)])]
        for row in _column(study, pooled, tail)
    )


def _column(study: Study, pooled: Pooled, of: PooledTail) -> Iterator[Identification]:
    asked = study.experiment.beyond
    readout = readout_of(study.experiment, of.column)
    measured = rated(beyond(study, pooled, tail=TAILS[0], gallery_size=_anchor(study)))
    for size in asked.gallery_sizes if asked else ():
        for tail in TAILS:
            sd = of.sigma(size, tail)
            found = rated(beyond(study, pooled, tail=tail, gallery_size=size, tail_sd=sd))
            # Noise can lift it above the rate in a smaller gallery, which it cannot be.
            found["rate"] = min(found["rate"], measured["rate"])
            found["low"] = min(found["low"], found["rate"])
            yield Identification(
                experiment=beyond_table(of.column),
                arm=readout.arm,
                attacker=readout.attacker,
                gallery_size=size,
                rank=1,
                basis=basis(size, of.pairs),
                tail=tail,
                bound_low=0.0,
                bound_high=measured["high"],
                **found,
            )


def beyond(
    study: Study, pooled: Pooled, *, tail: str, gallery_size: int, tail_sd: float = 0.0
) -> Weighed:
    """Weigh a table for the share found among `gallery_size` faces by one tail."""
    return Weighed.of(
        pooled.counts,
        weights_of_beyond(pooled.cells, tail=tail, gallery_size=gallery_size),
        noise_variance=pooled.noise_variance,
        gallery_sd=math.hypot(gallery_sd(study, _anchor(study)), tail_sd),
    )


def _anchor(study: Study) -> int:
    return study.experiment.anchors[-1]
