"""The commands of whoever decides: what is signed, what is said, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reidscope_protocols.errors import (
    ConsentMissingError,
    InputError,
    NotReadyError,
    PolicyRefusalError,
)
from reidscope_protocols.study import Study
from reidscope_site.agent import Agent
from reidscope_site.cli import app
from reidscope_site.config import Home
from reidscope_site.snapshot import Person

DPO = "data protection officer"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no OpenSSH here")
    made = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made)], check=True)
    return made


@pytest.fixture
def site(
    make_home: Any,
    coordinator: Any,
    make_study: Callable[..., Study],
    people: tuple[Person, ...],
) -> Callable[..., Home]:
    def build(**policy: Any) -> Home:
        home: Home = make_home(**policy)
        agent = Agent(home)
        agent.snapshot.freeze(people, agent.site_key)
        agent.studies.receive(coordinator.sign(make_study()))
        agent.close()
        return home

    return build


def command(home: Path, *words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words), "--home", str(home)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def said(home: Path) -> str:
    (row,) = json.loads(command(home, "studies", "--json"))
    return str(row["decision"])


def test_a_decision_is_written_down_signed_and_carried_in(
    site: Callable[..., Home], key: Path, tmp_path: Path
) -> None:
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    home = site(signing_keys={DPO: (public,)}).root
    text = tmp_path / "text"
    with pytest.raises(PolicyRefusalError, match="signature: got none"):
        command(home, "approve", "faces-1")
    command(home, "approve", "faces-1", "--to-sign", text)
    assert said(home) == "none yet"
    assert "verdict approved" in text.read_text()
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "reidscope", "-f", str(key), str(text)],
        check=True, capture_output=True,
    )  # fmt: skip
    command(home, "approve", "faces-1", "--signature", f"{text}.sig")
    assert said(home) == "approved"
    command(home, "decline", "faces-1", "--withdraw", "--to-sign", text)
    assert "verdict withdrawn" in text.read_text()


def test_a_signature_that_is_no_text_is_an_input_error(
    site: Callable[..., Home], tmp_path: Path
) -> None:
    (tmp_path / "sig").write_bytes(b"\xff\x00")
    with pytest.raises(InputError, match="no text"):
        command(site().root, "approve", "faces-1", "--signature", tmp_path / "sig")


def test_the_hand_brake_is_put_on_and_let_go_without_an_agent(site: Callable[..., Home]) -> None:
    home = site().root
    command(home, "stop", "--hold")
    assert json.loads(command(home, "status", "--json"))["stopped_by_hand"]
    with pytest.raises(PolicyRefusalError, match="stopped by hand"):
        command(home, "approve", "faces-1")
    with pytest.raises(PolicyRefusalError, match="stopped by hand"):
        command(home, "export", "--out", home / "out")
    with pytest.raises(PolicyRefusalError, match="stopped by hand"):
        command(home, "run", "faces-1")
    with pytest.raises(PolicyRefusalError, match="role"):
        command(home, "resume", "--role", "janitor")
    command(home, "resume")
    with pytest.raises(ConsentMissingError):
        command(home, "run", "faces-1")
    command(home, "approve", "faces-1")
    assert said(home) == "approved"


def test_status_says_numbers_and_constant_words_as_a_table_and_as_json(
    site: Callable[..., Home],
) -> None:
    home = site().root
    answer = json.loads(command(home, "status", "--json"))
    assert answer["studies"] == {"none yet": 1}
    assert answer["running"] is False
    assert answer["epsilon_spent"] == "0"
    assert answer["disk_free_bytes"] > 0
    table = command(home, "status")
    assert all(name.replace("_", " ") in table for name in answer)


def test_a_socket_without_an_agent_says_that_none_listens(tmp_path: Path) -> None:
    for verb in ("studies", "status"):
        with pytest.raises(NotReadyError, match="no answer at that socket"):
            command(tmp_path / "site.sock", verb)
