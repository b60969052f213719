"""How long a large report takes: a hundred sites, signed, estimated, drawn, written and verified.

python benchmarks/report_speed.py [SITES]

Two studies: the usual one (65 cells of four defacers at three gallery sizes) with damage of every
defacer, and the largest number of tables that a study can ask for (ten, of eight defacers).
"""

from __future__ import annotations

import hashlib
import math
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from reidscope_protocols.cohort import Cohort
from reidscope_protocols.envelope import Opened, open_envelope, sign
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.keys import KeyRecord, KeyRing, StatementKey
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.statements import LedgerHead, Release, ReleasedTable
from reidscope_protocols.study import Constant, FiveSafes, Study, TableRequest, priced
from reidscope_protocols.vocabulary import ConstantRole, KeyRole
from reidscope_server.report.build import build_report
from reidscope_server.report.verify import verify_report
from reidscope_server.report.write import write_report

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
PEOPLE = 84
SHA256 = {
    ConstantRole.DETECTOR: SFACE.detector.sha256,
    ConstantRole.RECOGNISER: SFACE.parts[0].sha256,
}


def an_experiment(anchors: tuple[int, ...], defacers: int) -> FaceExperiment:
    """Ask for the damage of every defacer, too."""
    arms = tuple(f"defacer-{number}" for number in range(defacers))
    return FaceExperiment(
        recogniser=SFACE,
        anchors=anchors,
        arms=("unmodified", *arms),
        damage_arms=arms,
        reference_size=100_000,
        reference_people="nobody",
        gallery_error=tuple(GalleryError(gallery_size=n, sigma_ppm=2000) for n in anchors),
    )


def a_study(experiment: FaceExperiment, sites: tuple[str, ...]) -> Study:
    """Put an experiment to many sites at epsilon 2, and 0.2 a table of damage."""
    return Study(
        audience=sites,
        issued_at=NOW,
        not_after=NOW + timedelta(days=40),
        study_id="speed",
        title="A report of many sites",
        question="How long does it take?",
        population="synthetic people",
        five_safes=FiveSafes(project="p", people="p", settings="s", data="d", outputs="o"),
        cohort=Cohort(),
        experiment=experiment,
        constants=tuple(
            Constant(
                role=role,
                sha256=SHA256.get(role, hashlib.sha256(role.encode()).hexdigest()),
                size_bytes=1,
            )
            for role in ConstantRole
        ),
        tables=priced(experiment, PrivacyLoss(2 * NANO)),
        minimum_declared_people=1,
        minimum_sites=1,
        opens_at=NOW,
        closes_at=NOW + timedelta(days=10),
    )


def counts(table: TableRequest, draws: random.Random) -> tuple[int, ...]:
    """Put 84 people anywhere, and add the noise that the table's epsilon gives."""
    decay = -table.epsilon_nano / NANO
    people = [0] * len(table.cells)
    for _ in range(PEOPLE):
        people[draws.randrange(len(people))] += 1

    def one_sided() -> int:
        return math.floor(math.log(1 - draws.random()) / decay)

    return tuple(count + one_sided() - one_sided() for count in people)


def a_release(site: str, study: Opened[Study], draws: random.Random) -> Release:
    """Answer every table."""
    return Release(
        audience=("coordinator",),
        issued_at=NOW + timedelta(hours=1),
        not_after=NOW + timedelta(days=30),
        study_sha256=study.sha256,
        site=site,
        tables=tuple(
            ReleasedTable(
                table=table.table,
                counts=counts(table, draws),
                epsilon_nano=table.epsilon_nano,
                mechanism="discrete-laplace",
                scale=repr(NANO / table.epsilon_nano),
            )
            for table in study.statement.tables
        ),
        declared_people=PEOPLE,
        ledger=LedgerHead(sequence=1, head="0" * 64),
        versions={"reidscope": "0.1.0"},
    )


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the block took."""
    started = perf_counter()
    yield
    print(f"  {what:<28}{perf_counter() - started:6.1f} s", flush=True)


def run(name: str, experiment: FaceExperiment, sites: int) -> None:
    """Make everybody, then time the report."""
    names = tuple(f"site-{number:03d}" for number in range(sites))
    keys = {voice: StatementKey.generate() for voice in ("study", "coordinator", *names)}
    records = tuple(
        KeyRecord(
            role=KeyRole.SITE if voice in names else KeyRole(voice),
            site=voice if voice in names else None,
            public=key.public,
            not_before=NOW - timedelta(days=1),
            not_after=NOW + timedelta(days=100),
        )
        for voice, key in keys.items()
    )
    ring, draws = KeyRing(records), random.Random(1)  # noqa: S311 (a benchmark's noise)
    signed = sign(a_study(experiment, names), keys["study"])
    study = open_envelope(signed, Study, ring, role=KeyRole.STUDY)
    tables = study.statement.tables
    print(
        f"{name}: {sites} sites, {len(tables)} tables, "
        f"{sum(len(table.cells) for table in tables)} counts a site"
    )
    releases = {
        site: open_envelope(
            sign(a_release(site, study, draws), keys[site]),
            Release,
            ring,
            role=KeyRole.SITE,
            site=site,
        )
        for site in names
    }
    started = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with timed("estimates"):
            report = build_report(study, releases, {}, records, (), NOW + timedelta(days=1))
        with timed("signed, drawn and written"):
            write_report(Path(folder), report, sign(report, keys["coordinator"]))
        print(f"  {'the report':<28}{perf_counter() - started:6.1f} s")
        with timed("verified, all drawn again"):
            verify_report(Path(folder), now=NOW + timedelta(days=2))


def main() -> None:
    """Run both studies."""
    sites = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    run("usual", an_experiment((100, 1000, 10_000), 4), sites)
    run("most tables", an_experiment((100,), 8), sites)


if __name__ == "__main__":
    main()
