"""A site's home as `init` and `enroll` leave it, with a coordinator that the test holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from reidscope_protocols.enrolment import Addresses, certificate_sha256
from reidscope_protocols.envelope import Opened, open_envelope, sign
from reidscope_protocols.keys import KeyRecord, StatementKey
from reidscope_protocols.statements import LedgerHead, Receipt
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, KeyRole, Verdict
from reidscope_site import enrol
from reidscope_site.agent import Agent
from reidscope_site.config import Home, Policy, SiteConfig, write_new_home
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.pinned import PinnedCoordinator
from reidscope_site.snapshot import Person, Scan

ROLE = "data protection officer"


@pytest.fixture(scope="session")
def ca_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@dataclass
class Coordinator:
    """The other party, in the test's hand: it can sign whatever it likes."""

    pinned: PinnedCoordinator
    study_key: StatementKey
    own_key: StatementKey
    receipts: int = field(default=0)

    def sign(self, study: Study) -> bytes:
        return sign(study, self.study_key)

    def opened(self, study: Study) -> Opened[Study]:
        return open_envelope(self.sign(study), Study, self.pinned.ring, role=KeyRole.STUDY)

    def receipt(self, study_sha256: str, head: LedgerHead, **changes: Any) -> bytes:
        self.receipts += 1
        now = datetime.now(UTC)
        fields = {
            "audience": ("north",),
            "issued_at": now,
            "not_after": now + timedelta(days=1),
            "study_sha256": study_sha256,
            "site": "north",
            "ledger": head,
            "counter": self.receipts,
        }
        return sign(Receipt(**{**fields, **changes}), self.own_key)


@pytest.fixture
def coordinator(ca_pem: str) -> Coordinator:
    study_key, own_key = StatementKey.generate(), StatementKey.generate()
    now = datetime.now(UTC)
    keys = tuple(
        KeyRecord(
            role=role,
            site=None,
            public=key.public,
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=700),
        )
        for role, key in ((KeyRole.STUDY, study_key), (KeyRole.COORDINATOR, own_key))
    )
    addresses = Addresses(enrolment="127.0.0.1:1", control="127.0.0.1:2", fleet="127.0.0.1:3")
    pinned = PinnedCoordinator(
        site="north",
        addresses=addresses,
        ca_pem=ca_pem,
        ca_sha256=certificate_sha256(ca_pem),
        keys=keys,
    )
    return Coordinator(pinned=pinned, study_key=study_key, own_key=own_key)


MakeHome = Callable[..., Home]


@pytest.fixture
def make_home(tmp_path: Path, coordinator: Coordinator) -> MakeHome:
    def build(name: str = "home", **policy: Any) -> Home:
        home = Home(tmp_path / name)
        data = tmp_path / "data"
        for folder in ("dicom", "photos"):
            (data / folder).mkdir(parents=True, exist_ok=True)
        config = SiteConfig(
            name="north",
            dicom=str(data / "dicom"),
            photos=str(data / "photos"),
            links=str(data / "links.csv"),
        )
        write_new_home(home, config, Policy(**{"declared_people": 20, **policy}))
        enrol.make_keys(home)
        coordinator.pinned.save(home.coordinator_file)
        return home

    return build


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    return make_home()


@pytest.fixture
def agent(home: Home) -> Iterator[Agent]:
    held = Agent(home)
    yield held
    held.close()


def one_scan(*files: Path) -> Scan:
    return Scan(kind="dicom", files=files, taken="20200101 120000")


@pytest.fixture
def people(tmp_path: Path) -> tuple[Person, ...]:
    """Five people with files that can be looked up, not read."""
    folder = tmp_path / "files"
    folder.mkdir()
    made = []
    for number in range(5):
        scan, photo = folder / f"{number}.dcm", folder / f"{number}.png"
        scan.write_bytes(b"scan")
        photo.write_bytes(b"photo")
        made.append(Person(pseudonym=f"P-{number}", scans=(one_scan(scan),), photo=photo))
    return tuple(made)


@pytest.fixture
def approved(
    agent: Agent,
    coordinator: Coordinator,
    people: tuple[Person, ...],
    make_study: Callable[..., Study],
) -> Opened[Study]:
    """A study that was received, indexed for and approved; nobody is evaluated yet."""
    agent.snapshot.freeze(people, agent.site_key)
    study = agent.studies.receive(coordinator.sign(make_study()))
    agent.decide(study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)
    return study


@pytest.fixture
def evaluated(agent: Agent, approved: Opened[Study], people: tuple[Person, ...]) -> Opened[Study]:
    """The same, with everybody in a cell."""
    outcomes = Outcomes(agent.connection, agent.site_key, approved.sha256)
    for number, person in enumerate(people):
        cells = tuple(number % len(table.cells) for table in approved.statement.tables)
        outcomes.keep(person.pseudonym, Outcome(cells=cells))
    return approved


def write_series(
    folder: Path,
    patient_id: str,
    *,
    slices: int = 12,
    skip: tuple[int, ...] = (),
    twice: tuple[int, ...] = (),
    names: str = "",
    **elements: Any,
) -> tuple[Path, ...]:
    """Write a coarse head scan: 160 x 160 x 12 n mm; `elements` replace whole elements."""
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    written = []
    for number in [n for n in range(slices) if n not in skip] + list(twice):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = MRImageStorage
        dataset.SOPInstanceUID = generate_uid()
        dataset.PatientID = patient_id
        dataset.PatientName = names or "Doe^Jane"
        dataset.StudyInstanceUID = generate_uid()
        dataset.SeriesInstanceUID = series
        dataset.StudyDate = dataset.SeriesDate = "20200101"
        dataset.SeriesTime = "120000"
        dataset.Modality = "MR"
        dataset.BodyPartExamined = "HEAD"
        dataset.ImagePositionPatient = [0, 0, 12 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing = [10, 10]
        dataset.Rows = dataset.Columns = 16
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelRepresentation = 0
        dataset.PixelData = np.full((16, 16), number, np.uint16).tobytes()
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        path = folder / f"{names}{len(written):03d}.dcm"
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        written.append(path)
    return tuple(written)


@pytest.fixture(scope="session")
def series() -> Callable[..., tuple[Path, ...]]:
    return write_series


@pytest.fixture(scope="session")
def two_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans, photos and links of two synthetic people; the first one's photo shows both."""
    # Image libraries take seconds to load: for the slow tests alone.
    import cv2  # noqa: PLC0415  # said above

    from reidscope_site.synthetic.people import write_people  # noqa: PLC0415  # said above
    from reidscope_site.synthetic.seeds import PersonSeed, Population  # noqa: PLC0415  # said above

    root = tmp_path_factory.mktemp("two-people")
    seeds = (
        PersonSeed(population=Population.SITE, label="north", number=number) for number in range(2)
    )
    write_people(root, seeds)
    photos = sorted((root / "photos").glob("*-1.png"))
    both = np.concatenate([cv2.imread(str(path)) for path in photos], axis=1)
    cv2.imwrite(str(photos[0]), both)
    return root


@pytest.fixture
def hospital(two_people: Path, tmp_path: Path, coordinator: Coordinator) -> Iterator[Agent]:
    """A site whose two people are indexed and can be evaluated."""
    from reidscope_site.indexing import index  # noqa: PLC0415  # as in two_people

    home = Home(tmp_path / "hospital")
    config = SiteConfig(
        name="north",
        dicom=str(two_people / "dicom"),
        photos=str(two_people / "photos"),
        links=str(two_people / "links.csv"),
    )
    write_new_home(home, config, Policy(declared_people=20))
    enrol.make_keys(home)
    coordinator.pinned.save(home.coordinator_file)
    held = Agent(home)
    index(held)
    yield held
    held.close()
