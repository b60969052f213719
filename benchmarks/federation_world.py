"""A coordinator and many enrolled sites, each with its release stored: only the wire is left to do.

Homes, keys, certificates, decisions, charges, noise and signatures are the shipped code's own. No
face is looked at: everybody's outcome is sealed beforehand, as a worker would have found it.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reidscope_protocols.envelope import Opened, sign
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Cohort, Constant, FiveSafes, Study, priced
from reidscope_protocols.vocabulary import ConstantRole, DecisionReason, Verdict
from reidscope_server.ca import make_keys
from reidscope_server.config import ServerConfig, ServerHome
from reidscope_server.config import write_new_home as write_server_home
from reidscope_server.coordinator import Coordinator
from reidscope_site import enrol
from reidscope_site.agent import Agent
from reidscope_site.config import Home, Policy, SiteConfig
from reidscope_site.config import write_new_home as write_site_home
from reidscope_site.installed import template_bytes
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.release import release
from reidscope_site.snapshot import Person, Scan

ROLE = "data protection officer"
PEOPLE = 5
DECLARED = 84
EPSILON = "0.5"
SENTENCE = "A sentence for whoever approves."
PUBLIC = {hashlib.sha256(content).hexdigest(): content for content in (b"gallery", b"calibration")}


@dataclass(frozen=True, slots=True)
class Consortium:
    """The homes of one coordinator and its sites, under one folder."""

    root: Path

    @property
    def server(self) -> ServerHome:
        """The coordinator's home."""
        return ServerHome(self.root / "coordinator")

    def home(self, site: str) -> Home:
        """Return a site's home."""
        return Home(self.root / "sites" / site)

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites, in order."""
        return tuple(sorted(path.name for path in (self.root / "sites").iterdir()))

    @classmethod
    def made(cls, root: Path, count: int) -> Consortium:
        """Make the coordinator's home and enrol `count` sites, by file."""
        made = cls(root)
        enrolment, control, fleet = free_ports(3)
        config = ServerConfig(
            host="127.0.0.1", enrolment_port=enrolment, control_port=control, fleet_port=fleet
        )
        write_server_home(made.server, config)
        make_keys(made.server, "127.0.0.1")
        (root / "sites").mkdir()
        people = tuple(make_people(root / "data"))
        with Coordinator.opened(made.server) as coordinator:
            for number in range(count):
                made.enrol(f"site-{number:03d}", coordinator, people)
        return made

    def enrol(self, name: str, coordinator: Coordinator, people: tuple[Person, ...]) -> None:
        """Make one site's home, with its certificate and its frozen index."""
        home = self.home(name)
        caps = {"declared_people": DECLARED, "epsilon_lifetime": "100"}
        write_site_home(home, SiteConfig(name=name, dicom=str(self.root / "data")), Policy(**caps))
        enrol.make_keys(home)
        invitation = coordinator.sites.invite(name)
        grant = coordinator.sites.enrol(enrol.request(home, invitation), invitation.token)
        enrol.install(home, invitation, grant)
        agent = Agent(home)
        agent.snapshot.freeze(people, agent.site_key)
        agent.close()

    def open_study(self, number: int) -> Opened[Study]:
        """Open one more study to every site."""
        key = StatementKey.load(self.server.key("study.pem"))
        with Coordinator.opened(self.server) as coordinator:
            return coordinator.studies.open(sign(a_study(number, self.sites), key), PUBLIC)

    def release_everywhere(self, study: Opened[Study]) -> None:
        """Receive, approve, charge, draw, sign and store at each site; nothing is sent yet."""
        for site in self.sites:
            agent = Agent(self.home(site))
            received = agent.studies.receive(study.envelope)
            for constant in received.statement.constants:
                if constant.sha256 in PUBLIC:
                    agent.constants.keep(PUBLIC[constant.sha256], constant)
            agent.decide(study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)
            outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
            for place, person in enumerate(agent.snapshot.people()):
                cells = tuple(place % len(table.cells) for table in study.statement.tables)
                outcomes.keep(person.pseudonym, Outcome(cells=cells))
            envelope = release(
                received,
                outcomes,
                ledger=agent.ledger,
                policy=agent.policy,
                site=site,
                key=agent.statement_key,
                versions={"reidscope": "benchmark"},
            )
            agent.outbox.add("release", study.sha256, envelope)
            agent.close()


def make_people(folder: Path) -> Iterator[Person]:
    """Make people whose files can be looked up, and are read by nobody."""
    folder.mkdir()
    for number in range(PEOPLE):
        scan, photo = folder / f"{number}.dcm", folder / f"{number}.png"
        for path in (scan, photo):
            path.write_bytes(b"seen by nobody")
        taken = Scan(kind="dicom", files=(scan,), taken="20200101 120000")
        yield Person(pseudonym=f"P-{number}", scans=(taken,), photo=photo)


def a_study(number: int, sites: tuple[str, ...]) -> Study:
    """Make the usual study: three anchors, four defacers, a joint table and the gates' table."""
    opened = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    anchors = (100, 1_000, 10_000)
    experiment = FaceExperiment(
        recogniser=SFACE,
        anchors=anchors,
        arms=("unmodified", "blur", "facemask", "quickshear", "reface"),
        reference_size=100_000,
        reference_people="synthetic people",
        gallery_error=tuple(GalleryError(gallery_size=n, sigma_ppm=1) for n in anchors),
    )
    gallery, calibration = PUBLIC
    held = {
        ConstantRole.REFERENCE_GALLERY: (gallery, len(PUBLIC[gallery])),
        ConstantRole.CALIBRATION: (calibration, len(PUBLIC[calibration])),
        ConstantRole.DETECTOR: (SFACE.detector.sha256, None),
        ConstantRole.RECOGNISER: (SFACE.parts[0].sha256, None),
        ConstantRole.TEMPLATE: (hashlib.sha256(template_bytes()).hexdigest(), None),
    }
    safes = dict.fromkeys(("project", "people", "settings", "data", "outputs"), SENTENCE)
    return Study(
        audience=sites,
        issued_at=opened,
        not_after=opened + timedelta(days=60),
        study_id=f"scale-{number}",
        title="Faces in head scans",
        question="How many people are found?",
        population="synthetic people",
        five_safes=FiveSafes(**safes),
        cohort=Cohort(),
        experiment=experiment,
        constants=tuple(
            Constant(role=role, sha256=sha256, size_bytes=size)
            for role, (sha256, size) in held.items()
        ),
        tables=priced(experiment, PrivacyLoss.from_decimal(EPSILON)),
        minimum_declared_people=10,
        minimum_sites=1,
        opens_at=opened,
        closes_at=opened + timedelta(days=30),
    )


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
