"""The only module that builds a MaskedRelease: charge, draw shares, add masks, sign, store.

    outcomes of all people -> per table, counts + Polya shares + pairwise masks, mod 2^64
        -> one signed statement, stored

Whatever can be refused is refused before the charge: participants, keys of low order, outcomes that
do not open. Then the ledger is charged durably, and only then is a share drawn. A site that is
killed in between has lost the attempt; nothing is drawn again for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reidscope_deid.keys import SiteKey
from reidscope_protocols.distributed import alone
from reidscope_protocols.envelope import Opened, sign
from reidscope_protocols.errors import OutcomeMissingError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.polya import PolyaShare
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.secure_sum import MaskedRelease, MaskedTable, words
from reidscope_protocols.statements import COORDINATOR
from reidscope_protocols.study import Study, TableRequest
from reidscope_site.config import Policy
from reidscope_site.ledger import Ledger
from reidscope_site.masks import masks
from reidscope_site.noise_shares import draw
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.release import RELEASE_HOLDS, check_cells, counting, day_of_issue
from reidscope_site.sums import Sums, charge_name, noise_of

_ONE_PERSON = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCounter:
    """Counts per cell with this site's share of the noise, and what they cost one person.

    Attributes
    ----------
    share : PolyaShare
        Of a loss that, times the sensitivity that OpenDP proves, is at most what was asked for.
    loss : PrivacyLoss
        Of the sum, if no more sites collude than are tolerated.
    """

    share: PolyaShare
    loss: PrivacyLoss
    cells: int
    _count: Any  # an OpenDP transformation, which ships no types

    def __call__(self, everybody: Sequence[Outcome], place: int) -> tuple[int, ...]:
        """Count one cell a person and add a share of noise; every call draws anew.

        Privacy
        -------
        May leave under masks alone (docs/privacy.md, "Noise in shares"; docs/distributed-noise.md,
        "What the sum hides").
        """
        counts = self._count([outcome.cells[place] for outcome in everybody])
        noise = draw(self.share, self.cells)
        return tuple(count + part for count, part in zip(counts, noise, strict=True))


def shared_counter(request: TableRequest, *, parties: int, tolerated: int) -> SharedCounter:
    """Build the counter of one table for a sum over `parties` sites."""
    count = counting(len(request.cells))
    sensitivity = int(count.map(_ONE_PERSON))
    share = PolyaShare(
        loss=PrivacyLoss(request.epsilon_nano // sensitivity), parties=parties, tolerated=tolerated
    )
    return SharedCounter(
        share=share,
        loss=PrivacyLoss(share.loss.nano * sensitivity),
        cells=len(request.cells),
        _count=count,
    )


def masked_release(
    study: Opened[Study],
    outcomes: Outcomes,
    *,
    sums: Sums,
    ledger: Ledger,
    policy: Policy,
    site: str,
    site_key: SiteKey,
    key: StatementKey,
    versions: Mapping[str, str],
) -> bytes:
    """Return the site's MaskedRelease for the current attempt, drawing its shares once.

    Parameters
    ----------
    study : Opened of Study
        Approved, with distributed noise; the list of participants has come (`sums.listed`).
    outcomes : Outcomes
        One for every person of the snapshot: the caller has seen to it.

    Returns
    -------
    bytes
        The signed envelope: the same bytes on every call.

    Raises
    ------
    BudgetExhaustedError
        The policy's caps leave too little; nothing is charged or drawn.
    OutcomeMissingError
        The attempt was charged before and its tables were lost.
    StatementError
        A list of participants that does not hold; nothing is charged or drawn.

    Privacy
    -------
    The sum over all participants becomes public, at the loss that is charged, as long as no more
    than the tolerated sites collude (docs/privacy.md, "Noise in shares"; docs/distributed-noise.md,
    "What the sum hides"). What it would be if everybody else did is recorded beside it.
    """
    of = sums.listed(study)
    attempt = sums.current(study.sha256)
    if attempt is not None and attempt.masked is not None:
        return attempt.masked
    tables, noise = study.statement.tables, noise_of(study)
    name = charge_name(study.statement, of.attempt)
    if ledger.charged(study.sha256, name):
        raise OutcomeMissingError(
            "masked tables",
            got="an attempt that was charged and never stored",
            expected="one that was never charged",
            do="count the attempt as lost: nothing is drawn for it again",
        )
    counters = [
        shared_counter(table, parties=len(of.keys), tolerated=noise.colluders_tolerated)
        for table in tables
    ]
    everybody = outcomes.all()
    check_cells(everybody, tables)
    private = sums.private_key(study.sha256, of.attempt, site_key)
    covers = masks(private, site, of, [(table.table, len(table.cells)) for table in tables])
    head = ledger.charge(
        study.sha256,
        name,
        PrivacyLoss(sum(counter.loss.nano for counter in counters)),
        policy,
        alone=alone([counter.share for counter in counters]),
    )
    issued = day_of_issue(study.statement)
    statement = MaskedRelease(
        audience=(COORDINATOR,),
        issued_at=issued,
        not_after=issued + RELEASE_HOLDS,
        study_sha256=study.sha256,
        site=site,
        attempt=of.attempt,
        round_sha256=of.sha256,
        tables=tuple(
            MaskedTable(
                table=table.table,
                words=words(
                    count + word
                    for count, word in zip(counter(everybody, place), cover, strict=True)
                ),
                epsilon_nano=counter.loss.nano,
                alone_nano=counter.share.alone().nano,
            )
            for place, (table, counter, cover) in enumerate(
                zip(tables, counters, covers, strict=True)
            )
        ),
        declared_people=policy.declared_people,
        ledger=head,
        versions=dict(versions),
    )
    envelope = sign(statement, key)
    ledger.store_masked(study.sha256, of.attempt, name, envelope)
    if of.attempt == noise.attempts:
        outcomes.erase()
    return envelope
