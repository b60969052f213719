"""A picture becomes an embedding: YuNet finds the face, SFace describes it in 128 numbers.

One picture at a time, one thread, nothing kept: embedding people in batches moved similarities by
2e-6, enough to change an outcome (docs/privacy.md, "Isolation").
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# ONNX Runtime reads the switch above when it is imported, and keeps a device number without it.
import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from reidscope_protocols.errors import MalformedError
from reidscope_site.face.align import crop
from reidscope_site.face.detect import Detector, Face, fit
from reidscope_site.face.unsendable import Unsendable

PHOTO_MIN_SCORE = 0.6
"""A face of a photo counts from here on; two such faces make the photo useless."""
SCAN_MIN_SCORE = 0.3
"""Lower for renders of scans: the attacker knows that a head is there."""

_INPUT = "data"
_UNLOADABLE = (
    onnxruntime_pybind11_state.Fail,
    onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime_pybind11_state.NotImplemented,
)
_COLOURS = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding(Unsendable):
    """What a recogniser makes of a face.

    Attributes
    ----------
    values : ndarray of float32
        (d,), not normalised.

    Privacy
    -------
    Biometric data of one person. Has no serialiser: pickle, copy and JSON raise TypeError.
    """

    values: NDArray[np.float32]

    def __repr__(self) -> str:
        return f"Embedding(of {len(self.values)} numbers)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceReading:
    """What was read off one picture.

    Attributes
    ----------
    faces : int
        Faces that were found.
    embedding : Embedding or None
        Of the best one; None without a face.
    """

    faces: int
    embedding: Embedding | None


class Recogniser:
    """YuNet and SFace, loaded once, on one thread."""

    def __init__(self, detector: Detector, network: onnxruntime.InferenceSession) -> None:
        self._detector = detector
        self._network = network

    @classmethod
    def from_bytes(cls, *, detector: bytes, recogniser: bytes) -> Self:
        """Load both models.

        Raises
        ------
        MalformedError
            If one of them is no such model.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            network = onnxruntime.InferenceSession(
                trimmed(recogniser), options, providers=["CPUExecutionProvider"]
            )
        except (DecodeError, *_UNLOADABLE) as error:
            raise MalformedError(
                "the face recogniser",
                got="a file that ONNX Runtime cannot load",
                expected="SFace as ONNX",
                do="fetch the study's constants again",
            ) from error
        return cls(Detector(detector), network)

    def embed(self, image: NDArray[np.uint8], *, min_score: float = SCAN_MIN_SCORE) -> FaceReading:
        """Describe the best face of a picture.

        Parameters
        ----------
        image : ndarray of uint8
            (H, W, 3), RGB.
        min_score : float
            Faces that the detector is less sure of do not count.

        Privacy
        -------
        A function of this one picture and the weights.
        """
        if image.dtype != np.uint8 or image.ndim != _COLOURS or image.shape[2] != _COLOURS:
            raise MalformedError(
                "a picture",
                got=f"{image.dtype} of {image.ndim} axes",
                expected="8-bit RGB, (H, W, 3)",
                do="convert it before",
            )
        picture = fit(image)
        faces = self._detector.faces(picture, min_score=min_score)
        return FaceReading(
            faces=len(faces), embedding=self._describe(picture, faces[0]) if faces else None
        )

    def embed_photo(self, image: NDArray[np.uint8]) -> FaceReading:
        """Describe the face of a photograph, (H, W, 3) RGB; two faces or none give no embedding."""
        reading = self.embed(image, min_score=PHOTO_MIN_SCORE)
        if reading.faces == 1:
            return reading
        return FaceReading(faces=reading.faces, embedding=None)

    def _describe(self, picture: NDArray[np.uint8], face: Face) -> Embedding:
        aligned = crop(picture, face.landmarks)
        blob = np.ascontiguousarray(aligned.transpose(2, 0, 1)[None], dtype=np.float32)
        (values,) = self._network.run(None, {_INPUT: blob})
        return Embedding(values=np.asarray(values, dtype=np.float32).reshape(-1))


def trimmed(model: bytes) -> bytes:
    """Keep the one input `data` of an ONNX graph.

    The int8bq file of SFace lists its weights as inputs too; ONNX Runtime would ask for them.
    """
    graph = onnx.load_from_string(model)
    kept = [entry for entry in graph.graph.input if entry.name == _INPUT]
    del graph.graph.input[:]
    graph.graph.input.extend(kept)
    content: bytes = graph.SerializeToString()
    return content
