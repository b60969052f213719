"""Both sides over a real control port: keys, certificates, roots and versions, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from tests.attacks.parties import Operator, SiteParty
from typer.testing import CliRunner

from reidscope_protocols import versions
from reidscope_protocols.envelope import Opened, peek_type
from reidscope_protocols.errors import (
    DeclinedCallError,
    NotReadyError,
    ReidscopeError,
    UnreachableError,
    UnsupportedError,
)
from reidscope_protocols.key_change import KeyChange
from reidscope_protocols.proto import reidscope_pb2, reidscope_pb2_grpc
from reidscope_protocols.study import Study
from reidscope_protocols.versions import Versions
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.coordinator import Coordinator
from reidscope_server.own_keys import rotate_own
from reidscope_server.roots import end_overlap, rotate_root
from reidscope_server.service import ControlService, control_server
from reidscope_server.up import fleet_sites
from reidscope_site import cli, rotation
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.control import Control, control
from reidscope_site.serve import Loop
from reidscope_site.upkeep import agree, is_renewal_due, keep_up


@pytest.fixture
def operator(tmp_path: Path, make_study: Callable[..., Study]) -> Operator:
    return Operator.at(tmp_path / "coordinator", make_study)


@pytest.fixture
def home(tmp_path: Path, operator: Operator) -> Home:
    return SiteParty.made(tmp_path / "north", operator, "north")


@pytest.fixture
def agent(home: Home) -> Iterator[Agent]:
    held = Agent(home)
    yield held
    held.close()


@pytest.fixture
def port(operator: Operator) -> Iterator[grpc.Server]:
    server = control_server(operator.home)
    server.start()
    yield server
    server.stop(0).wait()


@contextmanager
def line(agent: Agent) -> Iterator[Control]:
    with control(agent.home, agent.pinned, agent.sent) as channel:
        yield channel


def upkeep(agent: Agent) -> list[str]:
    """One turn of upkeep on a new line; returns what was said."""
    said: list[str] = []
    with line(agent) as channel:
        agree(channel)
        keep_up(agent, channel, said.append, said.append)
    return said


def site_command(*words: object) -> str:
    done = CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=True)
    if isinstance(done.exception, ReidscopeError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def site_of(operator: Operator) -> Any:
    with Coordinator.opened(operator.home) as coordinator:
        return coordinator.sites.every()[0]


@pytest.mark.usefixtures("port")
def test_the_command_changes_both_keys_and_the_site_goes_on_with_them(
    operator: Operator, agent: Agent
) -> None:
    before = agent.statement_key.public, agent.home.key("transport.pem").read_bytes()
    assert "statement key" in site_command("keys", "rotate", "--home", agent.home.root)
    assert agent.statement_key.public == site_of(operator).statement_key != before[0]
    assert agent.home.key("transport.pem").read_bytes() != before[1]
    assert [record.public for record in site_of(operator).former_keys] == [before[0]]
    assert upkeep(agent) == []
    left = {path.name for path in agent.home.keys.iterdir()}
    assert left == {"site.key", "statement.pem", "transport.pem", "transport.crt"}
    assert [entry.event for entry in agent.journal.entries()] == ["own keys changed"]


@pytest.mark.usefixtures("port")
def test_an_approval_of_the_old_key_is_released_under_the_new_one(
    operator: Operator, agent: Agent
) -> None:
    study: Opened[Study] = operator.open(sites=("north",))
    party = SiteParty.at(agent.home, operator)
    party.exchange()
    party.index()
    party.approve(study.sha256)
    party.exchange()
    site_command("keys", "rotate", "--home", agent.home.root)
    envelope = party.measure(study)
    assert envelope is not None
    with Coordinator.opened(operator.home) as coordinator:
        coordinator.studies.take_release(envelope, "north")
        assert coordinator.studies.release_of(study.sha256, "north") == envelope
    party.agent.close()


@pytest.mark.usefixtures("port")
@pytest.mark.parametrize("lost_at", ["asked", "granted", "half in place"])
def test_a_rotation_that_is_killed_goes_on_with_the_same_keys(
    operator: Operator, agent: Agent, monkeypatch: pytest.MonkeyPatch, lost_at: str
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if lost_at == "asked":
            patched.setattr("reidscope_site.cli_keys.install", die)
        elif lost_at == "granted":
            patched.setattr("reidscope_site.rotation.finish", lambda _: None)
        else:
            real = rotation.write_durably

            def dying(path: Path, content: bytes, **more: int) -> None:
                if path.name == "transport.crt":
                    die()
                real(path, content, **more)

            patched.setattr("reidscope_site.rotation.write_durably", dying)
        CliRunner().invoke(cli.app, ["keys", "rotate", "--home", str(agent.home.root)])
    wanted = site_of(operator).statement_key
    assert len(site_of(operator).former_keys) == 1
    if lost_at == "asked":
        # the grant was lost: asked again, the coordinator answers with the same certificate
        site_command("keys", "rotate", "--home", agent.home.root)
    else:
        with rotation.alone(agent.home):
            pass
    assert agent.statement_key.public == wanted
    assert len(site_of(operator).former_keys) == 1
    assert upkeep(agent) == []


def test_keys_change_by_files_where_there_is_no_wire(
    operator: Operator, agent: Agent, tmp_path: Path
) -> None:
    change, grant = tmp_path / "change.json", tmp_path / "grant.json"
    root = agent.home.root
    site_command("keys", "rotate", "--request", change, "--home", root)
    assert peek_type(change.read_bytes()) == KeyChange.payload_type
    with Coordinator.opened(operator.home) as coordinator:
        grant.write_bytes(coordinator.sites.keys.change(change.read_bytes(), "north"))
    site_command("keys", "rotate", "--install", grant, "--home", root)
    assert agent.statement_key.public == site_of(operator).statement_key
    with pytest.raises(NotReadyError, match="no change under way"):
        site_command("keys", "rotate", "--install", grant, "--home", root)


@pytest.mark.usefixtures("port")
def test_another_sites_grant_is_not_installed(
    operator: Operator, agent: Agent, tmp_path: Path
) -> None:
    south = SiteParty.made(tmp_path / "south", operator, "south")
    change, grant = tmp_path / "change.json", tmp_path / "grant.json"
    site_command("keys", "rotate", "--request", change, "--home", south.root)
    site_command("keys", "rotate", "--request", tmp_path / "own", "--home", agent.home.root)
    with Coordinator.opened(operator.home) as coordinator:
        grant.write_bytes(coordinator.sites.keys.change(change.read_bytes(), "south"))
    before = agent.statement_key.public
    with pytest.raises(ReidscopeError):
        site_command("keys", "rotate", "--install", grant, "--home", agent.home.root)
    assert agent.statement_key.public == before


@pytest.mark.usefixtures("port")
def test_a_site_changes_nobody_elses_keys_over_its_own_line(
    operator: Operator, agent: Agent, tmp_path: Path
) -> None:
    south = Agent(SiteParty.made(tmp_path / "south", operator, "south"))
    change = rotation.prepare(south.home, south.pinned)
    with line(agent) as channel, pytest.raises(DeclinedCallError):
        channel.rotate(change)
    with Coordinator.opened(operator.home) as coordinator:
        assert [site.former_keys for site in coordinator.sites.every()] == [(), ()]
    south.close()


@pytest.mark.usefixtures("port")
def test_a_new_root_reaches_the_site_whose_certificate_is_renewed_and_outlives_the_old_one(
    operator: Operator, agent: Agent
) -> None:
    assert not is_renewal_due(agent)
    both = rotate_root(operator.home)
    assert len(upkeep(agent)) == 2
    assert site_of(operator).root == both.new_sha256
    assert upkeep(agent) == []
    first = x509.load_pem_x509_certificate(agent.home.key("transport.crt").read_bytes())
    now = x509.load_pem_x509_certificate(agent.home.certificate.read_bytes())
    assert now.public_key() == first.public_key()
    assert now.serial_number != first.serial_number
    # the door that runs changes over: its next handshake shows the new root alone
    end_overlap(operator.home)
    assert upkeep(agent) == []


@pytest.mark.usefixtures("port")
def test_a_site_that_slept_through_the_window_is_outside(operator: Operator, agent: Agent) -> None:
    rotate_root(operator.home)
    end_overlap(operator.home)
    with pytest.raises(UnreachableError):
        upkeep(agent)


@pytest.mark.usefixtures("port")
def test_keys_change_between_two_roots_and_the_certificate_is_of_the_new_one(
    operator: Operator, agent: Agent
) -> None:
    both = rotate_root(operator.home)
    rotate_own(operator.home, KeyRole.COORDINATOR)
    site_command("keys", "rotate", "--home", agent.home.root)
    assert site_of(operator).root == both.new_sha256
    assert not is_renewal_due(agent)


@pytest.mark.usefixtures("port")
def test_only_a_site_whose_versions_were_accepted_passes_the_fleet_door(
    operator: Operator, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Coordinator.opened(operator.home) as coordinator:
        coordinator.greetings._connection.execute("DELETE FROM greeting")
    assert [site.greeted for site in fleet_sites(operator.home)] == [False]
    with line(agent) as channel:
        agree(channel)
    assert [site.greeted for site in fleet_sites(operator.home)] == [True]
    # the coordinator becomes another version: what was agreed with the one before is nothing
    monkeypatch.setattr(versions, "PROTOCOL", (1, 7))
    assert [site.greeted for site in fleet_sites(operator.home)] == [False]


OTHERS = {
    "an older protocol": Versions(reidscope="0.1.0", protocol=(0, 9), flower="1.41.0"),
    "a newer major protocol": Versions(reidscope="0.1.0", protocol=(2, 0), flower="1.41.0"),
    "a newer minor protocol": Versions(reidscope="0.1.0", protocol=(1, 9), flower="1.41.0"),
    "another reidscope": Versions(reidscope="9.0.0", protocol=(1, 0), flower="1.41.0"),
    "another Flower": Versions(reidscope="0.1.0", protocol=(1, 0), flower="1.39.2"),
    "no words at all": Versions(reidscope="", protocol=(0, 0), flower=""),
    "control characters": Versions(reidscope="\x1b[2J", protocol=(1, 0), flower="1.41.0"),
}


@pytest.mark.usefixtures("port")
@pytest.mark.parametrize("theirs", OTHERS.values(), ids=OTHERS)
def test_an_untested_site_is_told_so_and_kept_off_the_fleet_port(
    operator: Operator, agent: Agent, theirs: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Versions, "of_this_process", classmethod(lambda _: theirs))
    with line(agent) as channel:
        greeted, accepted = channel.hello(theirs)
        assert not accepted
        monkeypatch.undo()
        assert greeted == theirs  # the coordinator of this process was patched as well
    with Coordinator.opened(operator.home) as coordinator:
        assert coordinator.greetings.accepted() == frozenset()
        assert coordinator.greetings.said("north").endswith("(refused: untested)")
    assert [site.greeted for site in fleet_sites(operator.home)] == [False]


@pytest.mark.parametrize("theirs", OTHERS.values(), ids=OTHERS)
def test_an_untested_coordinator_is_refused_in_one_line_with_got_and_expected(
    theirs: Versions,
) -> None:
    class Line:
        def hello(self, own: Versions) -> tuple[Versions, bool]:
            assert own == Versions.of_this_process()
            return theirs, True

    with pytest.raises(UnsupportedError, match=r"coordinator.s versions: got .*expected") as caught:
        agree(Line())  # type: ignore[arg-type]  # one call is enough here
    assert str(caught.value).isprintable()


def test_a_coordinator_that_refuses_this_site_is_told_of_in_one_line() -> None:
    class Line:
        def hello(self, own: Versions) -> tuple[Versions, bool]:
            return own, False

    with pytest.raises(UnsupportedError, match="this site's versions: got reidscope"):
        agree(Line())  # type: ignore[arg-type]  # one call is enough here


def test_a_coordinator_from_before_greetings_is_no_tested_one(
    operator: Operator, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = reidscope_pb2_grpc.ControlServicer.Hello
    monkeypatch.setattr(ControlService, "Hello", before)
    server = control_server(operator.home)
    server.start()
    try:
        with line(agent) as channel, pytest.raises(UnsupportedError, match="does not know"):
            agree(channel)
    finally:
        server.stop(0).wait()


@pytest.mark.usefixtures("port")
@pytest.mark.parametrize("call", ["Hello", "Studies", "Decide", "Rotate", "Constant"])
def test_a_call_with_a_field_that_the_schema_does_not_name_is_refused(
    agent: Agent, call: str
) -> None:
    with line(agent) as channel:
        kinds = {
            "Hello": reidscope_pb2.Versions,
            "Studies": reidscope_pb2.Everything,
            "Decide": reidscope_pb2.Envelope,
            "Rotate": reidscope_pb2.Envelope,
            "Constant": reidscope_pb2.ConstantRequest,
        }
        said = kinds[call]()
        said.ParseFromString(bytes([15 << 3, 1]))  # field 15, varint 1
        with pytest.raises(grpc.RpcError) as caught:
            list(getattr(channel._stub, call)(said, timeout=10))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "unknown field"


def test_an_agent_whose_rounds_are_cut_greets_anew_but_not_all_the_time(home: Home) -> None:
    """A coordinator that was put back to yesterday has forgotten who agreed on what."""
    loop = Loop(home, lambda _: None)
    loop._agreed.set()
    loop._greeted_at = time.monotonic()
    loop._rounds_are(cut=True)
    assert loop._agreed.is_set()
    loop._greeted_at -= 60
    loop._rounds_are(cut=True)
    assert not loop._agreed.is_set()
