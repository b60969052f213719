"""The agent's socket: the kernel says who asks, and nobody can ask as somebody else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.desk import CarriedOutError, Handler
from reidscope_protocols.errors import ConfigError, NotReadyError, PolicyRefusalError
from reidscope_protocols.study import Study
from reidscope_site.agent import Agent
from reidscope_site.roles import Caller
from reidscope_site.snapshot import Person
from reidscope_site.socket_roles import HandlerOf, ask_agent, door, serve_people
from reidscope_site.verbs import ask, carry_out

DPO, HEAD = "data protection officer", "head of radiology"
_ASK = """
import json, os, socket, sys
gid, uid = int(sys.argv[2]), int(sys.argv[2])
os.setgroups([]); os.setgid(gid); os.setuid(uid)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[3].encode() + b"\\n")
held = b""
while not held.endswith(b"\\n"):
    held += s.recv(65536)
sys.stdout.write(held.decode())
"""


@contextmanager
def listening(path: Path, handler_of: HandlerOf) -> Iterator[None]:
    stop = threading.Event()
    with door(path) as held:
        thread = threading.Thread(target=serve_people, args=(held, handler_of, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def who(caller: Caller) -> Handler:
    return lambda verb, arguments: {"uid": caller.uid, "gid": caller.gid, "verb": verb, **arguments}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site.sock"


def test_the_agent_knows_the_account_at_the_other_end_and_nothing_that_it_claims(
    path: Path,
) -> None:
    with listening(path, who):
        answer = ask_agent(path, "show", {"study": "a"}, timeout_s=5)
        assert answer == {"uid": os.geteuid(), "gid": os.getegid(), "verb": "show", "study": "a"}
        claimed = ask_agent(path, "show", {"caller": {"uid": 0}}, timeout_s=5)
        assert claimed["uid"] == os.geteuid()
    assert not path.exists()


def test_a_verb_goes_over_the_socket_where_home_is_one(path: Path) -> None:
    with listening(path, who):
        assert ask(path, "studies", {})["verb"] == "studies"


def test_an_error_comes_back_with_its_line_and_exit_code_and_a_defect_says_nothing(
    path: Path,
) -> None:
    def refuse(_: Caller) -> Handler:
        def handle(verb: str, _: Any) -> dict[str, Any]:
            if verb == "approve":
                raise PolicyRefusalError("role", got="a", expected="b", do="c")
            message = "Doe^Jane"
            raise ValueError(message)

        return handle

    with listening(path, refuse):
        with pytest.raises(CarriedOutError, match="role: got a") as caught:
            ask_agent(path, "approve", {}, timeout_s=5)
        assert caught.value.exit_code == PolicyRefusalError.exit_code
        with pytest.raises(CarriedOutError) as caught:
            ask_agent(path, "other", {}, timeout_s=5)
        assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    "said", [b"", b"\n", b"\xff\n", b"[]\n", b'{"verb": 1}\n', b"{" * 70_000 + b"\n"]
)
def test_what_is_no_request_ends_nothing(path: Path, said: bytes) -> None:
    with listening(path, who):
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(path))
            other.sendall(said)
            other.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: other.recv(1 << 16), b""))
        assert json.loads(answer)["exit_code"] == 5
        assert ask_agent(path, "show", {}, timeout_s=5)["verb"] == "show"


def test_whoever_says_nothing_holds_the_others_up_for_seconds_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reidscope_site.socket_roles._READ_SECONDS", 0.3)
    with listening(path, who), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        started = time.monotonic()
        assert ask_agent(path, "show", {}, timeout_s=5)["verb"] == "show"
        assert time.monotonic() - started < 4


def test_without_an_agent_the_asker_is_told_in_one_line(path: Path, tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="no answer at that socket"):
        ask_agent(path, "show", {}, timeout_s=1)
    (tmp_path / "file").write_text("no socket")
    with pytest.raises(NotReadyError):
        ask_agent(tmp_path / "file", "show", {}, timeout_s=1)


def test_a_socket_is_made_over_a_dead_one_and_over_nothing_else(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listening(path, who):
        assert ask_agent(path, "show", {}, timeout_s=5)
        with pytest.raises(ConfigError, match="another agent"), door(path):
            pytest.fail("two agents at one socket")
    path.write_text("somebody's file")
    with pytest.raises(ConfigError), door(path):
        pytest.fail("a file was taken for a socket")
    assert path.read_text() == "somebody's file"


@pytest.mark.parametrize("name", ["no-folder/site.sock", "x" * 120])
def test_a_path_where_no_socket_can_be_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="socket: got") as caught, door(tmp_path / name):
        pytest.fail("bound")
    assert name not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="two real accounts need the rights of root")
@pytest.mark.slow
def test_two_real_accounts_approve_and_a_third_one_and_root_do_not(
    make_home: Callable[..., Any],
    coordinator: Any,
    make_study: Callable[..., Study],
    people: tuple[Person, ...],
) -> None:
    home = make_home(roles={DPO: ("uid:61001",), HEAD: ("gid:61002",)}, approvals_needed=2)
    agent = Agent(home)
    agent.snapshot.freeze(people, agent.site_key)
    study = agent.studies.receive(coordinator.sign(make_study()))
    agent.close()
    reached = Path(f"/tmp/reidscope-test-{os.getpid()}.sock")  # noqa: S108  # a place that other accounts can reach
    local = threading.local()

    def handler_of(caller: Caller) -> Handler:
        local.agent = getattr(local, "agent", None) or Agent(home)
        return lambda verb, arguments: carry_out(local.agent, verb, arguments, caller)

    def decide(uid: int, role: str) -> dict[str, Any]:
        arguments = {"study": study.sha256, "verdict": "approved", "reason": "reviewed"}
        said = json.dumps({"verb": "decide", "arguments": {**arguments, "role": role}})
        done = subprocess.run(
            ["/usr/bin/env", "python3", "-S", "-c", _ASK, str(reached), str(uid), said],
            capture_output=True, text=True, check=True, timeout=30, cwd="/",
        )  # fmt: skip
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    assert sys.platform == "linux"
    with listening(reached, handler_of):
        assert decide(61003, DPO)["exit_code"] == PolicyRefusalError.exit_code
        assert decide(0, DPO)["exit_code"] == PolicyRefusalError.exit_code
        assert decide(61001, HEAD)["exit_code"] == PolicyRefusalError.exit_code
        assert decide(61001, DPO) == {"answer": {"stands": False}}
        assert decide(61001, DPO) == {"answer": {"stands": False}}
        assert decide(61002, HEAD) == {"answer": {"stands": True}}
