"""How a study says which recogniser it attacks with: networks by sha256, and how each is fed.

A declaration is data: no code, no path, no address. The site loads the files that it names
(`reidscope_site.face.recognisers`) and refuses any whose sha256 is another.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from reidscope_protocols.statements import Parsed
from reidscope_protocols.vocabulary import Sha256

MAX_DIMENSION = 1024
"""Longest embedding whose 8-bit inner products are exact in float32: 128 * 128 * 1024 = 2^24."""

RecogniserName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Score = Annotated[float, Field(gt=0, lt=1)]
_COLOURS = 3


class NetworkFormat(StrEnum):
    """What a network's file is."""

    ONNX = "onnx"
    """Run by ONNX Runtime."""
    TORCHSCRIPT = "torchscript"
    """Run by PyTorch. It is code: a site's policy must list its sha256 (docs/privacy.md)."""
    DLIB = "dlib"
    """dlib's own face recogniser, run by dlib."""


class Colour(StrEnum):
    """Channels, in the order in which a network takes them."""

    RGB = "rgb"
    BGR = "bgr"
    GREY = "grey"
    """One channel, luma by ITU-R BT.601."""


class Layout(StrEnum):
    """Axes of a network's input: one picture, then channels and rows and columns."""

    NCHW = "nchw"
    NHWC = "nhwc"


class Alignment(StrEnum):
    """How a face is cut out before a network sees it."""

    ARCFACE = "arcface"
    """Best similarity of five landmarks to ArcFace's, which are given for 112 x 112 pixels."""
    DLIB_CHIP = "dlib-chip"
    """As dlib cuts its chips: 150 x 150 pixels with a quarter of padding."""
    BOX = "box"
    """The square about the detector's box, not turned."""


class Normalisation(Parsed):
    """What happens to each channel: (value - mean) * scale, values being 0 to 255.

    Attributes
    ----------
    mean, scale : tuple of float
        One number a channel, in the order of `Colour`.
    """

    mean: tuple[Finite, ...] = Field(min_length=1, max_length=_COLOURS)
    scale: tuple[Finite, ...] = Field(min_length=1, max_length=_COLOURS)


class RecogniserPart(Parsed):
    """One network.

    Attributes
    ----------
    sha256 : str
        Of its file, as it is; checked before a byte is parsed.
    input_px : int
        Rows and columns of its input.
    distance : str
        What it was trained for. Either way embeddings are centred and brought to unit length, where
        the smallest Euclidean distance is the largest cosine.
    dimension : int
        Numbers that it gives for a face.
    weight : float
        In a fusion: what its unit vector is multiplied by.
    """

    format: NetworkFormat
    sha256: Sha256
    input_px: int = Field(ge=16, le=1024)
    colour: Colour
    normalisation: Normalisation
    layout: Layout
    alignment: Alignment
    distance: Literal["cosine", "euclidean"]
    dimension: int = Field(ge=2, le=MAX_DIMENSION)
    weight: float = Field(default=1.0, gt=0, le=100)

    @property
    def channels(self) -> int:
        """Channels of its input."""
        return 1 if self.colour is Colour.GREY else _COLOURS

    @model_validator(mode="after")
    def _one_number_a_channel(self) -> Self:
        lengths = {len(self.normalisation.mean), len(self.normalisation.scale)}
        if lengths != {self.channels}:
            message = f"normalisation must give {self.channels} means and scales"
            raise ValueError(message)
        if 0 in self.normalisation.scale:
            message = "a scale must not be nought"
            raise ValueError(message)
        return self


class DetectorDeclaration(Parsed):
    """Who finds faces and five landmarks on each.

    Attributes
    ----------
    photo_min_score : float
        A face of a photo counts from here on; two such faces make the photo useless.
    scan_min_score : float
        Lower for renders of scans: the attacker knows that a head is there.
    suppression : float
        Of two boxes that overlap by more than this share, the better one stays.
    """

    name: Literal["yunet"] = "yunet"
    sha256: Sha256
    photo_min_score: Score = 0.6
    scan_min_score: Score = 0.3
    suppression: Score = 0.3


class RecogniserDeclaration(Parsed):
    """A detector and one or several networks.

    The embedding of one network is what it gives; that of several is each one's unit vector times
    its weight, one after another.
    """

    name: RecogniserName
    detector: DetectorDeclaration
    parts: tuple[RecogniserPart, ...] = Field(min_length=1, max_length=4)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.dimension > MAX_DIMENSION:
            message = f"dimensions must add up to at most {MAX_DIMENSION}"
            raise ValueError(message)
        if len(set(self.sha256s)) != len(self.sha256s):
            message = "each file must appear once"
            raise ValueError(message)
        return self

    @property
    def dimension(self) -> int:
        """Numbers of an embedding."""
        return sum(part.dimension for part in self.parts)

    @property
    def sha256s(self) -> tuple[str, ...]:
        """Files that it needs: the detector's, then each network's."""
        return (self.detector.sha256, *(part.sha256 for part in self.parts))

    @property
    def code_sha256s(self) -> tuple[str, ...]:
        """Files of them that are code, TorchScript: a site's policy must list each."""
        return tuple(part.sha256 for part in self.parts if part.format is NetworkFormat.TORCHSCRIPT)


YUNET = DetectorDeclaration(
    sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
)
"""OpenCV Zoo's YuNet, 8 bits, March 2023."""

_AS_IT_IS = Normalisation(mean=(0.0,) * _COLOURS, scale=(1.0,) * _COLOURS)

_SFACE = RecogniserPart(
    format=NetworkFormat.ONNX,
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    input_px=112,
    colour=Colour.RGB,
    normalisation=_AS_IT_IS,
    layout=Layout.NCHW,
    alignment=Alignment.ARCFACE,
    distance="cosine",
    dimension=128,
)
_DLIB = RecogniserPart(
    format=NetworkFormat.DLIB,
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    input_px=150,
    colour=Colour.RGB,
    normalisation=_AS_IT_IS,  # dlib normalises within
    layout=Layout.NHWC,
    alignment=Alignment.DLIB_CHIP,
    distance="euclidean",
    dimension=128,
)

SFACE = RecogniserDeclaration(name="sface", detector=YUNET, parts=(_SFACE,))
"""The default: OpenCV Zoo's SFace, 8 bits, December 2021."""

DLIB_RESNET = RecogniserDeclaration(name="dlib-resnet", detector=YUNET, parts=(_DLIB,))
"""dlib's ResNet of 2017, for whoever installed the extra `dlib`."""

SFACE_AND_DLIB = RecogniserDeclaration(name="sface-and-dlib", detector=YUNET, parts=(_SFACE, _DLIB))
"""Both."""
