"""A coordinator's home with keys, and sites that a test holds in its hand."""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reidscope_protocols.enrolment import EnrolmentGrant, EnrolmentRequest, Invitation
from reidscope_protocols.envelope import Opened, peek_payload, sign
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.statements import (
    COORDINATOR,
    Decision,
    LedgerHead,
    Release,
    ReleasedTable,
)
from reidscope_protocols.study import Study
from reidscope_protocols.versions import Versions
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_server.ca import make_keys
from reidscope_server.config import ServerConfig, ServerHome, write_new_home
from reidscope_server.coordinator import Coordinator

HASH = "ab" * 32


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def csr_of(key: Any, name: str) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@dataclass
class SiteParty:
    """A site as an adversary holds it: every field of what it says can be bent."""

    name: str
    key: StatementKey = field(default_factory=StatementKey.generate)
    transport: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    certificate_pem: str = ""

    @property
    def transport_pem(self) -> bytes:
        return self.transport.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def request(self, invitation: Invitation, *, csr: str = "", **changes: Any) -> bytes:
        now = datetime.now(UTC)
        fields = {
            "audience": (COORDINATOR,),
            "issued_at": now,
            "not_after": now + timedelta(hours=1),
            "site": self.name,
            "csr_pem": csr or csr_of(self.transport, self.name),
            "statement_key": self.key.public,
            "ca_sha256": invitation.ca_sha256,
            "nonce": secrets.token_hex(16),
        }
        return sign(EnrolmentRequest(**{**fields, **changes}), self.key)

    def enrol(self, coordinator: Coordinator) -> SiteParty:
        invitation = coordinator.sites.invite(self.name)
        grant = coordinator.sites.enrol(self.request(invitation), invitation.token)
        coordinator.greetings.hear(self.name, Versions.of_this_process())
        self.certificate_pem = EnrolmentGrant.parse(peek_payload(grant)).certificate_pem
        return self

    def decision(
        self,
        study: Opened[Study],
        verdict: Verdict = Verdict.APPROVED,
        *,
        later: timedelta = timedelta(0),
        **changes: Any,
    ) -> bytes:
        now = datetime.now(UTC) + later
        fields = {
            "audience": (COORDINATOR,),
            "issued_at": now,
            "not_after": now + timedelta(days=30),
            "study_sha256": study.sha256,
            "site": self.name,
            "verdict": verdict,
            "reason": DecisionReason.REVIEWED,
            "role": "data protection officer",
            "package_version": "0.1.0",
            "package_sha256": HASH,
            "policy_sha256": HASH,
            "nonce": secrets.token_hex(16),
        }
        return sign(Decision(**{**fields, **changes}), self.key)

    def release(
        self,
        study: Opened[Study],
        *,
        table: dict[str, Any] | None = None,
        key: StatementKey | None = None,
        **changes: Any,
    ) -> bytes:
        now = datetime.now(UTC)
        said = [
            {
                "table": asked.table,
                "counts": tuple(range(len(asked.cells))),
                "epsilon_nano": asked.epsilon_nano,
                "mechanism": "discrete-laplace",
                "scale": repr(1e9 / asked.epsilon_nano),
            }
            for asked in study.statement.tables
        ]
        said[0] |= table or {}
        fields = {
            "audience": (COORDINATOR,),
            "issued_at": now,
            "not_after": now + timedelta(days=3650),
            "study_sha256": study.sha256,
            "site": self.name,
            "tables": tuple(map(ReleasedTable.model_validate, said)),
            "declared_people": 20,
            "ledger": LedgerHead(sequence=1, head=HASH),
            "versions": {"reidscope": "test"},
        }
        return sign(Release(**{**fields, **changes}), key or self.key)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> ServerHome:
    """A coordinator's home as `init` leaves it; tests work on copies."""
    enrolment, control, fleet = free_ports(3)
    home = ServerHome(tmp_path_factory.mktemp("bare") / "coordinator")
    config = ServerConfig(
        host="127.0.0.1", enrolment_port=enrolment, control_port=control, fleet_port=fleet
    )
    write_new_home(home, config)
    make_keys(home, "127.0.0.1")
    return home


@pytest.fixture(scope="session")
def peopled(
    bare: ServerHome, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ServerHome, SiteParty, SiteParty]:
    """The same with two sites."""
    home = ServerHome(tmp_path_factory.mktemp("peopled") / "coordinator")
    shutil.copytree(bare.root, home.root)
    with Coordinator.opened(home) as coordinator:
        return home, SiteParty("north").enrol(coordinator), SiteParty("south").enrol(coordinator)


@pytest.fixture
def server_home(request: pytest.FixtureRequest, tmp_path: Path, bare: ServerHome) -> ServerHome:
    """A copy of the home: with its two sites, where the test asks for one of them."""
    wants_sites = {"north", "south"} & set(request.fixturenames)
    source = request.getfixturevalue("peopled")[0] if wants_sites else bare
    shutil.copytree(source.root, tmp_path / "coordinator")
    return ServerHome(tmp_path / "coordinator")


@pytest.fixture
def coordinator(server_home: ServerHome) -> Iterator[Coordinator]:
    with Coordinator.opened(server_home) as held:
        yield held


@pytest.fixture
def party() -> Callable[..., SiteParty]:
    return SiteParty


@pytest.fixture
def north(peopled: tuple[ServerHome, SiteParty, SiteParty]) -> SiteParty:
    return peopled[1]


@pytest.fixture
def south(peopled: tuple[ServerHome, SiteParty, SiteParty]) -> SiteParty:
    return peopled[2]


@pytest.fixture
def open_study(
    coordinator: Coordinator, server_home: ServerHome, make_study: Callable[..., Study]
) -> Callable[..., Opened[Study]]:
    def build(**changes: Any) -> Opened[Study]:
        study = make_study(**{"sites": ("north", "south"), **changes})
        key = StatementKey.load(server_home.key("study.pem"))
        return coordinator.studies.open(sign(study, key), {})

    return build


@pytest.fixture
def study(open_study: Callable[..., Opened[Study]]) -> Opened[Study]:
    return open_study()


@pytest.fixture
def approved(coordinator: Coordinator, study: Opened[Study], north: SiteParty) -> Opened[Study]:
    coordinator.studies.take_decision(north.decision(study), "north")
    return study
