"""Settling who takes part: IDs, dates and geometry are read, no pixel is decoded.

One series a person, the first usable by the person's own dates. Usable is decided from that
person's own headers and geometry, and by whether the de-identifier takes the files; no rule
compares two people. What fails later is a cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import load_profile
from reidscope_deid.pseudonyms import pseudonym
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.rehearsal import Rehearsal
from reidscope_protocols.errors import NoDicomError, NoUsablePeopleError
from reidscope_site.agent import Agent, Progress
from reidscope_site.face.geometry import SeriesProblem, read_slice_header, series_problem
from reidscope_site.journal import Event
from reidscope_site.snapshot import Person
from reidscope_site.sources.dicom_folder import (
    UNREADABLE,
    FolderListing,
    ScanSeries,
    list_folder,
    silenced,
)
from reidscope_site.sources.links import read_links, refuse_unknown

_PROFILE = "basic"


class Exclusion(StrEnum):
    """Why a person is not in the snapshot, where no series of theirs names a reason itself."""

    NO_PHOTO = "no-photo"
    SHARED_ID = "shared-patient-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Result of indexing: people to attack, and how many others there were, by reason."""

    people: tuple[Person, ...]
    excluded: Mapping[str, int]


def resolve(
    listing: FolderListing,
    links: Mapping[str, Path],
    key: SiteKey,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Resolution:
    """Settle who takes part, one person at a time.

    Raises
    ------
    NoUsablePeopleError
        Nobody has a usable head series and a photo.

    Privacy
    -------
    The counts are exact: they are shown on the site's own terminal and never leave it.
    """
    people: list[Person] = []
    excluded: Counter[str] = Counter()
    rehearsal = Rehearsal.of(key, load_profile(_PROFILE))
    for number, (patient, series) in enumerate(listing.series.items(), start=1):
        photo = links.get(patient)
        if photo is None:
            excluded[Exclusion.NO_PHOTO] += 1
        elif patient in listing.shared:
            # Whose series is taken would depend on the other person under the same ID.
            excluded[Exclusion.SHARED_ID] += 1
        else:
            chosen, problem = _first_usable(series, rehearsal)
            if chosen is None:
                excluded[problem] += 1
            else:
                name = pseudonym(key, patient)
                people.append(Person(pseudonym=name, files=chosen.files, photo=photo))
        if progress:
            progress(number, len(listing.series))
    if not people:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(excluded.items()))
        raise NoUsablePeopleError(
            "index",
            got=f"nobody with a usable head series and a photo ({reasons})",
            expected="at least one such person",
            do="look at the data folder and the link file",
        )
    ordered = sorted(people, key=lambda person: person.pseudonym)
    return Resolution(people=tuple(ordered), excluded=dict(excluded))


def _first_usable(
    series: Sequence[ScanSeries], rehearsal: Rehearsal
) -> tuple[ScanSeries | None, str]:
    problem = ""
    for candidate in series:
        found = _problem(candidate, rehearsal)
        if found is None:
            return candidate, ""
        problem = problem or str(found)
    return None, problem


def _problem(candidate: ScanSeries, rehearsal: Rehearsal) -> SeriesProblem | Reason | None:
    try:
        with silenced():
            found = series_problem([read_slice_header(path) for path in candidate.files])
        if found is None:
            rehearsal.check(candidate.files)
    except QuarantinedError as error:
        return error.reason
    except (NoDicomError, *UNREADABLE):
        # One person's broken file is that person's own problem, never the end of the index.
        return SeriesProblem.UNSUPPORTED
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What `index` found, for the site's own terminal."""

    resolution: Resolution
    skipped: int


def index(agent: Agent, progress: Progress | None = None) -> Indexed:
    """Read headers and links, and freeze the snapshot.

    Raises
    ------
    InputError
        The data folder or the link file cannot be followed; the old snapshot stays.
    """
    links = read_links(Path(agent.config.links), Path(agent.config.photos))
    listing = list_folder(Path(agent.config.dicom), progress=progress)
    refuse_unknown(links, listing.series.keys())
    key = agent.site_key
    resolution = resolve(listing, links, key, progress=progress)
    agent.snapshot.freeze(resolution.people, key)
    agent.journal.write(Event.INDEXED)
    return Indexed(resolution=resolution, skipped=listing.skipped)
