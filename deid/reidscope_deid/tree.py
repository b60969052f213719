"""A folder of anybody's DICOM in, a folder of de-identified DICOM out: what the command line calls.

Files are taken in sorted order and their outputs are put in place in that order, however many
processes work, so the same input, key and profile give the same folder. What cannot be taken is
counted by reason and left out whole.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.record import Record, make_record
from reidscope_deid.series import Deidentifier, place, place_of
from reidscope_protocols.errors import InputError, NoDicomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reidscope_deid.keys import SiteKey
    from reidscope_deid.profile import Profile

_PARTIAL = ".partial"
_BATCH = 16  # files handed to a process at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What became of one file: where its output belongs, or why there is none."""

    place: str
    reason: Reason | None
    tally: Counter[tuple[int | str, str]]
    identity: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class _Work:
    """What a process needs: reaches it by fork, never by pickle."""

    deidentifier: Deidentifier
    partial: Path
    durable: bool

    def one(self, job: tuple[int, str]) -> _Outcome:
        index, source = job
        tally = self.deidentifier.tally
        tally.clear()
        try:
            new = self.deidentifier.write_new(
                Path(source), self.partial / str(index), durable=self.durable
            )
        except QuarantinedError as left_out:
            return _Outcome(place="", reason=left_out.reason, tally=Counter())
        return _Outcome(
            place=str(place_of(new)),
            reason=None,
            tally=Counter(tally),
            identity=new.person.identity,
        )


_work: list[_Work] = []


def _start(work: _Work) -> None:
    _work[:] = [work]


def _one(job: tuple[int, str]) -> _Outcome:
    return _work[0].one(job)


def deidentify_tree(
    source: Path,
    out: Path,
    *,
    key: SiteKey,
    profile: Profile,
    jobs: int = 1,
    durable: bool = True,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    met: Callable[[str, str], None] = lambda _pseudonym, _identity: None,
) -> Record:
    """De-identify every DICOM file below `source`.

    Parameters
    ----------
    source : Path
        A folder; only read. Links to folders are not followed.
    out : Path
        New or empty, outside `source`; files come to stand at
        ``pseudonym/study/series/instance.dcm``.
    key : SiteKey
        The site's.
    profile : Profile
        The rules.
    jobs : int
        Processes, 1 or more.
    durable : bool
        Whether to wait until the disk has each file.
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
    partial.mkdir(mode=0o700)
    work = _Work(Deidentifier.of(key, profile), partial, durable)
    tally: Counter[tuple[int | str, str]] = Counter()
    left_out: Counter[Reason] = Counter()
    written = duplicates = 0
    people: set[str] = set()
    try:
        for index, outcome in enumerate(_outcomes(work, list(enumerate(paths)), jobs)):
            if outcome.reason is not None:
                left_out[outcome.reason] += 1
            else:
                met(Path(outcome.place).parts[0], outcome.identity)
                try:
                    first = place(partial / str(index), out / outcome.place, durable=durable)
                except QuarantinedError as conflict:
                    left_out[conflict.reason] += 1
                else:
                    written, duplicates = written + first, duplicates + (not first)
                    people.add(Path(outcome.place).parts[0])
                    if first:
                        tally.update(outcome.tally)
            progress(index + 1, len(paths))
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if left_out[Reason.NOT_DICOM] == len(paths):
        raise NoDicomError(
            "the input folder",
            got=f"{len(paths)} files, none of them DICOM",
            expected="DICOM files with a preamble",
            do="name another folder",
        )
    return make_record(
        profile,
        tally=tally,
        left_out=left_out,
        written=written,
        duplicates=duplicates,
        people=len(people),
    )


def _outcomes(work: _Work, queue: list[tuple[int, str]], jobs: int) -> Iterator[_Outcome]:
    if jobs == 1:
        yield from map(work.one, queue)
        return
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, mp_context=fork, initializer=_start, initargs=(work,)) as pool:
        yield from pool.map(_one, queue, chunksize=_BATCH)


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
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "the output",
            got="something that is not an empty folder",
            expected="a new or an empty folder",
            do="name another: nothing is overwritten",
        )
