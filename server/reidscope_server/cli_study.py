"""`reidscope-server study`: write a study down, plan it, sign it, open it, look at it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reidscope_protocols import comma_lists
from reidscope_protocols.durable import write_durably
from reidscope_protocols.envelope import sign_payload
from reidscope_protocols.errors import RefusalError
from reidscope_protocols.face_experiment import LARGEST_SCAN_CAP
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.study import SiteHead, Study
from reidscope_protocols.terminal import say, show_json, show_table
from reidscope_protocols.vocabulary import FailedGate
from reidscope_server import cohort_words
from reidscope_server.config import ServerHome
from reidscope_server.draft import Answers, draft, read_constants
from reidscope_server.planning import WIDEST_POINTS, plan
from reidscope_server.planning_groups import rows_of_groups
from reidscope_server.verbs import ask

_PUBLIC = 0o644
_DEFAULT_HOME = Path("reidscope-server-home")

Home = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="REIDSCOPE_SERVER_HOME",
        help="The coordinator's home folder.",
        file_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Draft = Annotated[Path, typer.Argument(metavar="DRAFT", help="A study from `study new`.")]

study_app = typer.Typer(
    help="Write a study down, plan it, sign it, open it, look at it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Population(StrEnum):
    """Who the scans are of."""

    PATIENTS = "patients"
    VOLUNTEERS = "volunteers"
    SYNTHETIC = "synthetic people"


@study_app.command()
def new(
    *,
    study_id: Annotated[str, typer.Option("--id", help="Short name, never used before.")],
    sites: Annotated[str, typer.Option("--sites", help="Names, separated by commas.")],
    constants: Annotated[
        Path, typer.Option("--constants", help="Folder of a public reference.", file_okay=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="Draft to write.")],
    title: Annotated[str, typer.Option(help="One line.")] = "Faces in head scans",
    question: Annotated[str, typer.Option(help="What the study wants to know.")] = (
        "How many people does a face recogniser find from their head scan, before and after "
        "defacing?"
    ),
    population: Annotated[Population, typer.Option(help="Who the scans are of.")] = (
        Population.PATIENTS
    ),
    arms: Annotated[str, typer.Option(help="Defacers, separated by commas.")] = "quickshear",
    anchors: Annotated[str, typer.Option(help="Gallery sizes, separated by commas.")] = "100,1000",
    attackers: Annotated[
        str,
        typer.Option(
            help="calibrated, raw, repairing, separated by commas: the first reads every arm, the "
            "others the defaced ones too."
        ),
    ] = "calibrated",
    failed_gate: Annotated[
        FailedGate, typer.Option(help="Whether anybody gets a scan that fails a defacer's gates.")
    ] = FailedGate.NOT_RELEASED,
    scan_cap: Annotated[
        int,
        typer.Option(
            min=1,
            max=LARGEST_SCAN_CAP,
            help="Scans of a person, of which the most exposed one counts; 1: the first by date.",
        ),
    ] = 1,
    damage: Annotated[
        str, typer.Option(help="Defacers whose damage to the brain is asked for, by commas.")
    ] = "",
    epsilon: Annotated[
        str, typer.Option(help="Of the joint table and the compulsory table of failed gates.")
    ] = "2",
    damage_epsilon: Annotated[str, typer.Option(help="Of each table of damage, on top.")] = "0.2",
    cohort: Annotated[
        str,
        typer.Option(
            help="Who counts: conditions on one person, such as `age 18-89, sex F, modality MR`; "
            "everybody of the index without."
        ),
    ] = "",
    sample: Annotated[
        str, typer.Option(help="Share of them drawn with each site's key, such as 50%.")
    ] = "",
    sample_salt: Annotated[
        str, typer.Option(help="Studies of one salt ask the same people; the study's id if absent.")
    ] = "",
    groups: Annotated[
        str,
        typer.Option(
            help="Subgroups that the joint table is crossed with: `sex`, `age 0-39,40-64,65+`, "
            "`modality`, or `group left,right` for words of the sites' link files."
        ),
    ] = "",
    reference_people: Annotated[
        str, typer.Option(help="Who the faces of the public gallery are of.")
    ] = "synthetic people",
    minimum_people: Annotated[int, typer.Option(help="Declared people a site.")] = 20,
    minimum_sites: Annotated[int, typer.Option(help="Releases below which no report is made.")] = 1,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="From now until the study closes.")
    ] = 90,
    answers_after: Annotated[
        int,
        typer.Option(min=0, help="Hours from now until sites answer, however soon they are done."),
    ] = 0,
    home: Annotated[
        Path | None,
        typer.Option(help="This coordinator's: writes down where the sites' ledgers were seen."),
    ] = None,
) -> None:
    """Write a draft: a study as it would be signed."""
    answers = Answers(
        study_id=study_id,
        title=title,
        question=question,
        population=population.value,
        sites=comma_lists.words(sites),
        arms=comma_lists.words(arms),
        attackers=comma_lists.attackers(attackers),
        failed_gate=failed_gate,
        scan_cap=scan_cap,
        damage_arms=comma_lists.words(damage),
        damage_epsilon=PrivacyLoss.from_decimal(damage_epsilon),
        cohort=cohort_words.cohort(cohort, sample=sample, salt=sample_salt or study_id),
        groups=cohort_words.groups(groups),
        anchors=comma_lists.whole_numbers(anchors, "anchors"),
        epsilon=PrivacyLoss.from_decimal(epsilon),
        reference_people=reference_people,
        minimum_declared_people=minimum_people,
        minimum_sites=minimum_sites,
        days=days,
        answers_after_hours=answers_after,
    )
    heads: tuple[SiteHead, ...] = ()
    if home is not None:
        seen = ask(home, "heads", {"sites": list(answers.sites)})["heads"]
        heads = tuple(map(SiteHead.model_validate, seen))
    study = draft(answers, read_constants(constants), heads)
    write_durably(out, study.payload(), mode=_PUBLIC)
    tables = ", ".join(f"{table.table} of {len(table.cells)} cells" for table in study.tables)
    say(f"draft of {study_id}: {tables}; epsilon {study.loss} at each site")
    if any(study.cohort.phrases()) and study.answers_from is None:
        say("the fewer meet the cohort, the sooner a site is done: --answers-after hides how soon")


@study_app.command("plan")
def plan_command(
    draft_file: Draft,
    people: Annotated[str, typer.Option(help="People a site, separated by commas.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Accept wide intervals.")] = False,
    shares: Annotated[
        str,
        typer.Option(
            "--group-shares",
            help="Share of people in each group, in the study's order, such as 50%,45%; alike if "
            "absent.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Say how wide every interval will be; refuse a study that would answer nothing.

    Failed gates, damage and groups are shown and never refused for: they are there to warn.
    """
    study = Study.parse(draft_file.read_bytes())
    sizes = comma_lists.whole_numbers(people, "people")
    planned = plan(study, sizes)
    by_group = rows_of_groups(study, sizes, shares)
    rows = [
        {
            "kind": row.kind,
            "arm": row.arm,
            "gallery": row.gallery_size,
            "half_width_points": round(row.half_width_points, 1),
        }
        for row in planned
    ]
    rows += by_group
    if as_json:
        show_json(rows)
    else:
        grouped = ("group",) if by_group else ()
        columns = ("kind", *grouped, "arm", "gallery", "half_width_points")
        table = [["" if row.get(c) is None else row[c] for c in columns] for row in rows]
        show_table(f"{study.study_id}: intervals to come", columns, table)
    widest = max(row.half_width_points for row in planned if row.gallery_size is not None)
    if widest > WIDEST_POINTS and not force:
        raise RefusalError(
            "plan",
            got=f"a half-width of {widest:.1f} points",
            expected=f"at most {WIDEST_POINTS:.0f}",
            do="ask more people or sites, fewer arms, or a larger epsilon; or give --force",
        )


@study_app.command()
def sign(
    draft_file: Draft,
    out: Annotated[Path, typer.Option("--out", help="Signed study to write.")],
    home: Home = _DEFAULT_HOME,
    key: Annotated[
        Path | None, typer.Option(help="Study key; the home's own if absent. May be offline.")
    ] = None,
) -> None:
    """Sign a draft with the study key; nothing can change after that."""
    payload = draft_file.read_bytes()
    study = Study.parse(payload)
    path = key or ServerHome.existing(home).key("study.pem")
    envelope = sign_payload(payload, payload_type=Study.payload_type, key=StatementKey.load(path))
    write_durably(out, envelope, mode=_PUBLIC)
    say(f"signed {study.study_id}: {len(envelope)} bytes")


@study_app.command("open")
def open_command(
    signed: Annotated[Path, typer.Argument(metavar="SIGNED", help="From `study sign`.")],
    constants: Annotated[
        Path, typer.Option("--constants", help="Folder of its public reference.", file_okay=False)
    ],
    home: Home = _DEFAULT_HOME,
) -> None:
    """Open a signed study to its sites."""
    files = read_constants(constants).files
    arguments = {
        "envelope": signed.read_text(),
        "files": {sha256: content.hex() for sha256, content in files.items()},
    }
    answer = ask(home, "open", arguments)
    say(f"{answer['id']} is open: sha256 {answer['sha256']}")


@study_app.command()
def status(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="Id or first digits; or nothing.")
    ] = "",
    home: Home = _DEFAULT_HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what waits for whom."""
    if not study:
        found = ask(home, "studies", {})["studies"]
        if as_json:
            show_json(found)
        else:
            show_table("studies", ("id", "sha256"), [[row["id"], row["sha256"]] for row in found])
        return
    answer = ask(home, "status", {"study": study})
    if as_json:
        show_json(answer)
        return
    columns = ("site", "decision", "answer", "released", "waits_for")
    rows = [[row[column] for column in columns] for row in answer["sites"]]
    show_table(f"{answer['study']} (closes {answer['closes']})", columns, rows)
