"""What the policy file says about studies whose noise is shared out among the sites.

Two promises are kept apart. Epsilon holds as long as no more sites collude than the study
tolerates: it is charged, and capped like any other. What would be lost if everybody else colluded
is larger: it is recorded beside the charge, and has caps of its own.
"""

from __future__ import annotations

from decimal import Decimal

from reidscope_protocols.distributed import DistributedNoise, alone
from reidscope_protocols.errors import BudgetExhaustedError, PolicyRefusalError
from reidscope_protocols.privacy import LARGEST_NANO, NANO, PrivacyLoss
from reidscope_protocols.study import Study
from reidscope_site.config import Policy
from reidscope_site.ledger import Ledger

_SHOWN = 16  # digits of a key


def check_distributed(
    study: Study,
    noise: DistributedNoise,
    policy: Policy,
    ledger: Ledger,
    *,
    site: str,
    sha256: str,
    parties: int | None = None,
) -> None:
    """Raise a RefusalError if the policy forbids the study's noise, its roster or its price.

    Parameters
    ----------
    site : str
        This site's name.
    sha256 : str
        The study's digest: what was charged for it before counts.
    parties : int, optional
        Sites that will be added up; the whole audience, the dearest case, until they are known.

    Everything compared is public, typed by a person, or in the ledger.
    """
    if not policy.distributed:
        raise PolicyRefusalError(
            "noise",
            got="noise shared out among the sites",
            expected="all of it added here",
            do="decline, or read docs/distributed-noise.md and set distributed = true",
        )
    if noise.colluders_tolerated < policy.distributed_colluders:
        raise PolicyRefusalError(
            "noise",
            got=f"a study that tolerates {noise.colluders_tolerated} colluding sites",
            expected=f"at least {policy.distributed_colluders}",
            do="decline, or change the policy file",
        )
    fewest = study.minimum_sites if parties is None else parties
    if fewest < policy.distributed_sites:
        raise PolicyRefusalError(
            "secure sum",
            got=f"{fewest} sites",
            expected=f"at least {policy.distributed_sites}",
            do="decline, or change the policy file",
        )
    _check_peers(noise, policy, site)
    _check_price(study, noise, policy, ledger, sha256=sha256, parties=parties)


def _check_peers(noise: DistributedNoise, policy: Policy, site: str) -> None:
    if not policy.peers:
        return
    for record in noise.roster:
        if record.site != site and policy.peers.get(str(record.site)) != record.public:
            raise PolicyRefusalError(
                "roster",
                got=f"key {record.public[:_SHOWN]}... for {record.site}",
                expected="for every other site the key that `peers` in the policy file says",
                do="ask that site's own people for their key: an invented site is a colluder",
            )


def _check_price(
    study: Study,
    noise: DistributedNoise,
    policy: Policy,
    ledger: Ledger,
    *,
    sha256: str,
    parties: int | None,
) -> None:
    """Ask that every attempt that is left fits under the caps, so that a yes covers them all."""
    begun = ledger.charges(sha256)
    left = noise.attempts - begun
    worst = min(left * study.loss.nano, LARGEST_NANO)
    ledger.check_budget(PrivacyLoss(worst), policy, sha256)
    losses = [table.loss for table in study.tables]
    each = alone(noise.shares(losses, parties or len(study.audience)))
    more = left * each.nano
    for what, spent, cap in (
        ("of this study", ledger.spent_alone(sha256), policy.alone_study_cap),
        ("of all studies", ledger.spent_alone(), policy.alone_lifetime_cap),
    ):
        if spent.nano + more > cap.nano:
            raise BudgetExhaustedError(
                f"epsilon {what} if everybody else colludes",
                got=f"{Decimal(spent.nano + more) / NANO}",
                expected=f"at most {cap} (the site's policy)",
                do="decline, or ask for more tolerated colluders, fewer attempts, or local noise",
            )
