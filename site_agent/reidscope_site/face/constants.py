"""The public constants of a face experiment, out of files whose sha256 the study names."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.errors import ConstantMismatchError
from reidscope_protocols.vocabulary import Fusion
from reidscope_site.face.arms import Arm, resolve
from reidscope_site.face.calibration import (
    FETCH_AGAIN,
    Calibration,
    Tail,
    gallery_name,
    malformed,
    means_of,
    read_calibration,
    reading_name,
)
from reidscope_site.face.card import on_card
from reidscope_site.face.recognise import Recogniser, load
from reidscope_site.face.template import Template, template

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_protocols.face_experiment import FaceExperiment, Readout
    from reidscope_site.face.products_cuda import Resident

_NPY_HEADER_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadingConstants:
    """What one attacker compares one arm with.

    Attributes
    ----------
    identified_mean, released_mean : ndarray of float32
        (d,); zeros for a raw attacker.
    gallery : ndarray of int8
        (M, d), centred and quantised.
    tail : Tail or None
        How strangers' scores end; None where too few of them are public.
    card : Resident or None
        The same gallery on a graphics card, where there is one and it pays.
    """

    identified_mean: NDArray[np.float32]
    released_mean: NDArray[np.float32]
    gallery: NDArray[np.int8]
    tail: Tail | None = None
    card: Resident | None = None

    @property
    def compared(self) -> NDArray[np.int8] | Resident:
        """What a person is compared with: the same bits either way."""
        return self.gallery if self.card is None else self.card


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantFiles:
    """The files of a study, as bytes.

    Attributes
    ----------
    gallery : bytes
        A .npy file of int8: (M, d), or (G, M, d) of several galleries.
    calibration : bytes
        A `Calibration` as JSON.
    models : mapping of str to bytes
        The detector and the recogniser's networks, by sha256.
    """

    gallery: bytes
    calibration: bytes
    models: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceConstants:
    """Everything public that a face experiment needs.

    Attributes
    ----------
    experiment : FaceExperiment
        What the study fixed.
    readings : mapping
        Column of the joint table to what it is compared with.
    arms : mapping
        Arms of the study by name.
    recogniser : Recogniser
        Of faces.
    template : Template
        The average head.
    """

    experiment: FaceExperiment
    readings: Mapping[str, ReadingConstants]
    arms: Mapping[str, Arm]
    recogniser: Recogniser
    template: Template


def load_constants(experiment: FaceExperiment, files: ConstantFiles) -> FaceConstants:
    """Read the constants of a study.

    Raises
    ------
    MalformedError
        If a file has not the shape that it must have, or they do not belong together.
    ConstantMismatchError
        If the calibration was made with other models, renders, mates or another average head.
    """
    calibration = read_calibration(files.calibration)
    galleries = read_galleries(
        files.gallery, count=len(calibration.galleries), dimension=calibration.dimension
    )
    if galleries.shape[1] != calibration.gallery_faces:
        raise malformed(
            "the gallery",
            got=f"{galleries.shape[1]} faces",
            expected=f"the {calibration.gallery_faces} that its calibration belongs to",
        )
    if experiment.reference_size != calibration.gallery_faces:
        raise malformed(
            "the reference",
            got=f"{calibration.gallery_faces} faces",
            expected=f"the study's {experiment.reference_size}",
        )
    head = template()
    _check(experiment, calibration, head)
    _check_tails(experiment, calibration)
    by_name = dict(zip(calibration.galleries, galleries, strict=True))
    return FaceConstants(
        experiment=experiment,
        readings=MappingProxyType(
            {
                readout.column: _reading(readout, experiment, calibration, by_name)
                for readout in experiment.readouts
            }
        ),
        arms=MappingProxyType({name: resolve(name) for name in experiment.arms}),
        recogniser=load(experiment.recogniser, files.models),
        template=head,
    )


def _check(experiment: FaceExperiment, calibration: Calibration, head: Template) -> None:
    for what, found, expected in (
        ("recogniser", experiment.recogniser, calibration.recogniser),
        ("detector", experiment.recogniser.detector.sha256, calibration.detector_sha256),
        ("average head", head.sha256, calibration.template_sha256),
        ("kind of mate", experiment.mate, calibration.mate),
        ("direction", experiment.direction, calibration.direction),
        ("plan of renders", experiment.renders, calibration.renders),
        ("kind of public scans", experiment.public_scans, calibration.scans),
    ):
        if found != expected:
            raise ConstantMismatchError(
                f"the {what}",
                got="another one than the calibration was made with",
                expected="the same",
                do=FETCH_AGAIN,
            )


def _check_tails(experiment: FaceExperiment, calibration: Calibration) -> None:
    names = {one.column: reading_name(one.arm, one.attacker) for one in experiment.readouts}
    for asked in experiment.beyond.tails if experiment.beyond else ():
        tail = calibration.tails.get(names[asked.column])
        if tail is None or tail.pairs != asked.pairs:
            raise malformed(
                "the calibration",
                got=f"no tail, or another one, for {names[asked.column]}",
                expected=f"the one of {asked.pairs} public pairs that the study names",
            )


def _reading(
    readout: Readout,
    experiment: FaceExperiment,
    calibration: Calibration,
    galleries: Mapping[str, NDArray[np.int8]],
) -> ReadingConstants:
    gallery = gallery_name(readout.arm, readout.attacker, experiment.direction)
    means = {name: np.array(mean, np.float32) for name, mean in calibration.means.items()}
    try:
        identified, released = means_of(
            means, readout.arm, readout.attacker, dimension=calibration.dimension
        )
        faces = galleries[gallery]
    except KeyError:
        raise malformed(
            "the calibration",
            got=f"no mean or no gallery for {reading_name(readout.arm, readout.attacker)}",
            expected="one for each reading of the study",
        ) from None
    plan = experiment.renders
    return ReadingConstants(
        identified_mean=identified,
        released_mean=released,
        gallery=faces,
        tail=calibration.tails.get(reading_name(readout.arm, readout.attacker)),
        card=on_card(faces, vectors=plan.views * plan.lights if plan.fusion is Fusion.BEST else 1),
    )


def read_galleries(content: bytes, *, count: int, dimension: int) -> NDArray[np.int8]:
    """Read galleries, int8 (count, M, d), from a .npy file; a single one has two axes there.

    NumPy's own header of that shape is expected byte for byte, and nothing is parsed: numpy's
    reader evaluates what stands there.

    Raises
    ------
    MalformedError
        If it is another file.
    """
    faces, rest = divmod(len(content) - _NPY_HEADER_BYTES, count * dimension)
    shape = (faces, dimension) if count == 1 else (count, faces, dimension)
    expected = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        expected, {"descr": "|i1", "fortran_order": False, "shape": shape}
    )
    if faces < 1 or rest or not content.startswith(expected.getvalue()):
        raise malformed(
            "the gallery",
            got="another file",
            expected="a .npy file of int8 of shape "
            + ("" if count == 1 else f"{count} x ")
            + f"(M, {dimension})",
        )
    # the bytes are immutable, and so is the view of them
    flat = np.frombuffer(content, np.int8, offset=_NPY_HEADER_BYTES)
    return flat.reshape(count, faces, dimension)


def sha256(content: bytes) -> str:
    """Hexadecimal sha256 of a constant."""
    return hashlib.sha256(content).hexdigest()
