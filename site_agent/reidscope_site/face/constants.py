"""The public constants of a face experiment, out of files whose sha256 the study names."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reidscope_protocols.errors import ConstantMismatchError, MalformedError
from reidscope_site.face.arms import ARMS, UNMODIFIED
from reidscope_site.face.compare import MAX_DIMENSION
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.template import Template, template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PHOTO = "photo"
"""Name of the photos' mean, beside the arms' names."""

SCHEMA: Final = "reidscope.calibration/1"

_AGAIN = "fetch the study's constants again"
_NPY_HEADER_BYTES = 128
_HEX = r"^[0-9a-f]{64}$"


class PublicFigures(BaseModel):
    """What the attack reached on public people: for whoever designs a study.

    Attributes
    ----------
    people : int
        Public probes with a face in the scan and one in the photo.
    found : mapping
        Arm to anchor to the mean chance of rank 1 in a gallery of that size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    people: Annotated[int, Field(ge=0)]
    found: dict[str, dict[str, Annotated[float, Field(ge=0, le=1)]]]


class Calibration(BaseModel):
    """The attacker's public knowledge: `calibration.json`.

    Attributes
    ----------
    detector_sha256, recogniser_sha256 : str
        The models that the means were taken with.
    template_sha256 : str
        The shipped average head.
    dimension : int
        Of an embedding.
    means : mapping
        `photo` and every arm to the mean embedding, float32 written so that it reads back exactly.
    sigma_gallery : mapping
        Gallery size N to the standard deviation that the choice of one reference gallery adds to a
        rate at N.
    gallery_faces : int
        M of the gallery that it belongs to.
    figures : PublicFigures
        Measured on public probes.
    seeds, versions : mapping
        What it was made from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    schema_: Annotated[Literal["reidscope.calibration/1"], Field(alias="schema")] = SCHEMA
    detector_sha256: Annotated[str, Field(pattern=_HEX)]
    recogniser_sha256: Annotated[str, Field(pattern=_HEX)]
    template_sha256: Annotated[str, Field(pattern=_HEX)]
    dimension: Annotated[int, Field(ge=1, le=MAX_DIMENSION)]
    means: dict[str, list[Annotated[float, Field(allow_inf_nan=False)]]]
    sigma_gallery: dict[
        Annotated[str, Field(pattern=r"^[1-9][0-9]*$")],
        Annotated[float, Field(ge=0, le=1)],
    ]
    gallery_faces: Annotated[int, Field(ge=1)]
    figures: PublicFigures
    seeds: dict[str, str]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceConstants:
    """Everything public that a face experiment needs.

    Attributes
    ----------
    gallery : ndarray of int8
        (M, d), centred by the photos' mean and quantised.
    means : mapping
        `photo` and every arm to its mean, float32 (d,).
    recogniser : Recogniser
        Of faces.
    template : Template
        The average head.
    anchors : tuple of int
        Ascending gallery sizes within [2, M + 1].
    arms : tuple of str
        `unmodified` first.

    Raises
    ------
    MalformedError
        If these do not belong together.
    """

    gallery: NDArray[np.int8]
    means: Mapping[str, NDArray[np.float32]]
    recogniser: Recogniser
    template: Template
    anchors: tuple[int, ...]
    arms: tuple[str, ...]

    def __post_init__(self) -> None:
        faces = len(self.gallery)
        if not self.anchors or list(self.anchors) != sorted(set(self.anchors)):
            raise _malformed("the anchors", got="no ascending sizes", expected="ascending sizes")
        if self.anchors[0] < 2 or self.anchors[-1] > faces + 1:  # noqa: PLR2004  # the mate and one stranger
            raise _malformed(
                "the anchors",
                got=f"{self.anchors[0]} to {self.anchors[-1]}",
                expected=f"sizes within 2 and {faces + 1}",
            )
        unknown = set(self.arms) - set(ARMS)
        if (
            not self.arms
            or self.arms[0] != UNMODIFIED
            or unknown
            or len(set(self.arms)) < len(self.arms)
        ):
            raise _malformed(
                "the arms",
                got=", ".join(self.arms) or "none",
                expected=f"{UNMODIFIED} first, then any of {', '.join(list(ARMS)[1:])}",
            )
        missing = {PHOTO, *self.arms} - set(self.means)
        if missing:
            raise _malformed(
                "the calibration", got=f"no mean for {sorted(missing)}", expected="one a mean each"
            )


def load_constants(  # noqa: PLR0917  # four files and the two choices of a study, in the order of the study
    gallery_bytes: bytes,
    calibration_bytes: bytes,
    detector_bytes: bytes,
    recogniser_bytes: bytes,
    anchors: Sequence[int],
    arms: Sequence[str],
) -> FaceConstants:
    """Read the constants of a study.

    Parameters
    ----------
    gallery_bytes : bytes
        A .npy file of int8, (M, d).
    calibration_bytes : bytes
        A `Calibration` as JSON.
    detector_bytes, recogniser_bytes : bytes
        ONNX files.
    anchors : sequence of int
        The study's gallery sizes.
    arms : sequence of str
        The study's arms, `unmodified` first.

    Raises
    ------
    MalformedError
        If a file has not the shape that it must have, or they do not belong together.
    ConstantMismatchError
        If the calibration was made with other models or another average head.
    """
    calibration = read_calibration(calibration_bytes)
    gallery = read_gallery(gallery_bytes, dimension=calibration.dimension)
    if len(gallery) != calibration.gallery_faces:
        raise _malformed(
            "the gallery",
            got=f"{len(gallery)} faces",
            expected=f"the {calibration.gallery_faces} that its calibration belongs to",
        )
    head = template()
    for what, found, expected in (
        ("the detector", _sha256(detector_bytes), calibration.detector_sha256),
        ("the recogniser", _sha256(recogniser_bytes), calibration.recogniser_sha256),
        ("the average head", head.sha256, calibration.template_sha256),
    ):
        if found != expected:
            raise ConstantMismatchError(what, got=f"sha256 {found}", expected=expected, do=_AGAIN)
    return FaceConstants(
        gallery=gallery,
        means=MappingProxyType(
            {name: np.array(mean, dtype=np.float32) for name, mean in calibration.means.items()}
        ),
        recogniser=Recogniser.from_bytes(detector=detector_bytes, recogniser=recogniser_bytes),
        template=head,
        anchors=tuple(anchors),
        arms=tuple(arms),
    )


def read_calibration(content: bytes) -> Calibration:
    """Parse `calibration.json`."""
    try:
        calibration = Calibration.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _malformed(
            "the calibration", got=f"{first['type']} at {first['loc']}", expected=SCHEMA
        ) from error
    if any(len(mean) != calibration.dimension for mean in calibration.means.values()):
        raise _malformed(
            "the calibration",
            got="a mean of another length",
            expected=f"{calibration.dimension} numbers",
        )
    return calibration


def read_gallery(content: bytes, *, dimension: int) -> NDArray[np.int8]:
    """Read a gallery, int8 (M, d), from a .npy file.

    NumPy's own header of that shape is expected byte for byte, and nothing is parsed: numpy's
    reader evaluates what stands there.
    """
    faces, rest = divmod(len(content) - _NPY_HEADER_BYTES, dimension)
    expected = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        expected, {"descr": "|i1", "fortran_order": False, "shape": (faces, dimension)}
    )
    if faces < 1 or rest or not content.startswith(expected.getvalue()):
        raise _malformed(
            "the gallery",
            got="another file",
            expected=f"a .npy file of int8 of shape (M, {dimension})",
        )
    # the bytes are immutable, and so is the view of them
    return np.frombuffer(content, np.int8, offset=_NPY_HEADER_BYTES).reshape(faces, dimension)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _malformed(what: str, *, got: str, expected: str) -> MalformedError:
    return MalformedError(what, got=got, expected=expected, do=_AGAIN)
