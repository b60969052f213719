"""`reidscope-server study`: write a study down, plan it, sign it, open it, look at it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from reidscope_protocols import comma_lists
from reidscope_protocols.distributed import LARGEST_ATTEMPTS, DistributedNoise
from reidscope_protocols.durable import write_durably
from reidscope_protocols.envelope import sign_payload
from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import LARGEST_SCAN_CAP
from reidscope_protocols.keys import KeyRecord, StatementKey
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import malformed
from reidscope_protocols.study import SiteHead, Study
from reidscope_protocols.terminal import say, show_json, show_table
from reidscope_protocols.vocabulary import SYNTHETIC, FailedGate
from reidscope_server import cohort_words
from reidscope_server.asked_tails import read_answers
from reidscope_server.cli_plan import plan_command, width_to_come
from reidscope_server.config import ServerHome
from reidscope_server.draft import Answers, draft, read_constants
from reidscope_server.key_files import check_apart, signing_key
from reidscope_server.reaching import reach_of
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


class NoiseMode(StrEnum):
    """Who adds the noise."""

    LOCAL = "local"
    DISTRIBUTED = "distributed"


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
    scans: Annotated[
        str,
        typer.Option(
            help="What may be a scan: MR, CT, PT (PET), by commas. A PET counts where a study asks "
            "for it, and never in an MR's or a CT's place."
        ),
    ] = "MR,CT",
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
    scores: Annotated[
        str,
        typer.Option(
            help="Columns (unmodified, ARM, ARM/ATTACKER) with an opt-in table of u, the share of "
            "public faces that beat the mate; with --fmr, --open-set or --above."
        ),
    ] = "unmodified",
    fmr: Annotated[
        str, typer.Option(help="False match rates for the true accept rate: 0.01,0.1.")
    ] = "",
    open_set: Annotated[
        str, typer.Option(help="N:FPIR points for the open-set rate with rank 1: 100:0.3.")
    ] = "",
    above: Annotated[
        str,
        typer.Option(
            help="Gallery sizes for the share of people above .05, .09, .2, .33: an analogy."
        ),
    ] = "",
    beyond: Annotated[
        str, typer.Option(help="Columns with an opt-in table beyond the reference.")
    ] = "unmodified",
    beyond_sizes: Annotated[
        str, typer.Option(help="Gallery sizes to extrapolate to: 100000,1000000.")
    ] = "",
    score_epsilon: Annotated[
        str, typer.Option(help="Of each table of u and each beyond the reference, on top.")
    ] = "0.5",
    reference_people: Annotated[
        str,
        typer.Option(
            help="Who the faces of the public gallery are of; as the reference says without."
        ),
    ] = "",
    minimum_people: Annotated[int, typer.Option(help="Declared people a site.")] = 20,
    minimum_sites: Annotated[int, typer.Option(help="Releases below which no report is made.")] = 1,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="From now until the study closes.")
    ] = 90,
    answers_after: Annotated[
        int,
        typer.Option(min=0, help="Hours from now until sites answer, however soon they are done."),
    ] = 0,
    catchment: Annotated[
        list[str] | None,
        typer.Option(
            help="People whom a site serves, as SITE=PEOPLE or SITE=PEOPLE:REGION; repeatable. The "
            "site's own declaration goes before it."
        ),
    ] = None,
    everywhere: Annotated[
        int | None,
        typer.Option(min=1, help="People whom a scan of unknown origin could be of."),
    ] = None,
    enrolled_share: Annotated[
        str | None,
        typer.Option(help="Probability that a person stands in an attacker's gallery, 0 to 1."),
    ] = None,
    noise: Annotated[
        NoiseMode, typer.Option(help="Whether each site adds all of the noise, or a share of it.")
    ] = NoiseMode.LOCAL,
    colluders: Annotated[
        int, typer.Option(min=0, help="With distributed noise: sites that may collude.")
    ] = 1,
    attempts: Annotated[
        int,
        typer.Option(
            min=1,
            max=LARGEST_ATTEMPTS,
            help="With distributed noise: secure sums that may be begun, each charged in full.",
        ),
    ] = 1,
    sum_wait: Annotated[
        int,
        typer.Option(min=1, help="With distributed noise: minutes to wait for a silent site."),
    ] = 60,
    home: Annotated[
        Path | None,
        typer.Option(
            help="This coordinator's: writes down where the sites' ledgers were seen, and their "
            "keys where noise is distributed."
        ),
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
        scans=comma_lists.modalities(scans),
        damage_arms=comma_lists.words(damage),
        damage_epsilon=PrivacyLoss.asked_for(damage_epsilon),
        cohort=cohort_words.cohort(cohort, sample=sample, salt=sample_salt or study_id),
        groups=cohort_words.groups(groups),
        anchors=comma_lists.whole_numbers(anchors, "anchors"),
        epsilon=PrivacyLoss.asked_for(epsilon),
        reference_people=reference_people,
        minimum_declared_people=minimum_people,
        minimum_sites=minimum_sites,
        days=days,
        answers_after_hours=answers_after,
        reach=reach_of(catchment or [], everywhere, enrolled_share),
        tails=read_answers(
            scores=scores,
            fmr=fmr,
            open_set=open_set,
            above=above,
            beyond=beyond,
            beyond_sizes=beyond_sizes,
            epsilon=score_epsilon,
        ),
    )
    heads: tuple[SiteHead, ...] = ()
    if home is not None:
        seen = ask(home, "heads", {"sites": list(answers.sites)})["heads"]
        heads = tuple(map(SiteHead.model_validate, seen))
    shared = (
        None
        if noise is NoiseMode.LOCAL
        else _shared_noise(
            home, answers.sites, colluders=colluders, attempts=attempts, wait_minutes=sum_wait
        )
    )
    study = draft(answers, read_constants(constants), heads, shared)
    write_durably(out, study.payload(), mode=_PUBLIC)
    tables = ", ".join(f"{table.table} of {len(table.cells)} cells" for table in study.tables)
    say(f"draft of {study_id}: {tables}; epsilon {study.loss} at each site")
    if any(study.cohort.phrases()) and study.answers_from is None:
        say("the fewer meet the cohort, the sooner a site is done: --answers-after hides how soon")


def _shared_noise(
    home: Path | None,
    sites: tuple[str, ...],
    *,
    colluders: int,
    attempts: int,
    wait_minutes: int,
) -> DistributedNoise:
    if home is None:
        raise InputError(
            "distributed noise",
            got="no --home",
            expected="the coordinator's, which knows the sites' keys",
            do="give --home: the study names the key of every site",
        )
    roster = ask(home, "roster", {"sites": list(sites)})["roster"]
    records = (KeyRecord.model_validate_json(json.dumps(record)) for record in roster)
    try:
        return DistributedNoise(
            colluders_tolerated=colluders,
            attempts=attempts,
            wait_minutes=wait_minutes,
            roster=tuple(records),
        )
    except ValidationError as error:
        raise malformed("distributed noise", error) from None


study_app.command("plan")(plan_command)


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
    envelope = sign_payload(payload, payload_type=Study.payload_type, key=_key(study, home, key))
    write_durably(out, envelope, mode=_PUBLIC)
    say(f"signed {study.study_id}: {len(envelope)} bytes")
    say(width_to_come(study))


def _key(study: Study, home: Path, elsewhere: Path | None) -> StatementKey:
    """Return the key that signs: a file that was named, or the home's own where it may."""
    if elsewhere is not None:
        return StatementKey.load(elsewhere)
    existing = ServerHome.existing(home)
    if study.population != SYNTHETIC:
        check_apart(existing)
    return signing_key(existing, "study")


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
    if answer["secure_sum"]:
        say(f"secure sum: {answer['secure_sum']}")
