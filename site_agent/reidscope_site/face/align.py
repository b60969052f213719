"""A face turned upright and cut out: 112 x 112, by the best similarity of five landmarks.

What OpenCV's FaceRecognizerSF.alignCrop does (Umeyama's least squares, 1991, as in ArcFace),
without its model.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CROP_PX = 112

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


def similarity(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rotation, scale and shift, (2, 3), that best map five landmarks (5, 2) to the standard ones.

    Never a mirror image. Coinciding landmarks give a finite matrix.
    """
    points = landmarks.astype(np.float64)
    from_mean, to_mean = points.mean(0), _STANDARD.mean(0)
    centred, target = points - from_mean, _STANDARD - to_mean
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
    A person's face: stays in the process.
    """
    face: NDArray[np.uint8] = cv2.warpAffine(
        picture, similarity(landmarks), (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR
    )
    return face
