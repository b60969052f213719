"""A folder of anybody's DICOM in, a folder of de-identified DICOM out: what the command line calls.

Files are taken in sorted order and their outputs are put in place in that order, however many
processes work, so the same input, key and profile give the same folder. What cannot be taken is
counted by reason and left out whole. A run that was stopped is gone on with by the next one.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_deid.faces import group_by_series, stage_of_series
from reidscope_deid.journal import Journal, Outcome, is_journal
from reidscope_deid.part10 import open_part10, person_of
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.record import Record, make_record
from reidscope_deid.series import Deidentifier, place, place_of
from reidscope_protocols.errors import InputError, NoDicomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reidscope_deid.faces import SeriesDefacer
    from reidscope_deid.keys import SiteKey
    from reidscope_deid.pixel_change import PixelStage
    from reidscope_deid.profile import Profile
    from reidscope_deid.sealing import Seal

_PARTIAL = ".reidscope-deid.partial"
_PSEUDONYM = re.compile(r"P-[A-Z2-7]{16}")
_BATCH = 16  # files handed to a process at a time


Job = list[tuple[int, str]]
"""Files that are worked on together: one, or a series."""


@dataclass(frozen=True, slots=True, repr=False)
class _Work:
    """What a process needs: reaches it by fork, never by pickle."""

    deidentifier: Deidentifier
    partial: Path
    durable: bool
    defacer: SeriesDefacer | None

    def of(self, job: Job) -> list[Outcome]:
        deidentifier = self.deidentifier
        if self.defacer is None:
            return [self._one(deidentifier, index, Path(source)) for index, source in job]
        faces = stage_of_series(self.defacer, [Path(path) for _, path in job])
        deidentifier = replace(deidentifier, stages=(faces, *deidentifier.stages))
        outcomes = [self._one(deidentifier, index, Path(source)) for index, source in job]
        written = next((one for one in outcomes if one.reason is None), None)
        if written is not None:
            written.tally.update(faces.tally)  # of the series, and so once
        return outcomes

    def _one(self, deidentifier: Deidentifier, index: int, source: Path) -> Outcome:
        deidentifier.tally.clear()
        try:
            new = deidentifier.write_new(source, self.partial / str(index), durable=self.durable)
        except QuarantinedError as left_out:
            return Outcome(place="", reason=left_out.reason, tally=Counter())
        return Outcome(
            place=str(place_of(new)),
            reason=None,
            tally=Counter(deidentifier.tally),
            review=new.change is not None and new.change.review,
            identity=new.person.identity,
        )

    def named(self, outcome: Outcome, source: str) -> Outcome:
        """Outcome of a stopped run, whose it is read again: the journal does not say."""
        if outcome.reason is not None:
            return outcome
        opened = open_part10(Path(source).read_bytes())
        return replace(outcome, identity=person_of(opened, self.deidentifier.namer).identity)


_work: list[_Work] = []


def _start(work: _Work) -> None:
    _work[:] = [work]


def _of(job: Job) -> list[Outcome]:
    return _work[0].of(job)


def deidentify_tree(
    source: Path,
    out: Path,
    *,
    key: SiteKey,
    profile: Profile,
    jobs: int = 1,
    durable: bool = True,
    stages: tuple[PixelStage, ...] = (),
    settings: str = "",
    defacer: tuple[str, SeriesDefacer] | None = None,
    seal: Seal | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    met: Callable[[str, str], None] = lambda _pseudonym, _identity: None,
) -> Record:
    """De-identify every DICOM file below `source`.

    What is left of a free text depends on the person's files that are in the run, whether they are
    taken or not: it loses the words of all of their headers.

    Parameters
    ----------
    source : Path
        A folder; only read. Links to folders are not followed.
    out : Path
        Outside `source`; new, empty, or what an earlier run wrote: a stopped one is gone on with,
        and what stands there already is compared, never overwritten.
        Files come to stand at ``pseudonym/study/series/instance.dcm``.
    key : SiteKey
        The site's.
    profile : Profile
        The rules.
    jobs : int
        Processes, 1 or more.
    durable : bool
        Whether to wait until the disk has each file.
    stages : tuple of PixelStage
        Look at the samples of each file.
    settings : str
        What else the outputs depend on: a stopped run under other settings is not gone on with.
    defacer : tuple of (str, SeriesDefacer), optional
        Its name, and what removes the face of each series.
    seal : Seal, optional
        Encrypts into each output what was taken out of it.
    progress : callable
        Told how many files are done, of how many.
    met : callable
        Told the pseudonym and the patient ID (the study UID where there is none) of each file
        before it is put in place: what a vault keeps.

    Returns
    -------
    Record
        What was done, and what was left out and why.

    Raises
    ------
    InputError
        `source` is no folder, `out` is not empty, or one lies in the other.
    NoDicomError
        No file below `source` is DICOM.
    """
    _check(source, out)
    paths = sorted(str(path) for path in _files(source))
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = out / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was stopped
    partial.mkdir(mode=0o700)
    method = None if defacer is None else defacer[1]
    deidentifier = Deidentifier.of(key, profile, stages, seal).knowing(map(Path, paths))
    work = _Work(deidentifier, partial, durable, method)
    others = (
        settings,
        None if defacer is None else defacer[0],
        None if seal is None else seal.name,
    )
    journal = Journal.open(out, key, _settings(profile, others))
    outcomes: list[Outcome] = []
    try:
        queue = [[one] for one in enumerate(paths)] if method is None else group_by_series(paths)
        for index, digest, outcome in _outcomes(work, queue, jobs, journal):
            if outcome.reason is None:
                met(Path(outcome.place).parts[0], outcome.identity)
            outcomes.append(_placed(partial / str(index), out, outcome, durable=durable))
            journal.add(digest, outcomes[-1])
            progress(len(outcomes), len(paths))
    except BaseException:
        # Broad on purpose: whatever stopped it, what is done is kept for the next run.
        journal.close()
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    journal.finish()
    return _record(profile, outcomes, len(paths))


def _settings(profile: Profile, others: tuple[str | None, ...]) -> str:
    """Everything but the key that outputs depend on."""
    rules = sorted((tag, rule.action, rule.otherwise) for tag, rule in profile.rules.items())
    dates = (profile.calendar, profile.whole_weeks, profile.cap_at_90)
    return repr((profile.method, sorted(profile.options), rules, dates, others))


def _placed(partial: Path, out: Path, outcome: Outcome, *, durable: bool) -> Outcome:
    if outcome.reason is not None or not partial.exists():
        return outcome  # nothing was written, or a stopped run put it in place
    try:
        place(partial, out / outcome.place, durable=durable)
    except QuarantinedError as conflict:
        return Outcome(place="", reason=conflict.reason, tally=Counter())
    return outcome


def _record(profile: Profile, outcomes: list[Outcome], files: int) -> Record:
    tally: Counter[tuple[int | str, str]] = Counter()
    left_out = Counter(outcome.reason for outcome in outcomes if outcome.reason is not None)
    if left_out[Reason.NOT_DICOM] == files:
        raise NoDicomError(
            "the input folder",
            got=f"{files} files, none of them DICOM",
            expected="DICOM files with a preamble",
            do="name another folder",
        )
    places: dict[str, Outcome] = {}
    for outcome in outcomes:
        if outcome.reason is None and outcome.place not in places:
            places[outcome.place] = outcome
            tally.update(outcome.tally)
    return make_record(
        profile,
        tally=tally,
        left_out=left_out,
        written=len(places),
        duplicates=len(outcomes) - left_out.total() - len(places),
        people=len({Path(one).parts[0] for one in places}),
        review=tuple(sorted(Path(one).stem for one, done in places.items() if done.review)),
    )


def _outcomes(
    work: _Work, queue: list[Job], jobs: int, journal: Journal
) -> Iterator[tuple[int, str, Outcome]]:
    """Give number, digest and outcome of each file, in the order of the queue."""
    sources = [[journal.source_of(path) for _, path in job] for job in queue]
    known = [all(source in journal.done for source in of_job) for of_job in sources]
    todo = [job for job, done in zip(queue, known, strict=True) if not done]
    with _mapped(work, todo, jobs) as fresh:
        for job, of_job, done in zip(queue, sources, known, strict=True):
            found = [journal.done[one] for one in of_job] if done else next(fresh)
            for (index, path), source, outcome in zip(job, of_job, found, strict=True):
                yield index, source, work.named(outcome, path) if done else outcome


@contextmanager
def _mapped(work: _Work, todo: list[Job], jobs: int) -> Iterator[Iterator[list[Outcome]]]:
    if jobs == 1:
        yield map(work.of, todo)
        return
    fork = multiprocessing.get_context("fork")
    batch = _BATCH if work.defacer is None else 1
    with ProcessPoolExecutor(jobs, mp_context=fork, initializer=_start, initargs=(work,)) as pool:
        yield pool.map(_of, todo, chunksize=batch)


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file():
                yield path


def _check(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise InputError(
            "the input", got="no folder", expected="a folder of DICOM files", do="name another"
        )
    inside, outside = out.resolve(), source.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise InputError(
            "the output",
            got="a folder in, around or equal to the input",
            expected="a folder apart from it",
            do="name another",
        )
    if out.exists() and not (out.is_dir() and all(_ours(path.name) for path in out.iterdir())):
        raise InputError(
            "the output",
            got="something that is no output folder of ours",
            expected="a new or an empty folder, or what an earlier run wrote",
            do="name another: nothing is overwritten",
        )


def _ours(name: str) -> bool:
    return name == _PARTIAL or is_journal(name) or _PSEUDONYM.fullmatch(name) is not None
