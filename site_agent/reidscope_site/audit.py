"""Is what was published what this site signed? Its own bytes, looked for in a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reidscope_protocols.envelope import open_envelope
from reidscope_protocols.errors import InputError, WrongAudienceError
from reidscope_protocols.report import Report
from reidscope_protocols.vocabulary import KeyRole
from reidscope_site.agent import Agent
from reidscope_site.config import Home

_SIGNED = "report.dsse.json"


def find_own_bytes(home: Home, path: Path) -> Iterator[str]:
    """Check a report's signature with the pinned key, and find this site's release in it.

    Parameters
    ----------
    path : Path
        A report folder, or its `report.dsse.json`.

    Raises
    ------
    BadSignatureError
        Not signed by the pinned coordinator.
    WrongAudienceError
        The report says that this site released something that it did not sign.
    """
    file = path / _SIGNED if path.is_dir() else path
    try:
        envelope = file.read_bytes()
    except OSError:
        raise InputError(
            "report", got="no readable report.dsse.json", expected="one", do="name its folder"
        ) from None
    agent = Agent(home)
    try:
        report = open_envelope(
            envelope, Report, agent.pinned.ring, role=KeyRole.COORDINATOR
        ).statement
        yield "signature     by the pinned coordinator"
        summed = agent.sums.current(report.study_sha256)
        own = agent.ledger.stored(report.study_sha256) if summed is None else summed.masked
    finally:
        agent.close()
    published = {text.encode() for text in (*report.evidence.releases, *report.evidence.masked)}
    claimed = any(
        site.site == agent.config.name and site.status == "released" for site in report.sites
    )
    if summed is not None and own not in published and not claimed:
        # Its attempt failed, or the list left it out: then no sum holds its tables.
        yield "own release   no sum holds this site's tables, none is claimed"
    elif own is not None and own in published:
        yield "own release   found, byte for byte"
    elif claimed or own is not None:
        raise WrongAudienceError(
            "report",
            got="another release under this site's name" if claimed else "no release of this site",
            expected="the bytes that this site stored",
            do="ask the coordinator, and show these two files to the other sites",
        )
    else:
        yield "own release   none was made, none is claimed"
