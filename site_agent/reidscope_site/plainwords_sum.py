"""A secure sum in plain words: whom a site trusts, and what it costs if that trust fails."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from reidscope_protocols.distributed import DistributedNoise, alone
from reidscope_protocols.privacy import NANO, odds_said
from reidscope_protocols.study import Study
from reidscope_site.config import Policy

_GROUP = 16


def trust(study: Study, noise: DistributedNoise) -> Iterator[str]:
    """Say who shares the noise, and whose keys the approval binds."""
    t, fewest = noise.colluders_tolerated, study.minimum_sites
    yield "Whom this site trusts"
    yield "  noise       each site adds a share of it; tables are added up under masks, so that the"
    yield "              coordinator learns the sum and no site's own counts"
    yield f"  holds if    of at least {fewest} sites in the sum, at most {_sites(t)} with the"
    yield "              coordinator: the sites named here must exist, and be who they say"
    yield "  no seeing   one site's rate, or how far one site moves the sum, is known to nobody"
    for record in noise.roster:
        groups = (record.public[i : i + _GROUP] for i in range(0, len(record.public), _GROUP))
        yield f"  {record.site!s:<12}{' '.join(groups)}"
    yield "              compare these keys with each site's own people, by telephone or on paper;"
    yield "              `peers` in the policy file pins them"
    yield ""


def price(study: Study, noise: DistributedNoise, policy: Policy) -> Iterator[str]:
    """Say what the attempts cost together, and what they cost if everybody else colludes."""
    losses = [table.loss for table in study.tables]
    each = alone(noise.shares(losses, len(study.audience)))
    most = _times(study.loss.nano, noise.attempts)
    yield f"  attempts    up to {noise.attempts}, each charged in full: at most {most} together;"
    yield "              a site that drops out spoils one"
    yield f"  alone       {each} an attempt if ALL others collude"
    yield f"              (odds {odds_said(each.odds)}),"
    yield f"              at most {_times(each.nano, noise.attempts)}; the policy's caps for that:"
    yield f"              {policy.alone_study_cap} a study, {policy.alone_lifetime_cap} ever"


def _sites(count: int) -> str:
    return "none colludes" if count == 0 else "1 colludes" if count == 1 else f"{count} collude"


def _times(nano: int, attempts: int) -> str:
    return f"{(Decimal(nano * attempts) / NANO).normalize():f}"
