"""Masked tables of all participants -> one table of sums, as if one site had released it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from reidscope_protocols.distributed import ALL_SITES
from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import ImplausibleError
from reidscope_protocols.polya import PolyaShare
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_protocols.secure_sum import MaskedRelease, Participants, unmasked_sum
from reidscope_protocols.statements import LedgerHead, Release, ReleasedTable
from reidscope_protocols.study import Study
from reidscope_server.sum_admission import check_complete, check_masked, noise_of

_NOISE_TAIL = 1e-12
_LARGEST_FACTOR = 10
_LARGEST_COUNT = 10**15


class SummedTable(ReleasedTable):
    """One table added up under masks; its noise is that of all shares together.

    Attributes
    ----------
    parties, tolerated : int
        Sites in the sum, and how many of them may collude.
    """

    mechanism: Literal["discrete-laplace"] = "discrete-laplace"
    parties: int = Field(ge=2)
    tolerated: int = Field(ge=0)

    @property
    def noise_variance(self) -> float:
        """Of each count with every participant honest, people squared."""
        loss = PrivacyLoss(self.epsilon_nano)
        return PolyaShare(loss=loss, parties=self.parties, tolerated=self.tolerated).variance()


def add_up(
    study: Opened[Study], of: Participants, masked: Mapping[str, Opened[MaskedRelease]]
) -> Release:
    """Add the masked tables of all participants up; the masks cancel.

    Returns
    -------
    Release
        Signed by nobody, in the name of all sites: what the estimates are computed from.

    Raises
    ------
    AdmissionError
        A participant's tables are missing, or not as the study asks.
    ImplausibleError
        Sums that no such sites can have: somebody sent other masks or other counts. Whose they are
        cannot be told.

    Privacy
    -------
    The sum alone is noisy; adding it up costs nothing beyond what the sites charged
    (docs/privacy.md, "Noise in shares"; docs/distributed-noise.md, "What the sum hides").
    """
    check_complete(of, masked)
    for release in masked.values():
        check_masked(release, study, of)
    said = [release.statement for release in masked.values()]
    people = sum(release.declared_people for release in said)
    tolerated = noise_of(study).colluders_tolerated
    tables = []
    for place, request in enumerate(study.statement.tables):
        counts = unmasked_sum(release.tables[place].cells() for release in said)
        # K shares are at most so many whole discrete Laplaces.
        whole = math.ceil(len(said) / (len(said) - tolerated))
        margin = math.ceil(whole * math.log(1 / _NOISE_TAIL) * NANO / request.epsilon_nano)
        _check_plausible(counts, people=people, margin=margin)
        tables.append(
            SummedTable(
                table=request.table,
                counts=counts,
                epsilon_nano=request.epsilon_nano,
                scale=repr(NANO / request.epsilon_nano),
                parties=len(said),
                tolerated=tolerated,
            )
        )
    return Release(
        audience=study.statement.audience,
        issued_at=max(release.issued_at for release in said),
        not_after=min(release.not_after for release in said),
        study_sha256=study.sha256,
        site=ALL_SITES,
        tables=tuple(tables),
        declared_people=people,
        ledger=LedgerHead(sequence=0, head="0" * 64),
        versions={},
    )


def _check_plausible(counts: tuple[int, ...], *, people: int, margin: int) -> None:
    """Compare with generous bounds; wrong masks leave counts near 2^63, so they always show."""
    largest = min(_LARGEST_FACTOR * people + margin * len(counts), _LARGEST_COUNT)
    if min(counts) < -margin or sum(counts) > largest or max(counts) > largest:
        raise ImplausibleError(
            "secure sum",
            got="sums that no such sites can have",
            expected=f"counts above {-margin} that add up to at most {largest}",
            do="ask every site: one sent other counts, or masks for another list",
        )
