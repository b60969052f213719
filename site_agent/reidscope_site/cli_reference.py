"""`reidscope-site reference` and `rehearse`: public constants, and a study tried on the public.

For whoever designs a study. No home is opened and no patient is looked at.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from reidscope_protocols import comma_lists
from reidscope_protocols.cohort import Modality
from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import Renders
from reidscope_protocols.recogniser import (
    DLIB_RESNET,
    SFACE,
    SFACE_AND_DLIB,
    YUNET,
    RecogniserDeclaration,
)
from reidscope_protocols.statements import malformed
from reidscope_protocols.study import Study
from reidscope_protocols.terminal import counted, say, show_json, show_table
from reidscope_protocols.vocabulary import Direction, Fusion, Mate
from reidscope_site.progress import stoppable

if TYPE_CHECKING:
    from reidscope_site.face.constants import ConstantFiles
    from reidscope_site.reference.people import PublicSource
    from reidscope_site.reference.rehearsal import Rehearsed

reference_app = typer.Typer(
    help="Make the public constants of a study, on public people alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

People = Annotated[
    Path | None,
    typer.Option(
        help="CSV of public people: population,photo,scan,second_scan; synthetic ones without it.",
        dir_okay=False,
    ),
]
Jobs = Annotated[int, typer.Option(min=1, max=256, help="Processes.")]
Constants = Annotated[
    Path, typer.Option("--constants", help="Folder of a public reference.", file_okay=False)
]
_MODELS = "models"
_SIZE = 10_000
_PUBLIC = 0o644


class RecogniserChoice(StrEnum):
    """Recognisers that ship by name."""

    SFACE = "sface"
    DLIB = "dlib-resnet"
    BOTH = "sface-and-dlib"


@reference_app.command()
def build(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for the constants.", file_okay=False)],
    workspace: Annotated[
        Path, typer.Option(help="Folder for rows that are done.", file_okay=False)
    ],
    size: Annotated[
        int | None, typer.Option(min=20, help="Faces in each gallery, M; 10,000 without it.")
    ] = None,
    mate: Annotated[Mate, typer.Option(help="What has a name on it.")] = Mate.PHOTO,
    direction: Annotated[Direction, typer.Option(help="Who searches whom.")] = (
        Direction.SAMPLE_TO_POPULATION
    ),
    scans: Annotated[
        Modality, typer.Option(help="What the public people's scans are; PT is PET.")
    ] = Modality.MR,
    arms: Annotated[str, typer.Option(help="Defacers, separated by commas.")] = (
        "facemask,quickshear"
    ),
    attackers: Annotated[str, typer.Option(help="raw, calibrated, repairing, by commas.")] = (
        "calibrated,repairing"
    ),
    anchors: Annotated[str, typer.Option(help="Gallery sizes, separated by commas.")] = "100,1000",
    views: Annotated[int, typer.Option(help="1, 3 or 9 views a scan.")] = 1,
    lights: Annotated[int, typer.Option(help="1, 3 or 9 lights a view.")] = 1,
    fusion: Annotated[Fusion, typer.Option(help="How renders are put together.")] = Fusion.MEAN,
    grey: Annotated[bool, typer.Option("--grey", help="Photos and renders in grey.")] = False,
    recogniser: Annotated[
        RecogniserChoice, typer.Option(help="One that ships.")
    ] = RecogniserChoice.SFACE,
    declaration: Annotated[
        Path | None,
        typer.Option(
            help="JSON of a recogniser of your own; its files in --models.", dir_okay=False
        ),
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder of its files.", file_okay=False)
    ] = None,
    people: People = None,
    gallery: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a reference whose gallery of photos is taken over.", file_okay=False
        ),
    ] = None,
    calibration_photos: Annotated[int, typer.Option(min=2, help="For the photos' mean.")] = 200,
    calibration_people: Annotated[int, typer.Option(min=2, help="For the arms' means.")] = 60,
    probe_people: Annotated[int, typer.Option(min=2, help="The attack is measured on.")] = 60,
    jobs: Jobs = 1,
) -> None:
    """Describe public people, check them, and freeze gallery and calibration by sha256."""
    from reidscope_site.reference.build import build_reference  # noqa: PLC0415 - loads torch
    from reidscope_site.reference.plan import Plan  # noqa: PLC0415 - loads numpy
    from reidscope_site.reference.readme import readme  # noqa: PLC0415 - as above
    from reidscope_site.reference.taken_over import (  # noqa: PLC0415 - as above
        check_taken_over,
        gallery_of,
    )

    declared, files = _recogniser(recogniser, declaration, models)
    taken_over = None if gallery is None else gallery_of(gallery)
    plan = Plan(
        size=size or (_SIZE if taken_over is None else taken_over.faces),
        anchors=tuple(sorted(comma_lists.whole_numbers(anchors, "anchors"))),
        arms=("unmodified", *comma_lists.words(arms)),
        attackers=comma_lists.attackers(attackers),
        mate=mate,
        direction=direction,
        scans=_public_scans(scans),
        renders=_renders(views, lights, fusion, grey=grey),
        recogniser=declared,
        calibration_photos=calibration_photos,
        calibration_people=calibration_people,
        probe_people=probe_people,
    )
    if gallery is not None:
        check_taken_over(gallery, plan)
    for folder in (out, workspace):
        folder.mkdir(parents=True, exist_ok=True)
    with stoppable(), counted() as progress:
        built = build_reference(
            out,
            plan,
            workspace=workspace,
            source=_source(people, scans),
            models=files or None,
            taken_over=taken_over,
            jobs=jobs,
            progress=progress,
        )
    if declaration is not None:
        (out / _MODELS).mkdir(exist_ok=True)
        for sha256 in (part.sha256 for part in declared.parts):
            write_durably(out / _MODELS / sha256, files[sha256], mode=_PUBLIC)
    text = readme(built)
    write_durably(out / "README.md", text.encode(), mode=_PUBLIC)
    say(text)


def rehearse_command(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A draft or signed study.", dir_okay=False)
    ],
    constants: Constants,
    count: Annotated[int, typer.Option("--count", min=1, help="Public people.")] = 20,
    people: People = None,
    jobs: Jobs = 1,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Try a study on public people: exact rates, no epsilon, before anybody is asked."""
    from reidscope_site.reference.rehearsal import rehearse  # noqa: PLC0415 - loads torch

    said = _study(study)
    with counted() as progress:
        found = rehearse(
            said.experiment,
            _files(said, constants),
            _source(people, said.experiment.scans[0]),
            people=count,
            jobs=jobs,
            progress=lambda have, wanted: progress("public people", have, wanted),
        )
    _show(found, as_json=as_json)


def _show(found: Rehearsed, *, as_json: bool) -> None:
    rows = [
        {
            "arm": rate.arm,
            "attacker": str(rate.attacker),
            "gallery": rate.gallery_size,
            "rank_1": round(rate.rank_1, 4),
            "rank_5": round(rate.rank_5, 4),
            "face_found": round(rate.face_found, 4),
            "failed_gates": None if rate.failed_gates is None else round(rate.failed_gates, 4),
            "lost_1_percent": None
            if rate.lost_1_percent is None
            else round(rate.lost_1_percent, 4),
        }
        for rate in found.rates
    ]
    if as_json:
        show_json(
            {
                "people": found.people,
                "acquired": round(found.acquired, 4),
                "seconds_a_person": round(found.seconds_a_person, 2),
                "rates": rows,
            }
        )
        return
    columns = tuple(rows[0])
    table = [["" if row[name] is None else row[name] for name in columns] for row in rows]
    show_table(
        f"{found.people} public people, {found.acquired:.1%} acquired, "
        f"{found.seconds_a_person:.1f} s of processor time each; exact shares of all of them",
        columns,
        table,
    )


def _study(path: Path) -> Study:
    from reidscope_protocols.envelope import peek_payload  # noqa: PLC0415 - only for signed ones

    content = path.read_bytes()
    is_signed = b'"payloadType"' in content[:4096] or b'"payload"' in content[:64]
    # Nothing is believed for being signed: public people and public files are all that is used.
    return Study.parse(peek_payload(content) if is_signed else content)


def _files(study: Study, folder: Path) -> ConstantFiles:
    from reidscope_site.face.constants import ConstantFiles  # noqa: PLC0415 - loads torch
    from reidscope_site.face.weights import models_of  # noqa: PLC0415 - as above

    own = _folder_files(folder / _MODELS)
    asked = study.experiment.recogniser
    held = own if set(asked.sha256s) <= set(own) else {**models_of(asked), **own}
    try:
        gallery = (folder / "gallery.npy").read_bytes()
        calibration = (folder / "calibration.json").read_bytes()
    except OSError:
        raise InputError(
            "constants folder",
            got="a folder without gallery.npy or calibration.json",
            expected="what `reference build` wrote",
            do="name another folder with --constants",
        ) from None
    return ConstantFiles(gallery=gallery, calibration=calibration, models=held)


def _folder_files(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        return {}
    contents = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def _recogniser(
    named: RecogniserChoice, declaration: Path | None, models: Path | None
) -> tuple[RecogniserDeclaration, dict[str, bytes]]:
    """Return a declaration, and its files where they are not the installed ones."""
    from reidscope_site.face.weights import models_of  # noqa: PLC0415 - loads torch

    if declaration is None:
        shipped = {one.name: one for one in (SFACE, DLIB_RESNET, SFACE_AND_DLIB)}
        return shipped[named.value], {}
    try:
        declared = RecogniserDeclaration.model_validate_json(declaration.read_bytes())
    except ValidationError as error:
        raise malformed("declaration of a recogniser", error) from None
    files = _folder_files(models) if models else {}
    if declared.detector.sha256 == YUNET.sha256:
        files |= {YUNET.sha256: models_of(SFACE)[YUNET.sha256]}
    missing = [sha256 for sha256 in declared.sha256s if sha256 not in files]
    if missing:
        raise InputError(
            "models",
            got="no file with sha256 " + ", ".join(f"{sha256[:16]}..." for sha256 in missing),
            expected="every file that the declaration names",
            do="name their folder with --models",
        )
    return declared, {sha256: files[sha256] for sha256 in declared.sha256s}


def _public_scans(scans: Modality) -> Modality:
    if scans is Modality.CT:
        raise InputError(
            "public scans",
            got="CT",
            expected="MR or PT: CT renders are compared with MR's",
            do="take --scans MR",
        )
    return scans


def _source(people: Path | None, scans: Modality) -> PublicSource:
    from reidscope_site.reference.folder_source import read_list  # noqa: PLC0415 - loads cv2
    from reidscope_site.reference.synthetic_source import (  # noqa: PLC0415 - loads torch
        synthetic_source,
    )

    return synthetic_source(scans) if people is None else read_list(people, scans=scans)


def _renders(views: int, lights: int, fusion: Fusion, *, grey: bool) -> Renders:
    try:
        return Renders.model_validate(
            {"views": views, "lights": lights, "fusion": fusion, "grey": grey}
        )
    except ValidationError as error:
        raise malformed("renders", error) from None
