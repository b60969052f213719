"""A new study, unsigned: from a few answers and the folder of its public constants.

The constants folder is what `reidscope-site reference build` made: two files, and a folder with
recognisers of one's own. The calibration names everything else (detector, recogniser, template) by
sha256, so that the coordinator needs no image software to write a study down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from reidscope_protocols.cohort import DEFAULT_SCANS, EVERYBODY, Cohort, Modality
from reidscope_protocols.distributed import DistributedNoise
from reidscope_protocols.errors import InputError, MalformedError
from reidscope_protocols.face_experiment import (
    FaceExperiment,
    GalleryError,
    Renders,
)
from reidscope_protocols.groups import GroupedBy, Groups
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.reach import Reach
from reidscope_protocols.recogniser import RecogniserDeclaration
from reidscope_protocols.statements import malformed
from reidscope_protocols.study import (
    Constant,
    FiveSafes,
    SiteHead,
    Study,
    TableRequest,
    priced,
)
from reidscope_protocols.vocabulary import (
    UNMODIFIED,
    Attacker,
    ConstantRole,
    Direction,
    FailedGate,
    Mate,
    ScanRule,
)
from reidscope_server.asked_tails import (
    PublicTails,
    TailAnswers,
    beyond_asked,
    scores_asked,
)

GALLERY_FILE = "gallery.npy"
CALIBRATION_FILE = "calibration.json"
MODELS_FOLDER = "models"
_PPM = 1_000_000
_SYNTHETIC = "synthetic"
_DOMAIN_FACTOR = 3.0
"""Strangers found so many times as often as chance says stand out by their domain alone."""
Population = Literal["patients", "volunteers", "synthetic people"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a person decides about a new study.

    Attributes
    ----------
    arms : tuple of str
        Defacers, without `unmodified`.
    attackers : tuple of Attacker
        The first reads every arm, the others the defaced ones too.
    damage_arms : tuple of str
        Defacers whose damage to the brain is asked for.
    epsilon : PrivacyLoss
        Of the joint table and the table of failed gates together.
    damage_epsilon : PrivacyLoss
        Of each table of damage, on top.
    scan_cap : int
        Scans of a person, of which the most exposed one counts; 1 for the first by date.
    failed_gate : FailedGate
        Whether anybody gets a scan that fails its gates.
    scans : tuple of Modality
        What may be a scan.
    cohort : Cohort
        Who counts: conditions on one person.
    groups : Groups or None
        What the joint table is crossed with.
    reference_people : str
        Who the faces of the public gallery are of, in a line; without one, what the build says.
    days : int
        From now until it closes.
    answers_after_hours : int
        From now until sites answer, however soon they are done; 0 for at once.
    reach : Reach or None
        Whom the scans could be of, where the coordinator states it.
    tails : TailAnswers
        Opt-in tables of u and beyond the reference; none of them by default.
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
    attackers: tuple[Attacker, ...] = (Attacker.CALIBRATED,)
    damage_arms: tuple[str, ...] = ()
    damage_epsilon: PrivacyLoss = field(default_factory=lambda: PrivacyLoss(200_000_000))
    scan_cap: int = 1
    scans: tuple[Modality, ...] = DEFAULT_SCANS
    failed_gate: FailedGate = FailedGate.NOT_RELEASED
    cohort: Cohort = EVERYBODY
    groups: Groups | None = None
    reach: Reach | None = None
    tails: TailAnswers = field(default_factory=TailAnswers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantsFolder:
    """The public files of a study, read and hashed.

    Attributes
    ----------
    files : mapping of str to bytes
        Contents by sha256: what sites may fetch from the coordinator.
    readings : frozenset of str
        `arm/attacker` that there is a calibration for; raw ones where there is a gallery for them.
    strangers_found : mapping
        Reading to how often public strangers were found at the smallest gallery: the domain check.
    tails : PublicTails
        For the opt-in tables; empty in a reference of before there were any.
    scans : Modality
        What the public people's scans are; MR in a reference of before there was another.
    people : str
        What the build says its public people came from.
    """

    constants: tuple[Constant, ...]
    files: Mapping[str, bytes]
    reference_size: int
    sigma_ppm: Mapping[int, int]
    readings: frozenset[str]
    mate: Mate
    direction: Direction
    renders: Renders
    recogniser: RecogniserDeclaration
    strangers_found: Mapping[str, float]
    tails: PublicTails = field(default_factory=PublicTails)
    scans: Modality = Modality.MR
    people: str = ""

    @property
    def arms(self) -> frozenset[str]:
        """Arms that somebody was calibrated for."""
        return frozenset(reading.split("/")[0] for reading in self.readings)


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
        recogniser = RecogniserDeclaration.model_validate_json(json.dumps(said["recogniser"]))
        models = _models(folder)
        named = [
            (ConstantRole.DETECTOR, str(said["detector_sha256"])),
            (ConstantRole.TEMPLATE, str(said["template_sha256"])),
            *((ConstantRole.RECOGNISER, part.sha256) for part in recogniser.parts),
        ]
        files |= {sha256: models[sha256] for _, sha256 in named if sha256 in models}
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
                *(
                    Constant(
                        role=role,
                        sha256=sha256,
                        size_bytes=len(models[sha256]) if sha256 in models else None,
                    )
                    for role, sha256 in named
                ),
            ),
            files=files,
            reference_size=int(said["gallery_faces"]),
            sigma_ppm={
                int(size): round(float(sigma) * _PPM)
                for size, sigma in said["sigma_gallery"].items()
            },
            readings=_readings(said),
            mate=Mate(said["mate"]),
            direction=Direction(said["direction"]),
            renders=Renders.model_validate_json(json.dumps(said["renders"])),
            recogniser=recogniser,
            strangers_found={
                str(name): float(share)
                for name, share in said["figures"]["strangers_found"].items()
            },
            tails=_tails(said),
            scans=Modality(said.get("scans", Modality.MR)),
            people=str(said.get("seeds", {}).get("source", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # Whatever is missing, the file is not a calibration; its text adds nothing for a reader.
        raise MalformedError(
            CALIBRATION_FILE,
            got="a file without recogniser, template, gallery_faces or sigma_gallery",
            expected="what the reference build wrote",
            do="build it again",
        ) from None


def draft(
    answers: Answers,
    folder: ConstantsFolder,
    heads: tuple[SiteHead, ...] = (),
    noise: DistributedNoise | None = None,
) -> Study:
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
    noise : DistributedNoise, optional
        How the noise is shared out; each site adds all of it without.

    Raises
    ------
    InputError
        An anchor or arm for which the constants hold no public calibration.
    MalformedError
        Answers that do not fit the schema.
    """
    _require_calibrated(answers, folder)
    _require_scans(answers)
    now = datetime.now(UTC).replace(microsecond=0)
    closes = now + timedelta(days=answers.days)
    try:
        experiment = FaceExperiment(
            mate=folder.mate,
            direction=folder.direction,
            attackers=answers.attackers,
            scan_rule=ScanRule.MOST_EXPOSED if answers.scan_cap > 1 else ScanRule.FIRST_BY_DATE,
            scan_cap=answers.scan_cap,
            scans=answers.scans,
            public_scans=folder.scans,
            failed_gate=answers.failed_gate,
            renders=folder.renders,
            recogniser=folder.recogniser,
            anchors=answers.anchors,
            arms=(UNMODIFIED, *answers.arms),
            damage_arms=answers.damage_arms,
            groups=answers.groups,
            reference_size=folder.reference_size,
            reference_people=answers.reference_people or _people(folder),
            gallery_error=tuple(
                GalleryError(gallery_size=size, sigma_ppm=folder.sigma_ppm[size])
                for size in answers.anchors
            ),
            scores=scores_asked(answers.tails, folder.tails, reference_size=folder.reference_size),
            beyond=beyond_asked(answers.tails, folder.tails, answers.attackers),
        )
        return Study(
            audience=answers.sites,
            issued_at=now,
            not_after=closes + timedelta(days=30),
            study_id=answers.study_id,
            title=answers.title,
            question=answers.question,
            population=answers.population,
            five_safes=_five_safes(answers, experiment, noise),
            cohort=answers.cohort,
            experiment=experiment,
            constants=folder.constants,
            tables=_priced(experiment, answers),
            minimum_declared_people=answers.minimum_declared_people,
            minimum_sites=answers.minimum_sites,
            ledger_heads=heads,
            reach=answers.reach,
            noise=noise,
            opens_at=now,
            closes_at=closes,
            answers_from=now + timedelta(hours=answers.answers_after_hours)
            if answers.answers_after_hours
            else None,
        )
    except ValidationError as error:
        raise malformed("study", error) from None


def _require_calibrated(answers: Answers, folder: ConstantsFolder) -> None:
    """Raise InputError for what the constants hold no public calibration of, or a false one."""
    if answers.attackers[:1] == (Attacker.REPAIRING,):
        raise InputError(
            "attackers",
            got="repairing first: the first attacker reads the unmodified scan too",
            expected="raw or calibrated first; only what was defaced can be repaired",
            do="write calibrated,repairing",
        )
    asked = [
        f"{arm}/{attacker}"
        for arm in (UNMODIFIED, *answers.arms)
        for attacker in answers.attackers[: 1 if arm == UNMODIFIED else None]
    ]
    unknown = [reading for reading in asked if reading not in folder.readings]
    missing = [size for size in answers.anchors if size not in folder.sigma_ppm]
    known_arms = sorted(folder.arms - {UNMODIFIED})
    for what, lacking, there in (
        ("arms", [arm for arm in answers.arms if arm not in folder.arms], known_arms),
        ("readings (arm/attacker)", unknown, sorted(folder.readings)),
        ("anchors", missing, sorted(folder.sigma_ppm)),
    ):
        if lacking:
            raise InputError(
                "study",
                got=f"{what} without a public calibration: " + ", ".join(map(str, lacking)),
                expected=f"{what} out of " + (", ".join(map(str, there)) or "none"),
                do="build a reference with them, or leave them out",
            )
    chance = 1 / min(folder.sigma_ppm)
    odd = [
        reading
        for reading in asked
        if folder.strangers_found.get(reading, 0.0) > _DOMAIN_FACTOR * chance
    ]
    if odd:
        raise InputError(
            "reference",
            got="public strangers who are found by their scanner or camera alone: "
            + ", ".join(odd),
            expected=f"strangers found at most {_DOMAIN_FACTOR:g} times as often as chance says",
            do="build the reference from the probes' own domain",
        )


def _people(folder: ConstantsFolder) -> str:
    """Say of whom a reference is that says no more than where its people came from."""
    if folder.people.startswith(_SYNTHETIC):
        return "synthetic people"
    if folder.people:
        return f"public people of {folder.people}"
    raise InputError(
        "reference people",
        got="a reference that does not say of whom it is",
        expected="a line",
        do="name them with --reference-people",
    )


def _require_scans(answers: Answers) -> None:
    """Raise InputError for a cohort or groups of PET in a study that takes none."""
    groups = answers.groups
    grouped = groups.values if groups is not None and groups.by is GroupedBy.MODALITY else ()
    if Modality.PT in {*answers.cohort.modalities, *grouped} - set(answers.scans):
        raise InputError(
            "study",
            got="a cohort or groups of PET, and scans without PET",
            expected="PT among the scans",
            do="name it with --scans, such as --scans PT",
        )


def _models(folder: Path) -> dict[str, bytes]:
    """Recognisers of one's own that lie beside the reference, by sha256."""
    held = folder / MODELS_FOLDER
    if not held.is_dir():
        return {}
    contents = [path.read_bytes() for path in sorted(held.iterdir()) if path.is_file()]
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def _readings(said: Mapping[str, Any]) -> frozenset[str]:
    calibrated = {str(name) for name in said["means"] if "/" in name}
    galleries = set(said["galleries"])
    arms = {name.split("/")[0] for name in calibrated}
    raw = {
        f"{arm}/{Attacker.RAW}"
        for arm in arms
        if {f"identified/{Attacker.RAW}", f"{arm}/{Attacker.RAW}"} & galleries
    }
    return frozenset(calibrated | raw)


def _tails(said: Mapping[str, Any]) -> PublicTails:
    return PublicTails(
        sigma_edges={
            int(faces): round(float(sigma) * _PPM)
            for faces, sigma in said.get("sigma_edges", {}).items()
        },
        pairs={str(name): int(tail["pairs"]) for name, tail in said.get("tails", {}).items()},
        spread={
            str(name): {
                str(model): {int(n): round(float(sd) * _PPM) for n, sd in known.items()}
                for model, known in tail["spread"].items()
            }
            for name, tail in said.get("tails", {}).items()
            if set(tail.get("spread", {})) == {"gpd", "normal"}
        },
    )


def _priced(experiment: FaceExperiment, answers: Answers) -> tuple[TableRequest, ...]:
    return priced(experiment, answers.epsilon, answers.damage_epsilon, answers.tails.epsilon)


def _kinds(experiment: FaceExperiment) -> str:
    if experiment.scans == DEFAULT_SCANS:
        return "Head scans"
    return f"Head scans ({', '.join(experiment.scans)})"


def _five_safes(
    answers: Answers, experiment: FaceExperiment, noise: DistributedNoise | None
) -> FiveSafes:
    tables = _priced(experiment, answers)
    total = PrivacyLoss(sum(table.epsilon_nano for table in tables))
    mates = "photos" if experiment.mate is Mate.PHOTO else "second scans"
    return FiveSafes(
        project=f"{answers.title}. {answers.question}",
        people="Only the site's own agent, run by the site's own people, reads the data.",
        settings="The site's own machine; the process that evaluates a person has no network.",
        data=f"{_kinds(experiment)} and {mates} of {answers.population} ({answers.cohort}); "
        "pixels only after de-identification.",
        outputs="; ".join(f"{table.table}: {len(table.cells)} counts" for table in tables)
        + (
            f"; each with discrete Laplace noise, epsilon {total} together."
            if noise is None
            else "; added up over the sites under masks, with discrete Laplace noise in shares, "
            f"epsilon {total} together an attempt."
        )
        + (f" {answers.groups}" if answers.groups else ""),
    )
