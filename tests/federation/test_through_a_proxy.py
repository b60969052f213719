"""A hospital that lets everything out through one CONNECT proxy: enrolment, control and rounds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.federation.connect_proxy import connect_proxy
from tests.federation.consortium import BIN, ENVIRONMENT, Consortium, ok, wait_until

pytestmark = pytest.mark.slow


def logged(home: Path) -> list[str]:
    path = home / "log" / "agent.jsonl"
    return (
        [json.loads(line)["event"] for line in path.read_text().splitlines()]
        if path.exists()
        else []
    )


def test_enrolment_control_and_rounds_go_through_the_proxy_and_doctor_agrees(
    tmp_path: Path,
) -> None:
    made = Consortium(tmp_path)
    enrolment, control, fleet = made.ports
    ok(made.server("init", "--enrolment-port", enrolment, "--control-port", control,
                   "--fleet-port", fleet))  # fmt: skip
    made.up()
    process = None
    (tmp_path / "dicom").mkdir()
    home = made.home("north")
    plain = {name: held for name, held in ENVIRONMENT.items() if "proxy" not in name.lower()}
    try:
        ok(made.server("token", "north", "--out", tmp_path / "invitation"))
        ok(made.site("north", "init", "--name", "north", "--dicom", tmp_path / "dicom",
                     "--declared-people", 20))  # fmt: skip
        with connect_proxy() as proxy:
            environment = {**plain, "HTTPS_PROXY": proxy.address}

            def site(*words: str) -> subprocess.CompletedProcess[str]:
                return subprocess.run(
                    [str(BIN / "reidscope-site"), *words, "--home", str(home)],
                    capture_output=True, text=True, env=environment, timeout=100, check=False,
                )  # fmt: skip

            enrolled = site("enroll", str(tmp_path / "invitation"))
            assert enrolled.returncode == 0, enrolled.stderr
            assert proxy.through.keys() == {f"127.0.0.1:{enrolment}"}
            with (tmp_path / "north.log").open("w") as log:
                process = subprocess.Popen(
                    [str(BIN / "reidscope-site"), "serve", "--home", str(home)],
                    stdout=log, stderr=log, env=environment,
                )  # fmt: skip
            wait_until(
                "answers to both",
                lambda: all(proxy.through[f"127.0.0.1:{port}"] > 3000 for port in (control, fleet)),
            )
            assert "line-cut" not in logged(home)
            found = {
                one["what"]: one["fine"] for one in json.loads(site("doctor", "--json").stdout)
            }
            for what in ("control port", "fleet port"):
                assert found[f"coordinator's {what}"]
            assert found["clock, against the coordinator's"]
        wait_until("two cut lines", lambda: logged(home).count("line-cut") == 2)
    finally:
        if process is not None:
            process.kill()
            process.wait()
        made.kill("coordinator")
    (sent,) = (home / "sent").glob("*-enrolment-*.bin")
    assert b"payload" in sent.read_bytes()
