"""Rows of public people, made where they are missing, on as many processes as are asked for.

A row depends on its person alone, so that a build is the same on one process or sixteen, and one
that stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import Renders
from reidscope_protocols.vocabulary import Fusion, Mate
from reidscope_site.face.arms import resolve
from reidscope_site.face.recognise import load
from reidscope_site.face.template import template
from reidscope_site.reference.people import PublicSource, Studio, readouts_of
from reidscope_site.reference.processes import processes
from reidscope_site.reference.rows import RowFile

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

    from numpy.typing import NDArray

    from reidscope_site.reference.plan import Plan, Progress
    from reidscope_site.synthetic.seeds import Population

IDENTIFIED, RELEASED = "identified", "released"
_Job = tuple[str, "Population", int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Everything that a process needs to make rows; goes to each of them once."""

    plan: Plan
    source: PublicSource
    models: dict[str, bytes]

    def studio(self) -> Studio:
        """Load the models."""
        readouts = readouts_of(self.plan.arms, self.plan.attackers)
        return Studio(
            source=self.source,
            recogniser=load(self.plan.recogniser, self.models),
            mate=self.plan.mate,
            renders=self.plan.renders,
            readouts=readouts,
            # once: an external arm's program is asked for its version
            treatments={readout.arm: resolve(readout.arm) for readout in readouts},
        )

    def made_with(self, kind: str) -> str:
        """16 hexadecimal digits: rows of other people, models, heads or arms stay aside.

        What does not change a row is left out: photos are not rendered, and a row is the mean of
        its renders however a study fuses them.
        """
        readouts = readouts_of(self.plan.arms, self.plan.attackers)
        photos = kind == IDENTIFIED and self.plan.mate is Mate.PHOTO
        renders = self.plan.renders.model_copy(update={"fusion": Fusion.MEAN})
        said = [
            self.source.photos_name if photos else self.source.name,
            self.plan.recogniser.model_dump(mode="json"),
            (Renders(grey=renders.grey) if photos else renders).model_dump(mode="json"),
            self.plan.mate if kind == IDENTIFIED else "",
            template().sha256,
            [readout.column for readout in readouts] if kind == RELEASED else [],
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Rows on disk, and the processes that add to them."""

    folder: Path
    maker: Maker
    dimension: int
    pool: ProcessPoolExecutor
    jobs: int
    progress: Progress | None

    def rows(self, kind: str, population: Population, count: int) -> NDArray[np.float32]:
        """Rows of the first `count` people, (count, width)."""
        self._require(population, count)
        file = self._file(kind, population)
        if len(file) < count:
            for _ in self._made(kind, population, file, count):
                self._tell(f"{population} {kind}", len(file), count)
        return file.read()[:count]

    def faces(self, kind: str, population: Population, size: int) -> NDArray[np.float32]:
        """Rows until `size` of them have a face first, (n, width)."""
        file = self._file(kind, population)
        while (have := int((~faceless(file.read())).sum())) < size:
            wanted = len(file) + size - have
            self._require(population, wanted)
            for made in self._made(kind, population, file, wanted):
                have += not np.isnan(made[0])
                self._tell(f"{population} {kind}", have, size)
        rows = file.read()
        # a workspace may hold more: the gallery ends at the person who fills it
        return rows[: int(np.flatnonzero(np.cumsum(~faceless(rows)) == size)[0]) + 1]

    def _made(
        self, kind: str, population: Population, file: RowFile, until: int
    ) -> Iterator[NDArray[np.float32]]:
        numbers = range(len(file), until)
        jobs = ((kind, population, number) for number in numbers)
        # a scan takes seconds: what is done of it is written at once
        chunk = 1 if kind == RELEASED else _chunk(len(numbers), self.jobs)
        for row in self.pool.map(_make, jobs, chunksize=chunk):
            file.append(row)
            yield row

    def _file(self, kind: str, population: Population) -> RowFile:
        width = self.dimension
        if kind == RELEASED:
            readouts = readouts_of(self.maker.plan.arms, self.maker.plan.attackers)
            width = len(readouts) * self.dimension + len(self.maker.plan.arms)
        name = f"{population}-{kind}-{self.maker.made_with(kind)}.f32"
        return RowFile(self.folder / name, width)

    def _require(self, population: Population, count: int) -> None:
        there = self.maker.source.count(population)
        if there is not None and there < count:
            raise InputError(
                f"public people, {population}",
                got=f"{there}",
                expected=f"at least {count} with a face",
                do="add people to the list, or ask for fewer",
            )

    def _tell(self, what: str, have: int, wanted: int) -> None:
        if self.progress is not None:
            self.progress(what, have, wanted)


@contextmanager
def workshop(
    folder: Path, maker: Maker, *, jobs: int, progress: Progress | None
) -> Iterator[Workshop]:
    """Hold the processes for the block.

    Raises
    ------
    StatementError, UnsupportedError
        A network that is not what is declared, or an arm that is not installed.
    """
    maker.studio()  # once here: what a new process raises at its start is lost
    with processes(jobs, _start, (maker,)) as pool:
        yield Workshop(
            folder=folder,
            maker=maker,
            dimension=maker.plan.recogniser.dimension,
            pool=pool,
            jobs=jobs,
            progress=progress,
        )


def faceless(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows have no face first, (n,)."""
    without: NDArray[np.bool_] = np.isnan(rows[:, 0])
    return without


_STUDIO: list[Studio] = []


def _start(maker: Maker) -> None:
    _STUDIO[:] = [maker.studio()]


def _make(job: _Job) -> NDArray[np.float32]:
    kind, population, number = job
    make: Callable[[Population, int], NDArray[np.float32]] = (
        _STUDIO[0].identified_row if kind == IDENTIFIED else _STUDIO[0].released_rows
    )
    return make(population, number)


def _chunk(count: int, jobs: int) -> int:
    return max(1, min(16, count // (4 * jobs)))
