"""Every byte that leaves a real agent, read where TLS ends: sizes, times, and planted canaries."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.attacks.hostile_flower import HostileFleet
from tests.attacks.parties import ROLE, World
from tests.site.conftest import write_series

from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_server import service
from reidscope_server.flower import TlsFiles
from reidscope_server.up import fleet_sites
from reidscope_site.snapshot import Person, Scan
from reidscope_site.verbs import ask

pytestmark = pytest.mark.slow

TOKEN = "CANARYTOKEN"
BIN = Path(sys.executable).parent
RUN = "plain"
ANSWERS_IN = 25  # seconds: until then the study's own hour holds the answer back


@dataclass
class Captured:
    """The agent, what it was asked about, and every byte that came from it."""

    fleet: HostileFleet
    control: list[bytes]
    process: subprocess.Popen[bytes]
    output: Path
    studies: dict[str, str]
    answers_from: datetime
    released: bytes

    def answer(self, sha256: str) -> tuple[bytes, list[tuple[str, int]]]:
        """Ask once; returns the answer and the size of each request that brought it."""
        before = len(self.fleet.received)
        message = self.fleet.push(RUN, {"study": sha256}, "query.release")
        content = self.fleet.reply(RUN, message).content
        time.sleep(0.5)
        sizes = [
            (path.rsplit("/", 1)[-1], len(body))
            for path, body in self.fleet.received[before:]
            if path.endswith(("push-messages", "push-object"))
        ]
        return content, sizes

    def everything(self) -> bytes:
        return b"\n".join([*(body for _, body in self.fleet.received), *self.control])


class Interceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Notes metadata and every message that a site sends to the control service."""

    def __init__(self, kept: list[bytes]) -> None:
        self._kept = kept

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        metadata = [f"{key}={value}" for key, value in details.invocation_metadata]
        self._kept.append("\n".join([details.method, *metadata]).encode())
        parse = handler.request_deserializer

        def noted(data: bytes) -> Any:
            self._kept.append(data)
            return parse(data)

        return handler._replace(request_deserializer=noted)


@contextmanager
def control_of(home: Any, kept: list[bytes]) -> Iterator[None]:
    plain = grpc.server
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            service.grpc,
            "server",
            lambda *given, **named: plain(*given, **named, interceptors=(Interceptor(kept),)),
        )
        server = service.control_server(home)
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()


def plant(world: World) -> tuple[Person, ...]:
    """People whose headers, folders, files and pseudonyms all hold the token."""
    data = Path(world.north.agent.config.dicom)
    made = []
    for number in range(3):
        files = write_series(
            data / TOKEN / f"{TOKEN}-{number}",
            f"{TOKEN}-{number}",
            names=f"{TOKEN}^{number}",
            slices=2,
            StudyDescription=TOKEN,
            AccessionNumber=TOKEN[:16],
        )
        photo = data / f"{TOKEN}{number}.png"
        photo.write_bytes(TOKEN.encode())
        scan = Scan(kind="dicom", files=files, taken="20200101 120000")
        made.append(Person(pseudonym=f"{TOKEN}-P{number}", scans=(scan,), photo=photo))
    (data / f"{TOKEN}.txt").write_text(TOKEN)
    return tuple(made)


def prepared(world: World) -> tuple[dict[str, str], datetime, bytes]:
    """One study of each kind, settled before the agent starts."""
    north = world.north
    agent = north.agent
    answers_from = datetime.now(UTC) + timedelta(seconds=ANSWERS_IN)
    kinds: dict[str, dict[str, Any]] = {
        "undecided": {},
        "declined": {},
        "released": {},
        "held": {"answers_from": answers_from},
        "lost": {},
        "refused": {},
    }
    opened = {
        kind: world.operator.open(study_id=kind, epsilon="0.1", **changes)
        for kind, changes in kinds.items()
    }
    north.exchange()
    north.index(plant(world))
    for kind in ("released", "held", "lost", "refused"):
        north.approve(opened[kind].sha256)
    agent.decide(
        opened["declined"].sha256, Verdict.DECLINED, role=ROLE, reason=DecisionReason.ETHICS
    )
    stored = north.measure(opened["released"])
    north.measure(opened["held"])
    loss = opened["lost"].statement.loss
    agent.ledger.charge(opened["lost"].sha256, "tables", loss, agent.policy)
    # The last one is measured by the running agent, and refused: one of its files is gone. What
    # the agent says of it, on its own terminal, is made of planted paths.
    person = next(iter(agent.snapshot.people()))
    assert person.photo is not None
    person.photo.unlink()
    agent.close()
    return {kind: study.sha256 for kind, study in opened.items()}, answers_from, stored or b""


@pytest.fixture(scope="module")
def captured(
    template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    make_study: Callable[..., Study],
) -> Iterator[Captured]:
    tmp_path = tmp_path_factory.mktemp(f"under-{TOKEN}")
    world = World.copied(template, tmp_path / TOKEN, make_study)
    studies, answers_from, released = prepared(world)
    home = world.operator.home
    fleet = HostileFleet(str(tmp_path / "flower.sqlite"), lambda: fleet_sites(home)[:1])
    fleet.offer(RUN, b"a bundle")
    tls = TlsFiles(
        certificate=str(home.key("tls.crt")),
        key=str(home.key("tls.pem")),
        authority=str(home.key("ca.crt")),
    )
    control: list[bytes] = []
    output = tmp_path / "output"
    with (
        output.open("wb") as stream,
        control_of(home, control),
        fleet.door("127.0.0.1", home.config().fleet_port, tls),
    ):
        process = subprocess.Popen(
            [str(BIN / "reidscope-site"), "serve", "--home", str(world.north.home.root)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "LOGNAME": TOKEN, "USER": TOKEN},
        )
        held = Captured(
            fleet=fleet,
            control=control,
            process=process,
            output=output,
            studies=studies,
            answers_from=answers_from,
            released=released,
        )
        deadline = time.monotonic() + 120
        while not (fleet.node_online() and len(control) > 8 and "refused" in output.read_text()):
            assert time.monotonic() < deadline, output.read_text()
            assert process.poll() is None, output.read_text()
            time.sleep(0.3)
        yield held
        with pytest.raises(Exception, match="expected"):
            ask(world.north.home.root, "show", {"study": TOKEN})
        process.terminate()
        process.wait(30)
    world.south.agent.close()


def test_every_answer_is_a_word_or_the_stored_bytes_at_the_studys_own_hour(
    captured: Captured,
) -> None:
    words = {kind: captured.answer(sha256)[0] for kind, sha256 in captured.studies.items()}
    said = {kind: word for kind, word in words.items() if kind not in {"released", "held", "lost"}}
    assert said == {"undecided": b"Nundecided", "declined": b"Ndeclined", "refused": b"Nworking"}
    assert words["released"] == b"R" + captured.released
    assert words["lost"] in {b"Nworking", b"Nlost"}
    assert captured.answer("00" * 32)[0] == b"Nunknown-study"
    # What was stored long ago is said at its hour and not before.
    while words["held"] == b"Nworking":
        assert datetime.now(UTC) < captured.answers_from + timedelta(seconds=10)
        time.sleep(1)
        asked_at = datetime.now(UTC)
        words["held"] = captured.answer(captured.studies["held"])[0]
    assert words["held"][:1] == b"R"
    assert asked_at > captured.answers_from - timedelta(seconds=3)


def test_every_answer_has_the_same_size_to_the_byte(captured: Captured) -> None:
    sizes = {
        kind: sorted(captured.answer(sha256)[1])
        for kind, sha256 in {**captured.studies, "unknown": "00" * 32}.items()
    }
    (first, *_) = sizes.values()
    assert {name for name, _ in first} == {"push-messages", "push-object"}
    assert max(size for _, size in first) > 64 << 10
    # Flower's own headers hold a DER signature, whose length varies by a few bytes with its value.
    for other in sizes.values():
        assert [name for name, _ in other] == [name for name, _ in first]
        for (_, one), (_, two) in zip(first, other, strict=True):
            assert abs(one - two) <= 24


def test_no_canary_of_headers_files_paths_people_or_errors_is_in_any_byte(
    captured: Captured,
) -> None:
    content = captured.everything()
    assert len(content) > 100_000
    assert b"/reidscope.v1.Control/Studies" in content
    assert TOKEN.encode() not in content
    assert TOKEN.lower().encode() not in content.lower()
    # The site's own terminal may name what its user typed, and nothing below it.
    output = captured.output.read_text()
    assert "refused" in output
    assert f"{TOKEN}-" not in output
    assert f"{TOKEN}0.png" not in output
    assert b"Traceback" not in content
