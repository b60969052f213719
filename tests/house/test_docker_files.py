"""What the container files promise: no port at a site, no root, nothing writable but what is named.

Whether the images build and a round runs in them is tried by docker/prove.sh, which needs root.
"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
IMAGES = {"site": "site.Dockerfile", "coordinator": "server.Dockerfile", "demo": "site.Dockerfile"}
SCRIPTS = sorted(DOCKER.glob("*.sh"))


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    return read


def instructions(name: str) -> list[tuple[str, str]]:
    """Return each instruction of a Dockerfile with its words, lines joined, comments dropped."""
    lines = [
        line
        for line in (DOCKER / name).read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines()]


def settings_of_default_ports() -> set[str]:
    text = (ROOT / "server" / "reidscope_server" / "cli.py").read_text(encoding="utf-8")
    return set(re.findall(r"\b(844\d)\b", text))


@pytest.mark.parametrize("name", sorted(set(IMAGES.values())))
def test_an_image_has_stages_a_base_of_ones_own_and_a_user_that_is_not_root(name: str) -> None:
    said = instructions(name)
    first = said[0]
    assert first[0] == "ARG"
    assert first[1].startswith("BASE=")
    assert [words for word, words in said if word == "FROM"] == ["${BASE} AS build", "${BASE}"]
    users = [words for word, words in said if word == "USER"]
    assert users == ["10001:10001"]
    order = [word for word, _ in said]
    assert order.index("USER") < order.index("ENTRYPOINT")


@pytest.mark.parametrize("name", sorted(set(IMAGES.values())))
def test_an_image_is_built_of_pinned_wheels_without_a_network(name: str) -> None:
    runs = [words for word, words in instructions(name) if word == "RUN"]
    installs = re.findall(r"\$pip install [^&]*", " ".join(runs))
    assert installs
    for words in installs:
        assert "--no-index --find-links /wheels" in words
        assert "-c /constraints.txt" in words or "--no-deps -r /requirements-data.txt" in words
    assert not re.search(r"\b(curl|wget|apt-get|git) ", " ".join(runs))
    assert "uninstall --quiet --yes" in runs[0]


def test_the_sites_image_exposes_no_port_and_the_coordinators_those_that_init_names() -> None:
    site = [words for word, words in instructions("site.Dockerfile") if word == "EXPOSE"]
    server = [words for word, words in instructions("server.Dockerfile") if word == "EXPOSE"]
    assert site == []
    assert set(" ".join(server).split()) == settings_of_default_ports()


def test_the_coordinators_image_loses_what_could_read_an_image() -> None:
    runs = " ".join(words for word, words in instructions("server.Dockerfile") if word == "RUN")
    assert re.search(r"uninstall [^&]*\bpydicom\b", runs)
    assert re.search(r"rm -rf [^&]*\breidscope_deid\b[^&]*\breidscope_site\b", runs)


@pytest.mark.parametrize("service", sorted(IMAGES))
def test_a_service_is_read_only_powerless_and_bounded(service: str) -> None:
    said = compose()["services"][service]
    assert said["read_only"] is True
    assert said["user"] == "10001:10001"
    assert said["cap_drop"] == ["ALL"]
    assert said["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp:") for mount in said["tmpfs"])  # noqa: S108  # a container's own
    assert said["mem_limit"]
    assert said["pids_limit"]
    assert "privileged" not in said
    assert "cap_add" not in said
    assert said["build"]["dockerfile"].endswith(f"/{IMAGES[service]}")


def test_a_site_opens_no_port_and_shares_no_network_with_the_coordinator() -> None:
    services = compose()["services"]
    assert not {"ports", "expose", "network_mode"} & set(services["site"])
    assert not set(services["site"]["networks"]) & set(services["coordinator"]["networks"])
    inside = {port.rsplit(":", 1)[1] for port in services["coordinator"]["ports"]}
    assert inside == settings_of_default_ports()


def test_a_demonstration_has_no_network_but_its_own_loopback() -> None:
    demo = compose()["services"]["demo"]
    assert demo["network_mode"] == "none"
    assert "ports" not in demo
    assert demo["profiles"] == ["demo"]


def test_a_site_reads_its_data_and_writes_its_home_and_its_witness_alone() -> None:
    mounts = compose()["services"]["site"]["volumes"]
    writable = {mount.rsplit(":", 1)[1] for mount in mounts if not mount.endswith(":ro")}
    assert writable == {"/var/lib/reidscope", "/var/lib/reidscope-witness"}
    assert any(":/data/dicom:ro" in mount for mount in mounts)


def test_secrets_are_files_and_none_stands_in_the_environment() -> None:
    said = compose()
    named = [
        secret for service in said["services"].values() for secret in service.get("secrets", ())
    ]
    assert sorted(named) == sorted(said["secrets"])
    assert said["services"]["coordinator"]["secrets"] == ["coordinator_key"]
    assert all(set(secret) == {"file"} for secret in said["secrets"].values())
    assert all("environment" not in service for service in said["services"].values())
    for name in set(IMAGES.values()):
        words = " ".join(words for word, words in instructions(name) if word in {"ENV", "ARG"})
        assert not re.search(r"TOKEN|SECRET|PASSWORD|KEY", words, flags=re.IGNORECASE)


def test_no_file_names_a_registrys_host() -> None:
    for path in [*DOCKER.glob("*.Dockerfile"), DOCKER / "compose.yaml", *SCRIPTS]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|\b[\w-]+\.(io|org|com)/", text), path.name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_executable_parses_and_stops_at_the_first_error(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    bash = shutil.which("bash")
    assert bash is not None
    subprocess.run([bash, "-n", str(script)], check=True)


@pytest.mark.parametrize(
    ("unit_file", "command"),
    [
        ("reidscope-site.service", "reidscope-site serve"),
        ("reidscope-server.service", "reidscope-server up"),
    ],
)
def test_a_unit_runs_as_nobody_special_and_writes_its_own_state_alone(
    unit_file: str, command: str
) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds the case
    unit.read(DOCKER / unit_file)
    service = dict(unit["Service"])
    assert service["User"] == "reidscope"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service["NoNewPrivileges"] == "true"
    assert service["StateDirectoryMode"] == "0700"
    assert service["ExecStart"].endswith(command)
    assert "AF_UNIX" in service["RestrictAddressFamilies"]
    assert "AF_PACKET" not in service["RestrictAddressFamilies"]
