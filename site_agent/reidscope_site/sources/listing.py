"""What any source of scans tells: each person's series, whether each is a head, which is best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reidscope_site.attributes import NOTHING_KNOWN, Attributes
from reidscope_site.face.geometry import SeriesProblem
from reidscope_site.snapshot import ScanKind

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSeries:
    """One series of one person.

    Attributes
    ----------
    kind : {"dicom", "nifti"}
        How it is stored.
    series_uid : str
        What names it among this person's series.
    session : str
        Date of the examination that it belongs to; series of one session are of one date.
    taken : str
        Earliest date and time of its files, sortable; only ever compared within one person.
    files : tuple of Path
        All of it.
    problem : SeriesProblem or None
        Why it is no head that shows a face.
    preference : tuple of float
        Smaller is taken first; see `finder`.
    attributes : Attributes
        The person's, as this series' own files tell them.

    Privacy
    -------
    About one person: stays at the site (docs/privacy.md, "What stays at the site").
    """

    kind: ScanKind
    series_uid: str
    session: str
    taken: str
    files: tuple[Path, ...]
    problem: SeriesProblem | None
    preference: tuple[float, ...]
    attributes: Attributes = NOTHING_KNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Series by the site's own name of a person, and how many files were no scans.

    Attributes
    ----------
    shared : frozenset of str
        PatientIDs under which files name more than one date of birth, or more than one issuer of
        the ID: two people, one ID.
    undelivered : int
        Series that the archive lists and does not deliver.
    unopened : int
        Files that could not be opened: whether they are scans is unknown.

    Privacy
    -------
    Holds the site's own PatientIDs: stays in memory and never leaves the site (docs/privacy.md,
    "What stays at the site").
    """

    series: Mapping[str, Sequence[ScanSeries]]
    skipped: int
    shared: frozenset[str] = frozenset()
    undelivered: int = 0
    unopened: int = 0
