"""A recogniser is declared in data, strictly."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from reidscope_protocols.recogniser import (
    DLIB_RESNET,
    SFACE,
    SFACE_AND_DLIB,
    RecogniserDeclaration,
)


@pytest.mark.parametrize("named", [SFACE, DLIB_RESNET, SFACE_AND_DLIB])
def test_a_declaration_reads_back_as_it_was_written(named: RecogniserDeclaration) -> None:
    again = RecogniserDeclaration.model_validate_json(named.model_dump_json())
    assert again == named
    assert again.dimension == 128 * len(named.parts)
    assert again.sha256s[0] == named.detector.sha256


@pytest.mark.parametrize(
    "change",
    [
        {"parts": []},
        {"name": "../SFace"},
        {"code": "print()"},
        {"part": {"sha256": "0" * 63}},
        {"part": {"format": "pickle"}},
        {"part": {"dimension": 1025}},
        {"part": {"input_px": 0}},
        {"part": {"input_px": "112"}},
        {"part": {"colour": "grey"}},
        {"part": {"layout": "chw"}},
        {"part": {"alignment": "none"}},
        {"part": {"distance": "manhattan"}},
        {"part": {"weight": 0}},
        {"part": {"path": "model.onnx"}},
        {"part": {"normalisation": {"mean": [0.0, 0.0, 0.0], "scale": [1.0, 0.0, 1.0]}}},
        {"part": {"normalisation": {"mean": [0.0, 0.0], "scale": [1.0, 1.0]}}},
        {"detector": {"name": "somebody's"}},
        {"detector": {"photo_min_score": 1.5}},
    ],
    ids=str,
)
def test_a_declaration_that_is_not_one_is_refused(change: dict[str, object]) -> None:
    held = json.loads(SFACE.model_dump_json())
    part, detector = change.pop("part", {}), change.pop("detector", {})
    assert isinstance(part, dict)
    assert isinstance(detector, dict)
    held["parts"][0] |= part
    held["detector"] |= detector
    with pytest.raises(ValidationError):
        RecogniserDeclaration.model_validate_json(json.dumps(held | change))


def test_torchscript_alone_is_code() -> None:
    held = json.loads(SFACE_AND_DLIB.model_dump_json())
    held["parts"][1] |= {"format": "torchscript", "sha256": "1" * 64}
    asked = RecogniserDeclaration.model_validate_json(json.dumps(held))
    assert asked.code_sha256s == ("1" * 64,)
    assert SFACE_AND_DLIB.code_sha256s == ()


def test_one_file_cannot_be_two_networks() -> None:
    with pytest.raises(ValidationError, match="each file must appear once"):
        RecogniserDeclaration(name="twice", detector=SFACE.detector, parts=SFACE.parts * 2)


def test_dimensions_beyond_exact_products_are_refused() -> None:
    (part,) = SFACE.parts
    parts = tuple(
        part.model_copy(update={"dimension": 600, "sha256": digit * 64}) for digit in "12"
    )
    with pytest.raises(ValidationError, match="at most 1024"):
        RecogniserDeclaration(name="long", detector=SFACE.detector, parts=parts)


def test_declaring_needs_neither_a_network_library_nor_the_transport() -> None:
    check = (
        "import sys, reidscope_protocols.recogniser; "
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'flwr', 'dlib', 'cv2') "
        "if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", check], capture_output=True, check=True)
    assert shown.stdout.decode().strip() == "[]"
