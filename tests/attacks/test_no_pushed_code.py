"""A real agent beside a Flower server that offers bundles: nothing is fetched, written or run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.node_pb2 import Node
from tests.attacks.hostile_flower import HostileFleet, bundles
from tests.attacks.parties import World

from reidscope_protocols.study import Study
from reidscope_server.flower import TlsFiles
from reidscope_server.service import control_server
from reidscope_server.up import fleet_sites
from reidscope_site.flower import FleetDoor, _client

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PACKAGES = [Path(__file__).parents[2] / name for name in ("protocols", "deid", "site_agent")]


@dataclass
class Watched:
    """A running agent, the server that it talks to, and where its doings are noted."""

    fleet: HostileFleet
    world: World
    sha256: str
    elsewhere: Path
    notes: Path
    process: subprocess.Popen[bytes]
    output: Path

    def noted(self, *events: str) -> list[str]:
        lines = [json.loads(line) for line in self.notes.read_text().splitlines()]
        return [what for event, what in lines if event in events]


def started(world: World, tmp_path: Path) -> Watched:
    study = world.operator.open()
    world.north.exchange()
    world.north.agent.close()
    home = world.operator.home
    fleet = HostileFleet(str(tmp_path / "flower.sqlite"), lambda: fleet_sites(home)[:1])
    elsewhere, hook = tmp_path / "elsewhere", tmp_path / "hook"
    for folder in (elsewhere, hook):
        folder.mkdir()
    shutil.copy(HERE / "watched.py", hook / "sitecustomize.py")
    notes, output = tmp_path / "notes", tmp_path / "output"
    environment = {
        **os.environ,
        "HOME": str(elsewhere),
        "FLWR_HOME": str(elsewhere / "flwr"),
        "TMPDIR": str(elsewhere),
        "PYTHONPATH": str(hook),
        "PYTHONDONTWRITEBYTECODE": "1",
        "REIDSCOPE_WATCH": str(notes),
        "OMP_NUM_THREADS": "1",
    }
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [str(BIN / "reidscope-site"), "serve", "--home", str(world.north.home.root)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=elsewhere,
        )
    return Watched(
        fleet=fleet,
        world=world,
        sha256=study.sha256,
        elsewhere=elsewhere,
        notes=notes,
        process=process,
        output=output,
    )


@pytest.fixture(scope="module")
def watched(
    template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    make_study: Callable[..., Study],
) -> Iterator[Watched]:
    tmp_path = tmp_path_factory.mktemp("hostile")
    world = World.copied(template, tmp_path / "world", make_study)
    held = started(world, tmp_path)
    home = world.operator.home
    tls = TlsFiles(
        certificate=str(home.key("tls.crt")),
        key=str(home.key("tls.pem")),
        authority=str(home.key("ca.crt")),
    )
    for name, bundle in bundles(tmp_path / "marker").items():
        held.fleet.offer(name, bundle)
    # Versions are agreed at the control port before the agent comes to the fleet port.
    control = control_server(home)
    control.start()
    with held.fleet.door("127.0.0.1", home.config().fleet_port, tls):
        deadline = time.monotonic() + 120
        while not held.fleet.node_online():
            assert time.monotonic() < deadline, held.output.read_text()
            assert held.process.poll() is None, held.output.read_text()
            time.sleep(0.3)
        yield held
        held.process.terminate()
        held.process.wait(30)
    control.stop(0).wait()
    world.south.agent.close()


@pytest.mark.parametrize("name", bundles(Path("marker")))
def test_a_bundle_is_neither_fetched_nor_written_nor_run(watched: Watched, name: str) -> None:
    fleet, root = watched.fleet, watched.world.north.home.root
    message = fleet.push(name, {"study": watched.sha256}, "query.release")
    assert fleet.reply(name, message).content == b"Nundecided"
    # Whatever else a message asks for is answered like a study that nobody knows.
    for kind in ("train", "evaluate", "query.hostile"):
        message = fleet.push(name, {"study": watched.sha256, "code": b"import os"}, kind)
        assert fleet.reply(name, message).content == b"Nunknown-study"
    asked = set(fleet.paths)
    assert asked <= {
        f"/v1/fleet/{path}"
        for path in (
            *("activate-node", "send-node-heartbeat", "pull-messages", "push-messages"),
            *("push-object", "pull-object", "confirm-message-received"),
        )
    }
    assert list(watched.elsewhere.iterdir()) == []
    assert not [path for path in watched.elsewhere.parent.iterdir() if "marker" in path.name]
    assert not list(watched.elsewhere.parent.glob("climbed*"))
    allowed = (str(root), "/dev/", "/proc/self", str(watched.notes))
    outside = [path for path in watched.noted("open") if not path.startswith(allowed)]
    assert [path for path in outside if not path.isdigit()] == []
    ours = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(BIN), sys.base_prefix]
    trusted = (*ours, *map(str, PACKAGES), str(watched.notes.parent / "hook"), "<")
    assert [path for path in watched.noted("exec") if not path.startswith(trusted)] == []
    assert any("reidscope_site/flower.py" in path for path in watched.noted("exec"))
    assert watched.noted("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system") == []
    assert watched.process.poll() is None


def test_the_bundles_were_there_to_be_had(watched: Watched) -> None:
    """The server gives each to whoever asks: this test does, with the site's own certificate."""
    home = watched.world.north.home
    address = watched.world.operator.home.config().addresses.fleet
    door = FleetDoor(
        address=address,
        ca_pem=watched.world.operator.home.key("ca.crt").read_text(),
        certificate_file=str(home.key("transport.crt")),
        key_file=str(home.key("transport.pem")),
    )
    (node, *_) = watched.fleet._nodes.values()
    content = bundles(watched.elsewhere.parent / "marker")
    before = len(watched.fleet.paths)
    with _client(door) as client:
        # The agent's own line would let go of the oversized one: it is not what this test is about.
        context = client._client._transport._pool._ssl_context
        client._client = httpx.Client(verify=context, timeout=30)
        for name, (run_id, digest) in watched.fleet.runs.items():
            request = GetFabRequest(node=Node(node_id=node), hash_str=digest, run_id=run_id)
            assert len(client.GetFab(request).fab.content) == len(content[name])
    assert watched.fleet.paths[before:].count("/v1/fleet/get-fab") == 4
