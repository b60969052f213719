"""Where the faces of a picture are: YuNet through OpenCV, five landmarks a face.

OpenCV is held to one thread, so that the same picture gives the same landmarks to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reidscope_protocols.errors import MalformedError

LONGEST_PX = 640
"""Larger pictures are reduced to this before anything else looks at them."""

_SUPPRESSION = 0.3
_CANDIDATES = 50
_START_SIZE = (320, 320)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Face:
    """One detected face.

    Attributes
    ----------
    score : float
        In [0, 1].
    landmarks : ndarray of float32
        (5, 2), x then y in pixels: right eye, left eye, nose tip, right and left corner of the
        mouth.
    box : tuple of 4 floats
        Left, top, right, bottom in pixels.

    Privacy
    -------
    Of one person's picture: stays in the process (docs/privacy.md, "What stays at the site").
    """

    score: float
    landmarks: NDArray[np.float32]
    box: tuple[float, float, float, float]


class Detector:
    """YuNet, loaded once.

    Parameters
    ----------
    model : bytes
        The ONNX file.
    suppression : float
        Of two boxes that overlap by more than this share, the better one stays.

    Raises
    ------
    MalformedError
        If OpenCV cannot load it.
    """

    def __init__(self, model: bytes, *, suppression: float = _SUPPRESSION) -> None:
        cv2.setNumThreads(1)
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._net = cv2.FaceDetectorYN.create(
                "onnx",
                np.frombuffer(model, np.uint8),
                np.empty(0, np.uint8),
                _START_SIZE,
                0.0,
                suppression,
                _CANDIDATES,
            )
        except cv2.error as error:
            raise MalformedError(
                "the face detector",
                got="a file that OpenCV cannot load",
                expected="YuNet as ONNX",
                do="fetch the study's constants again",
            ) from error

    def faces(self, picture: NDArray[np.uint8], *, min_score: float) -> list[Face]:
        """Faces of a picture, best first.

        Parameters
        ----------
        picture : ndarray of uint8
            (H, W, 3), RGB, no side above `LONGEST_PX`.
        min_score : float
            Faces below it are not reported.
        """
        height, width = picture.shape[:2]
        self._net.setInputSize((width, height))
        self._net.setScoreThreshold(min_score)
        _, rows = self._net.detect(np.ascontiguousarray(picture[..., ::-1]))
        if rows is None:
            return []
        found = [
            Face(
                score=float(row[14]),
                landmarks=row[4:14].reshape(5, 2).astype(np.float32),
                box=_corners(*(float(number) for number in row[:4])),
            )
            for row in rows
        ]
        return sorted(found, key=lambda face: -face.score)


def _corners(
    left: float, top: float, width: float, height: float
) -> tuple[float, float, float, float]:
    return left, top, left + width, top + height


def fit(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce a picture, (H, W, 3), so that no side is above `LONGEST_PX`; never enlarge it."""
    height, width = picture.shape[:2]
    scale = LONGEST_PX / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced: NDArray[np.uint8] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return reduced
