"""A new study, unsigned: from a few answers and the folder of its public constants.

The constants folder is what `examples/consortium/build_reference.py` made: two files. The
calibration names everything else (detector, recogniser, template) by sha256, so that the
coordinator needs no image software to write a study down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from reidscope_protocols.cells import JointCells
from reidscope_protocols.errors import InputError, MalformedError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import malformed
from reidscope_protocols.study import (
    JOINT_TABLE,
    Cohort,
    Constant,
    FaceExperiment,
    FiveSafes,
    GalleryError,
    SiteHead,
    Study,
    TableRequest,
)
from reidscope_protocols.vocabulary import UNMODIFIED, ConstantRole

GALLERY_FILE = "gallery.npy"
CALIBRATION_FILE = "calibration.json"
_PPM = 1_000_000
Population = Literal["patients", "volunteers", "synthetic people"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a person decides about a new study.

    Attributes
    ----------
    arms : tuple of str
        Defacers, without `unmodified`.
    epsilon : PrivacyLoss
        Of the one joint table.
    reference_people : str
        Who the faces of the public gallery are of, in a line.
    days : int
        From now until it closes.
    answers_after_hours : int
        From now until sites answer, however soon they are done; 0 for at once.
    """

    study_id: str
    title: str
    question: str
    population: Population
    sites: tuple[str, ...]
    arms: tuple[str, ...]
    anchors: tuple[int, ...]
    epsilon: PrivacyLoss
    reference_people: str
    minimum_declared_people: int
    minimum_sites: int
    days: int
    answers_after_hours: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantsFolder:
    """The public files of a study, read and hashed.

    Attributes
    ----------
    files : mapping of str to bytes
        Contents by sha256: what sites may fetch from the coordinator.
    """

    constants: tuple[Constant, ...]
    files: Mapping[str, bytes]
    reference_size: int
    sigma_ppm: Mapping[int, int]
    arms: frozenset[str]


def read_constants(folder: Path) -> ConstantsFolder:
    """Read a constants folder.

    Raises
    ------
    InputError
        A file is missing.
    MalformedError
        `calibration.json` does not say what a study needs.
    """
    try:
        gallery = (folder / GALLERY_FILE).read_bytes()
        calibration = (folder / CALIBRATION_FILE).read_bytes()
    except OSError:
        raise InputError(
            "constants folder",
            got=f"a folder without {GALLERY_FILE} or {CALIBRATION_FILE}",
            expected="what the reference build wrote",
            do="name another folder with --constants",
        ) from None
    files = {hashlib.sha256(content).hexdigest(): content for content in (gallery, calibration)}
    gallery_sha256, calibration_sha256 = files
    try:
        said: dict[str, Any] = json.loads(calibration)
        named = [
            Constant(role=role, sha256=said[f"{role}_sha256"], size_bytes=None)
            for role in (ConstantRole.DETECTOR, ConstantRole.RECOGNISER, ConstantRole.TEMPLATE)
        ]
        return ConstantsFolder(
            constants=(
                Constant(
                    role=ConstantRole.REFERENCE_GALLERY,
                    sha256=gallery_sha256,
                    size_bytes=len(gallery),
                ),
                Constant(
                    role=ConstantRole.CALIBRATION,
                    sha256=calibration_sha256,
                    size_bytes=len(calibration),
                ),
                *named,
            ),
            files=files,
            reference_size=int(said["gallery_faces"]),
            sigma_ppm={
                int(size): round(float(sigma) * _PPM)
                for size, sigma in said["sigma_gallery"].items()
            },
            arms=frozenset(said["means"]) - {"photo"},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # Whatever is missing, the file is not a calibration; its text adds nothing for a reader.
        raise MalformedError(
            CALIBRATION_FILE,
            got="a file without models, template, gallery_faces or sigma_gallery",
            expected="what the reference build wrote",
            do="build it again",
        ) from None


def draft(answers: Answers, folder: ConstantsFolder, heads: tuple[SiteHead, ...] = ()) -> Study:
    """Write a study down.

    Parameters
    ----------
    answers : Answers
        What a person decided.
    folder : ConstantsFolder
        The public files.
    heads : tuple of SiteHead
        Where the sites' ledgers stood when they were last seen: a site whose ledger lacks its head
        has lost charges, and refuses.

    Raises
    ------
    InputError
        An anchor or arm for which the constants hold no public calibration.
    MalformedError
        Answers that do not fit the schema.
    """
    unknown = (set(answers.arms) | {UNMODIFIED}) - folder.arms
    missing = [size for size in answers.anchors if size not in folder.sigma_ppm]
    if unknown or missing:
        raise InputError(
            "study",
            got="arms or anchors without a public calibration: "
            + ", ".join([*sorted(unknown), *map(str, missing)]),
            expected="arms out of "
            + ", ".join(sorted(folder.arms))
            + "; anchors out of "
            + ", ".join(map(str, sorted(folder.sigma_ppm))),
            do="calibrate them on public people first, or leave them out",
        )
    cells = JointCells(anchors=answers.anchors, defacers=answers.arms)
    now = datetime.now(UTC).replace(microsecond=0)
    closes = now + timedelta(days=answers.days)
    try:
        return Study(
            audience=answers.sites,
            issued_at=now,
            not_after=closes + timedelta(days=30),
            study_id=answers.study_id,
            title=answers.title,
            question=answers.question,
            population=answers.population,
            five_safes=_five_safes(answers),
            cohort=Cohort(),
            experiment=FaceExperiment(
                anchors=answers.anchors,
                arms=(UNMODIFIED, *answers.arms),
                reference_size=folder.reference_size,
                reference_people=answers.reference_people,
                gallery_error=tuple(
                    GalleryError(gallery_size=size, sigma_ppm=folder.sigma_ppm[size])
                    for size in answers.anchors
                ),
            ),
            constants=folder.constants,
            tables=(
                TableRequest(
                    table=JOINT_TABLE, cells=cells.labels, epsilon_nano=answers.epsilon.nano
                ),
            ),
            minimum_declared_people=answers.minimum_declared_people,
            minimum_sites=answers.minimum_sites,
            ledger_heads=heads,
            opens_at=now,
            closes_at=closes,
            answers_from=now + timedelta(hours=answers.answers_after_hours)
            if answers.answers_after_hours
            else None,
        )
    except ValidationError as error:
        raise malformed("study", error) from None


def _five_safes(answers: Answers) -> FiveSafes:
    return FiveSafes(
        project=f"{answers.title}. {answers.question}",
        people="Only the site's own agent, run by the site's own people, reads the data.",
        settings="The site's own machine; the process that evaluates a person has no network.",
        data=f"Head scans and photos of {answers.population}; pixels only after de-identification.",
        outputs=f"One table of {len(JointCells(anchors=answers.anchors, defacers=answers.arms))} "
        f"counts with discrete Laplace noise, epsilon {answers.epsilon}.",
    )
