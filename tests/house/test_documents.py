"""What the officers read is true of the code: paths, fields, weights, licences."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import pytest

from reidscope_protocols.enrolment import EnrolmentRequest
from reidscope_protocols.key_change import KeyChange, KeyClaim
from reidscope_protocols.recogniser import DLIB_RESNET, SFACE
from reidscope_protocols.secure_sum import MaskedRelease, MaskedTable, SumKeys
from reidscope_protocols.statements import Decision, Parsed, Release, ReleasedTable
from reidscope_protocols.wire import RELEASE_FRAME, pad
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.handover import WORD, Word

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "SECURITY.md",
    ROOT / "docker" / "README.md",
    *(
        DOCS / f"{name}.md"
        for name in (
            "data-flow", "ethics", "ledger", "licences", "privacy", "privacy-impact",
            "security-questions", "threat-model",
        )
    ),
]  # fmt: skip
FOLDERS = "protocols|deid|site_agent|server|tests|docker|docs|examples|benchmarks"
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./-]+|constraints\.txt|Makefile|pyproject\.toml)`")
STATEMENTS: dict[str, type[Parsed]] = {
    model.__name__: model
    for model in (
        EnrolmentRequest,
        KeyChange,
        KeyClaim,
        Decision,
        Release,
        ReleasedTable,
        SumKeys,
        MaskedRelease,
        MaskedTable,
    )
}
WEIGHTS = re.compile(r"[\w.-]+\.(?:onnx|dat|npz|pt|pth|tflite|safetensors)\b")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_and_test_that_an_officer_is_pointed_to_exists(page: Path) -> None:
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    assert named or page.name == "licences.md"
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", ["security-questions", "threat-model"])
def test_every_answer_names_its_proof_or_says_whose_or_that_there_is_none(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    rows = [
        line
        for line in text.splitlines()
        if line.startswith("| ")
        and not re.match(r"^\| (question|who|at a site) \|", line)
        and not line.startswith("|---")
    ]
    assert len(rows) > 15
    without = [
        row
        for row in rows
        if not re.search(r"`[\w./-]+`|\]\(\.\./SECURITY\.md\)|\*Yours\*|\*not there\*", row)
    ]
    assert without == []


def test_no_document_for_officers_is_unreachable_from_another_page() -> None:
    pages = [ROOT / "README.md", *PAGES]
    linked = {
        (page.parent / target).resolve()
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    }
    for name in ("data-flow", "ethics", "licences", "privacy-impact"):
        assert DOCS / f"{name}.md" in linked, name


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_the_fields_that_leave_are_those_that_are_listed(name: str) -> None:
    text = (DOCS / "data-flow.md").read_text(encoding="utf-8")
    block = re.search(rf"<!-- fields: {name} -->\n(.*?)<!-- /fields -->", text, flags=re.DOTALL)
    assert block is not None
    listed = re.findall(r"^\| `(\w+)` \|", block.group(1), flags=re.MULTILINE)
    fields = [said.alias or field for field, said in STATEMENTS[name].model_fields.items()]
    assert sorted(listed) == sorted(fields)


def test_the_answer_that_is_shown_byte_by_byte_is_the_one_that_leaves() -> None:
    text = (DOCS / "data-flow.md").read_text(encoding="utf-8")
    shown = re.search(r"^offset .*?^12 ", text, flags=re.DOTALL | re.MULTILINE)
    assert shown is not None
    rows = re.findall(r"^\d+ +((?:[0-9a-f]{2} )+)", shown.group(0), flags=re.MULTILINE)
    said = bytes.fromhex("".join(rows))
    frame = pad(WORD + Word.WORKING.encode())
    assert frame == said.ljust(RELEASE_FRAME, b"\0")
    assert f"{RELEASE_FRAME - len(said):,} times nought" in text


def test_every_word_that_a_site_can_say_is_listed() -> None:
    text = (DOCS / "data-flow.md").read_text(encoding="utf-8")
    assert [word for word in Word if f"`{word}`" not in text] == []


def rows_of_licences() -> dict[str, tuple[str, str]]:
    """Return sha256 and licence of each file that docs/licences.md lists."""
    text = (DOCS / "licences.md").read_text(encoding="utf-8")
    found = re.findall(
        r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \| ([^|]+) \|$", text, flags=re.MULTILINE
    )
    return {name: (sha256, licence) for name, sha256, licence in found}


def test_every_file_of_weights_that_the_code_names_stands_in_the_licences() -> None:
    named = {
        match
        for package in ("protocols", "deid", "site_agent", "server")
        for path in (ROOT / package).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if '"' in line
        for quoted in re.findall(r'"([^"]*)"', line)
        for match in WEIGHTS.findall(quoted)
    }
    assert {"face_detection_yunet_2023mar_int8bq.onnx", "average_head.npz"} <= named
    # ONNX's own word for its standard operators, and no file
    named -= {"ai.onnx"}
    assert named - set(rows_of_licences()) == set()


def test_the_sha256_of_each_licensed_file_is_the_one_that_is_pinned_or_shipped() -> None:
    rows = {name: sha256 for name, (sha256, _) in rows_of_licences().items()}
    models = installed_model_bytes()
    assert rows["face_detection_yunet_2023mar_int8bq.onnx"] == SFACE.detector.sha256
    assert rows["face_recognition_sface_2021dec_int8bq.onnx"] == SFACE.parts[0].sha256
    assert rows["dlib_face_recognition_resnet_model_v1.dat"] == DLIB_RESNET.parts[0].sha256
    assert hashlib.sha256(models.detector).hexdigest() == SFACE.detector.sha256
    assert hashlib.sha256(models.recogniser).hexdigest() == SFACE.parts[0].sha256
    shipped = ROOT / "site_agent" / "reidscope_site" / "data"
    for name in ("average_head.npz", "brain_mask.npz"):
        assert rows[name] == hashlib.sha256((shipped / name).read_bytes()).hexdigest()
    rapidocr = importlib.util.find_spec("rapidocr")
    assert rapidocr is not None
    assert rapidocr.origin is not None
    detector = Path(rapidocr.origin).parent / "models" / "PP-OCRv6_det_small.onnx"
    assert rows["PP-OCRv6_det_small.onnx"] == hashlib.sha256(detector.read_bytes()).hexdigest()


def test_every_licensed_file_has_a_licence_and_the_networks_that_ship_are_all_listed() -> None:
    rows = rows_of_licences()
    assert all(licence.strip() for _, licence in rows.values())
    pinned = {*SFACE.sha256s, *DLIB_RESNET.sha256s}
    assert pinned <= {sha256 for sha256, _ in rows.values()}
