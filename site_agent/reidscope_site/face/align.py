"""A face turned upright and cut out, by the best similarity of five landmarks or by its box.

The similarity is what OpenCV's FaceRecognizerSF.alignCrop does (Umeyama's least squares, 1991, as
in ArcFace), without its model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from reidscope_protocols.recogniser import Alignment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.detect import Face

CROP_PX = 112
CHIP_PX = 150

_STANDARD = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=np.float64,
)
"""Five landmarks in the crop, in the detector's order (ArcFace)."""

_CHIP = np.array(
    [[44.3, 43.0], [98.5, 44.3], [70.9, 75.9], [47.1, 97.2], [92.9, 99.2]], dtype=np.float64
)
"""The same five in dlib's chip of 150 x 150 with a quarter of padding.

dlib turns its chips by other points (corners of the eyes). These are the means, over 96 photos of
48 public synthetic people, of where YuNet's landmarks lie in the chips that dlib itself cuts (its
HOG detector and its five-point predictor, CC0); standard deviations 2.4 to 5.8 pixels.
"""


def similarity(
    landmarks: NDArray[np.float32], standard: NDArray[np.float64] = _STANDARD
) -> NDArray[np.float64]:
    """Rotation, scale and shift, (2, 3), that best map five landmarks (5, 2) to the standard ones.

    Never a mirror image. Coinciding landmarks give a finite matrix.
    """
    points = landmarks.astype(np.float64)
    from_mean, to_mean = points.mean(0), standard.mean(0)
    centred, target = points - from_mean, standard - to_mean
    left, stretch, right = np.linalg.svd(target.T @ centred / len(points))
    sign = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1.0])
    rotation = (left * sign) @ right
    variance = (centred**2).sum() / len(points)
    scale = float(stretch @ sign) / variance if variance > 0 else 1.0
    matrix = np.empty((2, 3))
    matrix[:, :2] = scale * rotation
    matrix[:, 2] = to_mean - scale * rotation @ from_mean
    return matrix


def crop(picture: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut a face out, (112, 112, 3), channels as they came; black where the picture ends.

    Privacy
    -------
    A person's face: stays in the process (docs/privacy.md, "What stays at the site").
    """
    face: NDArray[np.uint8] = cv2.warpAffine(
        picture, similarity(landmarks), (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR
    )
    return face


def cut(
    picture: NDArray[np.uint8], face: Face, *, alignment: Alignment, size_px: int
) -> NDArray[np.uint8]:
    """Cut a face out as a network wants it.

    Parameters
    ----------
    picture : ndarray of uint8
        (H, W, 3).
    face : Face
        Where it is.
    alignment : Alignment
        How it is turned.
    size_px : int
        Rows and columns of the result.

    Returns
    -------
    ndarray of uint8
        (size_px, size_px, 3), channels as they came; black where the picture ends.

    Privacy
    -------
    A person's face: stays in the process (docs/privacy.md, "What stays at the site").
    """
    if alignment is Alignment.BOX:
        matrix = _square(face.box, size_px)
    else:
        standard, base = (
            (_STANDARD, CROP_PX) if alignment is Alignment.ARCFACE else (_CHIP, CHIP_PX)
        )
        matrix = similarity(face.landmarks, standard) * (size_px / base)
    aligned: NDArray[np.uint8] = cv2.warpAffine(
        picture, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR
    )
    return aligned


def _square(box: tuple[float, float, float, float], size_px: int) -> NDArray[np.float64]:
    """Scale and shift, (2, 3), of the square about a box, (left, top, right, bottom)."""
    left, top, right, bottom = box
    scale = size_px / max(right - left, bottom - top, 1.0)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    return np.column_stack([np.eye(2) * scale, size_px / 2 - scale * middle])
