"""What the coordinator admits to a secure sum: masked tables as asked, for the round it listed.

A masked count says nothing by itself, so only the sum can be held against what the sites may be
(`summed.add_up`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from reidscope_protocols.distributed import DistributedNoise
from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import (
    AdmissionError,
    BadSignatureError,
    ImplausibleError,
    MalformedError,
    StaleError,
    WrongAudienceError,
)
from reidscope_protocols.privacy import NANO
from reidscope_protocols.secure_sum import MaskedRelease, Participants
from reidscope_protocols.statements import COORDINATOR
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Verdict

_SKEW = timedelta(minutes=5)


def noise_of(study: Opened[Study]) -> DistributedNoise:
    """Return how a study shares its noise out.

    Raises
    ------
    AdmissionError
        It does not: nobody may send it masked tables.
    """
    noise = study.statement.noise
    if noise is None:
        raise AdmissionError(
            "secure sum",
            got="a study with local noise",
            expected="one with distributed noise",
            do="refuse it and ask the site",
        )
    return noise


def admit_masked(
    release: Opened[MaskedRelease],
    study: Opened[Study],
    of: Participants,
    *,
    verdict: str | None,
    now: datetime,
) -> None:
    """Hold masked tables against the study, the round and the site's last decision.

    Raises
    ------
    StatementError, AdmissionError
        The first thing that does not hold.
    """
    said = release.statement
    said.check_time(now)
    study.statement.check_time(now)
    if verdict != Verdict.APPROVED:
        raise AdmissionError(
            "masked release",
            got="no decision of this site" if verdict is None else verdict,
            expected="a signed approval before it",
            do="import the site's decision first, or ask the site",
        )
    check_masked(release, study, of)


def check_masked(release: Opened[MaskedRelease], study: Opened[Study], of: Participants) -> None:
    """Hold masked tables against the study and the round: what `verify` checks again."""
    said, asked, noise = release.statement, study.statement, noise_of(study)
    said.check_audience(COORDINATOR)
    if noise.key_of(said.site) != release.signer.public:
        raise BadSignatureError(
            "masked release",
            got="a signature by another key than the roster's",
            expected="the key that the study names for the site",
            do="ask the site whether its key changed: then the study must be asked anew",
        )
    wrong = (
        "another study's digest"
        if said.study_sha256 != study.sha256
        else "a site that is no participant"
        if said.site not in of.keys
        else "another list of participants"
        if (said.round_sha256, said.attempt) != (of.sha256, of.attempt)
        else None
    )
    if wrong:
        raise WrongAudienceError(
            "masked release",
            got=wrong,
            expected=f"attempt {of.attempt}, round {of.sha256[:16]}...",
            do="refuse it and ask the site",
        )
    if not asked.opens_at - _SKEW <= said.issued_at <= asked.closes_at + _SKEW:
        raise StaleError(
            "masked release",
            got="one that was made before the study opened or after it closed",
            expected="one made while the study was open",
            do="compare the clocks",
        )
    if said.declared_people < asked.minimum_declared_people:
        raise ImplausibleError(
            "masked release",
            got=f"a site of {said.declared_people} declared people",
            expected=f"at least {asked.minimum_declared_people}",
            do="refuse it: the study asks for larger sites",
        )
    _check_tables(said, asked, noise, parties=len(of.keys))


def _check_tables(
    said: MaskedRelease, asked: Study, noise: DistributedNoise, *, parties: int
) -> None:
    if [table.table for table in said.tables] != [table.table for table in asked.tables]:
        raise MalformedError(
            "masked release",
            got="other tables",
            expected=", ".join(table.table for table in asked.tables),
            do="ask the site",
        )
    shares = noise.shares([table.loss for table in asked.tables], parties)
    for table, request, share in zip(said.tables, asked.tables, shares, strict=True):
        if len(table.cells()) != len(request.cells):
            raise MalformedError(
                "masked release",
                got=f"{len(table.cells())} counts",
                expected=f"{len(request.cells)}",
                do="ask the site",
            )
        if (table.epsilon_nano, table.alone_nano) != (request.epsilon_nano, share.alone().nano):
            raise ImplausibleError(
                "masked release",
                got=f"epsilon {table.epsilon_nano / NANO}, alone {table.alone_nano / NANO}",
                expected=f"{request.epsilon_nano / NANO}, alone {share.alone().nano / NANO}",
                do="refuse it and ask the site",
            )


def check_complete(of: Participants, masked: Mapping[str, Opened[MaskedRelease]]) -> None:
    """Raise AdmissionError unless every participant's masked tables are there, and no others."""
    if set(masked) != set(of.keys):
        raise AdmissionError(
            "secure sum",
            got=f"masked tables of {len(set(masked) & set(of.keys))} participants",
            expected=f"of all {len(of.keys)}",
            do="wait for them: a sum without one of them is noise",
        )
