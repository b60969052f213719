"""Synthetic people, and a folder of them as a hospital keeps it: scans, photos, links."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reidscope_site.face.template import template
from reidscope_site.face.volume import Volume
from reidscope_site.synthetic.dicom import Plane, series
from reidscope_site.synthetic.emission import BRAIN_TOMOGRAPH, Tomograph, emission
from reidscope_site.synthetic.particulars import Particulars, particulars
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed

PHOTOS = 2
LINKS_HEADER = ("patient_id", "photo")
UNLABELLED = "nowhere"
_BETWEEN_VISITS = timedelta(days=370)
_PET_BEFORE = timedelta(days=180)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyntheticPerson:
    """A person that never was.

    Attributes
    ----------
    seed : PersonSeed
        Who.
    known : Particulars
        What the hospital knows.
    scans : tuple of Volume
        One a visit, 1 mm, RAS+; the same head, in another pose.
    photos : tuple of ndarray
        `PHOTOS` pictures, uint8 (256, 256, 3) RGB, of different pose and light; the first is the
        mate.
    plane : Plane
        How the scanner sliced.
    """

    seed: PersonSeed
    known: Particulars
    scans: tuple[Volume, ...]
    photos: tuple[NDArray[np.uint8], ...]
    plane: Plane

    @property
    def scan(self) -> Volume:
        """The first visit's."""
        return self.scans[0]


def make_person(seed: PersonSeed, *, visits: int = 1) -> SyntheticPerson:
    """Make a person; the same seed makes the same one. The seed's label is the site's."""
    head = template()
    planes = list(Plane)
    return SyntheticPerson(
        seed=seed,
        known=particulars(seed, site=seed.label or UNLABELLED),
        scans=tuple(scan(seed, head, visit=visit) for visit in range(visits)),
        photos=tuple(photo(seed, head, shot=shot) for shot in range(PHOTOS)),
        plane=planes[int(seed.stream("plane").integers(len(planes)))],
    )


def write_people(
    folder: Path,
    seeds: Iterable[PersonSeed],
    *,
    visits: int = 1,
    pet: bool = False,
    written: Callable[[PersonSeed], None] | None = None,
) -> int:
    """Write `dicom/<person>/*.dcm`, `photos/*.png` and `links.csv`.

    Later visits lie in folders of their own, `dicom/<person>/visit-2/*.dcm`, a year apart.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    seeds : iterable of PersonSeed
        Who.
    visits : int
        Scans of each.
    pet : bool
        Whether each was imaged by a tomograph half a year before the first scan:
        `dicom/<person>/pet/*.dcm`.
    written : callable, optional
        Told after every person.

    Returns
    -------
    int
        People written.
    """
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    links: list[tuple[str, str]] = []
    for seed in seeds:
        person = make_person(seed, visits=visits)
        links.append((person.known.patient_id, _write_person(folder, person)))
        if pet:
            _write(folder / "dicom" / person.known.patient_id / "pet", pet_series(person))
        if written is not None:
            written(seed)
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows([LINKS_HEADER, *links])
    (folder / "links.csv").write_text(table.getvalue(), encoding="utf-8")
    return len(links)


def _write_person(folder: Path, person: SyntheticPerson) -> str:
    """Write one person's files and return the mate's file name."""
    for visit in range(len(person.scans)):
        slices = folder / "dicom" / person.known.patient_id
        if visit:
            slices /= f"visit-{visit + 1}"
        _write(slices, visit_series(person, visit))
    names = [f"{person.known.patient_id}-{shot}.png" for shot in range(1, len(person.photos) + 1)]
    for name, picture in zip(names, person.photos, strict=True):
        (folder / "photos" / name).write_bytes(png(picture))
    return names[0]


def _write(slices: Path, files: Iterable[bytes]) -> None:
    slices.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(files, start=1):
        (slices / f"IM{number:04d}.dcm").write_bytes(content)


def pet_series(
    person: SyntheticPerson, *, tomograph: Tomograph = BRAIN_TOMOGRAPH
) -> Iterator[bytes]:
    """DICOM files of a PET, half a year before the first scan."""
    known = replace(person.known, scanned=person.known.scanned - _PET_BEFORE)
    seed = replace(person.seed, label=f"{person.seed.label}/pet")
    volume = emission(person.seed, template(), tomograph=tomograph)
    return series(volume, seed, known, plane=Plane.AXIAL)


def visit_series(person: SyntheticPerson, visit: int) -> Iterator[bytes]:
    """DICOM files of one visit: every one has dates and unique identifiers of its own."""
    known = replace(person.known, scanned=person.known.scanned + visit * _BETWEEN_VISITS)
    # the label alone changes: identifiers are drawn anew, the head comes out of person.scans
    seed = person.seed if not visit else replace(person.seed, label=f"{person.seed.label}/{visit}")
    return series(person.scans[visit], seed, known, plane=person.plane)


def png(picture: NDArray[np.uint8]) -> bytes:
    """Encode a synthetic picture, (H, W, 3) RGB, without loss."""
    _, content = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    return content.tobytes()
