"""Series of heads from the archive into the site's home, before anybody approves anything.

`index` fetches, and nothing is fetched later: whoever evaluates a person has no network, and an
approval binds the very files that are measured. Headers come first; files only of series that show
a face. A whole series appears at once, under a keyed name; series that the archive no longer lists
are removed. An index that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hmac
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from reidscope_deid.keys import SiteKey
from reidscope_deid.part10 import start_of_meta
from reidscope_protocols.errors import NotReadyError
from reidscope_site.exclude import NOBODY, OptOuts
from reidscope_site.face.geometry import MODALITIES, SeriesProblem
from reidscope_site.sources.dicomweb import Archive, ArchivedSeries, UndeliveredError
from reidscope_site.sources.facts import MALFORMED, FileFacts, facts_of, silenced
from reidscope_site.sources.finder import find_head
from reidscope_site.sources.header_index import FoundFile, HeaderIndex
from reidscope_site.sources.listing import Progress, ScanSeries
from reidscope_site.sources.multipart import AnswerError

_NAME_DOMAIN = b"reidscope/fetched/v1"
_ROOM_BYTES = 1 << 30
_HEAD = 132  # bytes: preamble and prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftThere:
    """A series that stays at the archive, because it shows no face."""

    patient_id: str
    series: ScanSeries
    files: int
    """How many it has there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What is not in the folder.

    Attributes
    ----------
    left : tuple of LeftThere
        Series that show no face.
    undelivered : int
        Series that the archive lists and does not deliver, or that name no person.
    """

    left: tuple[LeftThere, ...] = ()
    undelivered: int = 0


def fetch(
    archive: Archive,
    folder: Path,
    key: SiteKey,
    *,
    index: HeaderIndex,
    progress: Progress | None = None,
    opt_outs: OptOuts = NOBODY,
) -> Fetched:
    """Make `folder` hold the archive's head series, and tell of the others.

    Parameters
    ----------
    archive : Archive
        Of the site.
    folder : Path
        In the site's home; made if absent, its owner's alone.
    key : SiteKey
        Names folders.
    index : HeaderIndex
        Remembers what was found out about each series.
    progress : callable, optional
        Called with series done and series in all.
    opt_outs : OptOuts, optional
        People of whom nothing but headers is asked for.

    Raises
    ------
    TransportError
        The archive cannot be reached, refuses the site, or answers something else.
    NotReadyError
        The disk is nearly full.

    Privacy
    -------
    Identified scans on the site's own disk, as in its archive: keep the home on an encrypted disk
    (docs/privacy.md, "What stays at the site").
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    listed = [each for modality in sorted(MODALITIES) for each in archive.series(modality)]
    left: list[LeftThere] = []
    undelivered = 0
    kept: set[str] = set()
    for number, series in enumerate(listed, start=1):
        found = _looked_at(archive, series, index)
        if found is not None and found.patient_id in opt_outs:
            left.append(found)
        elif found is not None and found.series.problem is None:
            name = _name(series, key)
            if (folder / name).is_dir() or _bring(archive, series, folder, name, files=found.files):
                kept.add(name)
            else:
                undelivered += 1
        elif found is not None:
            left.append(found)
        else:
            undelivered += 1
        if progress:
            progress(number, len(listed))
    for old in folder.iterdir():
        if old.name not in kept:
            shutil.rmtree(old, ignore_errors=True)
    return Fetched(left=tuple(left), undelivered=undelivered)


def _bring(
    archive: Archive, series: ArchivedSeries, folder: Path, name: str, *, files: int
) -> bool:
    """Fetch one series whole, or not at all; False where the archive does not deliver it so."""
    if shutil.disk_usage(folder).free < _ROOM_BYTES:
        raise NotReadyError(
            "disk",
            got="too little room for another series",
            expected=f"{_ROOM_BYTES >> 20} MiB free in the site's home",
            do="make room, or ask for fewer series (dicomweb_query), then index again",
        )
    arriving = Path(tempfile.mkdtemp(dir=folder, prefix=".arriving-"))
    try:
        archive.fetch(series, arriving)
        if sum(map(_is_dicom, arriving.iterdir())) < files:
            return False
        arriving.rename(folder / name)
    except (UndeliveredError, AnswerError):
        return False
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
    return True


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return start_of_meta(stream.read(_HEAD)) is not None


def _looked_at(archive: Archive, series: ArchivedSeries, index: HeaderIndex) -> LeftThere | None:
    """Say from its headers whether a series shows a face; None where it names no person."""

    def look() -> str:
        headers = archive.headers(series)
        facts = list(_facts(headers))
        if not facts:
            return json.dumps(None)
        slices = [each for one in facts for each in one.slices]
        try:
            problem = find_head(slices, [one.traits for one in facts]).problem
        except MALFORMED:
            problem = SeriesProblem.UNSUPPORTED
        first = min(facts, key=lambda one: one.taken)
        return json.dumps([first.patient_id, first.date, first.taken, problem, len(headers)])

    # The archive tells no time of change: another number of files is a change.
    stamp = FoundFile(path=series.place, size=series.instances, mtime_ns=0)
    try:
        said = json.loads(index.finding("archived", (stamp,), look))
    except (UndeliveredError, AnswerError):
        return None
    if said is None:
        return None
    patient, date, taken, problem, files = said
    return LeftThere(
        patient_id=patient,
        files=files,
        series=ScanSeries(
            kind="dicom",
            series_uid=series.series_uid,
            session=date,
            taken=taken,
            files=(),
            problem=None if problem is None else SeriesProblem(problem),
            preference=(),
        ),
    )


def _facts(headers: Sequence[Dataset]) -> Iterator[FileFacts]:
    for header in headers:
        try:
            with silenced():
                facts = facts_of(header)
        except MALFORMED:
            continue
        if facts is not None:
            yield facts


def _name(series: ArchivedSeries, key: SiteKey) -> str:
    text = f"{series.place}\0{series.instances}".encode()
    return hmac.digest(key.branch(_NAME_DOMAIN), text, "sha256").hex()[:32]
