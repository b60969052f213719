"""The very bytes that a release would have, from synthetic counts: nothing is read or spent."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from reidscope_protocols.envelope import Opened, sign
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.secure_sum import WORD_BITS, MaskedRelease, MaskedTable, words
from reidscope_protocols.statements import COORDINATOR, LedgerHead, Release, ReleasedTable
from reidscope_protocols.study import Study
from reidscope_site import package
from reidscope_site.config import Policy
from reidscope_site.face.external.program import programs_of
from reidscope_site.sums import noise_of


def preview(study: Opened[Study], policy: Policy, site: str) -> bytes:
    """Build a release of made-up counts, signed by a key that nobody has pinned.

    Returns
    -------
    bytes
        An envelope of the real shape that no coordinator would admit.

    Privacy
    -------
    Reads no data, draws no noise, charges nothing (docs/privacy.md, "The wire").
    """
    now = datetime.now(UTC)
    if study.statement.noise is not None:
        return sign(_masked(study, policy, site, now), StatementKey.generate())
    made_up = Release(
        audience=(COORDINATOR,),
        issued_at=now,
        not_after=now + timedelta(minutes=1),
        study_sha256=study.sha256,
        site=site,
        tables=tuple(
            ReleasedTable(
                table=table.table,
                counts=tuple(policy.declared_people // len(table.cells) for _ in table.cells),
                epsilon_nano=table.epsilon_nano,
                mechanism="discrete-laplace",
                scale="preview: no noise was drawn",
            )
            for table in study.statement.tables
        ),
        declared_people=policy.declared_people,
        catchment=policy.catchment,
        ledger=LedgerHead(sequence=0, head="0" * 64),
        versions=package.versions() | programs_of(study.statement.experiment.arms),
    )
    return sign(made_up, StatementKey.generate())


def _masked(study: Opened[Study], policy: Policy, site: str, now: datetime) -> MaskedRelease:
    """Fill masked tables with random words: under masks nothing else is to be seen either."""
    noise = noise_of(study)
    tables = study.statement.tables
    shares = noise.shares([table.loss for table in tables], len(study.statement.audience))
    return MaskedRelease(
        audience=(COORDINATOR,),
        issued_at=now,
        not_after=now + timedelta(minutes=1),
        study_sha256=study.sha256,
        site=site,
        attempt=1,
        round_sha256="0" * 64,
        tables=tuple(
            MaskedTable(
                table=table.table,
                words=words(secrets.randbits(WORD_BITS) for _ in table.cells),
                epsilon_nano=table.epsilon_nano,
                alone_nano=share.alone().nano,
            )
            for table, share in zip(tables, shares, strict=True)
        ),
        declared_people=policy.declared_people,
        ledger=LedgerHead(sequence=0, head="0" * 64),
        versions=package.versions() | programs_of(study.statement.experiment.arms),
    )
