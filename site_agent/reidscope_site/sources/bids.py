"""A BIDS dataset: participants are people, sessions their dates, `anat` and `pet` their heads.

    sub-01/[ses-baseline/]anat/sub-01_ses-baseline_T1w.nii.gz
    sub-01/[ses-baseline/]pet/sub-01_ses-baseline_trc-FDG_pet.nii.gz

A participant is known by the label, `sub-01`. When a file was acquired is what `*_scans.tsv` says;
where it does not say so for every one of a participant's files, sessions count in the order of
their labels. Sex and age are what `participants.tsv` says. Of sidecars only those of a PET are read
(`pet_sidecar`), and are files of its scan: an approval binds them too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from reidscope_protocols.cohort import Modality
from reidscope_protocols.errors import InputError
from reidscope_site.attributes import NOTHING_KNOWN, Attributes, year_of
from reidscope_site.face.geometry import SeriesProblem
from reidscope_site.sources.facts import patient_identity
from reidscope_site.sources.finder import Finding
from reidscope_site.sources.header_index import FoundFile, HeaderIndex
from reidscope_site.sources.listing import Listing, Progress, ScanSeries
from reidscope_site.sources.nifti import PET_SUFFIX, find_head_in_nifti, frames_in_nifti
from reidscope_site.sources.participants import participants, rows_of
from reidscope_site.sources.pet_sidecar import read_sidecars, sidecar_problem, sidecars_of

SUFFIXES = ("T1w", "T2w", "FLAIR")
_FOLDERS = {"anat": SUFFIXES, "pet": (PET_SUFFIX,)}
_IMAGE = re.compile(
    rf"(?P<entities>.+)_(?P<suffix>{'|'.join((*SUFFIXES, PET_SUFFIX))})\.nii(\.gz)?"
)
_WORKED_OUT = ("space-", "desc-")
"""Entities of derivatives: laid into an atlas, or worked on otherwise."""
_PHASES = frozenset({"part-phase", "part-real", "part-imag"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    path: Path
    session: str
    suffix: str
    entities: frozenset[str]
    own: bool

    @property
    def modality(self) -> Modality:
        return Modality.PT if self.suffix == PET_SUFFIX else Modality.MR

    @property
    def files(self) -> tuple[Path, ...]:
        """The image, and what says how to read it."""
        if self.suffix != PET_SUFFIX:
            return (self.path,)
        return (self.path, *sidecars_of(self.path))


def list_bids(
    root: Path, *, index: HeaderIndex | None = None, progress: Progress | None = None
) -> Listing:
    """List every anatomical image and every PET of every participant.

    Parameters
    ----------
    root : Path
        The dataset. Links are followed inside it alone, as git-annex lays them.
    index : HeaderIndex, optional
        What earlier runs read.
    progress : callable, optional
        Called with participants done and participants in all.

    Raises
    ------
    InputError
        No participant has an anatomical image or a PET: no BIDS dataset, or neither folder.

    Privacy
    -------
    Labels may be the site's own IDs: they stay in memory (docs/privacy.md, "What stays at the
    site").
    """
    folders = sorted(_folders(root, "sub-"))
    known = participants(root)
    series: dict[str, tuple[ScanSeries, ...]] = {}
    skipped = 0
    for number, participant in enumerate(folders, start=1):
        inside, outside = _images(participant, root.resolve())
        skipped += outside
        if inside:
            name = patient_identity(participant.name)
            told = known.get(name, NOTHING_KNOWN)
            series[name] = tuple(_series(participant, inside, index, told))
        if progress:
            progress(number, len(folders))
    if not series:
        raise InputError(
            "BIDS dataset",
            got=f"{len(folders)} folders of participants, none with an anatomical image",
            expected="sub-*/[ses-*/]anat/*_T1w.nii.gz, or T2w, or FLAIR, or pet/*_pet.nii.gz",
            do="correct `bids` in site.toml",
        )
    return Listing(series=series, skipped=skipped)


def _folders(folder: Path, prefix: str) -> Iterator[Path]:
    try:
        found = list(folder.iterdir())
    except OSError:
        return
    yield from (each for each in found if each.name.startswith(prefix) and each.is_dir())


def _images(participant: Path, root: Path) -> tuple[list[_Image], int]:
    """Images of a participant, and how many lie outside the dataset or nowhere."""
    found, outside = [], 0
    places = [participant, *sorted(_folders(participant, "ses-"))]
    for place in places:
        session = "" if place == participant else place.name
        held = [(name, path) for name in _FOLDERS for path in (place / name).glob("*.nii*")]
        for name, path in sorted(held):
            match = _IMAGE.fullmatch(path.name)
            if match is None or match["suffix"] not in _FOLDERS[name] or path.name[0] == ".":
                continue
            real = path.resolve()
            if root not in real.parents or not real.is_file():
                outside += 1
                continue
            entities = frozenset(match["entities"].split("_"))
            found.append(
                _Image(
                    path=path,
                    session=session,
                    suffix=match["suffix"],
                    entities=entities,
                    own=_is_own(match["entities"], participant.name, session),
                )
            )
    return found, outside


def _series(
    participant: Path, images: Sequence[_Image], index: HeaderIndex | None, told: Attributes
) -> Iterator[ScanSeries]:
    dates = _dates(participant, images)
    listed = [
        ScanSeries(
            kind="nifti",
            series_uid=str(image.path.relative_to(participant)),
            session=dates[image.session],
            taken=dates[image.session],
            files=files,
            problem=finding.problem,
            preference=finding.preference,
            attributes=replace(told, modality=image.modality, year=year_of(dates[image.session])),
        )
        for image in images
        for files in (image.files,)
        for finding in (_finding(image, files, index),)
    ]
    yield from sorted(listed, key=lambda one: (one.taken, one.series_uid))


def _dates(participant: Path, images: Sequence[_Image]) -> Mapping[str, str]:
    """Give the date of every session, or its place in their order where one has no date."""
    sessions = sorted({image.session for image in images}, key=_in_order)
    told = {}
    for session in sessions:
        acquired = _acquired(participant / session, participant.name, session)
        dates = [acquired.get(image.path.name, "") for image in images if image.session == session]
        told[session] = min((date for date in dates if date), default="")
    if all(told.values()):
        return told
    return {session: f"session {number:06d}" for number, session in enumerate(sessions, start=1)}


def _in_order(label: str) -> list[tuple[int, str]]:
    """Sort key: `ses-2` comes before `ses-10`."""
    parts = re.findall(r"\d+|\D+", label)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _acquired(place: Path, participant: str, session: str) -> Mapping[str, str]:
    """Dates by file name, as `*_scans.tsv` tells them; what cannot be read tells nothing."""
    name = "_".join(part for part in (participant, session, "scans.tsv") if part)
    rows = rows_of(place / name)
    told = ((row.get("filename") or "", _date(row.get("acq_time") or "")) for row in rows)
    return {name.rpartition("/")[2]: date for name, date in told if date}


def _date(text: str) -> str:
    try:
        return datetime.fromisoformat(text.strip()).strftime("%Y%m%d")
    except ValueError:
        return ""


def _finding(image: _Image, files: tuple[Path, ...], index: HeaderIndex | None) -> Finding:
    if not image.own:
        return Finding(problem=SeriesProblem.NAMED_OTHERWISE)
    named = _named_problem(image.entities)
    if named is not None:
        return Finding(problem=named)
    try:
        return _header_finding(image, files, index)
    except OSError:
        # Cannot be opened now: not remembered, it may open the next time.
        return Finding(problem=SeriesProblem.UNSUPPORTED)


def _header_finding(image: _Image, files: tuple[Path, ...], index: HeaderIndex | None) -> Finding:
    if index is None:
        return _looked_at(image, files)

    def encoded() -> str:
        found = _looked_at(image, files)
        index.read += 1
        return json.dumps([found.problem, found.preference])

    problem, preference = json.loads(index.finding("nifti", map(_stamp, files), encoded))
    return Finding(
        problem=None if problem is None else SeriesProblem(problem), preference=tuple(preference)
    )


def _looked_at(image: _Image, files: tuple[Path, ...]) -> Finding:
    found = find_head_in_nifti(image.path, image.suffix)
    if image.suffix != PET_SUFFIX or found.problem is not None:
        return found
    said = sidecar_problem(image.path, read_sidecars(files[1:]), frames_in_nifti(image.path))
    return found if said is None else Finding(problem=said)


def _stamp(path: Path) -> FoundFile:
    state = path.stat()
    return FoundFile(path=str(path), size=state.st_size, mtime_ns=state.st_mtime_ns)


def _is_own(entities: str, participant: str, session: str) -> bool:
    """Whether a file is named for the folders that it lies in: another's head is nobody's here."""
    parts = entities.split("_")
    sessions = [part for part in parts if part.startswith("ses-")]
    named = "_".join(part for part in (participant, session) if part)
    return f"{entities}_".startswith(f"{named}_") and sessions in ([], [session])


def _named_problem(entities: frozenset[str]) -> SeriesProblem | None:
    if entities & _PHASES or any(entity.startswith(_WORKED_OUT) for entity in entities):
        return SeriesProblem.DERIVED
    if any(entity.startswith("echo-") for entity in entities):
        return SeriesProblem.MULTI_ECHO
    return None
