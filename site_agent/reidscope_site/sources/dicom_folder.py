"""A folder of DICOM files, in any order, grouped into one person's series: headers alone."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reidscope_protocols.errors import NoDicomError
from reidscope_site.attributes import Attributes, modality_of, the_one, year_of
from reidscope_site.face.geometry import SeriesProblem
from reidscope_site.sources.facts import (
    MALFORMED,
    UNREADABLE,
    FileFacts,
    patient_identity,
    read_facts,
    silenced,
)
from reidscope_site.sources.finder import Finding, find_head
from reidscope_site.sources.header_index import FoundFile, HeaderIndex
from reidscope_site.sources.listing import Listing, Progress, ScanSeries

__all__ = ["MALFORMED", "UNREADABLE", "found_files", "list_folder", "patient_identity", "silenced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageFile:
    file: FoundFile
    facts: FileFacts


def list_folder(
    *folders: Path, index: HeaderIndex | None = None, progress: Progress | None = None
) -> Listing:
    """Group every DICOM image below folders by person and series.

    Parameters
    ----------
    folders : Path
        Walked to any depth; links are not followed. Of a series that lies in two of them, the
        files of the first count.
    index : HeaderIndex, optional
        What earlier runs read: only new and changed files are opened.
    progress : callable, optional
        Called with files done and files in all.

    Raises
    ------
    NoDicomError
        Nothing below the folders is a DICOM image with a PatientID.
    """
    files = [
        (place, file)
        for place, folder in enumerate(folders)
        for file in sorted(found_files(folder), key=lambda file: file.path)
    ]
    home_of: dict[tuple[str, str], int] = {}
    grouped: dict[str, dict[str, list[_ImageFile]]] = defaultdict(lambda: defaultdict(list))
    births: dict[str, set[str]] = defaultdict(set)
    issuers: dict[str, set[str]] = defaultdict(set)
    skipped, unopened = 0, 0 if index is None else index.unopened
    for number, (place, file) in enumerate(files, start=1):
        facts = _unkept(file) if index is None else index.facts(file)
        if facts is None:
            skipped += 1
        else:
            if home_of.setdefault((facts.patient_id, facts.series_uid), place) == place:
                image = _ImageFile(file=file, facts=facts)
                grouped[facts.patient_id][facts.series_uid].append(image)
            births[facts.patient_id].add(facts.born)
            issuers[facts.patient_id].add(facts.issuer)
        if progress:
            progress(number, len(files))
    if not grouped:
        raise NoDicomError(
            "data folder",
            got=f"{len(files)} files, none of them a DICOM image with a PatientID",
            expected="DICOM files with file meta information; links are not followed",
            do="correct `dicom` in site.toml",
        )
    listing = {patient: tuple(_series(held, index)) for patient, held in sorted(grouped.items())}
    shared = frozenset(
        patient
        for told in (births, issuers)
        for patient, words in told.items()
        if len(words - {""}) > 1
    )
    unopened = 0 if index is None else index.unopened - unopened
    return Listing(series=listing, skipped=skipped - unopened, shared=shared, unopened=unopened)


def found_files(folder: Path) -> Iterator[FoundFile]:
    """Every file below a folder, links left out; a folder that cannot be opened holds none."""
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        found = entry.stat(follow_symlinks=False)
                        yield FoundFile(
                            path=entry.path, size=found.st_size, mtime_ns=found.st_mtime_ns
                        )
        except OSError:
            continue


def _unkept(file: FoundFile) -> FileFacts | None:
    try:
        return read_facts(Path(file.path))
    except OSError:
        return None


def _series(
    held: Mapping[str, Sequence[_ImageFile]], index: HeaderIndex | None
) -> Iterator[ScanSeries]:
    """Order one person's series by that person's own dates, then by UID."""
    sessions: dict[str, str] = {}
    for images in held.values():
        for image in images:
            study, date = _study(image), image.facts.date
            # No date says nothing, not that it was early.
            known = sessions.get(study, "")
            sessions[study] = min(date, known) or date or known
    found = []
    for uid, images in held.items():
        finding = _finding(images, index)
        found.append(
            ScanSeries(
                kind="dicom",
                series_uid=uid,
                # One examination over midnight is one date.
                session=min(sessions[_study(image)] for image in images),
                taken=min(image.facts.taken for image in images),
                files=tuple(Path(image.file.path) for image in images),
                problem=finding.problem,
                preference=finding.preference,
                attributes=_attributes(images, finding),
            )
        )
    yield from sorted(found, key=lambda series: (series.taken, series.series_uid))


def _attributes(images: Sequence[_ImageFile], finding: Finding) -> Attributes:
    """Read off what a series tells of its person; its slices only where they are readable."""
    modalities = (
        set()
        if finding.problem is not None
        else {modality_of(each.modality) for each in images[0].facts.slices}
    )
    dates = [image.facts.date for image in images if image.facts.date]
    return Attributes(
        sex=the_one({image.facts.sex for image in images}, ""),
        age_years=the_one({image.facts.age_years for image in images}, None),
        modality=the_one(modalities, ""),
        year=year_of(min(dates, default="")),
    )


def _study(image: _ImageFile) -> str:
    return image.facts.study_uid or image.facts.series_uid


def _finding(images: Sequence[_ImageFile], index: HeaderIndex | None) -> Finding:
    def compute() -> Finding:
        try:
            return find_head(
                [each for image in images for each in image.facts.slices],
                [image.facts.traits for image in images],
            )
        except MALFORMED:
            # One person's odd header is that person's own problem, never the end of the index.
            return Finding(problem=SeriesProblem.UNSUPPORTED)

    def encoded() -> str:
        found = compute()
        return json.dumps([found.problem, found.preference])

    if index is None:
        return compute()
    problem, preference = json.loads(
        index.finding("head", (image.file for image in images), encoded)
    )
    return Finding(
        problem=None if problem is None else SeriesProblem(problem), preference=tuple(preference)
    )
