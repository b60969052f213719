"""Settling who takes part: IDs, dates, sex, age and geometry are read, no pixel is decoded.

One series a date, found and chosen by the public rule of `sources.finder` on that person's own
headers and by whether the de-identifier takes the files. A person takes part with a photo, or with
scans of two dates, or both. No rule compares two people. What fails later is a cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import load_profile
from reidscope_deid.pseudonyms import pseudonym
from reidscope_deid.reasons import QuarantinedError
from reidscope_deid.rehearsal import Rehearsal
from reidscope_protocols.cohort import Modality
from reidscope_protocols.errors import NoDicomError, NoUsablePeopleError
from reidscope_protocols.vocabulary import Mate
from reidscope_site.agent import Agent, Progress
from reidscope_site.exclude import NOBODY, OptOuts, read_opt_outs
from reidscope_site.face.geometry import SeriesProblem
from reidscope_site.journal import Event
from reidscope_site.snapshot import Person, Scan
from reidscope_site.sources.facts import MALFORMED, silenced
from reidscope_site.sources.gathering import gather
from reidscope_site.sources.header_index import FoundFile, HeaderIndex
from reidscope_site.sources.links import known_links, read_groups, read_links
from reidscope_site.sources.listing import Listing, ScanSeries
from reidscope_site.sources.photo_formats import is_read_here

_PROFILE = "basic"


class Exclusion(StrEnum):
    """Why a person is not in the snapshot, where no series of theirs names a reason itself."""

    OPTED_OUT = "opted-out"
    NO_MATE = "no-photo-and-one-date-only"
    SHARED_ID = "shared-patient-id"


class Verdict(StrEnum):
    """What became of a series, where no problem of its own says it."""

    TAKEN = "taken"
    PET = "pet-taken-where-a-study-asks-for-pet"
    ANOTHER_IS_BETTER = "another-of-that-date-is-better"
    UNDATED = "no-date-beside-dated-ones"
    PERSON_LEFT_OUT = "person-left-out"
    UNDELIVERED = "listed-by-the-archive-and-not-delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Result of indexing: people to attack, how many others there were, and each series' fate.

    Attributes
    ----------
    people : tuple of Person
        In the order of their pseudonyms.
    excluded : mapping of str to int
        People, by reason.
    series : mapping of str to int
        Series, by what became of them; every series once.
    """

    people: tuple[Person, ...]
    excluded: Mapping[str, int]
    series: Mapping[str, int]


def resolve(
    listing: Listing,
    links: Mapping[str, Path],
    key: SiteKey,
    *,
    index: HeaderIndex | None = None,
    progress: Callable[[int, int], None] | None = None,
    opt_outs: OptOuts = NOBODY,
    groups: Mapping[str, str] = MappingProxyType({}),
) -> Resolution:
    """Settle who takes part, one person at a time.

    Parameters
    ----------
    listing : Listing
        Everybody's series.
    links, groups : mapping
        Photos, and words of the link file, by the site's own PatientID.

    Raises
    ------
    NoUsablePeopleError
        Nobody has a usable head series and a photo or a second one.

    Privacy
    -------
    The counts are exact: they are shown on the site's own terminal and never leave it
    (docs/privacy.md, "Neighbours").
    """
    people: list[Person] = []
    excluded: Counter[str] = Counter()
    fates: Counter[str] = Counter()
    if listing.undelivered:
        fates[Verdict.UNDELIVERED] = listing.undelivered
    rehearsal = Rehearsal.of(key, load_profile(_PROFILE))
    for number, (patient, series) in enumerate(listing.series.items(), start=1):
        if patient in opt_outs:
            excluded[Exclusion.OPTED_OUT] += 1
            fates[Verdict.PERSON_LEFT_OUT] += len(series)
        elif patient in listing.shared:
            # Whose series is taken would depend on the other person under the same ID.
            excluded[Exclusion.SHARED_ID] += 1
            fates[Verdict.PERSON_LEFT_OUT] += len(series)
        else:
            said = {one.series_uid: _fate(one) for one in series}
            chosen = tuple(_chosen(series, rehearsal, index, said))
            scans = _usual(chosen)
            photo = links.get(patient)
            if chosen and (photo is not None or len({scan.taken for scan in chosen}) > 1):
                people.append(
                    Person(
                        pseudonym=pseudonym(key, patient),
                        scans=scans,
                        photo=photo,
                        attributes=replace(
                            (scans or chosen)[0].attributes, group=groups.get(patient, "")
                        ),
                        others=tuple(scan for scan in chosen if scan not in scans),
                    )
                )
            else:
                reasons = [said[one.series_uid] for one in series]
                excluded[Exclusion.NO_MATE if chosen else reasons[0]] += 1
                said = {
                    uid: Verdict.PERSON_LEFT_OUT if fate in (Verdict.TAKEN, Verdict.PET) else fate
                    for uid, fate in said.items()
                }
            fates.update(said.values())
        if progress:
            progress(number, len(listing.series))
    if not people:
        reasons = [f"{count} {reason}" for reason, count in sorted(excluded.items())]
        raise NoUsablePeopleError(
            "index",
            got=f"nobody with a usable head series and a photo or a second date"
            f" ({', '.join(reasons)})",
            expected="at least one such person",
            do="look at the data folder and the link file",
        )
    ordered = sorted(people, key=lambda person: person.pseudonym)
    return Resolution(people=tuple(ordered), excluded=dict(excluded), series=dict(fates))


def _fate(series: ScanSeries) -> str:
    return str(series.problem or Verdict.ANOTHER_IS_BETTER)


def _usual(chosen: Sequence[Scan]) -> tuple[Scan, ...]:
    """Pick what studies take that do not name modalities: the first of each date that is no PET."""
    of_a_date: dict[str, Scan] = {}
    for scan in chosen:
        if scan.attributes.modality != Modality.PT:
            of_a_date.setdefault(scan.taken, scan)
    return tuple(of_a_date.values())


def _chosen(
    series: Sequence[ScanSeries],
    rehearsal: Rehearsal,
    index: HeaderIndex | None,
    said: dict[str, str],
) -> Iterator[Scan]:
    """Take one series a date and modality, the better first; `said` learns what became of each.

    Dates of PET are told apart from those of other scans: whether a PET has a date changes nothing
    for them.
    """
    usable = sorted((one for one in series if one.problem is None), key=lambda one: one.session)
    kept: list[ScanSeries] = []
    for pet in (False, True):
        alike = [one for one in usable if (one.attributes.modality == Modality.PT) is pet]
        dated = [one for one in alike if one.session]
        for one in alike if dated else ():
            if not one.session:
                said[one.series_uid] = Verdict.UNDATED
        kept += dated or alike
    kept.sort(key=lambda one: one.session)
    for session, of_a_date in groupby(kept, key=lambda one: one.session):
        taken: set[str] = set()
        for one in sorted(of_a_date, key=lambda one: (one.preference, one.taken, one.series_uid)):
            modality = one.attributes.modality
            if modality in taken:
                continue
            refused = _refused(one, rehearsal, index)
            if refused:
                said[one.series_uid] = refused
                continue
            if modality == Modality.PT:
                said[one.series_uid] = Verdict.PET
            elif taken <= {Modality.PT}:
                said[one.series_uid] = Verdict.TAKEN
            taken.add(modality)
            yield Scan(kind=one.kind, files=one.files, taken=session, attributes=one.attributes)


def _refused(one: ScanSeries, rehearsal: Rehearsal, index: HeaderIndex | None) -> str:
    """Why the de-identifier leaves a series out; empty where it takes it."""
    try:
        return _rehearsed(one, rehearsal, index)
    except OSError:
        # A file that cannot be opened now: not remembered, it may open the next time.
        return str(SeriesProblem.UNSUPPORTED)


def _rehearsed(one: ScanSeries, rehearsal: Rehearsal, index: HeaderIndex | None) -> str:
    if one.kind == "nifti":
        return ""

    def rehearse() -> str:
        try:
            with silenced():
                rehearsal.check(one.files)
        except QuarantinedError as error:
            return str(error.reason)
        except (NoDicomError, *MALFORMED):
            # One person's broken file is that person's own problem, never the end of the index.
            return str(SeriesProblem.UNSUPPORTED)
        return ""

    return rehearse() if index is None else index.finding("taken", _stamps(one.files), rehearse)


def _stamps(files: Sequence[Path]) -> Iterator[FoundFile]:
    for file in files:
        try:
            found = file.stat()
        except OSError:
            yield FoundFile(path=str(file), size=-1, mtime_ns=-1)
        else:
            yield FoundFile(path=str(file), size=found.st_size, mtime_ns=found.st_mtime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What `index` found, for the site's own terminal.

    Attributes
    ----------
    skipped : int
        Files that are no scans of anybody.
    unopened : int
        Files that could not be opened.
    read : int
        Files that were opened: new ones and changed ones.
    """

    resolution: Resolution
    skipped: int
    read: int
    unopened: int = 0

    def answer(self) -> dict[str, Any]:
        """Return the counts as the verb tells them."""
        people = [person for person in self.resolution.people if _usually(person)]
        return {
            "people": len(people),
            "excluded": dict(self.resolution.excluded),
            "series": dict(self.resolution.series),
            "with_photo": sum(person.has(Mate.PHOTO) for person in people),
            "with_second_scan": sum(person.has(Mate.SECOND_SCAN) for person in people),
            "with_sex": sum(bool(person.attributes.sex) for person in people),
            "with_age": sum(person.attributes.age_years is not None for person in people),
            "with_group": sum(bool(person.attributes.group) for person in people),
            "with_pet": sum(
                any(scan.attributes.modality == Modality.PT for scan in person.others)
                for person in self.resolution.people
            ),
            "unread_photos": sum(
                not is_read_here(person.photo)
                for person in self.resolution.people
                if person.photo is not None
            ),
            "without_anything_else": len(self.resolution.people) - len(people),
            "skipped_files": self.skipped,
            "unopened_files": self.unopened,
            "read_files": self.read,
        }


def _usually(person: Person) -> bool:
    """Tell whether somebody counts in studies that do not name the modalities of a scan."""
    return bool(person.scans) and any(person.has(mate) for mate in Mate)


def index(agent: Agent, progress: Progress | None = None) -> Indexed:
    """Read headers and links, and freeze the snapshot.

    Raises
    ------
    InputError
        The data or the link file cannot be followed; the old snapshot stays.
    TransportError
        The archive does not answer as DICOMweb says; the old snapshot stays.
    """
    config, key = agent.config, agent.site_key
    links = read_links(Path(config.links), Path(config.photos)) if config.links else {}
    groups = read_groups(Path(config.links)) if config.links else {}
    opt_outs = read_opt_outs(Path(config.exclude)) if config.exclude else NOBODY
    headers = HeaderIndex.opened(agent.connection, key)
    try:
        listing = gather(
            config, agent.home, key, index=headers, progress=progress, opt_outs=opt_outs
        )
        opt_outs.check_spelling(listing.series.keys())
        groups = known_links(groups, listing.series.keys())
        links = known_links(links, listing.series.keys())
        resolution = resolve(
            listing,
            links,
            key,
            index=headers,
            progress=progress,
            opt_outs=opt_outs,
            groups=groups,
        )
    finally:
        # Whatever stopped it, what was read need not be read again.
        headers.keep()
    headers.forget_unmet()
    agent.snapshot.freeze(resolution.people, key)
    agent.journal.write(Event.INDEXED)
    return Indexed(
        resolution=resolution,
        skipped=listing.skipped,
        read=headers.read,
        unopened=listing.unopened,
    )
