"""Studies with opt-in tables, and releases of people whose places are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.statements import LedgerHead, Release, ReleasedTable
from reidscope_protocols.study import Cohort, Constant, FiveSafes, Study, priced
from reidscope_protocols.tail_tables import Beyond, EdgeError, PooledTail, Scores, TailError
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_site.release import noisy_counter

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SHA256 = {
    ConstantRole.DETECTOR: SFACE.detector.sha256,
    ConstantRole.RECOGNISER: SFACE.parts[0].sha256,
}


def an_experiment(**asked: Any) -> FaceExperiment:
    """Two anchors, one defacer, ten thousand faces, unless asked otherwise."""
    fields = {
        "recogniser": SFACE,
        "anchors": (100, 1000),
        "arms": ("unmodified", "blur"),
        "reference_size": 10_000,
        "reference_people": "nobody",
        **asked,
    }
    errors = tuple(GalleryError(gallery_size=size, sigma_ppm=0) for size in fields["anchors"])
    return FaceExperiment(**{"gallery_error": errors, **fields})


def scores_of(reference_size: int, *, sigma_ppm: int = 0, **asked: Any) -> Scores:
    """Questions of u, each edge with the same sigma_G."""
    bare = Scores(**{"columns": ("unmodified",), **asked})
    return bare.model_copy(
        update={
            "edge_error": tuple(
                EdgeError(faces=edge, sigma_ppm=sigma_ppm) for edge in bare.edges(reference_size)
            )
        }
    )


def beyond_of(
    sizes: tuple[int, ...],
    columns: tuple[str, ...] = ("unmodified",),
    *,
    pairs: int = 480_000,
    sigma_ppm: int = 0,
) -> Beyond:
    """Ask for larger galleries, each with the same error of its tails."""
    error = tuple(
        TailError(gallery_size=size, gpd_ppm=sigma_ppm, normal_ppm=sigma_ppm) for size in sizes
    )
    return Beyond(
        tails=tuple(PooledTail(column=column, pairs=pairs, error=error) for column in columns),
        gallery_sizes=sizes,
    )


def a_study(epsilon: str = "1", **asked: Any) -> Study:
    """Write a study down; `epsilon` is of the joint table, and of each opt-in one."""
    experiment = an_experiment(**asked)
    loss = PrivacyLoss.from_decimal(epsilon)
    return Study(
        audience=("a", "b", "c"),
        issued_at=NOW,
        not_after=NOW + timedelta(days=40),
        study_id="s",
        title="t",
        question="q",
        population="synthetic people",
        five_safes=FiveSafes(project="p", people="p", settings="s", data="d", outputs="o"),
        cohort=Cohort(),
        experiment=experiment,
        constants=tuple(
            Constant(role=role, sha256=SHA256.get(role, "0" * 64), size_bytes=1)
            for role in ConstantRole
        ),
        tables=priced(experiment, loss, loss, loss),
        minimum_declared_people=1,
        minimum_sites=1,
        opens_at=NOW,
        closes_at=NOW + timedelta(days=10),
    )


def a_release(site: str, study: Study, /, **counts: Sequence[int]) -> Release:
    """Release counts as they are, by table; the other tables hold nobody."""
    return Release(
        audience=("coordinator",),
        issued_at=NOW,
        not_after=NOW + timedelta(days=1),
        study_sha256="0" * 64,
        site=site,
        tables=tuple(
            ReleasedTable(
                table=table.table,
                counts=tuple(counts.get(table.table, (0,) * len(table.cells))),
                epsilon_nano=table.epsilon_nano,
                mechanism="discrete-laplace",
                scale=repr(NANO / table.epsilon_nano),
            )
            for table in study.tables
        ),
        declared_people=84,
        ledger=LedgerHead(sequence=1, head="0" * 64),
        versions={"reidscope": "0.1.0"},
    )


def counted(places: Iterable[int], cells: int) -> tuple[int, ...]:
    """Count people's places."""
    found = Counter(places)
    return tuple(found[place] for place in range(cells))


def noisy(site: str, study: Study, table: str, places: Sequence[int]) -> Release:
    """Release one table as a site does: OpenDP counts and adds the noise."""
    asked = next(one for one in study.tables if one.table == table)
    counter = noisy_counter(len(asked.cells), asked.loss)
    return a_release(site, study, **{table: counter(places)})
