"""The health checks of compose.yaml, run by hand: what they call is there, and tells the truth."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.federation.consortium import BIN, ENVIRONMENT, Consortium, command, ok

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = {"site": "site.Dockerfile", "coordinator": "server.Dockerfile"}
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def interpolated(text: str, settings: Mapping[str, str]) -> str:
    """As compose does it: `${NAME:-default}`."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: settings.get(found[1], found[2]), text)


def check_of(service: str, **settings: str) -> list[str]:
    """Return a service's health check as the arguments that the engine would run."""
    kind, *words = [interpolated(word, settings) for word in
                    COMPOSE["services"][service]["healthcheck"]["test"]]  # fmt: skip
    return ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words


def run(arguments: list[str], **environment: str) -> int:
    found = shutil.which(arguments[0], path=f"{BIN}:/bin")
    assert found is not None
    done = subprocess.run(
        [found, *arguments[1:]],
        env={**ENVIRONMENT, "PATH": f"{BIN}:/usr/bin:/bin", **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode


@pytest.mark.parametrize("service", sorted(DOCKERFILES))
def test_what_a_health_check_calls_is_in_its_image(service: str) -> None:
    text = (DOCKER / DOCKERFILES[service]).read_text(encoding="utf-8")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.search(r"^ENV PATH=/opt/reidscope/bin:", text, flags=re.MULTILINE)
    removed = set(re.findall(r"/opt/reidscope/bin/(reidscope-\w+)", text.partition("FROM")[2]))
    held = (set(scripts["scripts"]) - removed) | {"python3"}
    words = check_of(service)
    called = words[2].split()[0] if words[0] == "/bin/sh" else words[0]
    assert called in held
    # an engine reads 0 and 1, and reserves the rest
    assert words[0] != "/bin/sh" or words[2].endswith("|| exit 1")


@pytest.mark.parametrize("service", sorted(DOCKERFILES))
def test_a_health_check_is_given_up_before_the_next_one(service: str) -> None:
    check = COMPOSE["services"][service]["healthcheck"]
    seconds = {name: int(check[name].rstrip("s")) for name in ("interval", "timeout")}
    assert 0 < seconds["timeout"] < seconds["interval"]
    assert check["retries"] >= 1


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """A coordinator and an enrolled site on loopback, neither of them running yet."""
    made = Consortium(tmp_path_factory.mktemp("health"))
    options = [word for name, port in zip(("enrolment", "control", "fleet"), made.ports,
                                          strict=True)
               for word in (f"--{name}-port", port)]  # fmt: skip
    ok(made.server("init", *options))
    (made.root / "dicom").mkdir()
    ok(made.site("alpha", "init", "--name", "alpha", "--dicom", made.root / "dicom",
                 "--declared-people", 20, "--population", "synthetic people"))  # fmt: skip
    invitation, request, grant = (made.root / name for name in ("invitation", "request", "grant"))
    ok(made.server("token", "alpha", "--out", invitation))
    ok(made.site("alpha", "enroll", invitation, "--request", request))
    ok(made.server("admit", request, invitation, "--out", grant))
    ok(made.site("alpha", "enroll", invitation, "--install", grant))
    yield made
    for name in tuple(made.processes):
        made.kill(name)


def becomes(wanted: int, check: Callable[[], int]) -> bool:
    deadline = time.monotonic() + 60
    while (got := check()) != wanted:
        if time.monotonic() > deadline:
            pytest.fail(f"a health check says {got}, not {wanted}")
        time.sleep(0.5)
    return True


@pytest.mark.slow
def test_the_checks_say_1_before_0_while_and_1_after_their_daemons_run(pair: Consortium) -> None:
    # compose names the container; on loopback the same words ask this host
    words = [word.replace("8442", str(pair.ports[1]))
             for word in check_of("coordinator", COORDINATOR_NAME="127.0.0.1")]  # fmt: skip
    site = {"REIDSCOPE_SITE_HOME": str(pair.home("alpha"))}

    def coordinator() -> int:
        return run(words)

    def agent() -> int:
        return run(check_of("site"), **site)

    assert coordinator() == 1
    assert agent() == 1
    pair.up()
    assert becomes(0, coordinator)
    assert agent() == 1
    pair.serve("alpha")
    assert becomes(0, agent)
    for name in ("alpha", "coordinator"):
        process = pair.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert coordinator() == 1
    assert agent() == 1


@pytest.mark.slow
def test_an_agent_that_hangs_is_no_healthy_agent(pair: Consortium) -> None:
    pair.up()
    pair.serve("alpha")
    home = {"REIDSCOPE_SITE_HOME": str(pair.home("alpha"))}
    assert becomes(0, lambda: run(check_of("site"), **home))
    process = pair.processes["alpha"]
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            # what an engine waits for is longer: it gives up then, as this does
            subprocess.run(
                check_of("site"), env={**ENVIRONMENT, "PATH": f"{BIN}:/usr/bin:/bin", **home},
                timeout=6, check=False, capture_output=True,
            )  # fmt: skip
    finally:
        os.killpg(process.pid, signal.SIGCONT)
    assert becomes(0, lambda: run(check_of("site"), **home))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="no docker-compose here")
def test_compose_itself_reads_the_file_as_it_is_meant(tmp_path: Path) -> None:
    shutil.copytree(DOCKER, tmp_path / "docker")
    (tmp_path / "build" / "containers" / "context").mkdir(parents=True)
    done = subprocess.run(
        ["docker-compose", "-f", "docker/compose.yaml", "--profile", "demo", "config"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "COORDINATOR_NAME": "coordinator.example.org"},
    )  # fmt: skip
    said: dict[str, Any] = yaml.safe_load(done.stdout)
    assert set(said["services"]) == {"coordinator", "site", "demo"}
    for name, service in said["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not str(service["user"]).startswith("0"), name
        assert not service.get("privileged")
        assert not service.get("environment")
    assert "ports" not in said["services"]["site"]
    assert "ports" not in said["services"]["demo"]
    assert len(said["services"]["coordinator"]["ports"]) == 3
    joined = said["services"]["coordinator"]["networks"]["coordinator"]["aliases"]
    assert joined == ["coordinator.example.org"]
    assert "coordinator.example.org" in " ".join(
        said["services"]["coordinator"]["healthcheck"]["test"]
    )


def test_the_interpreter_of_a_check_is_the_images_own() -> None:
    assert Path(sys.executable).parent == BIN
    assert run(["python3", "-c", "import reidscope_protocols"]) == 0
    assert command("reidscope-site", "--version").code == 0
