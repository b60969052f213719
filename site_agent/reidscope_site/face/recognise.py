"""A picture becomes an embedding: YuNet finds the face, one or several networks describe it.

`load` takes what a study declares; the default is SFace, 128 numbers a face. One picture at a time,
one thread, nothing kept: embedding people in batches moved similarities by 2e-6, enough to change
an outcome (docs/privacy.md, "Isolation").
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from reidscope_protocols.errors import ConstantMismatchError, MalformedError
from reidscope_protocols.recogniser import SFACE, Colour, Layout, NetworkFormat
from reidscope_site.face.align import cut
from reidscope_site.face.detect import Detector, Face, fit
from reidscope_site.face.recognisers.network import Network, checked, input_shape, no_network
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reidscope_protocols.recogniser import RecogniserDeclaration, RecogniserPart

PHOTO_MIN_SCORE = SFACE.detector.photo_min_score
"""A face of a photo counts from here on; two such faces make the photo useless."""
SCAN_MIN_SCORE = SFACE.detector.scan_min_score
"""Lower for renders of scans: the attacker knows that a head is there."""

Device = Literal["cpu", "cuda"]
_COLOURS = 3
_AGAIN = "fetch the study's constants again"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding(Unsendable):
    """What a recogniser makes of a face.

    Attributes
    ----------
    values : ndarray of float32
        (d,), not normalised.

    Privacy
    -------
    Biometric data of one person. Has no serialiser: pickle, copy and JSON raise TypeError
    (docs/privacy.md, "What stays at the site").
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
    """A detector and the networks of a declaration, loaded once, on one thread.

    Parameters
    ----------
    declaration : RecogniserDeclaration
        What the study asks for.
    detector : Detector
        YuNet.
    networks : sequence of Network
        One for each part, in order.

    Raises
    ------
    MalformedError
        If a network does not answer a test picture with what its part declares, twice the same, or
        answers another picture alike.
    """

    def __init__(
        self, declaration: RecogniserDeclaration, detector: Detector, networks: Sequence[Network]
    ) -> None:
        self._declaration = declaration
        self._detector = detector
        self._networks = tuple(networks)
        for part, network in zip(declaration.parts, self._networks, strict=True):
            _try_out(part, network)

    @classmethod
    def from_bytes(cls, *, detector: bytes, recogniser: bytes) -> Self:
        """Load YuNet and SFace.

        Raises
        ------
        MalformedError
            If one of them is no such model.
        """
        (part,) = SFACE.parts
        return cls(SFACE, Detector(detector), [_network(part, recogniser, device="cpu")])

    @property
    def dimension(self) -> int:
        """Numbers of an embedding, d."""
        return self._declaration.dimension

    @property
    def declaration(self) -> RecogniserDeclaration:
        """What it was loaded from."""
        return self._declaration

    def embed(self, image: NDArray[np.uint8], *, min_score: float | None = None) -> FaceReading:
        """Describe the best face of a picture.

        Parameters
        ----------
        image : ndarray of uint8
            (H, W, 3), RGB.
        min_score : float, optional
            Faces that the detector is less sure of do not count; by itself what is declared for
            scans.

        Privacy
        -------
        A function of this one picture and the weights (docs/privacy.md, "One person, one cell").
        """
        if image.dtype != np.uint8 or image.ndim != _COLOURS or image.shape[2] != _COLOURS:
            raise MalformedError(
                "a picture",
                got=f"{image.dtype} of {image.ndim} axes",
                expected="8-bit RGB, (H, W, 3)",
                do="convert it before",
            )
        picture = fit(image)
        least = self._declaration.detector.scan_min_score if min_score is None else min_score
        faces = self._detector.faces(picture, min_score=least)
        return FaceReading(
            faces=len(faces), embedding=self._describe(picture, faces[0]) if faces else None
        )

    def embed_photo(self, image: NDArray[np.uint8]) -> FaceReading:
        """Describe the face of a photograph, (H, W, 3) RGB; two faces or none give no embedding."""
        reading = self.embed(image, min_score=self._declaration.detector.photo_min_score)
        if reading.faces == 1:
            return reading
        return FaceReading(faces=reading.faces, embedding=None)

    def _describe(self, picture: NDArray[np.uint8], face: Face) -> Embedding | None:
        """Describe one face; None where a network has no finite answer to this very face."""
        described: list[NDArray[np.float32]] = []
        for part, network in zip(self._declaration.parts, self._networks, strict=True):
            aligned = cut(picture, face, alignment=part.alignment, size_px=part.input_px)
            answer = network.describe(blob(aligned, part))
            if not np.isfinite(answer).all():
                return None
            described.append(checked(answer, part))
        if len(described) == 1:
            return Embedding(values=described[0])
        fused = [
            _unit(values) * np.float32(part.weight)
            for values, part in zip(described, self._declaration.parts, strict=True)
        ]
        return Embedding(values=np.concatenate(fused))


def load(
    declaration: RecogniserDeclaration, files: Mapping[str, bytes], *, device: Device = "cpu"
) -> Recogniser:
    """Load what a study declares.

    Parameters
    ----------
    declaration : RecogniserDeclaration
        Of the signed study.
    files : mapping
        sha256 to content; more than are needed do no harm. Every sha256 is computed anew before a
        byte is parsed.
    device : str
        Where TorchScript runs. ONNX and dlib always run on the CPU. A card's embeddings differ from
        the CPU's in their last bits: whoever fixes one fixes it for the whole study.

    Raises
    ------
    ConstantMismatchError
        If a file is missing or is another one.
    MalformedError
        If a file is no such network, or does not take or give what the declaration says.
    UnsupportedError
        If dlib or a card is asked for and not there.

    Notes
    -----
    What loading a TorchScript file means is said in `recognisers.torchscript_network`: it is code,
    and a site whose policy does not list its sha256 must not come this far.
    """
    contents = [_pinned(files, sha256) for sha256 in declaration.sha256s]
    detector = Detector(contents[0], suppression=declaration.detector.suppression)
    networks = [
        _network(part, content, device=device)
        for part, content in zip(declaration.parts, contents[1:], strict=True)
    ]
    return Recogniser(declaration, detector, networks)


def blob(aligned: NDArray[np.uint8], part: RecogniserPart) -> NDArray[np.float32]:
    """Make an aligned face, (s, s, 3) RGB, the input that a network is declared to take.

    Privacy
    -------
    A person's face: stays in the process (docs/privacy.md, "What stays at the site").
    """
    if part.colour is Colour.GREY:
        channels = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY)[..., None]
    else:
        channels = aligned[..., ::-1] if part.colour is Colour.BGR else aligned
    mean = np.array(part.normalisation.mean, np.float32)
    scale = np.array(part.normalisation.scale, np.float32)
    values = (channels.astype(np.float32) - mean) * scale
    ordered = values.transpose(2, 0, 1) if part.layout is Layout.NCHW else values
    return np.ascontiguousarray(ordered[None], dtype=np.float32)


def _network(part: RecogniserPart, content: bytes, *, device: Device) -> Network:
    # each imported where it is asked for: two of the three are heavy, one is an extra
    if part.format is NetworkFormat.ONNX:
        from reidscope_site.face.recognisers.onnx_network import OnnxNetwork  # noqa: PLC0415  # heavy

        return OnnxNetwork(content, part)
    if part.format is NetworkFormat.TORCHSCRIPT:
        from reidscope_site.face.recognisers.torchscript_network import (  # noqa: PLC0415  # heavy
            TorchScriptNetwork,
        )

        return TorchScriptNetwork(content, part, device=device)
    from reidscope_site.face.recognisers.dlib_network import DlibNetwork  # noqa: PLC0415  # heavy

    return DlibNetwork(content, part)


def _try_out(part: RecogniserPart, network: Network) -> None:
    _, *shape = input_shape(part)
    size = part.input_px
    ramp = np.arange(size * size * _COLOURS, dtype=np.uint32).reshape(size, size, _COLOURS)
    picture = (ramp * 2654435761 >> 24).astype(np.uint8)  # noise of a multiplicative hash
    first, again = (checked(network.describe(blob(picture, part)), part) for _ in range(2))
    if first.tobytes() != again.tobytes():
        raise no_network(part, f"answers to one picture of {shape} that differ")
    other = checked(network.describe(blob(picture[::-1, ::-1] // 2, part)), part)
    if first.tobytes() == other.tobytes():
        raise no_network(part, f"one answer to two pictures of {shape}")


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.sqrt(np.add.reduce(values.astype(np.float64) ** 2))
    unit = values / length if length > 0 else values
    return unit.astype(np.float32)


def _pinned(files: Mapping[str, bytes], sha256: str) -> bytes:
    content = files.get(sha256)
    if content is None:
        raise ConstantMismatchError(
            f"the recogniser's file {sha256[:12]}",
            got="no file of that sha256",
            expected=sha256,
            do=_AGAIN,
        )
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ConstantMismatchError(
            f"the recogniser's file {sha256[:12]}",
            got=f"sha256 {found}",
            expected=sha256,
            do=_AGAIN,
        )
    return content
