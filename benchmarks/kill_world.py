"""What the kill loop kills: a coordinator, a site with a witness, and what must be true then."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reidscope_protocols.cohort import Cohort
from reidscope_protocols.envelope import Opened, peek_payload, sign
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.statements import Receipt, Release
from reidscope_protocols.study import Constant, FiveSafes, Study, priced
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_server.ca import make_keys
from reidscope_server.config import ServerConfig, ServerHome
from reidscope_server.config import write_new_home as write_server_home
from reidscope_server.coordinator import Coordinator
from reidscope_site import enrol
from reidscope_site.agent import Agent
from reidscope_site.config import Home, Policy, SiteConfig
from reidscope_site.config import write_new_home as write_site_home
from reidscope_site.outcomes import Outcomes
from reidscope_site.snapshot import Person, Scan

ROLE = "data protection officer"
PEOPLE = 4
EPSILON = "0.05"
STUDIES_A_WORLD = 10
TURNS = 12
SENTENCE = "A sentence for whoever approves."


@dataclass
class World:
    """One coordinator and one site with a witness, and every frame that the wire ever carried."""

    root: Path
    frames: dict[str, set[bytes]] = field(default_factory=dict)
    studies: list[Opened[Study]] = field(default_factory=list)

    @property
    def site(self) -> Home:
        """The site's home."""
        return Home(self.root / "site")

    @property
    def server(self) -> ServerHome:
        """The coordinator's home."""
        return ServerHome(self.root / "coordinator")

    @classmethod
    def made(cls, root: Path) -> World:
        """Make both homes and enrol the site, by file."""
        world = cls(root)
        ports = {"enrolment_port": 1, "control_port": 2, "fleet_port": 3}
        write_server_home(world.server, ServerConfig(host="127.0.0.1", **ports))
        make_keys(world.server, "127.0.0.1")
        for folder in ("data", "elsewhere"):
            (root / folder).mkdir()
        config = SiteConfig(
            name="north", dicom=str(root / "data"), witness=str(root / "elsewhere" / "witness")
        )
        write_site_home(world.site, config, Policy(declared_people=20))
        enrol.make_keys(world.site)
        with Coordinator.opened(world.server) as coordinator:
            invitation = coordinator.sites.invite("north")
            request = enrol.request(world.site, invitation)
            grant = coordinator.sites.enrol(request, invitation.token)
        enrol.install(world.site, invitation, grant)
        agent = Agent(world.site)
        agent.snapshot.freeze(people(root / "data"), agent.site_key)
        agent.close()
        return world

    def open_study(self, number: int) -> Opened[Study]:
        """Open one more study and start its round."""
        key = StatementKey.load(self.server.key("study.pem"))
        with Coordinator.opened(self.server) as coordinator:
            opened = coordinator.studies.open(sign(one_study(number), key), {})
            coordinator.studies.set_collecting(opened.sha256, collecting=True)
        self.studies.append(opened)
        return opened


def people(folder: Path) -> tuple[Person, ...]:
    """Make people whose files can be looked up, and are read by nobody."""
    made = []
    for number in range(PEOPLE):
        scan, photo = folder / f"{number}.dcm", folder / f"{number}.png"
        for path in (scan, photo):
            path.write_bytes(b"seen by nobody")
        taken = Scan(kind="dicom", files=(scan,), taken="20200101 120000")
        made.append(Person(pseudonym=f"P-{number}", scans=(taken,), photo=photo))
    return tuple(made)


def one_study(number: int) -> Study:
    """Make a small study of a small epsilon."""
    opened = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    experiment = FaceExperiment(
        recogniser=SFACE,
        anchors=(2,),
        arms=("unmodified", "blur"),
        reference_size=100_000,
        reference_people="synthetic people",
        gallery_error=(GalleryError(gallery_size=2, sigma_ppm=1),),
    )
    shas = {
        ConstantRole.DETECTOR: SFACE.detector.sha256,
        ConstantRole.RECOGNISER: SFACE.parts[0].sha256,
    }
    return Study(
        audience=("north",),
        issued_at=opened,
        not_after=opened + timedelta(days=60),
        study_id=f"kill-{number}",
        title="Faces in head scans",
        question="How many people are found?",
        population="synthetic people",
        five_safes=FiveSafes(
            project=SENTENCE, people=SENTENCE, settings=SENTENCE, data=SENTENCE, outputs=SENTENCE
        ),
        cohort=Cohort(),
        experiment=experiment,
        constants=tuple(
            Constant(role=role, sha256=shas.get(role, f"{place:064x}"), size_bytes=10)
            for place, role in enumerate(ConstantRole)
        ),
        tables=priced(experiment, PrivacyLoss.from_decimal(EPSILON)),
        minimum_declared_people=10,
        minimum_sites=1,
        opens_at=opened,
        closes_at=opened + timedelta(days=30),
    )


def check(world: World, study: Opened[Study], *, may_lose: bool) -> str:
    """Hold what is on the two disks against what must be true; says what became of the table."""
    agent = Agent(world.site)
    agent.ledger.check()
    entries = [entry for entry in agent.ledger.entries() if entry.study_sha256 == study.sha256]
    kinds = [entry.kind for entry in entries]
    assert kinds.count("charged") == 1, "charged other than once"
    assert entries[0].loss == study.statement.loss, "charged another sum"
    stored = agent.ledger.stored(study.sha256)
    everything = sum(each.statement.loss.nano for each in world.studies)
    assert agent.ledger.spent().nano == everything, "the account does not add up"
    assert Outcomes(agent.connection, agent.site_key, study.sha256).known() == frozenset()
    sent = {
        item.envelope
        for item in agent.outbox.every()
        if (item.kind, item.study_sha256) == ("release", study.sha256)
    }
    receipts = {
        Receipt.parse(peek_payload(envelope)).ledger
        for (envelope,) in agent.connection.execute("SELECT envelope FROM receipt")
    }
    agent.close()
    with Coordinator.opened(world.server) as coordinator:
        (standing,) = coordinator.studies.standings(study)
        held = coordinator.studies.release_of(study.sha256, "north")
        own = [
            envelope
            for envelope in coordinator.studies.receipts_for("north")
            if Receipt.parse(peek_payload(envelope)).study_sha256 == study.sha256
        ]
        assert study.sha256 not in {each.sha256 for each in coordinator.studies.collecting()}
    assert standing.finished, "a round that has not ended"
    frames = world.frames.get(study.sha256, set())
    if stored is None:
        assert may_lose, "a release was lost"
        assert kinds == ["charged"]
        assert (standing.word, held, own, frames, sent) == ("lost", None, [], set(), set())
        return "lost"
    assert kinds == ["charged", "stored"]
    assert {stored} == sent == frames == {held}, "bytes that differ"
    assert len(own) == 1, "other than one receipt"
    assert Release.parse(peek_payload(stored)).ledger in receipts, "a receipt that never came"
    return "released"
