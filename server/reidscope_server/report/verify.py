"""Signed report -> verified: every signature, and every number again from the releases inside.

In this order, and the first that does not hold raises:

1. the report's signature, time and audience; `report.json` beside it is its payload;
2. the study's signature, each release's and each decision's, valid when they were issued;
3. each release is of this study and as asked (`admission`);
4. the report, built again from those, is the same in every field but the versions;
5. the sheets and the page beside it say what the report says.

What no report can do is vouch for its own keys: without a pinned ring, "verified" means "whoever
holds these keys said so", and the keys' fingerprints are to be compared with their owners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal, TypeVar

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
from reidscope_server.report.build import build_report, versions
from reidscope_server.report.page import page
from reidscope_server.report.sheets import sheets
from reidscope_server.report.write import JSON_FILE, PAGE_FILE, SIGNED_FILE

PageState = Literal["same bytes", "same words", "drawn by other versions", "not there"]
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
    page : str
        How far `index.html` could be compared: its bytes; its words and tags alone (drawings
        differ in a last digit between machines); not, because other versions drew it; or not there.
    """

    report: Report
    sha256: str
    estimates: int
    releases: int
    decisions: int
    keys: tuple[UsedKey, ...]
    page: PageState


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
    for name, sheet in sheets(report).items():
        if (folder / name).exists() and _read(folder / name) != sheet:
            raise _differs(name, "the signed report")
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
                releases,
            )
        ),
        releases=len(releases),
        decisions=len(decisions),
        keys=tuple(
            UsedKey(record=record, pinned=record in pinned) for record in dict.fromkeys(signers)
        ),
        page=_page_state(folder / PAGE_FILE, report),
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


_DRAWN = frozenset(
    {"clip-path", "d", "height", "id", "style", "transform", "width", "x", "xlink:href", "y"}
)
"""Attributes that hold coordinates, or names made from them."""


class _Words(HTMLParser):
    """Everything on a page but drawn coordinates: tags, attributes and texts, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        said = (f'{name}="{value}"' for name, value in attrs if name not in _DRAWN)
        self.found.append(" ".join([f"<{tag}", *said]))

    def handle_data(self, data: str) -> None:
        self.found += data.split()


def _words(text: str) -> list[str]:
    parser = _Words()
    parser.feed(text)
    parser.close()
    return parser.found


def _page_state(path: Path, report: Report) -> PageState:
    if not path.exists():
        return "not there"
    there, drawn = _read(path), page(report).encode()
    if there == drawn:
        return "same bytes"
    if report.versions != versions():
        return "drawn by other versions"
    if _words(there.decode(errors="replace")) != _words(drawn.decode()):
        raise _differs(PAGE_FILE, "the signed report")
    return "same words"


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
