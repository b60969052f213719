"""The house's own rules, as far as a test can see them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "protocols": "reidscope_protocols",
    "deid": "reidscope_deid",
    "site_agent": "reidscope_site",
    "server": "reidscope_server",
}
LONGEST = 500
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "misc"}


def modules() -> list[Path]:
    return [
        path
        for folder, package in PACKAGES.items()
        for path in (ROOT / folder / package).rglob("*.py")
        if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))
    ]


def test_no_module_is_longer_than_an_idea() -> None:
    long = {str(path): text.count("\n") for path in modules() if (text := path.read_text())}
    assert {path: lines for path, lines in long.items() if lines > LONGEST} == {}


def test_no_module_is_named_after_nothing() -> None:
    assert not {path.stem for path in modules()} & FORBIDDEN_NAMES


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_flower_is_imported_in_exactly_one_module_a_side() -> None:
    speakers = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if re.search(r"^\s*(from|import) flwr\b", path.read_text(), flags=re.MULTILINE)
    ]
    assert sorted(speakers) == [
        "server/reidscope_server/flower.py",
        "site_agent/reidscope_site/flower.py",
    ]


def test_release_is_the_only_module_at_a_site_that_builds_a_release() -> None:
    builders = []
    for path in (ROOT / "site_agent" / "reidscope_site").rglob("*.py"):
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        if any(isinstance(call.func, ast.Name) and call.func.id == "Release" for call in calls):
            builders.append(path.name)
    # preview builds one of made-up counts, signed by a key that nobody has pinned
    assert sorted(builders) == ["preview.py", "release.py"]


def test_the_coordinator_loads_neither_torch_nor_pydicom_in_a_fresh_process() -> None:
    code = (
        "import sys; import reidscope_server.cli, reidscope_server.up, reidscope_server.publish;"
        "print(sorted({'torch','pydicom','cv2','onnxruntime','reidscope_deid'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_commands_about_consent_do_not_wait_for_image_libraries() -> None:
    code = (
        "import sys; import reidscope_site.cli;"
        "print(sorted({'torch','cv2','onnxruntime','flwr'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_generated_protocol_code_is_what_the_proto_file_gives(tmp_path: Path) -> None:
    folder = "reidscope_protocols/proto"
    (tmp_path / folder).mkdir(parents=True)
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", "-I.",
            f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}",
            f"{folder}/reidscope.proto",
        ],
        cwd=ROOT / "protocols",
        check=True,
    )  # fmt: skip
    for name in ("reidscope_pb2.py", "reidscope_pb2.pyi", "reidscope_pb2_grpc.py"):
        committed = (ROOT / "protocols" / folder / name).read_text()
        assert (tmp_path / folder / name).read_text() == committed, name


def test_every_adr_is_listed() -> None:
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()
    for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"):
        if path.name != "0000-template.md":
            assert path.name in listed


def test_the_changelog_keeps_a_privacy_heading() -> None:
    assert "### Privacy" in (ROOT / "CHANGELOG.md").read_text()


def test_every_privacy_docstring_names_a_section_that_exists() -> None:
    sections = set(
        re.findall(r"^## (.+)$", (ROOT / "docs" / "privacy.md").read_text(), flags=re.MULTILINE)
    )
    named = {
        " ".join(name.split())
        for path in modules()
        for name in re.findall(r'docs/privacy\.md,\s+"([^"]+)"', path.read_text())
    }
    assert len(named) > 5
    assert named - sections == set()
