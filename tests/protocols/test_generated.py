"""The committed wire code is what grpcio-tools makes of the .proto file today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import reidscope_protocols

PACKAGE = Path(reidscope_protocols.__file__).parent
NAMES = ("reidscope_pb2.py", "reidscope_pb2.pyi", "reidscope_pb2_grpc.py")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{PACKAGE.parent}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            str(PACKAGE / "proto" / "reidscope.proto"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return out / "reidscope_protocols" / "proto"


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_file_is_what_the_proto_gives(generated: Path, name: str) -> None:
    assert (PACKAGE / "proto" / name).read_bytes() == (generated / name).read_bytes()
