"""What the coordinator admits: small policies, each of which raises with got and expected.

A statement's signature was checked before (`open_envelope`, with the site's own key); here it is
held against the study and against what came before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import (
    AdmissionError,
    ImplausibleError,
    MalformedError,
    ReplayedError,
    StaleError,
    WrongAudienceError,
)
from reidscope_protocols.privacy import NANO
from reidscope_protocols.statements import COORDINATOR, Decision, Release, ReleasedTable
from reidscope_protocols.study import Study, TableRequest
from reidscope_protocols.vocabulary import Verdict

_NOISE_TAIL = 1e-12
_ROUNDING = 1e-9
_SKEW = timedelta(minutes=5)


class ReleasePolicy(Protocol):
    """One thing that must hold of a release."""

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Raise an AdmissionError or a StatementError unless it holds."""


@dataclass(frozen=True, slots=True)
class OfThisStudy:
    """The release speaks to the coordinator, of this study, in a name that the study asked."""

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare study digest, audience and site."""
        said = release.statement
        said.check_audience(COORDINATOR)
        wrong = (
            "another study's digest"
            if said.study_sha256 != study.sha256
            else "a site that the study did not ask"
            if said.site not in study.statement.audience
            else "another site's name than its signer's"
            if said.site != release.signer.site
            else None
        )
        if wrong:
            raise WrongAudienceError(
                "release", got=wrong, expected="this study's digest and sites", do="refuse it"
            )


@dataclass(frozen=True, slots=True)
class WithinItsDates:
    """The release was made while the study was open, and holds now."""

    now: datetime

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare dates, clocks within five minutes."""
        release.statement.check_time(self.now)
        study.statement.check_time(self.now)
        made, asked = release.statement.issued_at, study.statement
        if not asked.opens_at - _SKEW <= made <= asked.closes_at + _SKEW:
            raise StaleError(
                "release",
                got="one that was made before the study opened or after it closed",
                expected="one made while the study was open",
                do="compare the clocks",
            )


@dataclass(frozen=True, slots=True)
class AsAsked:
    """The release holds exactly the study's tables, at their epsilon: no more, and no less."""

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare tables, cells, price and the mechanism's scale."""
        asked = {table.table: table for table in study.statement.tables}
        tables = release.statement.tables
        if [table.table for table in tables] != list(asked):
            raise MalformedError(
                "release", got="other tables", expected=", ".join(asked), do="ask the site"
            )
        for table in tables:
            request = asked[table.table]
            if len(table.counts) != len(request.cells):
                raise MalformedError(
                    "release",
                    got=f"{len(table.counts)} counts",
                    expected=f"{len(request.cells)}",
                    do="ask the site",
                )
            if table.epsilon_nano > request.epsilon_nano:
                raise ImplausibleError(
                    "release",
                    got=f"epsilon {table.epsilon_nano / NANO}",
                    expected=f"at most {request.epsilon_nano / NANO}",
                    do="refuse it and tell the site that its agent overspends",
                )
            _check_noise(table, request)


def _check_noise(table: ReleasedTable, request: TableRequest) -> None:
    """More noise than was asked for would excuse any count."""
    try:
        scale = float(table.scale)
    except ValueError:
        scale = math.nan
    fits = scale > 0 and math.isclose(
        scale * table.epsilon_nano, NANO, rel_tol=_ROUNDING, abs_tol=2 * scale
    )
    if not fits or table.epsilon_nano < request.epsilon_nano - 1:
        raise ImplausibleError(
            "release",
            got="noise of another size than the study's epsilon gives",
            expected=f"a scale of {NANO / request.epsilon_nano:g}",
            do="refuse it and ask the site",
        )


@dataclass(frozen=True, slots=True)
class Plausible:
    """No count is further below nothing than noise reaches, and the site is large enough.

    What the counts say together is for `poison`.
    """

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare the declared size and each count (false alarm below 1e-9)."""
        if release.statement.declared_people < study.statement.minimum_declared_people:
            raise ImplausibleError(
                "release",
                got=f"a site of {release.statement.declared_people} declared people",
                expected=f"at least {study.statement.minimum_declared_people}",
                do="refuse it: the study asks for larger sites",
            )
        for table in release.statement.tables:
            epsilon = table.epsilon_nano / NANO
            margin = math.ceil(math.log(1 / _NOISE_TAIL) / epsilon)
            if min(table.counts) < -margin:
                raise ImplausibleError(
                    "release",
                    got="a count that no site can have",
                    expected=f"counts of at least {-margin}",
                    do="refuse it and ask the site",
                )


@dataclass(frozen=True, slots=True)
class Approved:
    """The site's last word about the study is a yes."""

    verdict: str | None

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare with the last decision that was admitted."""
        del release, study
        if self.verdict != Verdict.APPROVED:
            raise AdmissionError(
                "release",
                got="no decision of this site" if self.verdict is None else self.verdict,
                expected="a signed approval before the release",
                do="import the site's decision first, or ask the site",
            )


@dataclass(frozen=True, slots=True)
class NotAnotherOne:
    """A site has one release a study: the same bytes again are fine, others are not."""

    stored: bytes | None

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare bytes."""
        del study
        if self.stored is not None and self.stored != release.envelope:
            raise ReplayedError(
                "release",
                got="other bytes than the stored release",
                expected="one release a site and study, for ever",
                do="keep the first and ask the site",
            )


def admit(
    release: Opened[Release], study: Opened[Study], policies: Sequence[ReleasePolicy]
) -> None:
    """Hold a release against every policy; the first that does not hold raises."""
    for policy in policies:
        policy.check(release, study)


def admit_decision(
    decision: Opened[Decision], study: Opened[Study], *, latest: datetime | None, now: datetime
) -> None:
    """Hold a decision against its study; an older one than the last is a replay."""
    said = decision.statement
    said.check_time(now)
    said.check_audience(COORDINATOR)
    if said.site != decision.signer.site or said.site not in study.statement.audience:
        raise WrongAudienceError(
            "decision",
            got="a site that the study did not ask, or another one than the signer",
            expected="a site of the study in its own name",
            do="refuse it",
        )
    if latest is not None and said.issued_at < latest:
        raise ReplayedError(
            "decision",
            got="one older than the last",
            expected="a later decision",
            do="keep the last one",
        )
