"""The attacker's public knowledge as a file: `calibration.json`, made by the reference build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reidscope_protocols.cohort import Modality
from reidscope_protocols.errors import MalformedError
from reidscope_protocols.face_experiment import Renders
from reidscope_protocols.recogniser import RecogniserDeclaration
from reidscope_protocols.vocabulary import Attacker, Direction, Mate
from reidscope_site.face.compare import MAX_DIMENSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA: Final = "reidscope.calibration/2"
IDENTIFIED = "identified"
"""Name of the mean and the gallery of the side that has names, beside the readings' names."""

FETCH_AGAIN = "fetch the study's constants again"
_HEX = r"^[0-9a-f]{64}$"

Share = Annotated[float, Field(ge=0, le=1)]
Mean = list[Annotated[float, Field(allow_inf_nan=False)]]


class _File(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, populate_by_name=True, serialize_by_alias=True
    )


class PublicFigures(_File):
    """What the attack reached on public people: for whoever designs a study.

    Attributes
    ----------
    people : int
        Public probes with a face on both sides.
    found : mapping
        Reading (`arm/attacker`) to anchor to the mean chance of rank 1 in a gallery of that size.
    ties : mapping
        Reading to the share of reference faces exactly as similar as the mate.
    strangers_found : mapping
        Reading to the mean chance of rank 1, at the smallest anchor N, of pairs that are NOT one
        person: 1/N where the reference is drawn from the probes' own domain, more where a mate
        stands out by its domain alone.
    """

    people: Annotated[int, Field(ge=0)]
    found: dict[str, dict[str, Share]]
    ties: dict[str, Share] = {}
    strangers_found: dict[str, Share] = {}


class Tail(_File):
    """How the scores of public strangers end, in standard deviations of each probe's own scores.

    Attributes
    ----------
    people, pairs : int
        Public probes, and their pairs with the gallery's faces, pooled.
    threshold : float
        z where the tail begins.
    share : float
        Of the pairs above it.
    shape, scale : float
        Of the generalised Pareto distribution of z - threshold above it.
    spread : mapping
        Model (`gpd`, `normal`), then gallery size, to the standard deviation that the choice of
        public probes adds to a rate there.
    """

    people: Annotated[int, Field(ge=1)]
    pairs: Annotated[int, Field(ge=1)]
    threshold: Annotated[float, Field(ge=0, le=20)]
    share: Annotated[float, Field(gt=0, le=0.5)]
    shape: Annotated[float, Field(ge=-1, le=1)]
    scale: Annotated[float, Field(gt=0, le=100)]
    spread: dict[str, dict[Annotated[str, Field(pattern=r"^[1-9][0-9]*$")], Share]] = {}


class Calibration(_File):
    """The attacker's public knowledge.

    Attributes
    ----------
    mate, direction, renders
        What it holds for: a study that asks for others is refused.
    recogniser : RecogniserDeclaration
        The models that the means were taken with, with their sha256.
    detector_sha256, template_sha256 : str
        The detector again, and the shipped average head.
    dimension : int
        Of an embedding.
    means : mapping
        `identified` (photos, or scans with names) and every reading to the mean embedding, float32
        written so that it reads back exactly. Raw readings have none.
    galleries : tuple of str
        What stands in the gallery file, in order: `identified` alone, or one a reading.
    sigma_gallery : mapping
        Gallery size N to the standard deviation that the choice of one reference gallery adds to a
        rate at N.
    sigma_edges : mapping
        Count of faces to the standard deviation that the choice of one reference gallery adds to
        the share of people beaten by no more; empty in a file of before there was a table of u.
    tails : mapping
        Reading to the tail of strangers' scores; empty where too few pairs are public.
    gallery_faces : int
        M of each gallery.
    scans : Modality
        What the public people's scans are: the domain of means and of galleries of scans.
    figures : PublicFigures
        Measured on public probes.
    seeds, versions : mapping
        What it was made from.
    """

    schema_: Annotated[Literal["reidscope.calibration/2"], Field(alias="schema")] = SCHEMA
    mate: Mate
    direction: Direction
    renders: Renders
    recogniser: RecogniserDeclaration
    detector_sha256: Annotated[str, Field(pattern=_HEX)]
    template_sha256: Annotated[str, Field(pattern=_HEX)]
    dimension: Annotated[int, Field(ge=1, le=MAX_DIMENSION)]
    means: dict[str, Mean]
    galleries: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]
    sigma_gallery: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]*$")], Share]
    sigma_edges: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]*$")], Share] = {}
    tails: dict[str, Tail] = {}
    gallery_faces: Annotated[int, Field(ge=1)]
    scans: Modality = Modality.MR
    figures: PublicFigures
    seeds: dict[str, str]
    versions: dict[str, str]


def reading_name(arm: str, attacker: Attacker) -> str:
    """Name of what one attacker makes of one arm: `quickshear/repairing`."""
    return f"{arm}/{attacker}"


def gallery_name(arm: str, attacker: Attacker, direction: Direction) -> str:
    """Name of the gallery that a reading is compared with.

    A raw attacker's gallery is not centred, so it is another one.
    """
    if direction is Direction.POPULATION_TO_SAMPLE:
        return reading_name(arm, attacker)
    return reading_name(IDENTIFIED, attacker) if attacker is Attacker.RAW else IDENTIFIED


def means_of(
    means: Mapping[str, NDArray[np.float32]], arm: str, attacker: Attacker, *, dimension: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means that an attacker takes off: of the side with names, and of the arm; (d,) each.

    Raises
    ------
    KeyError
        If the arm was not calibrated for him.
    """
    if attacker is Attacker.RAW:
        zeros = np.zeros(dimension, dtype=np.float32)
        return zeros, zeros
    return means[IDENTIFIED], means[reading_name(arm, attacker)]


def read_calibration(content: bytes) -> Calibration:
    """Parse `calibration.json`.

    Raises
    ------
    MalformedError
        If it is another file, or a mean has another length than the others.
    """
    try:
        calibration = Calibration.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise malformed(
            "the calibration", got=f"{first['type']} at {first['loc']}", expected=SCHEMA
        ) from error
    if any(len(mean) != calibration.dimension for mean in calibration.means.values()):
        raise malformed(
            "the calibration",
            got="a mean of another length",
            expected=f"{calibration.dimension} numbers",
        )
    return calibration


def malformed(what: str, *, got: str, expected: str) -> MalformedError:
    """Say what is wrong with a constant."""
    return MalformedError(what, got=got, expected=expected, do=FETCH_AGAIN)
