"""Signed report -> verified: every signature, and every number again from the releases inside.

In this order, and the first that does not hold raises:

1. the report's signature, time and audience; `report.json` beside it is its payload;
2. the study's signature, each release's and each decision's, valid when they were issued;
3. each release is of this study and as asked (`admission`);
4. the report, built again from those, is the same in every field but the versions;
5. the sheets, the page, the figures and the paragraphs beside it say what the report says, and the
   RO-Crate names their bytes.

What no report can do is vouch for its own keys: without a pinned ring, "verified" means "whoever
holds these keys said so", and the keys' fingerprints are to be compared with their owners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from reidscope_protocols.envelope import Opened, issued_within, open_envelope, peek_payload
from reidscope_protocols.errors import (
    InputError,
    MalformedError,
    NotReadyError,
)
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.report import Report
from reidscope_protocols.statements import WORLD, Decision, Release
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.admission import WithinItsDates
from reidscope_server.report.build import build_report
from reidscope_server.report.crate import CRATE_FILE, crate
from reidscope_server.report.figures import file_names
from reidscope_server.report.page import PAGE_FILE
from reidscope_server.report.redraw import Drawn, redrawn
from reidscope_server.report.summing import evidence_of
from reidscope_server.report.write import JSON_FILE, SIGNED_FILE, said_in_words

S = TypeVar("S", Decision, Release)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedKey:
    """A key that the report rests on.

    Attributes
    ----------
    pinned : bool
        It was in the reader's own ring; otherwise only the report itself says whose it is.
    """

    record: KeyRecord
    pinned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A report that holds together.

    Attributes
    ----------
    sha256 : str
        Of the signed bytes, which are `report.json`.
    estimates : int
        Numbers with intervals that were computed again and came out equal.
    keys : tuple of UsedKey
        Compare the fingerprints (`record.public`) of those not pinned with their owners.
    page, figures : str
        How far `index.html` and the figures' files could be compared: their bytes; their words,
        tags and pictures alone (drawings differ in a last digit between machines); not, because
        other versions drew them; or not there.
    """

    report: Report
    sha256: str
    estimates: int
    releases: int
    decisions: int
    keys: tuple[UsedKey, ...]
    page: Drawn
    figures: Drawn


def verify_report(
    path: Path, *, ring: KeyRing | None = None, now: datetime | None = None
) -> Verified:
    """Verify a report.

    Parameters
    ----------
    path : Path
        The report's folder, its `report.dsse.json`, or its `report.json` with the signed copy
        beside it.
    ring : KeyRing, optional
        Keys that the reader got from their owners. Where it holds a key of a voice (a role, or a
        site), that voice's keys inside the report do not count.
    now : datetime, optional
        UTC; this machine's clock by default.

    Raises
    ------
    InputError
        No signed report at `path`.
    StatementError, AdmissionError
        Something does not hold; the message says what.
    """
    folder = path if path.is_dir() else path.parent
    envelope = _read(path if path.name not in {JSON_FILE, folder.name} else folder / SIGNED_FILE)
    claimed = Report.parse(peek_payload(envelope))
    trusted = _ring(claimed, ring)
    opened = open_envelope(envelope, Report, trusted, role=KeyRole.COORDINATOR)
    report = opened.statement
    issued_within(report, now=now or datetime.now(UTC), reader=WORLD)
    if (folder / JSON_FILE).exists() and _read(folder / JSON_FILE) != opened.payload:
        raise _differs(JSON_FILE, "its signed copy")
    study = open_envelope(report.evidence.study.encode(), Study, trusted, role=KeyRole.STUDY)
    releases = _by_site(report.evidence.releases, Release, trusted)
    for release in releases.values():
        WithinItsDates(release.statement.issued_at).check(release, study)
    decisions = _by_site(report.evidence.decisions, Decision, trusted)
    _compare(report, _rebuilt(report, study, releases, decisions))
    for name, content in said_in_words(report).items():
        if (folder / name).exists() and _read(folder / name) != content:
            raise _differs(name, "the signed report")
    beside = redrawn(folder, report)
    _check_crate(folder, report)
    signers = [opened.signer, study.signer]
    signers += [release.signer for release in releases.values()]
    signers += [decision.signer for decision in decisions.values()]
    pinned = ring.records if ring else ()
    return Verified(
        report=report,
        sha256=opened.sha256,
        estimates=sum(
            len(rows)
            for rows in (
                report.identification,
                report.after_any,
                report.by_site,
                report.acquired,
                report.comparisons,
                report.failed_gates,
                report.damage,
                report.catchment,
                report.risks,
                report.over_sites,
                report.robust,
                report.oddities,
                report.tar,
                report.open_set,
                report.above,
                releases,
                *(group.identification for group in report.by_group),
                *(group.comparisons for group in report.by_group),
                report.evidence.masked,
            )
        ),
        releases=len(releases) + len(report.evidence.masked),
        decisions=len(decisions),
        keys=tuple(
            UsedKey(record=record, pinned=record in pinned) for record in dict.fromkeys(signers)
        ),
        page=beside.page,
        figures=beside.figures,
    )


def _ring(report: Report, pinned: KeyRing | None) -> KeyRing:
    if pinned is None:
        return KeyRing(report.evidence.keys)
    voices = {(record.role, record.site) for record in pinned.records}
    inside = (key for key in report.evidence.keys if (key.role, key.site) not in voices)
    return KeyRing.of((*pinned.records, *inside))


def _by_site(envelopes: Sequence[str], expected: type[S], ring: KeyRing) -> dict[str, Opened[S]]:
    found: dict[str, Opened[S]] = {}
    for envelope in envelopes:
        site = expected.parse(peek_payload(envelope.encode())).site
        if site in found:
            raise MalformedError(
                "report",
                got=f"two {expected.name()}s of {site}",
                expected="one a site",
                do="do not rely on it; ask the coordinator",
            )
        found[site] = open_envelope(envelope.encode(), expected, ring, role=KeyRole.SITE, site=site)
    return found


def _rebuilt(
    report: Report,
    study: Opened[Study],
    releases: dict[str, Opened[Release]],
    decisions: dict[str, Opened[Decision]],
) -> Report:
    try:
        return build_report(
            study,
            releases,
            {site: decision.envelope for site, decision in decisions.items()},
            report.evidence.keys,
            report.notices,
            report.issued_at,
            licence=report.licence,
            enrolled_share=report.enrolled_share,
            sum_evidence=evidence_of(report.evidence.sum_round, report.evidence.masked),
        )
    except NotReadyError as error:
        raise MalformedError(
            "report",
            got=error.problem.got,
            expected=error.problem.expected,
            do="do not rely on it; ask the coordinator",
        ) from None


def _compare(report: Report, rebuilt: Report) -> None:
    place = _first_difference(
        report.model_dump(mode="json", exclude={"versions"}),
        rebuilt.model_dump(mode="json", exclude={"versions"}),
    )
    if place is not None:
        raise MalformedError(
            "report",
            got=f"another value at {place!r}",
            expected="what the signed releases inside give",
            do="do not rely on it; ask the coordinator",
        )


def _first_difference(ours: Any, theirs: Any, place: str = "") -> str | None:
    """Return where two JSON trees differ first, such as `identification.0.rate`; None if nowhere.

    Numbers must be equal exactly: published ones are rounded, so that machines agree.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict) and list(ours) == list(theirs):
        pairs = [(str(key), ours[key], theirs[key]) for key in ours]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    else:
        return None if ours == theirs else place or "the whole"
    found = (_first_difference(a, b, f"{place}.{key}".lstrip(".")) for key, a, b in pairs)
    return next((inner for inner in found if inner is not None), None)


def _check_crate(folder: Path, report: Report) -> None:
    """Write the RO-Crate again from the files beside it; one that is gone cannot be hashed."""
    names = (
        *said_in_words(report),
        *file_names(report),
        PAGE_FILE,
        JSON_FILE,
        SIGNED_FILE,
    )
    if not all((folder / name).exists() for name in (CRATE_FILE, *names)):
        return
    if _read(folder / CRATE_FILE) != crate(report, {n: _read(folder / n) for n in names}):
        raise _differs(CRATE_FILE, "the signed report and the files beside it")


def _differs(name: str, other: str) -> MalformedError:
    return MalformedError(
        name,
        got="other contents",
        expected=f"what {other} says",
        do=f"rely on {SIGNED_FILE} alone, and write the others again from it",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise InputError(
            "report",
            got=f"no readable {path.name}",
            expected=f"a folder with {SIGNED_FILE}, or that file",
            do="name another path",
        ) from None
