"""A malicious coordinator, operator and site, held in a test's hand over the real code.

    operator = Operator.at(folder)          a real home, its keys and its database, all his
    site = SiteParty.at(folder, operator)   a real home that enrolled with him
    line = Line(operator, site.name)        the control channel between them, in memory

Nothing here stands in for reidscope: statements are signed and opened, tables are charged, drawn
and stored by the shipped code. What an adversary would bend stands in public, mutable fields:

    operator.bend_study = lambda fields: fields | {...}      before a Study is made
    operator.bend_payload = lambda payload: ...              before it is signed
    operator.study_key = StatementKey.generate()             whoever signs
    line.bend_studies = lambda envelopes: envelopes[::-1]    reorder, withhold, replay, truncate
    line.bend_receipts, line.bend_constant                   the same for what else is served
    site.bend_release = lambda fields: fields | {...}        what a site's agent says of its tables
    site.agent_key = StatementKey.generate()                 in whose name
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from reidscope_protocols.envelope import Opened, open_envelope, peek_payload, sign, sign_payload
from reidscope_protocols.keys import KeyRing, StatementKey
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.statements import Receipt
from reidscope_protocols.study import Constant, Study
from reidscope_protocols.versions import Versions
from reidscope_protocols.vocabulary import ConstantRole, DecisionReason, KeyRole, Verdict
from reidscope_server.ca import make_keys
from reidscope_server.config import ServerConfig, ServerHome
from reidscope_server.config import write_new_home as write_server_home
from reidscope_server.coordinator import Coordinator
from reidscope_server.flower import Reply
from reidscope_server.rounds import take
from reidscope_server.sites import own_keys
from reidscope_site import enrol
from reidscope_site.agent import Agent
from reidscope_site.config import Home, Policy, SiteConfig
from reidscope_site.config import write_new_home as write_site_home
from reidscope_site.handover import answer_for
from reidscope_site.installed import template_bytes
from reidscope_site.measuring import measure
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.serve import exchange
from reidscope_site.snapshot import Person, Scan
from reidscope_site.study_key import is_destroyed

ROLE = "data protection officer"
PEOPLE = 5
GALLERY, CALIBRATION = b"a public gallery", b"a public calibration"
PUBLIC = {hashlib.sha256(content).hexdigest(): content for content in (GALLERY, CALIBRATION)}
Fields = dict[str, Any]
MakeStudy = Callable[..., Study]


def same(value: Any) -> Any:
    return value


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def copied_or_linked(source: str, target: str) -> str:
    """Copy a file; a public constant, which nobody writes to, is linked."""
    if Path(source).parent.name == "constants":
        os.link(source, target)
        return target
    return str(shutil.copy2(source, target))


@cache
def public_constants() -> tuple[Constant, ...]:
    """Constants that are there: two small files, and what every installation brings along."""
    held = {
        ConstantRole.REFERENCE_GALLERY: (hashlib.sha256(GALLERY).hexdigest(), len(GALLERY)),
        ConstantRole.CALIBRATION: (hashlib.sha256(CALIBRATION).hexdigest(), len(CALIBRATION)),
        ConstantRole.DETECTOR: (SFACE.detector.sha256, None),
        ConstantRole.RECOGNISER: (SFACE.parts[0].sha256, None),
        ConstantRole.TEMPLATE: (hashlib.sha256(template_bytes()).hexdigest(), None),
    }
    return tuple(
        Constant(role=role, sha256=sha256, size_bytes=size) for role, (sha256, size) in held.items()
    )


@dataclass
class Operator:
    """Whoever holds the coordinator's host: all of its keys, and every byte that it serves."""

    home: ServerHome
    study_key: StatementKey
    own_key: StatementKey
    make_study: MakeStudy
    bend_study: Callable[[Fields], Fields] = same
    bend_payload: Callable[[bytes], bytes] = same
    payload_type: str = Study.payload_type
    said: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path, make_study: MakeStudy) -> Operator:
        """Make a home as `init` does, or take the one that is there."""
        home = ServerHome(folder)
        if not home.config_file.exists():
            enrolment, control, fleet = free_ports(3)
            write_server_home(
                home,
                ServerConfig(
                    host="127.0.0.1",
                    enrolment_port=enrolment,
                    control_port=control,
                    fleet_port=fleet,
                    # An operator who does not mind: what sites refuse is theirs to refuse.
                    key_source="plain",
                ),
            )
            make_keys(home, "127.0.0.1")
        return cls(
            home=home,
            study_key=StatementKey.load(home.key("study.pem")),
            own_key=StatementKey.load(home.key("coordinator.pem")),
            make_study=make_study,
        )

    def coordinator(self) -> Coordinator:
        return Coordinator(self.home)

    def study(self, **changes: Any) -> bytes:
        """Make and sign a study, bent as this operator likes."""
        fields = self.bend_study(
            {"sites": ("north", "south"), "constants": public_constants(), **changes}
        )
        payload = self.bend_payload(self.make_study(**fields).payload())
        return sign_payload(payload, payload_type=self.payload_type, key=self.study_key)

    def open(self, **changes: Any) -> Opened[Study]:
        """Open a study to its sites, as the shipped coordinator does."""
        envelope = self.study(**changes)
        coordinator = self.coordinator()
        try:
            return coordinator.studies.open(envelope, PUBLIC)
        finally:
            coordinator.close()

    def put(self, envelope: bytes) -> str:
        """Write an envelope into the coordinator's table past every check: the host is his."""
        coordinator = self.coordinator()
        payload = peek_payload(envelope)
        sha256 = hashlib.sha256(payload).hexdigest()
        coordinator.studies._connection.execute(
            "INSERT INTO study (sha256, study_id, envelope, opened_at) VALUES (?, ?, ?, ?)",
            (sha256, json.loads(payload)["study_id"], envelope, "2026-01-01"),
        )
        coordinator.close()
        return sha256

    def receipt(self, **fields: Any) -> bytes:
        return sign(Receipt(**fields), self.own_key)

    def take(self, site: str, study_sha256: str, content: bytes) -> None:
        """Take one reply as the rounds do."""
        coordinator = self.coordinator()
        reply = Reply(site=site, study_sha256=study_sha256, content=content)
        take(coordinator, reply, self.said.append)
        coordinator.close()

    def rows(self, table: str) -> int:
        coordinator = self.coordinator()
        (count,) = coordinator.studies._connection.execute(
            f"SELECT COUNT(*) FROM {table}"  # noqa: S608  # the test's own words
        ).fetchone()
        coordinator.close()
        return int(count)


@dataclass
class Line:
    """The control channel of one site: served by the real tables, bent on its way."""

    operator: Operator
    site: str
    bend_studies: Callable[[list[bytes]], list[bytes]] = same
    bend_receipts: Callable[[list[bytes]], list[bytes]] = same
    bend_rounds: Callable[[list[bytes]], list[bytes]] = same
    bend_constant: Callable[[bytes], bytes] = same
    bend_decision: Callable[[bytes], bytes | None] = same
    carried: list[bytes] = field(default_factory=list)

    def studies(self) -> tuple[bytes, ...]:
        coordinator = self.operator.coordinator()
        rows = coordinator.studies._connection.execute(
            "SELECT envelope FROM study ORDER BY opened_at, study_id"
        ).fetchall()
        coordinator.close()
        return tuple(self.bend_studies([envelope for (envelope,) in rows]))

    def receipts(self) -> tuple[bytes, ...]:
        coordinator = self.operator.coordinator()
        held = list(coordinator.studies.receipts_for(self.site))
        coordinator.close()
        return tuple(self.bend_receipts(held))

    def rounds(self) -> tuple[bytes, ...]:
        coordinator = self.operator.coordinator()
        held = list(coordinator.rounds_for(self.site))
        coordinator.close()
        return tuple(self.bend_rounds(held))

    def constant(self, constant: Constant) -> bytes:
        return self.bend_constant(PUBLIC.get(constant.sha256, b""))

    def decide(self, envelope: bytes) -> None:
        self.carried.append(envelope)
        bent = self.bend_decision(envelope)
        if bent is not None:
            coordinator = self.operator.coordinator()
            try:
                coordinator.studies.take_decision(bent, self.site)
            finally:
                coordinator.close()


@dataclass
class SiteParty:
    """One site: a real agent on a real home, which its own people may turn against the others."""

    home: Home
    agent: Agent
    line: Line
    bend_release: Callable[[Fields], Fields] = same
    agent_key: StatementKey | None = None
    said: list[str] = field(default_factory=list)

    @classmethod
    def made(cls, folder: Path, operator: Operator, name: str, **policy: Any) -> Home:
        """Make a home, enrol it with the operator's coordinator, by file."""
        home = Home(folder)
        data = folder.parent / f"{name}-data"
        data.mkdir(exist_ok=True)
        config = SiteConfig(name=name, dicom=str(data), **policy.pop("config", {}))
        # More than one study of this suite fits under the cap of a lifetime.
        caps = {"declared_people": 20, "epsilon_lifetime": "4", **policy}
        write_site_home(home, config, Policy(**caps))
        enrol.make_keys(home)
        coordinator = operator.coordinator()
        invitation = coordinator.sites.invite(name)
        grant = coordinator.sites.enrol(enrol.request(home, invitation), invitation.token)
        coordinator.greetings.hear(name, Versions.of_this_process())
        coordinator.close()
        enrol.install(home, invitation, grant)
        return home

    @classmethod
    def at(cls, home: Home, operator: Operator) -> SiteParty:
        agent = Agent(home)
        return cls(home=home, agent=agent, line=Line(operator, agent.config.name))

    @property
    def name(self) -> str:
        return self.agent.config.name

    def exchange(self, *, again: bool = False) -> None:
        exchange(self.agent, self.line, self.said.append, again=again)  # type: ignore[arg-type]  # the channel, in memory

    def people(self, count: int = PEOPLE, *, without: int | None = None) -> tuple[Person, ...]:
        """People with files that can be looked up; nobody reads them."""
        folder = Path(self.agent.config.dicom)
        made = []
        for number in range(count):
            scan, photo = folder / f"{number}.dcm", folder / f"{number}.png"
            for path in (scan, photo):
                if not path.exists():
                    path.write_bytes(b"seen by nobody")
            taken = Scan(kind="dicom", files=(scan,), taken="20200101 120000")
            made.append(Person(pseudonym=f"P-{number}", scans=(taken,), photo=photo))
        return tuple(person for number, person in enumerate(made) if number != without)

    def index(self, people: tuple[Person, ...] | None = None) -> None:
        self.agent.snapshot.freeze(people or self.people(), self.agent.site_key)

    def approve(self, sha256: str) -> None:
        self.agent.decide(sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)

    def evaluate(self, study: Opened[Study]) -> None:
        """Seal everybody's outcome, as a worker would have found it."""
        outcomes = Outcomes(self.agent.connection, self.agent.site_key, study.sha256)
        if is_destroyed(self.agent.connection, study.sha256):
            return
        known = outcomes.known()
        for number, person in enumerate(self.agent.snapshot.people()):
            if person.pseudonym not in known:
                cells = tuple(number % len(t.cells) for t in study.statement.tables)
                outcomes.keep(person.pseudonym, Outcome(cells=cells))

    def measure(self, study: Opened[Study]) -> bytes | None:
        """Measure as the agent does; everybody's outcome is sealed already, so nobody is read."""
        if self.agent.ledger.stored(study.sha256) is None:
            self.evaluate(study)
        return measure(self.agent, study)

    def answer(self, sha256: str) -> bytes:
        return answer_for(self.agent, sha256)

    def released(self, study: Opened[Study]) -> bytes:
        """Release honestly, then say something else about it in this site's name."""
        envelope = self.measure(study)
        assert envelope is not None
        said = json.loads(peek_payload(envelope))
        bent = json.dumps(self.bend_release(said)).encode()
        return sign_payload(
            bent,
            payload_type="application/vnd.reidscope.release+json",
            key=self.agent_key or self.agent.statement_key,
        )

    def spent(self) -> PrivacyLoss:
        return self.agent.ledger.spent()

    def sent(self) -> list[str]:
        return [item.kind for item in self.agent.outbox.every()]

    def opened(self, envelope: bytes) -> Opened[Study]:
        ring = KeyRing(own_keys(self.line.operator.home))
        return open_envelope(envelope, Study, ring, role=KeyRole.STUDY)


@dataclass
class World:
    """One operator and two sites; the adversary is whichever of them a test bends."""

    operator: Operator
    north: SiteParty
    south: SiteParty

    @classmethod
    def copied(cls, template: Path, folder: Path, make_study: MakeStudy) -> World:
        """Copy homes that are at rest: each attack has a world of its own."""
        shutil.copytree(template, folder, dirs_exist_ok=True, copy_function=copied_or_linked)
        operator = Operator.at(folder / "coordinator", make_study)
        parties = []
        for name in ("north", "south"):
            home = Home(folder / name)
            text = home.site_file.read_text().replace(str(template), str(folder))
            home.site_file.write_text(text)
            parties.append(SiteParty.at(home, operator))
        return cls(operator=operator, north=parties[0], south=parties[1])

    def approved(self, **changes: Any) -> Opened[Study]:
        """An honest study that north has received and approved, and that the coordinator knows."""
        study = self.operator.open(**changes)
        self.north.exchange()
        self.north.index()
        self.north.approve(study.sha256)
        self.north.exchange()
        return study

    def close(self) -> None:
        for party in (self.north, self.south):
            party.agent.close()
