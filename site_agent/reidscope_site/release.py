"""The only module that builds a Release: charge, count, add noise, sign, store.

    outcomes of all people -> per table, counts per cell + discrete Laplace noise
        -> one signed statement, stored

OpenDP counts and samples, and its `map` says what one person's cell costs; the study's own number
is compared with it and never trusted. What was stored is handed out again byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import opendp.prelude as dp

from reidscope_protocols.envelope import Opened, sign
from reidscope_protocols.errors import InvariantError, PolicyRefusalError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_protocols.statements import COORDINATOR, Release, ReleasedTable
from reidscope_protocols.study import Study, TableRequest
from reidscope_site.config import Policy
from reidscope_site.ledger import Ledger
from reidscope_site.outcomes import Outcome, Outcomes

dp.enable_features("contrib")

_ONE_PERSON = 1
RELEASE_HOLDS = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyCounter:
    """Counts per cell with discrete Laplace noise, and what it costs one person.

    Attributes
    ----------
    loss : PrivacyLoss
        OpenDP's map at one person added or removed, rounded up.
    scale : float
        Of the discrete Laplace noise.
    """

    loss: PrivacyLoss
    scale: float
    _measure: Callable[[list[int]], list[int]]

    def __call__(self, cells: Sequence[int]) -> tuple[int, ...]:
        """Count one cell a person and add noise; every call draws anew.

        Privacy
        -------
        Adding or removing one person moves one count by one; the returned counts may leave the
        site once the loss was charged (docs/privacy.md, "One noisy table").
        """
        return tuple(self._measure(list(cells)))


def noisy_counter(cells: int, epsilon: PrivacyLoss) -> NoisyCounter:
    """Build the measurement whose cost, proved by OpenDP, is at most `epsilon`.

    Parameters
    ----------
    cells : int
        Number of cells of the joint table.
    epsilon : PrivacyLoss
        Asked for; positive.

    Raises
    ------
    PolicyRefusalError
        No epsilon, or one so small that noise of that scale cannot be drawn.
    """
    if not epsilon.nano:
        raise PolicyRefusalError(
            "epsilon of a table", got="0", expected="a positive one", do="ask for a new study"
        )
    scale = NANO / epsilon.nano
    while True:
        measurement = _measurement(cells, scale)
        loss = PrivacyLoss.charged_for(measurement.map(_ONE_PERSON))
        if loss <= epsilon:
            return NoisyCounter(loss=loss, scale=scale, _measure=measurement)
        # 1/epsilon can round down, which would cost one nano more than asked for.
        scale = math.nextafter(scale, math.inf)


def _measurement(cells: int, scale: float) -> dp.Measurement:
    if not 0 < scale < math.inf:
        # OpenDP takes a scale of 0 and returns exact counts.
        raise PolicyRefusalError(
            "noise", got="a scale that is none", expected="a positive, finite one", do="report it"
        )
    return counting(cells) >> dp.m.then_laplace(scale=scale)


def counting(cells: int) -> dp.Transformation:
    """Count people by cell; its `map` says how far one person moves the counts (L1 norm)."""
    people = dp.vector_domain(dp.atom_domain(T="i64")), dp.symmetric_distance()
    count = dp.t.then_count_by_categories(list(range(cells)), null_category=False, TOA="i64")
    return people >> count


def day_of_issue(study: Study) -> datetime:
    """Return what a site's statement gives as its time: a day, not an hour.

    How long a site took to measure grows with its people.
    """
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return max(today, study.opens_at)


def release(
    study: Opened[Study],
    outcomes: Outcomes,
    *,
    ledger: Ledger,
    policy: Policy,
    site: str,
    key: StatementKey,
    versions: Mapping[str, str],
) -> bytes:
    """Return the site's Release for `study`, drawing its noise the first time and never again.

    Parameters
    ----------
    study : Opened of Study
        Approved; its digest is what the table is charged under.
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
        The tables were charged before and their release was lost.

    Privacy
    -------
    The one place where numbers about people become public, at the loss that is charged
    (docs/privacy.md, "One noisy table").
    """
    stored = ledger.stored(study.sha256)
    if stored is not None:
        outcomes.erase()
        return stored
    tables = study.statement.tables
    counters = [noisy_counter(len(table.cells), table.loss) for table in tables]
    everybody = outcomes.all()  # before the charge: what cannot be opened costs nothing
    check_cells(everybody, tables)
    # A person falls into one cell of every table: the losses add up, and are charged as one.
    loss = PrivacyLoss(sum(counter.loss.nano for counter in counters))
    name = " + ".join(table.table for table in tables)
    head = ledger.charge(study.sha256, name, loss, policy)
    issued = day_of_issue(study.statement)
    statement = Release(
        audience=(COORDINATOR,),
        issued_at=issued,
        not_after=issued + RELEASE_HOLDS,
        study_sha256=study.sha256,
        site=site,
        tables=tuple(
            ReleasedTable(
                table=table.table,
                counts=counter([outcome.cells[place] for outcome in everybody]),
                epsilon_nano=counter.loss.nano,
                mechanism="discrete-laplace",
                scale=repr(counter.scale),
            )
            for place, (table, counter) in enumerate(zip(tables, counters, strict=True))
        ),
        declared_people=policy.declared_people,
        ledger=head,
        versions=dict(versions),
        catchment=policy.catchment,
    )
    envelope = sign(statement, key)
    ledger.store(study.sha256, name, envelope)
    outcomes.erase()
    return envelope


def check_cells(everybody: Sequence[Outcome], tables: Sequence[TableRequest]) -> None:
    """Raise InvariantError unless everybody has one cell of every table."""
    sizes = [len(table.cells) for table in tables]
    for outcome in everybody:
        inside = [0 <= cell < size for cell, size in zip(outcome.cells, sizes, strict=False)]
        if len(outcome.cells) != len(sizes) or not all(inside):
            raise InvariantError(
                "outcomes",
                got="a person without one cell of each table",
                expected=f"{len(sizes)} cells a person",
                do="report it; nothing was charged",
            )
