"""A consortium in memory, its report, and the folder that the report is written to."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.cells import JointCells
from reidscope_protocols.cohort import Cohort
from reidscope_protocols.envelope import Opened, open_envelope, peek_payload, sign, sign_payload
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.keys import KeyRecord, KeyRing, StatementKey
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.report import Report
from reidscope_protocols.statements import Decision, LedgerHead, Release, ReleasedTable
from reidscope_protocols.study import Constant, FiveSafes, Study, priced
from reidscope_protocols.vocabulary import ConstantRole, DecisionReason, KeyRole, Verdict
from reidscope_server.report.build import build_report
from reidscope_server.report.write import write_report

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CELLS = JointCells(anchors=(100, 1000), defacers=("blur", "quickshear"))
SITES = ("east", "north", "west")
NOTICE = "one account holds every role here"
SHA256 = {
    ConstantRole.DETECTOR: SFACE.detector.sha256,
    ConstantRole.RECOGNISER: SFACE.parts[0].sha256,
}


@dataclass(kw_only=True)
class Consortium:
    """Three sites and a coordinator in memory; change what you like before `report`.

    `asked` replaces fields of the experiment.
    """

    title: str = "How exposed are our faces?"
    population: str = "synthetic people"
    study_id: str = "demo"
    epsilon_nano: int = 2 * NANO
    asked: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, StatementKey] = field(
        default_factory=lambda: {
            name: StatementKey.generate() for name in ("study", "coordinator", *SITES)
        }
    )

    @property
    def records(self) -> tuple[KeyRecord, ...]:
        return tuple(
            KeyRecord(
                role=KeyRole(name) if name in set(KeyRole) else KeyRole.SITE,
                site=name if name in SITES else None,
                public=key.public,
                not_before=NOW - timedelta(days=1),
                not_after=NOW + timedelta(days=100),
            )
            for name, key in self.keys.items()
        )

    def study(self) -> Opened[Study]:
        experiment = FaceExperiment(
            **{
                "recogniser": SFACE,
                "anchors": CELLS.anchors,
                "arms": ("unmodified", *CELLS.defacers),
                "reference_size": 10_000,
                "reference_people": "synthetic adults",
                "gallery_error": (
                    GalleryError(gallery_size=100, sigma_ppm=1500),
                    GalleryError(gallery_size=1000, sigma_ppm=5200),
                ),
                **self.asked,
            }
        )
        study = Study.model_validate(
            {
                "audience": (*SITES, "silent"),
                "issued_at": NOW,
                "not_after": NOW + timedelta(days=40),
                "study_id": self.study_id,
                "title": self.title,
                "question": f"Is anybody found? {self.title}",
                "population": self.population,
                "five_safes": FiveSafes(
                    project="p", people="p", settings="s", data="d", outputs="o"
                ),
                "cohort": Cohort(),
                "experiment": experiment,
                "constants": tuple(
                    Constant(
                        role=role,
                        sha256=SHA256.get(role, hashlib.sha256(role.encode()).hexdigest()),
                        size_bytes=1,
                    )
                    for role in ConstantRole
                ),
                "tables": priced(experiment, PrivacyLoss(self.epsilon_nano)),
                "minimum_declared_people": 1,
                "minimum_sites": 2,
                "opens_at": NOW,
                "closes_at": NOW + timedelta(days=10),
            }
        )
        signed = sign(study, self.keys["study"])
        return open_envelope(signed, Study, KeyRing(self.records), role=KeyRole.STUDY)

    def release(self, site: str, study: Opened[Study], **changed: Any) -> Opened[Release]:
        place = SITES.index(site)
        release = Release(
            audience=("coordinator",),
            issued_at=NOW + timedelta(hours=1),
            not_after=NOW + timedelta(days=30),
            study_sha256=study.sha256,
            site=site,
            tables=tuple(
                ReleasedTable(
                    table=asked.table,
                    counts=tuple((7 * i * (place + 2)) % 23 - 2 for i in range(len(asked.cells))),
                    epsilon_nano=asked.epsilon_nano,
                    mechanism="discrete-laplace",
                    scale=repr(NANO / asked.epsilon_nano),
                )
                for asked in study.statement.tables
            ),
            declared_people=84,
            ledger=LedgerHead(sequence=1, head="0" * 64),
            versions={"reidscope": "0.1.0"},
        ).model_copy(update=changed)
        signed = sign(release, self.keys[site])
        return open_envelope(signed, Release, KeyRing(self.records), role=KeyRole.SITE, site=site)

    def decision(self, site: str, study: Opened[Study], verdict: Verdict) -> bytes:
        decision = Decision(
            audience=("coordinator",),
            issued_at=NOW,
            not_after=NOW + timedelta(days=30),
            study_sha256=study.sha256,
            site=site,
            verdict=verdict,
            reason=DecisionReason.REVIEWED,
            role="data steward",
            package_version="0.1.0",
            package_sha256="0" * 64,
            policy_sha256="0" * 64,
            nonce="0" * 32,
        )
        return sign(decision, self.keys[site])

    def report(self) -> Report:
        study = self.study()
        return build_report(
            study,
            {site: self.release(site, study) for site in SITES},
            {"east": self.decision("east", study, Verdict.APPROVED)},
            self.records,
            (NOTICE,),
            NOW + timedelta(days=1),
        )

    def write(self, folder: Path, report: Report) -> Path:
        write_report(folder, report, sign(report, self.keys["coordinator"]))
        return folder

    def forge(self, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
        """Sign a changed report with the real coordinator key, as a lying coordinator would."""
        said = json.loads(peek_payload((folder / "report.dsse.json").read_bytes()))
        change(said)
        payload = json.dumps(said).encode()
        signed = sign_payload(
            payload, payload_type=Report.payload_type, key=self.keys["coordinator"]
        )
        (folder / "report.dsse.json").write_bytes(signed)
        (folder / "report.json").write_bytes(payload)
        return folder


@pytest.fixture(scope="session")
def consortium() -> Consortium:
    return Consortium()


@pytest.fixture(scope="session")
def another(consortium: Consortium) -> Callable[..., Consortium]:
    """Make a consortium that differs as told, with the same keys unless told otherwise."""
    return lambda **changed: Consortium(**{"keys": consortium.keys, **changed})


@pytest.fixture(scope="session")
def report(consortium: Consortium) -> Report:
    return consortium.report()


@pytest.fixture(scope="session")
def written(
    tmp_path_factory: pytest.TempPathFactory, consortium: Consortium, report: Report
) -> Path:
    return consortium.write(tmp_path_factory.mktemp("report"), report)


@pytest.fixture
def folder(tmp_path: Path, written: Path) -> Path:
    """A copy that a test may change; without the figures' files, which take long to draw again."""
    without = shutil.ignore_patterns("figures")
    return shutil.copytree(written, tmp_path / "report", ignore=without)


@pytest.fixture
def whole(tmp_path: Path, written: Path) -> Path:
    """A copy with everything."""
    return shutil.copytree(written, tmp_path / "whole")
